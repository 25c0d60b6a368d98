"""A collection that keeps the latest: replaced once the new one is Ready, never empty, whoever dies when."""

import asyncio
import tempfile
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from making import NOW, WEB, make_asset
from media_operator.actions import DeleteAsset, Plan
from media_operator.observe import siblings_of
from media_operator.plan import is_settled, plan
from media_standalone.database import Database
from mediaasset import pointers
from mediaasset.assets import EVERYTHING, NotFoundError
from mediaasset.jobs import JobPhase
from mediaasset.names import CREATED_ANNOTATION, FINALIZER
from mediaasset.reasons import Reason
from mediaasset.spec import MediaAsset
from mediaasset.status import ConditionType
from planning import SETTINGS, after, conditions, decide, finished, job_of, moves, result_of, see, started
from world import SETTINGS as WORLD_SETTINGS
from world import World

LATEST = {"collection": "avatars/user_7", "collectionPolicy": "KeepLatest", "userID": "7"}


def avatar(name: str, *, age: int = 0, **changes: Any) -> MediaAsset:
    created = (NOW - timedelta(seconds=age)).isoformat()
    metadata = {"creationTimestamp": created}
    return make_asset(name=name, uid=f"uid-{name}", metadata_=metadata, **LATEST | changes)


def decide_among(asset: MediaAsset, *others: MediaAsset, now: datetime = NOW) -> Plan:
    seen = see(asset, left=(result_of(asset),))
    return plan(asset, replace(seen, siblings=siblings_of(asset, [asset, *others])), now, SETTINGS)


def deleted(decided: Plan) -> list[str]:
    return [action.name for action in decided.actions if isinstance(action, DeleteAsset)]


def test_the_new_one_is_said_to_be_ready_before_the_old_one_goes() -> None:
    old, new = finished(avatar("old", age=9)), started(avatar("new"))
    first = decide_among(new, old)
    assert moves(first) == ()
    assert conditions(first.status)["Ready"] == ("True", "Ready")
    assert conditions(first.status)["Reconciling"] == ("True", "Replacing")
    assert first.requeue_seconds == 0.0
    second = decide_among(after(new, first), old)
    assert moves(second) == (DeleteAsset("shop", "old", "uid-old"),)
    assert [(event.reason, event.message) for event in second.events] == [(Reason.REPLACING, "It replaces old.")]
    # Whoever dies here is followed by one who sees the same, or that the old one is gone.
    assert not is_settled(after(new, second), SETTINGS, NOW)
    third = decide_among(after(new, second))
    assert (moves(third), third.events, third.requeue_seconds) == ((), (), None)
    assert is_settled(after(new, third), SETTINGS, NOW)


def test_alone_it_is_final_at_once() -> None:
    new = started(avatar("new"))
    assert is_settled(after(new, decide_among(new)), SETTINGS, NOW)


def test_all_older_ones_go_whatever_became_of_them() -> None:
    new = finished(avatar("new"))
    others = [started(avatar("running", age=1)), finished(avatar("done", age=2)), avatar("untouched", age=3)]
    assert deleted(decide_among(new, *others)) == ["running", "done", "untouched"]


@pytest.mark.parametrize(
    "change",
    [
        {"collectionPolicy": "KeepAll"},
        {"collection": "avatars/user_8"},
        {"userID": "8"},
        {"userID": None},
    ],
)
def test_those_that_are_no_siblings_stay(change: dict[str, Any]) -> None:
    new, other = finished(avatar("new")), finished(avatar("other", age=9, **change))
    assert decide_among(new, other).actions == ()
    assert decide_among(other, new).actions == ()


def test_a_late_old_one_deletes_itself_and_never_says_that_it_is_ready() -> None:
    old, new = started(avatar("old", age=9)), finished(avatar("new"))
    decided = decide_among(old, new)
    assert moves(decided) == (DeleteAsset("shop", "old", "uid-old"),)
    assert decided.status == old.status
    assert [event.reason for event in decided.events] == [Reason.REPLACED]


