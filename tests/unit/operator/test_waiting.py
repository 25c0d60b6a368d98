"""An asset that waits for its turn costs next to nothing, keeps its place, and can be taken out of the line."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from making import WEB, make_asset
from media_standalone.database import Database
from mediaasset.jobs import Job
from mediaasset.reasons import Reason
from mediaasset.status import ConditionType
from mediaasset.task import Queue
from world import SETTINGS, World

CAP = SETTINGS.max_active_jobs


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """All places are taken, by assets that are called `first…`."""
    database = await Database.open(tmp_path / "world.db")
    made = World(database, WEB)
    for number in range(CAP):
        await made.add(make_asset(name=f"first{number}"))
        await made.reconcile("shop", f"first{number}")
    assert len(list(made.jobs.running())) == CAP
    yield made
    await database.close()


async def come(world: World, name: str, queue: Queue = Queue.INTERACTIVE) -> None:
    """Let an asset come that finds no place."""
    await world.add(make_asset(name=name, queue=queue.value))
    await world.reconcile("shop", name)
    assert await reason_of(world, name) is Reason.QUEUED
    world.now += timedelta(seconds=1)


async def reason_of(world: World, name: str) -> Reason:
    ready = (await world.assets.get("shop", name)).status.condition(ConditionType.READY)
    assert ready is not None
    return ready.reason


async def end_one(world: World, number: int = 0) -> None:
    """Let the Job of one of the first end, and have its asset looked at, as the watch does."""
    job, task = next(pair for pair in world.jobs.running() if pair[1].name == f"first{number}")
    world.woken.clear()
    await world.play(job, task, None)
    await world.reconcile("shop", task.name)


async def test_who_waits_and_has_not_changed_is_read_and_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await come(world, "a")
    looked = []
    of_asset = world.jobs.of_asset

    async def counted(uid: str, named: str | None = None) -> tuple[Job, ...]:
        looked.append(uid)
        return await of_asset(uid, named)

    monkeypatch.setattr(world.jobs, "of_asset", counted)
    before = (await world.assets.get("shop", "a")).metadata.resource_version
    for _ in range(3):
        assert await world.reconcile("shop", "a") is None
    assert looked == []
    assert (await world.assets.get("shop", "a")).metadata.resource_version == before
    await world.edit("shop", "a", altText="changed")
    await world.reconcile("shop", "a")
    assert len(looked) == 1


async def test_suspended_asset_leaves_the_line_and_comes_back(world: World) -> None:
    await come(world, "a")
    await come(world, "b")
    await world.edit("shop", "a", suspend=True)
    await world.reconcile("shop", "a")
    assert await reason_of(world, "a") is Reason.SUSPENDED
    await end_one(world)
    assert ("shop", "a") not in world.woken
    assert ("shop", "b") in world.woken
    await world.reconcile("shop", "b")
    assert await reason_of(world, "b") is Reason.TRANSCODING
    await world.edit("shop", "a", suspend=False)
    await world.reconcile("shop", "a")
    assert await reason_of(world, "a") is Reason.QUEUED
    await end_one(world, 1)
    assert ("shop", "a") in world.woken


async def test_suspended_from_the_start_it_never_waits_and_takes_no_place(world: World) -> None:
    await world.add(make_asset(name="a", suspend=True))
    await world.reconcile("shop", "a")
    await end_one(world)
    assert world.woken == []
    assert await reason_of(world, "a") is Reason.SUSPENDED


async def test_place_in_line_survives_a_restart(world: World) -> None:
    for name in ("old", "young"):
        await come(world, name)
    versions = [(await world.assets.get("shop", name)).metadata.resource_version for name in ("old", "young")]
    world.restart()
    # They come by in any order then, and nothing is written.
    for name in ("young", "old", *(f"first{number}" for number in range(CAP))):
        await world.reconcile("shop", name)
    assert versions == [(await world.assets.get("shop", name)).metadata.resource_version for name in ("old", "young")]
    await end_one(world)
    assert world.woken == [("shop", "old")]


async def test_upload_that_comes_last_goes_before_a_bulk_import(world: World) -> None:
    for name in ("bulk1", "bulk2"):
        await come(world, name, Queue.BATCH)
    await come(world, "upload")
    await end_one(world)
    assert world.woken == [("shop", "upload")]
    await world.reconcile("shop", "bulk1")
    assert await reason_of(world, "bulk1") is Reason.QUEUED
    await world.reconcile("shop", "upload")
    assert await reason_of(world, "upload") is Reason.TRANSCODING


async def test_asset_that_changes_its_queue_is_let_in_by_the_other(world: World) -> None:
    await come(world, "bulk", Queue.BATCH)
    await come(world, "upload")
    await world.edit("shop", "bulk", queue="Interactive")
    await world.reconcile("shop", "bulk")
    await end_one(world)
    # It has waited longer.
    assert world.woken == [("shop", "bulk")]


async def test_result_makes_an_asset_ready_and_frees_no_place_before_its_job_says_that_it_is_over(world: World) -> None:
    await come(world, "a")
    job, task = next(pair for pair in world.jobs.running() if pair[1].name == "first0")
    await world.play(job, task, None)
    # The Result is there; of the Job nobody knows yet that it succeeded.
    ended, world.jobs.present[job.name] = world.jobs.present[job.name], (job, task)
    for reborn in (False, True):
        if reborn:
            world.restart()
        world.woken.clear()
        await world.reconcile("shop", "first0")
        assert await reason_of(world, "first0") is Reason.READY
        assert world.woken == []
        await world.reconcile("shop", "a")
        assert await reason_of(world, "a") is Reason.QUEUED
    world.jobs.present[job.name] = ended
    world.operator.job_ended(("shop", "first0"), job.name)
    assert ("shop", "a") in world.woken
    await world.reconcile("shop", "a")
    assert await reason_of(world, "a") is Reason.TRANSCODING
    assert len(list(world.jobs.running())) == CAP


async def test_end_of_the_job_of_a_finished_asset_is_no_reason_to_read_it(world: World) -> None:
    await come(world, "a")
    job, task = next(pair for pair in world.jobs.running() if pair[1].name == "first0")
    await world.play(job, task, None)
    ended, world.jobs.present[job.name] = world.jobs.present[job.name], (job, task)
    world.woken.clear()
    # Its pod is seen to end, then the Job.
    world.operator.pod_changed(("shop", "first0"), job.name)
    assert world.woken == [("shop", "first0")]
    await world.reconcile("shop", "first0")
    world.jobs.present[job.name] = ended
    world.woken.clear()
    world.operator.pod_changed(("shop", "first0"), job.name)
    world.operator.job_ended(("shop", "first0"), job.name)
    assert world.woken == [("shop", "a")]
    # Of another Job it is.
    world.operator.job_ended(("shop", "first0"), "another")
    assert ("shop", "first0") in world.woken
