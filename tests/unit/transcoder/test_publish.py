from pathlib import Path

import pytest

from media_transcoder.bucket import Bucket
from media_transcoder.child import _tried
from media_transcoder.messages import LINE_BYTES, MESSAGE_CHARACTERS, Message, Outcome, Rendered, dump
from media_transcoder.progress import Reporter
from media_transcoder.publish import publish
from mediaasset import keys
from mediaasset.media import Kind
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Format, Rendition, RenditionState, Result, Source, SourceInfo, Task

INFO = SourceInfo(type=Kind.VIDEO, mime_type="video/mp4", size_bytes=1, sha256="0" * 64)
WANTED = [Rendition(name=f"mp4-{number}", kind=Kind.VIDEO, format=Format.MP4, optional=True) for number in range(32)]
#: So much the operator reads.
_READABLE_BYTES = 256 * 1024


TASK = Task(
    uid="uid",
    namespace="ns",
    name="asset",
    attempt=1,
    inputs_hash="hash",
    source=Source(),
    prefix="media/ns/assets/uid/",
    document_prefix="private/ns/assets/uid/",
)
BOARD = Rendition(name="board", kind=Kind.VIDEO, format=Format.STORYBOARD)


def published(root: Path, outputs: Path, *renditions: tuple[Rendition, Rendered]) -> Result:
    """Publish what was made into the store at `root`; return the Result there."""
    root.mkdir(exist_ok=True)
    bucket = Bucket(root.as_uri())
    assert publish(
        TASK, bucket, info=INFO, renditions=renditions, thumb_hash="aGFzaA==", directory=outputs, reporter=Reporter()
    )
    return Result.from_json((root / keys.result("uid", 1)).read_bytes())


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Return outputs in which a storyboard lies."""
    tree = tmp_path / "outputs/board"
    tree.mkdir(parents=True)
    (tree / "index.vtt").write_text("WEBVTT")
    (tree / "sprite.jpg").write_bytes(b"pixels")
    return tree.parent


def test_messages_of_failed_renditions_do_not_make_the_result_unreadable(tmp_path: Path) -> None:
    long = "é" * 10_000
    failed = [(wanted, Rendered(name=wanted.name, reason=Reason.UNDECODABLE, message=long)) for wanted in WANTED]
    result = published(tmp_path, tmp_path, *failed)
    assert (tmp_path / keys.result("uid", 1)).stat().st_size < _READABLE_BYTES
    assert [made.message for made in result.renditions] == [long[:MESSAGE_CHARACTERS]] * 32
    assert result.thumb_hash == "aGFzaA=="


def test_what_does_not_apply_is_skipped_and_what_broke_has_failed(tmp_path: Path) -> None:
    apart = [(BOARD, Rendered(name="board", reason=reason)) for reason in (Reason.NOT_APPLICABLE, Reason.UNDECODABLE)]
    states = [made.state for made in published(tmp_path, tmp_path, *apart).renditions]
    assert states == [RenditionState.SKIPPED, RenditionState.FAILED]


def test_a_directory_is_published_whole_under_a_name_made_from_its_content(tmp_path: Path, outputs: Path) -> None:
    made = Rendered(name="board", file="board", mime_type="text/vtt", width=160, height=90)
    (first,) = published(tmp_path / "a", outputs, (BOARD, made)).renditions
    key = Path(first.key or "")
    assert key.match(f"media/ns/assets/uid/board-{(first.sha256 or '')[:16]}/index.vtt")
    assert (tmp_path / "a" / key).read_text() == "WEBVTT"
    assert (tmp_path / "a" / key.with_name("sprite.jpg")).read_bytes() == b"pixels"
    assert (first.size_bytes, first.mime_type, first.width) == (12, "text/vtt", 160)
    (outputs / "board/sprite.jpg").write_bytes(b"others")
    (second,) = published(tmp_path / "b", outputs, (BOARD, made)).renditions
    assert second.key != first.key


@pytest.mark.parametrize("harm", ["link", "link to it", "folder", "name", "no index", "crowd"])
def test_a_directory_that_is_not_as_it_should_be_is_refused(tmp_path: Path, outputs: Path, harm: str) -> None:
    tree = outputs / "board"
    (tmp_path / "secret").write_text("secret")
    match harm:
        case "link":
            (tree / "further.vtt").symlink_to(tmp_path / "secret")
        case "link to it":
            tree.rename(tmp_path / "elsewhere")
            tree.symlink_to(tmp_path / "elsewhere")
        case "folder":
            (tree / "further.vtt").mkdir()
        case "name":
            (tree / "page.html").write_text("<script>")
        case "no index":
            (tree / "index.vtt").unlink()
        case "crowd":
            for number in range(64):
                (tree / f"{number}.mp4").touch()
    made = Rendered(name="board", file="board", mime_type="text/vtt")
    with pytest.raises(MediaError) as caught:
        published(tmp_path / "store", outputs, (BOARD, made))
    assert caught.value.reason is Reason.INVALID_OUTPUT
    assert not (tmp_path / "store" / keys.result("uid", 1)).exists()


def test_an_outcome_full_of_failures_fits_into_a_line() -> None:
    failed = tuple(_tried(wanted, lambda: _fail("é" * 10_000)) for wanted in WANTED)
    assert len(dump(Message(outcome=Outcome(source_info=INFO, renditions=failed)))) < LINE_BYTES


def _fail(message: str) -> Rendered:
    raise MediaError(Reason.UNDECODABLE, message)
