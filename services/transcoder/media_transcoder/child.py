"""The decoding child: everything that reads what people sent happens here, without credentials and within limits.

One JSON request on standard input; on standard output JSON lines of progress, then one outcome.
"""

import contextlib
import importlib
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic

from media_transcoder import confine, landlock, memory, probe, verify
from media_transcoder.faults import media_error, present
from media_transcoder.media import Media, Workplace
from media_transcoder.messages import MESSAGE_CHARACTERS, Message, Outcome, Rendered, Request, dump, load
from media_transcoder.pictures import imagefile, thumbhash
from mediaasset.media import MediaType
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Limits, Progress, Rendition, SourceInfo

_SECONDS_BETWEEN_LINES = 0.5


@dataclass(kw_only=True)
class Decoding:
    """One source under way; each step adds what the next ones need."""

    request: Request
    recognised: MediaType | None = None
    media: Media | None = None
    rendered: dict[str, Rendered] = field(default_factory=dict)
    thumb_hash: str | None = None
    reported: float = 0.0

    @property
    def limits(self) -> Limits:
        """What a source of its kind may measure; none for a kind without limits."""
        kind = self.media.kind if self.media else present(self.recognised).kind
        return self.request.task.limits.get(kind, Limits())

    @property
    def renditions(self) -> list[Rendition]:
        """What is asked for of its kind."""
        kind = present(self.media).kind
        return [rendition for rendition in self.request.task.renditions if rendition.kind is kind]

    @property
    def source_info(self) -> SourceInfo | None:
        """What is known of the source, None before the probe."""
        if self.media is None:
            return None
        seconds = self.media.duration_seconds
        return SourceInfo(
            type=self.media.kind,
            mime_type=self.media.mime_type,
            size_bytes=self.request.size_bytes,
            sha256=self.request.sha256,
            width=self.media.width,
            height=self.media.height,
            duration_milliseconds=round(seconds * 1000) if seconds is not None else None,
            bits_per_second=self.media.bits_per_second,
            codecs=self.media.codecs,
        )

    def report(self, stage: str, percent: float = 0.0, speed: float | None = None) -> None:
        """Send progress, at most about twice a second."""
        if monotonic() - self.reported >= _SECONDS_BETWEEN_LINES or percent == 0:
            self.reported = monotonic()
            _send(Message(progress=Progress(stage=stage, percent=percent, speed=speed)))


def _recognise(work: Decoding) -> None:
    work.report("probe")
    work.recognised = probe.recognise(work.request.task, Path(work.request.file))


def _confine(work: Decoding) -> None:
    """Take the limits on before the first decoder sees the file."""
    confine.limit(present(work.recognised).kind, work.limits, work.request.task.deadline_seconds)


def _probe(work: Decoding) -> None:
    work.media = probe.probe(Path(work.request.file), present(work.recognised), work.limits)


def _check(work: Decoding) -> None:
    probe.compare(work.request.task, present(work.recognised), present(work.media))
    probe.check(present(work.media), work.limits, work.request.size_bytes)


def _weigh(work: Decoding) -> None:
    memory.check(present(work.media), work.renditions)


def _render(work: Decoding) -> None:
    media, wanted = present(work.media), work.renditions
    # Only the kind at hand is imported: ffmpeg-python costs as much as all else here.
    module = importlib.import_module(f"media_transcoder.{media.kind.lower()}")
    work.report("render")

    def report(percent: float, speed: float | None = None) -> None:
        work.report("render", (100 * len(work.rendered) + min(percent, 100.0)) / len(wanted), speed)

    place = Workplace(
        source=Path(work.request.file), directory=Path(work.request.directory), limits=work.limits, report=report
    )
    for rendition, make in module.render(media, wanted, place):
        work.rendered[rendition.name] = _tried(rendition, make)
        report(0)


def _verify(work: Decoding) -> None:
    work.report("verify")
    for rendition in work.renditions:
        made = work.rendered[rendition.name]
        if made.file is not None:
            work.rendered[rendition.name] = _tried(rendition, partial(_verified, work, rendition, made))


def _verified(work: Decoding, rendition: Rendition, made: Rendered) -> Rendered:
    verify.verify(present(work.media), rendition, made, Path(work.request.directory, made.file or ""))
    return made


def _hash(work: Decoding) -> None:
    media, source, directory = present(work.media), Path(work.request.file), Path(work.request.directory)
    made = [(rendition, work.rendered[rendition.name]) for rendition in work.renditions]
    work.thumb_hash = thumbhash.of_media(media, source, made, directory)


#: The whole of what the child does.
STEPS: tuple[Callable[[Decoding], None], ...] = (_recognise, _confine, _probe, _check, _weigh, _render, _verify, _hash)


def main() -> int:
    """Decode one source; return 0 whenever there is an outcome to read."""
    if not confine.die_with_parent(signal.SIGKILL, int(sys.argv[1])):
        return 1
    # Its directory is the scratch; what it imports from here on lies where programs do.
    landlock.confine(Path.cwd())
    imagefile.strict_warnings()
    work = Decoding(request=load(Request, sys.stdin.buffer.read()))
    try:
        for step in STEPS:
            step(work)
    except Exception as error:  # noqa: BLE001 - whatever happened, the parent learns its reason
        failure = media_error(error)
        if failure.reason is Reason.INTERNAL:
            traceback.print_exc()
        outcome = Outcome(source_info=work.source_info, reason=failure.reason, message=str(failure), log=failure.log)
    else:
        made = tuple(work.rendered[rendition.name] for rendition in work.renditions)
        outcome = Outcome(source_info=work.source_info, renditions=made, thumb_hash=work.thumb_hash)
    _send(Message(outcome=outcome))
    return 0


def _tried(rendition: Rendition, make: Callable[[], Rendered]) -> Rendered:
    """Make a rendition; the failure of an optional one becomes its result."""
    try:
        return make()
    except MediaError as error:
        if not (rendition.optional or error.reason is Reason.NOT_APPLICABLE):
            raise
        return Rendered(name=rendition.name, reason=error.reason, message=str(error)[:MESSAGE_CHARACTERS])


def _send(message: Message) -> None:
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.buffer.write(dump(message))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