def test_of_two_in_one_second_the_one_that_ingest_noted_later_stays() -> None:
    def noted(name: str, moment: datetime) -> MediaAsset:
        # An API server counts seconds; the names say the contrary of the moments.
        metadata = {"creationTimestamp": NOW.isoformat(), "annotations": {CREATED_ANNOTATION: moment.isoformat()}}
        return make_asset(name=name, uid=f"uid-{name}", metadata_=metadata, **LATEST)

    old, new = finished(noted("z", NOW + timedelta(seconds=0.1))), finished(noted("a", NOW + timedelta(seconds=0.2)))
    assert deleted(decide_among(new, old)) == ["z"]
    assert deleted(decide_among(old, new)) == ["z"]
    # A note of another second, or none at all, moves nothing out of its own.
    for other in ("2001-01-01T00:00:00+00:00", "2101-01-01T00:00:00", "soon"):
        asset = noted("b", NOW)
        strange = asset.model_copy(
            update={"metadata": asset.metadata.model_copy(update={"annotations": {CREATED_ANNOTATION: other}})}
        )
        assert strange.created_at is not None
        assert NOW <= strange.created_at < NOW + timedelta(seconds=1)


def test_while_the_new_one_is_not_ready_the_old_one_stays() -> None:
    old = finished(avatar("old", age=9))
    for new in (avatar("new"), started(avatar("new"))):
        assert decide_among(old, new).actions == ()


def test_a_new_one_that_fails_deletes_nothing() -> None:
    old, new = finished(avatar("old", age=9)), started(avatar("new"))
    seen = see(new, jobs=(job_of(new, JobPhase.FAILED, Reason.UNDECODABLE),))
    decided = plan(new, replace(seen, siblings=(old,)), NOW, SETTINGS)
    assert decided.status.is_true(ConditionType.STALLED)
    assert moves(decided) == ()


def test_what_has_to_be_moved_first_replaces_nothing_yet() -> None:
    old, done = finished(avatar("old", age=9)), finished(avatar("new"))
    hidden = after(done, Plan(status=done.status), visibility="Private")
    moving = decide_among(hidden, old)
    assert deleted(moving) == []
    ended = decide_among(after(hidden, moving), old)
    assert ended.status.is_true(ConditionType.READY)
    assert deleted(ended) == []
    assert deleted(decide_among(after(hidden, ended), old)) == ["old"]


def test_of_one_second_the_name_decides_and_both_agree() -> None:
    one, two = finished(avatar("a")), finished(avatar("b"))
    assert deleted(decide_among(one, two)) == ["a"]
    assert deleted(decide_among(two, one)) == ["a"]


def test_keeping_the_latest_can_be_asked_for_later() -> None:
    old, done = finished(avatar("old", age=9)), finished(avatar("new", collectionPolicy="KeepAll"))
    asked = after(done, decide(done, see(done)), collectionPolicy="KeepLatest")
    assert not is_settled(asked, SETTINGS, NOW)
    assert deleted(decide_among(asked, old)) == ["old"]


LATEST_AGAIN = {"collectionPolicy": "KeepLatest"}
NAMES = [("shop", "a1"), ("shop", "a2"), ("shop", "a3"), ("shop", "b1")]
ASSETS = st.sampled_from(NAMES)
STEPS = st.one_of(
    st.tuples(st.just("reconcile"), ASSETS),
    st.tuples(st.just("reconcile"), ASSETS),
    st.tuples(st.just("die"), ASSETS, st.integers(1, 6), st.booleans()),
    st.tuples(st.just("restart")),
    st.tuples(st.just("end"), st.integers(0, 3), st.sampled_from([None, None, Reason.UNDECODABLE])),
    st.tuples(st.just("wait"), st.sampled_from([1, 40])),
    st.tuples(st.just("reprocess"), ASSETS),
    st.tuples(st.just("edit"), ASSETS, st.sampled_from([{"altText": "x"}, {"visibility": "Private"}])),
    st.tuples(st.just("edit"), ASSETS, st.sampled_from([{"collectionPolicy": "KeepAll"}, LATEST_AGAIN])),
)


