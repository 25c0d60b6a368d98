"""The driver of the reconcile: a queue of assets, one reconcile at a time for each, several assets at once."""

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from enum import IntEnum

import structlog

from media_operator import metrics
from mediaasset.assets import AssetsError, ConflictError, Key
from mediaasset.jobs import JobsError
from mediaasset.reasons import MediaError

_LOG = structlog.get_logger(__name__)

#: Has an asset looked at soon, by its namespace and name: `Loop.wake`, or what leads to it.
Wake = Callable[[str, str], None]

#: Assets that are reconciled at once in standalone: they wait for files and SQLite, and more would only queue there.
WORKERS = 4
RESYNC_SECONDS = 30.0
_FIRST_BACKOFF_SECONDS = 0.5
_LAST_BACKOFF_SECONDS = 60.0
#: What says that a part is out of reach at the moment; its text is enough, a traceback would tell no more.
_EXPECTED = (AssetsError, JobsError, MediaError)


class Urgency(IntEnum):
    """Who is looked at first, while more are to be looked at than can be."""

    MOVES = 0
    """It is known to move on: its Job has ended, or its turn has come. Others may have to wait for it."""
    SOON = 1
    """Somebody waits for it."""
    LATER = 2


class Loop:
    """Calls `reconcile` for every asset that is woken, and again after the seconds that it returns."""

    def __init__(
        self,
        reconcile: Callable[[str, str], Awaitable[float | None]],
        unfinished: Callable[[], Awaitable[Iterable[Key]]],
        *,
        workers: int = WORKERS,
        resync_seconds: float = RESYNC_SECONDS,
        backoff_seconds: float = _FIRST_BACKOFF_SECONDS,
    ) -> None:
        """Take what is called with (namespace, name), and what lists the assets to look at without being woken."""
        self._reconcile = reconcile
        self._unfinished = unfinished
        self._workers = workers
        self._resync_seconds = resync_seconds
        self._backoff_seconds = backoff_seconds
        # By urgency, then by age. An entry that is not the one noted of its asset any more is passed over.
        self._queue: asyncio.PriorityQueue[tuple[int, int, Key]] = asyncio.PriorityQueue()
        self._queued: dict[Key, tuple[int, int]] = {}
        # Since when, in seconds of the monotonic clock; the first one has waited longest.
        self._since: dict[Key, float] = {}
        self._count = itertools.count()
        self._running: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}

    def wake(self, namespace: str, name: str, urgency: Urgency = Urgency.LATER) -> None:
        """Have an asset looked at; many wakes before that are one, and one during a reconcile is another."""
        key = (namespace, name)
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        noted = self._queued.get(key)
        place = (urgency, next(self._count))
        if noted is None or place < noted:
            self._queued[key] = place
            self._since.setdefault(key, time.monotonic())
            # While it runs it only stays marked; its worker puts it back.
            if key not in self._running:
                self._queue.put_nowait((*place, key))

    def waiting(self) -> tuple[int, float]:
        """Return how many assets wait to be reconciled, and for how many seconds the first of them has."""
        first = next(iter(self._since.values()), None)
        return len(self._since), 0.0 if first is None else time.monotonic() - first

    async def run(self) -> None:
        """Work until cancelled; a reconcile that runs is cancelled too, which it must survive like a crash."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._resync())
                for _ in range(self._workers):
                    group.create_task(self._work())
        finally:
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()

    async def _work(self) -> None:
        while True:
            *place, key = await self._queue.get()
            if self._queued.get(key) != tuple(place):
                continue
            del self._queued[key], self._since[key]
            self._running.add(key)
            try:
                delay = await self._call(key)
            finally:
                self._running.discard(key)
            if key in self._queued:
                self._queue.put_nowait((*self._queued[key], key))
            elif delay is not None:
                self._timers[key] = asyncio.get_running_loop().call_later(delay, self.wake, *key)

    async def _call(self, key: Key) -> float | None:
        # Whatever is logged meanwhile, by whomever, says for which asset.
        with structlog.contextvars.bound_contextvars(namespace=key[0], asset=key[1]):
            return await self._reconciled(key)

    async def _reconciled(self, key: Key) -> float | None:
        try:
            with metrics.RECONCILE_SECONDS.time():
                delay = await self._reconcile(*key)
        except ConflictError:
            return 0.0
        except Exception as error:  # noqa: BLE001 - whatever it is, the asset must not be lost
            self._failures[key] = failures = self._failures.get(key, 0) + 1
            metrics.RECONCILE_ERRORS.labels(metrics.reason_of(error)).inc()
            pause = min(self._backoff_seconds * 2.0 ** min(failures - 1, 30), _LAST_BACKOFF_SECONDS)
            _LOG.warning(
                "A reconcile failed; it is called again.",
                pause_seconds=pause,
                error=repr(error),
                exc_info=not isinstance(error, _EXPECTED),
            )
            return pause
        self._failures.pop(key, None)
        return delay

    async def _resync(self) -> None:
        """Look at every unfinished asset now and then: whatever was not heard of is found so."""
        while True:
            try:
                for key in await self._unfinished():
                    # One that waits for its time, or for its backoff, is not lost.
                    if key not in self._timers:
                        self.wake(*key)
            except AssetsError as error:
                _LOG.warning("The unfinished assets could not be listed.", error=str(error))
            await asyncio.sleep(self._resync_seconds * random.uniform(0.8, 1.2))  # noqa: S311 - jitter is no secret
