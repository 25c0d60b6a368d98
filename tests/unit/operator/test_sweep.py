"""The sweep after the reconcile: what a deletion leaves, and what is left where there was none."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from litter import DAY
from making import WEB, make_asset
from media_operator.sweep import sweep
from media_operator.sweepreport import Report
from media_operator.sweepsettings import SweepSettings
from media_standalone.database import Database
from media_standalone.partial import DirectoryParts
from mediaasset import keys, pointers
from mediaasset.status import ConditionType
from world import World

KNOWN = [("shop", "a"), ("shop", "other")]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    database = await Database.open(tmp_path / "db")
    yield World(database, WEB)
    await database.close()


async def settled(world: World, **spec: Any) -> str:
    """Take an asset to Ready, and another that keeps the sweep from refusing; return the uid of the first."""
    asset = await world.add(make_asset(name="a", source={"object": {"key": keys.upload("shop", "a")}}, **spec))
    await world.add(make_asset(name="other", source={"object": {"key": keys.upload("shop", "other")}}))
    await world.settle(KNOWN)
    assert (await world.assets.get("shop", "a")).status.is_true(ConditionType.READY)
    return asset.metadata.uid


async def swept(world: World, tmp_path: Path, after: timedelta) -> Report:
    # The store in memory knows the real time only.
    parts = DirectoryParts(tmp_path / "partial", tmp_path)
    newest = max([item.modified async for item in world.store.list("")])
    return await sweep(world.assets, world.store, parts, SweepSettings(), lambda: newest + after, deletes=True)


async def of(world: World, uid: str) -> list[str]:
    """Return what is left of the first asset."""
    marks = (uid, "uploads/shop/a/", "tombstones/shop/a.")
    return [key for key in await world.objects() if any(mark in key for mark in marks)]


async def test_what_a_deletion_leaves_is_forgotten_after_two_weeks(world: World, tmp_path: Path) -> None:
    uid = await settled(world)
    await world.assets.delete("shop", "a")
    await world.settle(KNOWN)
    assert await of(world, uid) == [keys.tombstone("shop", "a")]
    assert (await swept(world, tmp_path, 13 * DAY)).rows == ()
    assert (await swept(world, tmp_path, 15 * DAY)).deleted == 1
    assert await of(world, uid) == []


async def test_what_is_retained_outlives_its_tombstone(world: World, tmp_path: Path) -> None:
    uid = await settled(world, deletionPolicy="Retain")
    before = [key for key in await of(world, uid) if not key.startswith("work/")]
    await world.assets.delete("shop", "a")
    await world.settle(KNOWN)
    for after in (2 * DAY, 15 * DAY, 400 * DAY):
        await swept(world, tmp_path, after)
        assert set(before) < set(await of(world, uid))
    assert set(await of(world, uid)) == {*before, keys.retention_mark("shop", "a", uid)}
    # Whoever wants them gone deletes the mark.
    await world.store.delete([keys.retention_mark("shop", "a", uid)])
    await swept(world, tmp_path, 2 * DAY)
    assert await of(world, uid) == []


async def test_an_asset_that_was_let_go_by_force_leaves_orphans(world: World, tmp_path: Path) -> None:
    uid = await settled(world)
    await world.assets.delete("shop", "a")
    await world.assets.release(await world.assets.get("shop", "a"))
    assert len(await of(world, uid)) > 4
    await swept(world, tmp_path, DAY + timedelta(minutes=1))
    assert await of(world, uid) == []
    assert (await world.assets.get("shop", "other")).status.is_true(ConditionType.READY)


async def test_names_go_as_orphans_and_those_of_living_and_retained_assets_stay(world: World, tmp_path: Path) -> None:
    path = "old/photo.jpg"
    for name, policy in (("living", "Delete"), ("retained", "Retain"), ("gone", "Delete"), ("heir", "Delete")):
        await world.add(make_asset(name=name, deletionPolicy=policy, stablePath=f"{name}/{path}"))
    known = [("shop", name) for name in ("living", "retained", "gone", "heir")]
    await world.settle(known)
    await world.assets.delete("shop", "retained")
    await world.settle([("shop", "retained")])
    for name in ("gone", "heir"):
        await world.assets.delete("shop", name)
        await world.assets.release(await world.assets.get("shop", name))
    # What a gone asset left is its heir's as soon as there is one.
    await world.add(make_asset(name="other", stablePath=f"heir/{path}"))
    await world.settle([("shop", "other")])
    await swept(world, tmp_path, 2 * DAY)
    wanted = {
        pointers.name_key(f"by-name/shop/assets/{name}"): name in ("living", "retained", "other")
        for name in ("living", "retained", "gone", "heir", "other")
    }
    wanted |= {pointers.path_key(f"shop/{name}/{path}"): name != "gone" for _, name in known}
    there = await world.objects()
    assert {key: key in there for key in wanted} == wanted


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("after", [False, True])
async def test_no_death_of_the_operator_makes_the_sweep_take_what_is_wanted(
    world: World, tmp_path: Path, number: int, *, after: bool
) -> None:
    """Kill it at a write while an asset moves, and sweep at that very moment, a year later by the clock."""
    await settled(world)
    await world.edit("shop", "a", visibility="Private")
    world.mortal.writes_left, world.mortal.after = number, after
    for _ in range(6):
        await world.reconcile("shop", "a")
    await swept(world, tmp_path, 400 * DAY)
    await world.settle(KNOWN)
    asset = await world.assets.get("shop", "a")
    assert asset.status.is_true(ConditionType.READY)
    named = {str(rendition.key) for rendition in asset.status.renditions}
    assert named <= set(await world.objects())
    assert {key.partition("/")[0] for key in named} == {"private"}