class Avatars:
    """Three items of one collection that keeps the latest, and one that only shares its name."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._was_served = False

    async def add(self) -> None:
        for namespace, name in NAMES:
            user = "8" if name == "b1" else "7"
            await self.world.add(make_asset(namespace=namespace, name=name, **LATEST | {"userID": user}))
            self.world.now += timedelta(seconds=1)

    async def take(self, step: tuple[Any, ...]) -> None:
        match step:
            case ("reprocess", (namespace, name)):
                await self.world.touch(namespace, name, str(self.world.now))
            case _:
                await self.world.take(step)
        await self.check()

    async def check(self) -> None:
        """From the first item that was published on, there is always one in the list that is."""
        listed = [each for each in await self.listed() if each.spec.user_id == "7"]
        is_served = any(each.status.is_true(ConditionType.PUBLISHED) for each in listed)
        assert is_served or not self._was_served, listed
        self._was_served = is_served

    async def listed(self) -> tuple[MediaAsset, ...]:
        return (await self.world.assets.list("shop", EVERYTHING, limit=10)).items

    async def check_end(self) -> None:
        """Of those that are Ready only the newest is left, and nothing older than it."""
        listed = await self.listed()
        assert "b1" in {each.metadata.name for each in listed}
        mine = sorted(each.metadata.name for each in listed if each.spec.user_id == "7")
        ready = [each.metadata.name for each in listed if each.status.is_true(ConditionType.READY)]
        newest = max((name for name in ready if name != "b1"), default=None)
        assert newest is None or mine[0] == newest
        assert mine[-1] == "a3"
        for each in listed:
            assert is_settled(each, WORLD_SETTINGS, self.world.now)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, max_size=30))
def test_no_history_with_any_deaths_leaves_the_collection_without_an_item(steps: list[tuple[Any, ...]]) -> None:
    async def history() -> None:
        with tempfile.TemporaryDirectory() as folder:
            database = await Database.open(Path(folder) / "db")
            try:
                avatars = Avatars(World(database, WEB))
                await avatars.add()
                for step in steps:
                    await avatars.take(step)
                for namespace, name in NAMES:
                    await avatars.world.edit(namespace, name, **LATEST_AGAIN)
                await avatars.world.settle(NAMES)
                await avatars.check_end()
            finally:
                await database.close()

    asyncio.run(history())


@pytest.mark.parametrize("after_it", [False, True])
async def test_death_at_each_write_of_a_replacement_leads_to_the_same_end(tmp_path: Path, after_it: bool) -> None:  # noqa: FBT001 - pytest passes it by name
    deaths, path = 0, pointers.path_key("shop/users/7/avatar.jpg")
    for fatal in range(1, 40):
        database = await Database.open(tmp_path / f"{after_it}-{fatal}.db")
        world = World(database, WEB)
        await world.add(make_asset(name="old", **LATEST, stablePath="users/7/avatar.jpg"))
        await world.settle([("shop", "old")])
        await world.add(make_asset(name="new", **LATEST, stablePath="users/7/avatar.jpg"))
        world.mortal.writes_left, world.mortal.after = fatal, after_it
        lives = world.operator
        for _ in range(6):
            for name in ("new", "old"):
                await world.reconcile("shop", name)
            for job, task in list(world.jobs.running()):
                await world.play(job, task, None)
            served = (await world.assets.list("shop", limit=9)).items
            assert any(each.status.is_true(ConditionType.READY) for each in served)
            # The one address of all avatars answers at any time, be it with the older one.
            assert await world.store.stat(path)
        with pytest.raises(NotFoundError):
            await world.assets.get("shop", "old")
        new = await world.assets.get("shop", "new")
        assert new.is_final
        assert new.status.stable_path_url == "https://media.example.org/media/shop/users/7/avatar.jpg"
        assert pointers.owner_of(await world.store.read(path, max_bytes=999) or b"") == ("shop", "new")
        assert new.metadata.finalizers == (FINALIZER,)
        keys = await world.objects()
        assert not [key for key in keys if "/old/" in key]
        assert "tombstones/shop/old.json" in keys
        died = world.operator is not lives
        deaths += died
        await database.close()
        if not died:
            break
    assert deaths >= 5
