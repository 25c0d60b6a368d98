"""What is measured of the running operator every few seconds: how long its queues are, and what its watches say."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from media_operator import metrics
from media_operator.admit import Line
from media_operator.loop import Loop
from media_operator.manifest import job_of
from media_operator.watched import Watched
from mediaasset.jobs import JobPhase
from mediaasset.task import Queue

#: How old a measurement may be: no longer than Prometheus waits between two scrapes.
_SECONDS = 5.0


class JobsSeen:
    """The Jobs that the watch told of, by phase; one that succeeded is not told of any more."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Take a clock that counts seconds."""
        self._clock = clock
        self._jobs: dict[str, JobPhase] = {}
        self._last = clock()

    def seen(self, body: Mapping[str, Any], is_gone: bool = False) -> None:  # noqa: FBT001, FBT002 - a callback
        """Take note of a Job."""
        self._last = self._clock()
        job = job_of(body)
        # One that succeeded leaves the watch.
        if job is None or is_gone or job.phase is JobPhase.SUCCEEDED:
            self._jobs.pop(body["metadata"]["name"], None)
        else:
            self._jobs[job.name] = job.phase

    def silent_seconds(self) -> float:
        """Return how long ago the last event came."""
        return self._clock() - self._last

    def phases(self) -> Mapping[JobPhase, int]:
        """Return how many there are in each phase."""
        return Counter(self._jobs.values())


async def follow(loop: Loop, line: Line, watched: Watched | None = None, jobs: JobsSeen | None = None) -> None:
    """Measure until cancelled; standalone watches nothing."""
    while True:
        measure(loop, line, watched, jobs)
        await asyncio.sleep(_SECONDS)


def measure(loop: Loop, line: Line, watched: Watched | None, jobs: JobsSeen | None) -> None:
    """Measure once."""
    count, seconds = loop.waiting()
    metrics.QUEUE.labels("reconcile").set(count)
    metrics.QUEUE_SECONDS.labels("reconcile").set(seconds)
    for queue in Queue:
        oldest = line.oldest(queue)
        metrics.QUEUE.labels(queue).set(line.length(queue))
        metrics.QUEUE_SECONDS.labels(queue).set((datetime.now(UTC) - oldest).total_seconds() if oldest else 0)
    if watched is not None:
        metrics.WATCH_SECONDS.labels("mediaassets").set(watched.silent_seconds())
        metrics.WATCH_MISSED.set(len(watched.overdue()))
    if jobs is not None:
        metrics.WATCH_SECONDS.labels("jobs").set(jobs.silent_seconds())
        phases = jobs.phases()
        for phase in (JobPhase.PENDING, JobPhase.RUNNING, JobPhase.FAILED):
            metrics.JOBS.labels(phase).set(phases.get(phase, 0))
