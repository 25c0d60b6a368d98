"""Who waits for a free slot, and who of them is let in: `admit` with the state that it needs."""

import asyncio
import time
from collections.abc import Callable, Iterable
from datetime import datetime

from media_operator.actions import StartJob
from media_operator.admit import Caps, Waiting, admit
from media_operator.loop import Wake
from mediaasset.assets import Key
from mediaasset.jobs import Jobs


class Admission:
    """Starts Jobs within the caps, and wakes the assets whose turn has come.

    Who waits is nowhere else: after a restart every unfinished asset is reconciled and queues again.
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
        self._waiting: dict[Key, Waiting] = {}
        # The namespaces of the Jobs that run, by name, and until when that is to be believed.
        self._active: dict[str, str] = {}
        self._expires = 0.0

    async def start(self, key: Key, start: StartJob) -> bool:
        """Start a Job if it is its asset's turn, else let the asset wait; tell whether it was started."""
        async with self._lock:
            namespace, name = key
            waiting = self._waiting.setdefault(key, Waiting(namespace=namespace, name=name, since=self._now()))
            if waiting not in await self._admitted():
                return False
            await self._jobs.create(start.name, start.task)
            self._active[start.name] = namespace
            del self._waiting[key]
            return True

    async def ended(self, names: Iterable[str]) -> None:
        """Take note of Jobs that are over; the next assets are woken, also when a list has shown it before."""
        over = list(names)
        for name in over:
            self._active.pop(name, None)
        if over:
            await self._wake_next()

    def leave(self, key: Key) -> None:
        """Let an asset wait no longer: it has nothing to start."""
        self._waiting.pop(key, None)

    async def gone(self, key: Key) -> None:
        """Take note that an asset is gone, and with it its Jobs, whichever those were."""
        self.leave(key)
        self._expires = 0.0
        await self._wake_next()

    async def _wake_next(self) -> None:
        """Wake the assets that may start now; each of them is admitted in its own reconcile."""
        if not self._waiting:
            return
        async with self._lock:
            admitted = await self._admitted()
        for waiting in admitted:
            self._wake(waiting.namespace, waiting.name)

    async def _admitted(self) -> tuple[Waiting, ...]:
        if time.monotonic() >= self._expires:
            self._active = {job.name: job.namespace for job in await self._jobs.active()}
            self._expires = time.monotonic() + self._fresh_seconds
        return admit(self._waiting.values(), self._active.values(), self._caps)
