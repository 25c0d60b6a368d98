"""The driver of the reconcile: nothing is lost, and one asset is never reconciled twice at once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from media_operator.loop import WORKERS, Loop, Urgency
from mediaasset.assets import AssetsError, ConflictError, Key

KEY = ("default", "one")


async def nothing() -> tuple[Key, ...]:
    return ()


@asynccontextmanager
async def running(
    reconcile: Callable[[str, str], Awaitable[float | None]],
    unfinished: Callable[[], Awaitable[tuple[Key, ...]]] = nothing,
    resync_seconds: float = 3600,
) -> AsyncIterator[Loop]:
    loop = Loop(reconcile, unfinished, resync_seconds=resync_seconds, backoff_seconds=0.001)
    task = asyncio.create_task(loop.run())
    try:
        async with asyncio.timeout(10):
            yield loop
    finally:
        task.cancel()
        await asyncio.wait([task])


class Calls:
    """A reconcile that records its calls, does what it is told, and lets a test wait for the n-th."""

    def __init__(self, *answers: float | Exception | None) -> None:
        self.keys: list[Key] = []
        self._answers = list(answers)
        self._changed = asyncio.Condition()

    async def __call__(self, namespace: str, name: str) -> float | None:
        async with self._changed:
            self.keys.append((namespace, name))
            self._changed.notify_all()
        answer = self._answers.pop(0) if self._answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def number(self, count: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.keys) >= count)


async def quiet() -> None:
    """Let everything that is ready run."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_woken_asset_is_reconciled_once() -> None:
    calls = Calls()
    async with running(calls) as loop:
        for _ in range(5):
            loop.wake(*KEY)
        await calls.number(1)
        await quiet()
    assert calls.keys == [KEY]


async def test_wake_during_a_reconcile_is_one_more_after_it_never_beside_it() -> None:
    inside, most, count = 0, 0, 0
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def reconcile(namespace: str, name: str) -> None:
        nonlocal inside, most, count
        inside, count = inside + 1, count + 1
        most = max(most, inside)
        entered.set()
        await go_on.wait()
        inside -= 1

    async with running(reconcile) as loop:
        loop.wake(*KEY)
        await entered.wait()
        for _ in range(3):
            loop.wake(*KEY)
        await quiet()
        assert count == 1
        go_on.set()
        await quiet()
        assert (count, most) == (2, 1)


async def test_several_assets_are_reconciled_at_once() -> None:
    barrier = asyncio.Barrier(WORKERS)
    passed = [asyncio.Event() for _ in range(WORKERS)]

    async def reconcile(namespace: str, name: str) -> None:
        await barrier.wait()
        passed[int(name)].set()

    async with running(reconcile) as loop:
        for number in range(WORKERS):
            loop.wake("default", str(number))
        await asyncio.gather(*(done.wait() for done in passed))


async def test_asset_comes_back_after_the_seconds_that_reconcile_returns() -> None:
    calls = Calls(0.05, 0.0, None)
    clock = asyncio.get_running_loop().time
    async with running(calls) as loop:
        before = clock()
        loop.wake(*KEY)
        await calls.number(3)
        assert clock() - before >= 0.05
        await quiet()
    assert calls.keys == [KEY] * 3


async def test_wake_comes_before_the_time_that_was_set() -> None:
    calls = Calls(3600.0, None)
    async with running(calls) as loop:
        loop.wake(*KEY)
        await calls.number(1)
        await quiet()
        loop.wake(*KEY)
        await calls.number(2)


async def test_asset_whose_reconcile_fails_is_not_lost() -> None:
    calls = Calls(AssetsError("gone"), RuntimeError("bug"), ConflictError("changed"), RuntimeError("bug"))
    async with running(calls) as loop:
        loop.wake(*KEY)
        await calls.number(5)
        await quiet()
    assert calls.keys == [KEY] * 5


async def test_one_asset_that_fails_does_not_hold_up_the_others() -> None:
    seen = asyncio.Event()

    async def reconcile(namespace: str, name: str) -> None:
        if name == "bad":
            message = "always"
            raise RuntimeError(message)
        seen.set()

    async with running(reconcile) as loop:
        loop.wake("default", "bad")
        loop.wake("default", "good")
        await seen.wait()


async def test_unfinished_are_looked_at_at_start_and_again() -> None:
    calls = Calls()

    async def unfinished() -> tuple[Key, ...]:
        return (KEY,)

    async with running(calls, unfinished, resync_seconds=0.01):
        await calls.number(3)
    assert set(calls.keys) == {KEY}


async def test_resync_goes_on_when_the_list_fails() -> None:
    calls = Calls()
    answers: list[tuple[Key, ...] | Exception] = [AssetsError("gone"), (KEY,)]

    async def unfinished() -> tuple[Key, ...]:
        answer = answers.pop(0) if answers else ()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with running(calls, unfinished, resync_seconds=0.01):
        await calls.number(1)


async def test_what_is_urgent_goes_before_what_only_waits_in_line() -> None:
    calls = Calls()
    loop = Loop(calls, nothing, resync_seconds=3600, workers=1)
    for number in range(5):
        loop.wake("default", f"old-{number}")
    loop.wake("default", "urgent", Urgency.MOVES)
    loop.wake("default", "old-3", Urgency.MOVES)
    loop.wake("default", "old-0")
    task = asyncio.create_task(loop.run())
    await calls.number(6)
    await quiet()
    task.cancel()
    await asyncio.wait([task])
    assert [name for _, name in calls.keys] == ["urgent", "old-3", "old-0", "old-1", "old-2", "old-4"]
