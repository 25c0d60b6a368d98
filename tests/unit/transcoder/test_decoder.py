import os
from dataclasses import replace
from pathlib import Path

import pytest

from media_transcoder.decoder import open_output, renditions_of
from media_transcoder.messages import Outcome, Rendered
from mediaasset.media import Kind
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Format, Rendition, Source, SourceInfo, Task

INFO = SourceInfo(type=Kind.IMAGE, mime_type="image/png", size_bytes=1, sha256="0" * 64)
TASK = Task(
    uid="uid",
    namespace="ns",
    name="asset",
    attempt=1,
    inputs_hash="hash",
    source=Source(),
    prefix="media/ns/uid/",
    document_prefix="private/ns/uid/",
    renditions=(
        Rendition(name="small", kind=Kind.IMAGE, format=Format.JPEG),
        Rendition(name="webp", kind=Kind.IMAGE, format=Format.WEBP, optional=True),
        Rendition(name="mp3", kind=Kind.AUDIO, format=Format.MP3),
    ),
)
SMALL = Rendered(name="small", file="small", mime_type="image/jpeg", width=1, height=1)
WEBP = Rendered(name="webp", file="webp", mime_type="image/webp", width=1, height=1)


def test_what_was_asked_for_is_accepted() -> None:
    failed = Rendered(name="webp", reason=Reason.INVALID_RENDITION, message="too long")
    for last in (WEBP, failed):
        pairs = renditions_of(TASK, Outcome(source_info=INFO, renditions=(SMALL, last)))
        assert [(rendition.name, rendered) for rendition, rendered in pairs] == [("small", SMALL), ("webp", last)]


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(renditions=(SMALL, WEBP)),
        Outcome(source_info=INFO, renditions=(SMALL,)),
        Outcome(source_info=INFO, renditions=(SMALL, SMALL)),
        Outcome(source_info=INFO, renditions=(SMALL, WEBP, WEBP)),
        Outcome(source_info=INFO, renditions=(replace(SMALL, mime_type="text/html"), WEBP)),
        Outcome(source_info=INFO, renditions=(replace(SMALL, mime_type="image/png"), WEBP)),
        Outcome(source_info=INFO, renditions=(replace(SMALL, file=None), WEBP)),
        Outcome(source_info=INFO, renditions=(replace(SMALL, reason=Reason.INTERNAL, file=None), WEBP)),
        Outcome(source_info=replace(INFO, mime_type="image/png\r\nX: y"), renditions=(SMALL, WEBP)),
        Outcome(source_info=replace(INFO, type=Kind.AUDIO), renditions=(SMALL, WEBP)),
    ],
)
def test_anything_else_from_the_child_is_refused(outcome: Outcome) -> None:
    with pytest.raises(MediaError) as caught:
        renditions_of(TASK, outcome)
    assert caught.value.reason is Reason.INVALID_OUTPUT


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../secret", "/etc/hostname", "link", "pipe", "folder", "none", "a\0b"]
)
def test_only_regular_files_of_the_directory_are_published(tmp_path: Path, name: str) -> None:
    directory = tmp_path / "outputs"
    (directory / "folder").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"secret")
    (directory / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(directory / "pipe")
    with pytest.raises(MediaError) as caught:
        open_output(directory, name)
    assert caught.value.reason is Reason.INVALID_OUTPUT


def test_a_regular_file_is_opened(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"pixels")
    with os.fdopen(open_output(tmp_path, "small"), "rb") as file:
        assert file.read() == b"pixels"
