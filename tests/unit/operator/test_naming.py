"""Stable names: written with the renditions, given up with them, and whoever comes first has one."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from making import NOW, WEB, make_asset
from media_operator.actions import Point, Unpoint
from media_operator.naming import is_current, wanted
from media_operator.plan import is_settled, plan
from media_standalone.database import Database
from mediaasset import pointers
from mediaasset.media import served_mime
from mediaasset.names import FINALIZER
from mediaasset.reasons import Reason
from mediaasset.spec import MediaAsset
from mediaasset.status import ConditionType, RenditionStatus, Status
from mediaasset.task import RenditionState
from planning import SETTINGS, after, annotated, decide, finished, result_of, see, started
from world import SETTINGS as WORLD_SETTINGS
from world import World

PATH = "product_images/Größe 42/image.JPG"
NAME_KEY = pointers.name_key("by-name/shop/assets/a1")
PATH_KEY = pointers.path_key(f"shop/{PATH}")
BASE = "https://media.example.org/base/media"


def named(decided: Any) -> list[tuple[type, str]]:
    return [(type(action), action.key) for action in decided.actions if isinstance(action, Point | Unpoint)]


def test_names_are_written_before_the_status_says_ready_and_once() -> None:
    running = started(make_asset(stablePath=PATH))
    decided = decide(running, see(running, left=(result_of(running),)))
    thumbnail, medium = decided.status.renditions
    body, owners = f"shop/a1\nthumbnail {thumbnail.key}\nmedium {medium.key}\n", frozenset({running.key})
    assert decided.actions == (
        Point(NAME_KEY, body.encode(), owners),
        Point(PATH_KEY, f"shop/a1\nmedium {medium.key}\n".encode(), owners),
    )
    assert decided.status.is_true(ConditionType.READY)
    assert decided.status.stable_url == f"{BASE}/by-name/shop/assets/a1"
    assert decided.status.stable_path_url == f"{BASE}/shop/product_images/Gr%C3%B6%C3%9Fe%2042/image.JPG"
    assert is_settled(after(running, decided), SETTINGS, NOW)


def test_one_tenant_is_left_out_of_names() -> None:
    alone = SETTINGS.model_copy(update={"single_tenant": True})
    running = started(make_asset(stablePath="a/b.png"))
    status = decide(running, see(running, left=(result_of(running),))).status
    keys = tuple(r.model_copy(update={"key": (r.key or "").replace("/shop/", "/")}) for r in status.renditions)
    found = wanted(running, status.model_copy(update={"renditions": keys}), alone)
    assert set(found) == {pointers.name_key("by-name/assets/a1"), pointers.path_key("a/b.png")}


def test_private_assets_have_no_names_and_lose_those_that_they_had() -> None:
    asset = finished(make_asset(stablePath=PATH))
    hidden = after(asset, decide(asset, see(asset)), visibility="Private")
    decided = decide(hidden, see(hidden))
    assert named(decided) == [(Unpoint, NAME_KEY), (Unpoint, PATH_KEY)]
    assert (decided.status.stable_url, decided.status.stable_path_url, decided.status.names_hash) == (None, None, None)
    # The pointers go before the objects that they lead to, and those of before a crash are looked for once more.
    second = plan(after(hidden, decided), see(hidden), NOW, SETTINGS)
    assert named(second) == [(Unpoint, NAME_KEY), (Unpoint, PATH_KEY)]
    assert is_settled(after(hidden, second), SETTINGS, NOW)
    shown = after(hidden, second, visibility="Public")
    assert named(decide(shown, see(shown))) == [(Point, NAME_KEY), (Point, PATH_KEY)]


def test_names_stay_while_another_attempt_runs_and_follow_what_it_made() -> None:
    again = annotated(finished(), "1")
    decided = decide(again, see(again))
    assert decided.start is not None
    assert named(decided) == []
    assert decided.status.stable_url
    running = after(again, decided)
    other = result_of(running)
    done = plan(running, see(running, left=(other,)), NOW, SETTINGS)
    is_same = [r.key for r in done.status.renditions] == [r.key for r in again.status.renditions]
    assert named(done) == ([] if is_same else [(Point, NAME_KEY)])


def test_the_setting_takes_the_names_of_finished_assets_away_and_gives_them_back() -> None:
    asset = finished(make_asset(stablePath=PATH))
    off = SETTINGS.model_copy(update={"stable_names": False})
    assert not is_settled(asset, off, NOW)
    decided = plan(asset, see(asset), NOW, off)
    assert named(decided) == [(Unpoint, NAME_KEY), (Unpoint, PATH_KEY)]
    without = after(asset, decided)
    assert is_settled(without, off, NOW)
    assert not is_settled(without, SETTINGS, NOW)
    assert named(decide(without, see(without))) == [(Point, NAME_KEY), (Point, PATH_KEY)]


def test_a_path_may_be_given_to_a_finished_asset() -> None:
    asset = finished()
    given = after(asset, decide(asset, see(asset)), stablePath=PATH)
    decided = decide(given, see(given))
    assert [type(action) for action in decided.actions] == [Point, Point]
    assert decided.status.stable_path_url
    assert decided.status.attempt == 1


@pytest.mark.parametrize(("policy", "kept"), [("Delete", False), ("Retain", True)])
def test_a_deletion_takes_the_names_with_it_unless_the_objects_stay(policy: str, kept: bool) -> None:  # noqa: FBT001 - pytest passes it by name
    asset = finished(make_asset(stablePath=PATH, deletionPolicy=policy))
    gone = asset.model_copy(update={"metadata": asset.metadata.model_copy(update={"deletion_timestamp": NOW})})
    decided = plan(gone, see(gone), NOW, SETTINGS)
    assert named(decided) == ([] if kept else [(Unpoint, NAME_KEY), (Unpoint, PATH_KEY)])


@pytest.mark.parametrize(
    ("path", "made", "answers"),
    [
        ("a.jpg", {"thumbnail": 10, "original": 100, "large": 100}, "original"),
        ("a.jpg", {"thumbnail": 10, "large": 100, "medium": 50}, "large"),
        ("a.webp", {"original": 100, "webp": 50}, "webp"),
        ("a.gif", {"medium": 50, "original": 100}, "original"),
        ("a.bmp", {"small": 5, "medium": 50}, "medium"),
        ("a.mov", {"thumbnail": 10, "mp4": 100}, "mp4"),
        ("a.MP4", {"hls": 100, "mp4": 100}, "mp4"),
        ("a.mp4", {"hls": 100}, None),
        ("a.ogg", {"mp3": 0}, "mp3"),
        ("a.pdf", {"stored": 0}, "stored"),
    ],
)
def test_what_answers_at_an_old_path(path: str, made: dict[str, int], answers: str | None) -> None:
    asset = make_asset(stablePath=path)
    extensions = {"webp": "webp", "mp4": "mp4", "mp3": "mp3", "stored": "pdf"}
    renditions = tuple(
        RenditionStatus(
            name=name,
            state=RenditionState.READY,
            key="media/shop/assets/u1/"
            + (f"hls-{'0' * 16}/index.m3u8" if name == "hls" else f"{name}-{'0' * 16}.{extensions.get(name, 'jpg')}"),
            width=side,
            height=side,
        )
        for name, side in made.items()
    )
    assert all(served_mime(r.key or "") for r in renditions)
    found = wanted(asset, Status(renditions=renditions), SETTINGS).get(pointers.path_key(f"shop/{path}"))
    assert (found is not None) == (answers is not None)
    if found is not None:
        assert found.decode().splitlines()[1].partition(" ")[0] == answers


# What becomes of a name that several want, with objects that are really there.


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    database = await Database.open(tmp_path / "db")
    yield World(database, WEB)
    await database.close()


async def add(world: World, name: str, namespace: str = "shop", **spec: Any) -> MediaAsset:
    await world.add(make_asset(name=name, namespace=namespace, **{"stablePath": "old/photo.jpg", **spec}))
    for _ in range(3):
        await world.reconcile(namespace, name)
        for job, task in list(world.jobs.running()):
            await world.play(job, task, None)
    return await world.assets.get(namespace, name)


async def owner(world: World, path: str = "shop/old/photo.jpg") -> tuple[str, str] | None:
    found = await world.store.read(pointers.path_key(path), max_bytes=pointers.MAX_BYTES)
    return None if found is None else pointers.owner_of(found)


async def test_the_first_has_a_path_and_the_second_gets_it_when_that_is_gone(world: World) -> None:
    first, second = await add(world, "first"), await add(world, "second")
    assert first.status.stable_path_url == "https://media.example.org/media/shop/old/photo.jpg"
    assert second.status.is_true(ConditionType.READY)
    assert (second.status.stable_path_url, await owner(world)) == (None, first.key)
    assert second.status.stable_url
    condition = second.status.condition(ConditionType.NAME_TAKEN)
    assert condition is not None
    assert condition.reason is Reason.NAME_TAKEN
    assert condition.message.startswith("/media/shop/old/photo.jpg is that of the asset shop/first. The first ")
    # It is looked at by every resync, and nothing is said twice.
    assert second.key in await world.assets.unfinished()
    await world.reconcile(*second.key)
    assert (await world.assets.get(*second.key)).metadata.resource_version == second.metadata.resource_version

    await world.assets.delete(*first.key)
    assert await world.reconcile(*second.key) == 5.0
    await world.reconcile(*first.key)
    assert await owner(world) is None
    await world.reconcile(*second.key)
    second = await world.assets.get(*second.key)
    assert await owner(world) == second.key
    assert second.status.stable_path_url
    assert second.status.condition(ConditionType.NAME_TAKEN) is None
    assert is_settled(second, WORLD_SETTINGS, world.now)


async def test_the_end_of_the_second_leaves_the_path_to_the_first(world: World) -> None:
    first, second = await add(world, "first"), await add(world, "second")
    await world.edit(*second.key, visibility="Private")
    await world.settle([second.key])
    assert (await world.assets.get(*second.key)).status.condition(ConditionType.NAME_TAKEN) is None
    await world.assets.delete(*second.key)
    await world.reconcile(*second.key)
    assert await owner(world) == first.key


async def test_what_a_gone_asset_left_behind_is_no_obstacle(world: World) -> None:
    first = await add(world, "first", deletionPolicy="Retain")
    await world.assets.delete(*first.key)
    await world.reconcile(*first.key)
    assert await owner(world) == first.key
    second = await add(world, "second")
    assert await owner(world) == second.key
    await world.store.write(PATH_KEY, _large())
    third = await add(world, "a1", stablePath=PATH)
    assert await owner(world, f"shop/{PATH}") == third.key


async def _large() -> AsyncIterator[bytes]:
    yield b"x" * (pointers.MAX_BYTES + 1)


async def test_one_that_came_back_under_its_name_has_its_names_again(world: World) -> None:
    """As after a restore from a backup, which gives other uids."""
    first = await add(world, "first")
    released = await world.assets.get(*first.key)
    await world.assets.delete(*first.key)
    await world.assets.release(released)
    again = await add(world, "first")
    assert again.metadata.uid != first.metadata.uid
    content = await world.store.read(pointers.path_key("shop/old/photo.jpg"), max_bytes=pointers.MAX_BYTES)
    assert again.metadata.uid in (content or b"").decode()
    assert again.metadata.finalizers == (FINALIZER,)


async def test_a_status_that_was_written_by_an_older_version_gets_its_names(world: World) -> None:
    asset = await add(world, "first")
    bare = asset.status.model_copy(update={"names_hash": None, "stable_url": None, "stable_path_url": None})
    asset = await world.assets.write_status(asset, bare)
    assert not is_current(asset, WORLD_SETTINGS)
    await world.reconcile(*asset.key)
    assert (await world.assets.get(*asset.key)).status.stable_url
