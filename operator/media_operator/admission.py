"""Who waits for a free place, and who of them is let in: `admit` with the state that it needs."""

import asyncio
import time
from collections.abc import Callable, Iterable
from datetime import datetime

from media_operator.actions import StartJob
from media_operator.admit import Caps, Line, Running, Waiting
from media_operator.loop import Wake
from mediaasset.assets import Key
from mediaasset.jobs import Jobs
from mediaasset.task import Queue


class Admission:
    """Starts Jobs within the caps, and wakes the assets whose turn has come.

    Who waits is nowhere else: after a restart every unfinished asset is reconciled and queues again, where it was
    before if it says since when it waits.
    """

    def __init__(
        self, jobs: Jobs, caps: Caps, wake: Wake, now: Callable[[], datetime], *, fresh_seconds: float = 0.0
    ) -> None:
        """Take the Jobs, the caps, who reconciles an asset soon, the clock, and how long a list of Jobs is good for.

        In between the Jobs that are started and seen to end here are counted; those of others are not.
        """
        self._jobs, self._caps, self._wake, self._now = jobs, caps, wake, now
        self._fresh_seconds = fresh_seconds
        self._lock = asyncio.Lock()
        self.line = Line()
        # What runs, by the name of its Job, and until when that is to be believed.
        self.active: dict[str, Running] = {}
        self._expires = 0.0

    async def start(self, key: Key, start: StartJob, since: datetime | None = None) -> bool:
        """Start a Job if it is its asset's turn, else let the asset wait; tell whether it was started.

        since is since when it has waited, as far as is known. What cannot be started waits no longer: whatever the
        Jobs raise goes on to the caller, and the next ones are woken.
        """
        namespace, name = key
        queue = start.task.queue
        async with self._lock:
            self.line.add(Waiting(namespace=namespace, name=name, since=since or self._now(), queue=queue))
            if all(waiting.key != key for waiting in await self._admitted()):
                return False
            self.line.remove(key)
            try:
                await self._jobs.create(start.name, start.task)
            except BaseException:
                self._wake_all(await self._admitted())
                raise
            self.active[start.name] = queue, namespace
            return True

    async def ended(self, names: Iterable[str]) -> None:
        """Take note of Jobs that are over; the next assets are woken, also when a list has shown it before."""
        over = list(names)
        for name in over:
            self.active.pop(name, None)
        if over:
            await self.wake_next()

    async def waits(self, key: Key) -> bool:
        """Tell whether an asset is in line, and it is not its turn."""
        if key not in self.line:
            return False
        async with self._lock:
            return all(waiting.key != key for waiting in await self._admitted())

    def leave(self, key: Key) -> None:
        """Let an asset wait no longer: it has nothing to start."""
        self.line.remove(key)

    async def gone(self, key: Key) -> None:
        """Take note that an asset is gone, and with it its Jobs, whichever those were."""
        self.leave(key)
        self._expires = 0.0
        await self.wake_next()

    async def wake_next(self) -> None:
        """Wake the assets that may start now; each of them is admitted in its own reconcile."""
        if not any(self.line.length(queue) for queue in Queue):
            return
        async with self._lock:
            admitted = await self._admitted()
        self._wake_all(admitted)

    def _wake_all(self, admitted: Iterable[Waiting]) -> None:
        for waiting in admitted:
            self._wake(*waiting.key)

    async def _admitted(self) -> tuple[Waiting, ...]:
        if time.monotonic() >= self._expires:
            self.active = {job.name: (job.queue, job.namespace) for job in await self._jobs.active()}
            self._expires = time.monotonic() + self._fresh_seconds
        return self.line.admitted(self.active.values(), self._caps)
