import pytest

from media_ingest.errors import Problem
from media_ingest.fields import FileHead
from media_ingest.intake import recognise
from mediaasset.media import Kind

PNG = b"\x89PNG\r\n\x1a\n"
MP4 = b"\0\0\0\x18ftypisom"


@pytest.mark.parametrize(
    ("head", "name", "declared", "kind"),
    [
        (PNG, "", "", Kind.IMAGE),
        (PNG, "a.jpg", "image/webp", Kind.IMAGE),
        (PNG, "a.unknown", "application/octet-stream", Kind.IMAGE),
        (MP4, "a.mp4", "", Kind.VIDEO),
        (MP4, "a.m4a", "", Kind.AUDIO),
        (MP4, "a", "audio/mp4", Kind.AUDIO),
        (MP4, "a.mp4", "audio/mp4", Kind.AUDIO),
        (b"Hello\n", "a.txt", "", Kind.DOCUMENT),
        (b"Hello\n", "", "text/plain", Kind.DOCUMENT),
    ],
)
def test_taken(head: bytes, name: str, declared: str, kind: Kind) -> None:
    assert recognise(head, FileHead(name, declared)) is kind


@pytest.mark.parametrize(
    ("head", "name", "declared", "slug"),
    [
        (b"Hello\n", "a.jpg", "image/jpeg", "unsupported-type"),
        (b"Hello\n", "", "", "unsupported-type"),
        (b"<svg/>", "a.svg", "image/svg+xml", "unsupported-type"),
        (PNG, "a.pdf", "image/png", "type-mismatch"),
        (PNG, "a.png", "application/pdf", "type-mismatch"),
        (b"Hello\n", "a.jpg", "text/plain", "type-mismatch"),
        (PNG, "a.m4a", "", "type-mismatch"),
        (b"ID3", "a.mp4", "", "type-mismatch"),
    ],
)
def test_refused(head: bytes, name: str, declared: str, slug: str) -> None:
    with pytest.raises(Problem) as raised:
        recognise(head, FileHead(name, declared))
    assert raised.value.slug == slug
    assert {"declared", "detected"} <= set(raised.value.members)
