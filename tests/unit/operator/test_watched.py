import pytest

from media_operator.watched import PATIENCE_SECONDS, Watched
from mediaasset.assets import Key

A, B = ("shop", "a"), ("shop", "b")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watched(clock: Clock) -> Watched:
    return Watched(clock)


async def listing(watched: Watched, *keys: Key) -> None:
    async def unfinished() -> tuple[Key, ...]:
        return keys

    assert await watched.checking(unfinished)() == keys


async def test_watch_that_told_of_all_is_alive(watched: Watched, clock: Clock) -> None:
    watched.seen(A, unfinished=True)
    await listing(watched, A)
    clock.now += 10 * PATIENCE_SECONDS
    assert watched.overdue() == ()


async def test_asset_that_only_a_list_knows_is_waited_for_and_then_overdue(watched: Watched, clock: Clock) -> None:
    watched.seen(A, unfinished=True)
    await listing(watched, A, B)
    clock.now += PATIENCE_SECONDS - 1
    assert watched.overdue() == ()
    clock.now += 1
    assert watched.overdue() == (B,)


@pytest.mark.parametrize("unfinished", [True, False])
async def test_late_event_is_good_enough(watched: Watched, clock: Clock, *, unfinished: bool) -> None:
    await listing(watched, A)
    watched.seen(A, unfinished=unfinished)
    clock.now += PATIENCE_SECONDS
    assert watched.overdue() == ()


async def test_waiting_goes_on_over_several_lists(watched: Watched, clock: Clock) -> None:
    await listing(watched, A)
    clock.now += PATIENCE_SECONDS / 2
    await listing(watched, A)
    clock.now += PATIENCE_SECONDS / 2
    assert watched.overdue() == (A,)


async def test_asset_that_went_before_its_event_came_is_not_waited_for(watched: Watched, clock: Clock) -> None:
    await listing(watched, A)
    await listing(watched)
    clock.now += PATIENCE_SECONDS
    assert watched.overdue() == ()


async def test_event_that_comes_while_the_list_is_read_is_newer_than_the_list(watched: Watched, clock: Clock) -> None:
    async def unfinished() -> tuple[Key, ...]:
        watched.seen(A, unfinished=False)
        return (A,)

    await watched.checking(unfinished)()
    clock.now += PATIENCE_SECONDS
    assert watched.overdue() == ()


async def test_finished_asset_that_a_list_calls_unfinished_again_is_to_come(watched: Watched, clock: Clock) -> None:
    watched.seen(A, unfinished=False)
    await listing(watched, A)
    clock.now += PATIENCE_SECONDS
    assert watched.overdue() == (A,)
