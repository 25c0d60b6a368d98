from pathlib import Path

from media_transcoder.bucket import Bucket
from media_transcoder.child import _tried
from media_transcoder.messages import LINE_BYTES, MESSAGE_CHARACTERS, Message, Outcome, Rendered, dump
from media_transcoder.progress import Reporter
from media_transcoder.publish import publish
from mediaasset import keys
from mediaasset.media import Kind
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Format, Rendition, Result, Source, SourceInfo, Task

INFO = SourceInfo(type=Kind.VIDEO, mime_type="video/mp4", size_bytes=1, sha256="0" * 64)
WANTED = [Rendition(name=f"mp4-{number}", kind=Kind.VIDEO, format=Format.MP4, optional=True) for number in range(32)]
#: So much the operator reads.
_READABLE_BYTES = 256 * 1024


def test_messages_of_failed_renditions_do_not_make_the_result_unreadable(tmp_path: Path) -> None:
    task = Task(
        uid="uid",
        namespace="ns",
        name="asset",
        attempt=1,
        inputs_hash="hash",
        source=Source(),
        prefix="media/ns/assets/uid/",
        document_prefix="private/ns/assets/uid/",
        renditions=tuple(WANTED),
    )
    long = "é" * 10_000
    failed = [(wanted, Rendered(name=wanted.name, reason=Reason.UNDECODABLE, message=long)) for wanted in WANTED]
    assert publish(
        task, Bucket(tmp_path.as_uri()), info=INFO, renditions=failed, directory=tmp_path, reporter=Reporter()
    )
    content = (tmp_path / keys.result("uid", 1)).read_bytes()
    assert len(content) < _READABLE_BYTES
    assert [made.message for made in Result.from_json(content).renditions] == [long[:MESSAGE_CHARACTERS]] * 32


def test_an_outcome_full_of_failures_fits_into_a_line() -> None:
    failed = tuple(_tried(wanted, lambda: _fail("é" * 10_000)) for wanted in WANTED)
    assert len(dump(Message(outcome=Outcome(source_info=INFO, renditions=failed)))) < LINE_BYTES


def _fail(message: str) -> Rendered:
    raise MediaError(Reason.UNDECODABLE, message)
