"""A deletion that cannot finish is tried, says what it fails at, and is given up in the end, by name."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from making import WEB, make_asset
from media_standalone.database import Database
from mediaasset.assets import Event, NotFoundError
from mediaasset.jobs import JobsError
from mediaasset.reasons import MediaError, Reason
from mediaasset.spec import MediaAsset
from mediaasset.status import ConditionType
from world import SETTINGS, World

KEY = ("shop", "a1")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    database = await Database.open(tmp_path / "db")
    world = World(database, WEB)
    await world.add(make_asset())
    await world.settle([KEY])
    yield world
    await database.close()


@pytest.fixture
def events(world: World, monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """Note the events, which standalone only logs."""
    told: list[Event] = []

    async def emit(_: MediaAsset, event: Event) -> None:
        told.append(event)

    monkeypatch.setattr(world.assets, "emit", emit)
    return told


async def fail(world: World, error: type[Exception]) -> str:
    """Try it once; return what the asset says then."""
    with pytest.raises(error):
        await world.reconcile(*KEY)
    ready = (await world.assets.get(*KEY)).status.condition(ConditionType.READY)
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", Reason.DELETING)
    return ready.message


async def test_what_it_fails_at_is_said_once_and_it_goes_on_when_that_is_gone(
    world: World, events: list[Event]
) -> None:
    await world.assets.delete(*KEY)
    world.jobs.stuck = True
    said = await fail(world, JobsError)
    (job, _), *_ = world.jobs.present.values()
    assert said.startswith(f"The deletion fails at the Job {job.name}: ")
    version = (await world.assets.get(*KEY)).metadata.resource_version
    await fail(world, JobsError)
    # Nothing is written for what is known.
    assert (await world.assets.get(*KEY)).metadata.resource_version == version
    assert [(event.reason, event.warning, event.message) for event in events] == [(Reason.DELETING, True, said)]
    world.jobs.stuck = False
    world.broken.add("media/")
    assert "media/shop/assets/" in await fail(world, MediaError)
    world.broken.clear()
    await world.reconcile(*KEY)
    assert await world.objects() == ["tombstones/shop/a1.json"]
    with pytest.raises(NotFoundError):
        await world.assets.get(*KEY)


async def test_after_its_time_it_is_let_go_with_all_that_can_go_and_the_rest_is_named(
    world: World, events: list[Event]
) -> None:
    await world.assets.delete(*KEY)
    uid = (await world.assets.get(*KEY)).metadata.uid
    world.broken.add("media/")
    world.jobs.stuck = True
    world.now += timedelta(seconds=SETTINGS.deletion_seconds - 1)
    await fail(world, JobsError)
    world.now += timedelta(seconds=1)
    await world.reconcile(*KEY)
    with pytest.raises(NotFoundError):
        await world.assets.get(*KEY)
    left = await world.objects()
    assert [key for key in left if not key.startswith("media/")] == ["tombstones/shop/a1.json"]
    last = events[-1]
    assert (last.reason, last.warning) == (Reason.DELETING, True)
    (job, _), *_ = world.jobs.present.values()
    assert last.message.endswith(f"left behind: the Job {job.name}, what lies under media/shop/assets/{uid}/.")


async def test_a_store_that_cannot_even_list_the_work_is_said_too(world: World, events: list[Event]) -> None:
    await world.assets.delete(*KEY)
    world.broken.add("work/")
    assert "work/" in await fail(world, MediaError)
    assert len(events) == 1
