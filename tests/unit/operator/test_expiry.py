"""Assets that are deleted when their time is over."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from making import NOW, WEB, make_asset
from media_operator import handlers
from media_operator.actions import DeleteAsset, Hold
from media_operator.followers import Followers
from media_operator.plan import is_settled, plan
from media_operator.watched import Watched
from media_standalone.database import Database
from mediaasset.assets import NotFoundError
from mediaasset.jobs import JobPhase
from mediaasset.reasons import Reason
from mediaasset.spec import MediaAsset
from planning import SETTINGS, after, annotated, decide, finished, job_of, see, started
from world import World

CREATED = {"creationTimestamp": NOW.isoformat()}
GONE = (DeleteAsset("shop", "a1", "u1"),)


def failed(**changes: Any) -> MediaAsset:
    running = started(make_asset(metadata_=CREATED, **changes))
    return after(running, decide(running, see(running, jobs=(job_of(running, JobPhase.FAILED, Reason.UNDECODABLE),))))


@pytest.mark.parametrize("seconds", [60, 3_155_760_000])
def test_an_asset_goes_so_long_after_its_creation_and_not_a_moment_before(seconds: int) -> None:
    asset = finished(make_asset(metadata_=CREATED, expireSecondsAfterCreation=seconds, expireSecondsAfterFailure=60))
    over = NOW + timedelta(seconds=seconds)
    before = over - timedelta(microseconds=1)
    assert is_settled(asset, SETTINGS, before)
    assert plan(asset, see(asset), before, SETTINGS).actions == ()
    assert not is_settled(asset, SETTINGS, over)
    decided = plan(asset, see(asset), over, SETTINGS)
    assert decided.actions == GONE
    assert [event.reason for event in decided.events] == [Reason.EXPIRED]
    assert "expireSecondsAfterCreation" in decided.events[0].message


def test_also_one_that_is_being_made_goes() -> None:
    running = started(make_asset(metadata_=CREATED, expireSecondsAfterCreation=60))
    job = job_of(running, JobPhase.RUNNING)
    assert plan(running, see(running, jobs=(job,)), NOW + timedelta(seconds=60), SETTINGS).actions == GONE


def test_one_that_failed_goes_so_long_after_it_failed() -> None:
    asset = failed(expireSecondsAfterFailure=90)
    assert is_settled(asset, SETTINGS, NOW + timedelta(seconds=89))
    assert plan(asset, see(asset), NOW + timedelta(seconds=90), SETTINGS).actions == GONE


def test_what_was_asked_of_a_failed_one_is_done_before_it_goes() -> None:
    again = annotated(failed(expireSecondsAfterFailure=90), "again")
    decided = plan(again, see(again), NOW + timedelta(days=1), SETTINGS)
    assert decided.start is not None


def test_its_objects_are_held_before_it_goes() -> None:
    asset = make_asset(metadata_=CREATED | {"finalizers": []}, expireSecondsAfterCreation=60)
    assert plan(asset, see(asset), NOW + timedelta(days=1), SETTINGS).actions == (Hold(),)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    database = await Database.open(tmp_path / "db")
    yield World(database, WEB)
    await database.close()


async def test_the_resync_finds_what_has_expired_and_all_of_it_goes(world: World) -> None:
    await world.add(make_asset(name="short", expireSecondsAfterCreation=3600))
    await world.add(make_asset(name="long"))
    await world.settle([("shop", "short"), ("shop", "long")])
    world.now = (await world.assets.get("shop", "short")).expires_at or world.now
    assert await world.assets.unfinished() == (("shop", "short"),)
    await world.reconcile("shop", "short")
    assert (await world.assets.get("shop", "short")).deleted_at is not None
    await world.settle([("shop", "short"), ("shop", "long")])
    with pytest.raises(NotFoundError):
        await world.assets.get("shop", "short")
    assert not [key for key in await world.objects() if "/short/" in key]
    assert (await world.assets.get("shop", "long")).is_final


async def test_a_watch_that_told_of_an_asset_before_it_expired_is_no_dead_watch() -> None:
    ticks = [0.0]
    watched = Watched(lambda: ticks[0])
    registry = handlers.assets_registry(
        lambda *_: None, watched, Followers(lambda *_: None), SETTINGS, forget_profiles=lambda: None
    )
    handler, _ = registry._watching.get_all_handlers()
    tell: Any = handler.fn
    asset = finished(make_asset(metadata_=CREATED, expireSecondsAfterCreation=60))
    body: Any = asset.to_dict()
    await tell(type="ADDED", body=body)

    async def unfinished() -> tuple[tuple[str, str], ...]:
        return (asset.key,)

    for _ in range(3):
        await watched.checking(unfinished)()
        ticks[0] += 100
    assert watched.overdue() == ()
    await tell(type="DELETED", body=body)
    await watched.checking(unfinished)()
    ticks[0] += 100
    assert watched.overdue() == (asset.key,)
