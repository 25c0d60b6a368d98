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
        # What is just being created, which a list may not know of yet.
        self._starting: dict[str, Running] = {}
        # What ended since the last list was asked for, which may not know of it.
        self._over = set[str]()

    async def start(self, key: Key, start: StartJob, since: datetime | None = None) -> bool:
        """Start a Job if it is its asset's turn, else let the asset wait; tell whether it was started.

        since is since when it has waited, as far as is known. What cannot be started waits no longer: whatever the
        Jobs raise goes on to the caller, and the next ones are woken.
        """
        namespace, name = key
        queue = start.task.queue
        async with self._lock:
            self.line.add(Waiting(namespace=namespace, name=name, since=since or self._now(), queue=queue))
            admitted = await self._admitted()
            if all(waiting.key != key for waiting in admitted):
                # Where the end of a Job was not heard of, a list has just shown it, and it is the turn of others.
                self._wake_all(admitted)
                return False
            self.line.remove(key)
            self.active[start.name] = self._starting[start.name] = queue, namespace
        try:
            await self._jobs.create(start.name, start.task)
        except BaseException:
            # It may be there all the same: who comes next counts anew.
            self.active.pop(start.name, None)
            self._expires = 0.0
            self._wake_known()
            raise
        finally:
            del self._starting[start.name]
        return True

    def ended(self, names: Iterable[str]) -> None:
        """Take note of Jobs that say they are over, or are gone: only then are their places free.

        The next assets are woken, also when a list has shown it before.
        """
        for name in names:
            self.active.pop(name, None)
            self._over.add(name)
            self._wake_known()

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

    def _wake_known(self) -> None:
        # Who is woken in vain goes back to where he was.
        self._wake_all(self.line.admitted(self.active.values(), self._caps))

    def _wake_all(self, admitted: Iterable[Waiting]) -> None:
        for waiting in admitted:
            self._wake(*waiting.key)

    async def _admitted(self) -> tuple[Waiting, ...]:
        if time.monotonic() >= self._expires:
            self._over.clear()
            before = dict(self._starting)
            # Before it is asked for: who finds meanwhile that it cannot be believed says so.
            self._expires = time.monotonic() + self._fresh_seconds
            try:
                listed = {job.name: (job.queue, job.namespace) for job in await self._jobs.active()}
            except BaseException:
                self._expires = 0.0
                raise
            running = before | listed | self._starting
            self.active = {name: of for name, of in running.items() if name not in self._over}
        return self.line.admitted(self.active.values(), self._caps)
