"""The order of work of the parent: it holds the store's credentials and never decodes."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from media_transcoder import fetch, publish
from media_transcoder.bucket import Bucket
from media_transcoder.decoder import Decoder, renditions_of
from media_transcoder.faults import present
from media_transcoder.messages import Rendered, Request
from media_transcoder.progress import Reporter
from mediaasset.reasons import MediaError
from mediaasset.task import Rendition, Source, SourceInfo, Task


@dataclass(kw_only=True)
class Run:
    """One attempt under way; each step adds what the next ones need."""

    task: Task
    bucket: Bucket
    reporter: Reporter
    scratch: Path
    decoder: Decoder
    source: fetch.Fetched | None = None
    source_info: SourceInfo | None = None
    renditions: list[tuple[Rendition, Rendered]] = dataclasses.field(default_factory=list)
    thumb_hash: str | None = None

    @property
    def outputs(self) -> Path:
        """Where the child puts what it makes."""
        return self.scratch / "outputs"


def run(work: Run) -> None:
    """Do all steps in order; raises MediaError at the first that fails."""
    for step in STEPS:
        step(work)


def _fetch(work: Run) -> None:
    work.reporter.report("fetch")
    work.source = fetch.fetch(work.task, work.bucket, work.scratch / "source", work.reporter)


def _decode(work: Run) -> None:
    """Probe, check, render and verify, all in the child."""
    source = present(work.source)
    work.outputs.mkdir(mode=0o700)
    outcome = work.decoder.decode(
        Request(
            # A URL may hold a signature; whoever decodes need not know it.
            task=dataclasses.replace(work.task, source=Source()),
            file=str(source.path),
            directory=str(work.outputs),
            size_bytes=source.size_bytes,
            sha256=source.sha256,
        ),
        work.reporter,
    )
    if outcome.source_info:
        work.source_info = dataclasses.replace(outcome.source_info, size_bytes=source.size_bytes, sha256=source.sha256)
    if outcome.reason is not None:
        raise MediaError(outcome.reason, outcome.message, log=outcome.log)
    work.renditions, work.thumb_hash = renditions_of(work.task, outcome), outcome.thumb_hash


def _publish(work: Run) -> None:
    info = present(work.source_info)
    publish.publish(
        work.task,
        work.bucket,
        info=info,
        renditions=work.renditions,
        thumb_hash=work.thumb_hash,
        directory=work.outputs,
        reporter=work.reporter,
    )
    work.reporter.report("publish", 100.0)


#: The whole of an attempt.
STEPS: tuple[Callable[[Run], None], ...] = (_fetch, _decode, _publish)
