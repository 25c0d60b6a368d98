"""Whatever happens, and wherever the operator dies, everything comes to the same end."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from making import WEB, make_asset
from media_operator.naming import wanted
from media_operator.observe import MAX_DOCUMENT_BYTES
from media_operator.plan import is_settled
from media_standalone.database import Database
from mediaasset.assets import NotFoundError
from mediaasset.jobs import NameTakenError
from mediaasset.media import Kind
from mediaasset.pointers import MAX_BYTES
from mediaasset.reasons import MediaError, Reason
from mediaasset.spec import MediaAsset, MediaProfile, ProfileUpdatePolicy, Rendition, digest
from mediaasset.status import ConditionType, Status
from mediaasset.task import Rendition as TaskRendition
from mediaasset.task import Task
from planning import conditions
from world import SETTINGS, World, rendered

NAMES = [("shop", "a1"), ("shop", "a2"), ("blog", "b1")]


def with_renditions(*renditions: Rendition) -> MediaProfile:
    return WEB.model_copy(update={"spec": WEB.spec.model_copy(update={"renditions": renditions})})


_THUMBNAIL, _MEDIUM, *_REST = WEB.spec.renditions
#: What the profile may be: as it is, with another size, with one less, and with one more that is optional.
PROFILES = [
    WEB,
    with_renditions(_THUMBNAIL, _MEDIUM.model_copy(update={"width": 800}), *_REST),
    with_renditions(_THUMBNAIL, *_REST),
    with_renditions(_MEDIUM.model_copy(update={"name": "small", "optional": True}), *WEB.spec.renditions),
]

ASSETS = st.sampled_from(NAMES)
STEPS = st.one_of(
    st.tuples(st.just("reconcile"), ASSETS),
    st.tuples(st.just("reconcile"), ASSETS),
    st.tuples(st.just("die"), ASSETS, st.integers(1, 8), st.booleans()),
    st.tuples(st.just("restart")),
    st.tuples(
        st.just("end"),
        st.integers(0, 2),
        st.sampled_from([None, None, Reason.UNDECODABLE, Reason.SOURCE_UNAVAILABLE, Reason.INTERRUPTED]),
    ),
    st.tuples(st.just("lose"), st.integers(0, 2)),
    st.tuples(st.just("wait"), st.sampled_from([10, 40, 4000])),
    st.tuples(st.just("edit"), ASSETS, st.sampled_from([{"altText": "x"}, {"order": 2}])),
    st.tuples(st.just("edit"), ASSETS, st.sampled_from([{"visibility": "Private"}, {"visibility": "Public"}])),
    st.tuples(
        st.just("edit"),
        ASSETS,
        st.sampled_from([{"renditions": [{"name": "big", "for": "Image", "format": "PNG"}]}, {"renditions": []}]),
    ),
    st.tuples(st.just("edit"), ASSETS, st.sampled_from([{"suspend": True}, {"suspend": False}])),
    st.tuples(st.just("edit"), ASSETS, st.sampled_from([{"type": "Video"}, {"type": None}])),
    st.tuples(st.just("edit"), ASSETS, st.sampled_from([{"profileName": "none"}, {"profileName": "web"}])),
    st.tuples(
        st.just("edit"), ASSETS, st.sampled_from([{"profileUpdatePolicy": "Follow"}, {"profileUpdatePolicy": "Ignore"}])
    ),
    st.tuples(st.just("profile"), st.integers(0, len(PROFILES) - 1)),
    st.tuples(st.just("hinder"), st.integers(0, 2), st.sampled_from([None, Reason.IMAGE_PULL, Reason.UNSCHEDULABLE])),
    st.tuples(st.just("reprocess"), ASSETS, st.sampled_from(["1", "2"]), st.sampled_from(["", "medium", "nothing"])),
    st.tuples(st.just("delete"), ASSETS),
)


async def take(world: World, step: tuple[Any, ...]) -> None:
    match step:
        case ("lose", index):
            for name in list(world.jobs.present)[index : index + 1]:
                world.jobs.forget(name)
        case ("profile", number):
            world.profiles |= {"": PROFILES[number], "web": PROFILES[number]}
        case ("hinder", index, reason):
            for job, task in world.running(index):
                world.hinder(job, task, reason)
        case ("reprocess", (namespace, name), value, renditions):
            await world.touch(namespace, name, value, renditions)
        case ("delete", (namespace, name)):
            with suppress(NotFoundError):
                await world.assets.delete(namespace, name)
        case _:
            await world.take(step)


def expected_keys(asset: MediaAsset, prefix: str) -> list[str | None]:
    by = {digest(profile.spec): profile for profile in PROFILES}[asset.status.profile_hash or ""]
    asked = [each for each in asset.spec.renditions or by.spec.renditions if each.for_ is Kind.IMAGE]
    tasks = [TaskRendition(kind=each.for_, **each.model_dump(exclude={"for_"})) for each in asked]
    return [rendered(prefix, each).key for each in tasks]


async def check_end(world: World) -> None:
    """Compare with what the specs alone demand."""
    expected: list[str | None] = []
    for namespace, name in NAMES:
        try:
            asset = await world.assets.get(namespace, name)
        except NotFoundError:
            expected.append(f"tombstones/{namespace}/{name}.json")
            continue
        assert is_settled(asset, SETTINGS, world.now), asset.status
        uid = asset.metadata.uid
        place = "media" if asset.spec.visibility.value == "Public" else "private"
        expected.append(f"uploads/{namespace}/{name}/x")
        if asset.status.is_true(ConditionType.READY):
            published = expected_keys(asset, f"{place}/{namespace}/assets/{uid}/")
            # As if all had been made at once, of the profile that was the last to be worked by.
            assert [r.key for r in asset.status.renditions] == published
            assert {r.url is not None for r in asset.status.renditions} <= {place == "media"}
            expected += [*published, *(str(key).replace("index.vtt", "sprite.jpg") for key in published)]
            if asset.spec.profile_update_policy is ProfileUpdatePolicy.FOLLOW:
                assert asset.status.profile_hash == digest(world.profiles["web"].spec)
        else:
            assert asset.status.is_true(ConditionType.STALLED)
        pointed = wanted(asset, asset.status, SETTINGS)
        assert bool(pointed) == any(r.url for r in asset.status.renditions)
        assert {key: await world.store.read(key, max_bytes=MAX_BYTES) for key in pointed} == pointed
        expected += pointed
        other = "private" if place == "media" else "media"
        # What was superseded while the asset was public stays; what is private has no public object.
        if place == "private":
            assert not [key for key in await world.objects() if key.startswith(f"{other}/{namespace}/assets/{uid}/")]
    there = {key for key in await world.objects() if not key.startswith("work/")}
    assert set(expected) <= there
    uids = {asset.metadata.uid for asset in [await world.assets.get(*key) for key in await world.assets.everything()]}
    strays = {key for key in there - set(expected) if not any(uid in key for uid in uids)}
    assert strays == set()
    assert not [key for key in await world.objects() if key.startswith("work/") and key.split("/")[1] not in uids]
    attempts = [(task.uid, task.attempt) for _, task in world.jobs.made]
    made = {name for name, _ in world.jobs.made}
    # Two Jobs never share an attempt, as far as they are known.
    assert len({(task.uid, task.attempt, name) for name, task in world.jobs.made}) == len(set(attempts)) == len(made)


def run(steps: list[tuple[Any, ...]], *, is_ready_first: bool) -> None:
    """Take the steps in a world of their own, let it come to rest as the specs were at first, and look at it."""

    async def history() -> None:
        with tempfile.TemporaryDirectory() as folder:
            database = await Database.open(Path(folder) / "db")
            try:
                world = World(database, WEB)
                for namespace, name in NAMES:
                    policy = "Follow" if name == "a2" else "Ignore"
                    more = {"stablePath": "old/photo.jpg"} if name == "a1" else {}
                    await world.add(make_asset(namespace=namespace, name=name, profileUpdatePolicy=policy, **more))
                if is_ready_first:
                    await world.settle(NAMES)
                for step in steps:
                    await take(world, step)
                for key in NAMES:
                    await world.edit(*key, suspend=False, profileName="web")
                await world.settle(NAMES)
                await check_end(world)
                if is_ready_first:
                    await check_healed(world)
            finally:
                await database.close()

    asyncio.run(history())


async def check_healed(world: World) -> None:
    """Take back all that was asked: what is Stalled even so failed as it is, and is Ready once it is asked again."""
    for key in NAMES:
        await world.edit(*key, renditions=[], type="Image")
    await world.settle(NAMES)
    there = [await world.assets.get(*key) for key in await world.assets.everything()]
    for asset in there:
        if not asset.status.is_true(ConditionType.READY):
            await world.touch(*asset.key, "at last")
    await world.settle(NAMES)
    for key in await world.assets.everything():
        assert (await world.assets.get(*key)).status.is_true(ConditionType.READY)
    await check_end(world)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, max_size=25))
def test_any_history_with_any_deaths_comes_to_the_end_that_the_specs_demand(steps: list[tuple[Any, ...]]) -> None:
    run(steps, is_ready_first=False)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, max_size=15))
def test_from_good_through_anything_bad_back_to_good_is_ready_again(steps: list[tuple[Any, ...]]) -> None:
    run(steps, is_ready_first=True)


@pytest.mark.parametrize("after", [False, True])
async def test_death_at_each_write_of_a_whole_life_leads_to_the_same_end(tmp_path: Path, after: bool) -> None:  # noqa: FBT001 - pytest passes it by name
    """Create, finish, reprocess, hide, delete: die once at every write on the way."""
    deaths = 0
    for fatal in range(1, 40):
        database = await Database.open(tmp_path / f"{after}-{fatal}.db")
        world = World(database, WEB)
        await world.add(make_asset(namespace="shop", name="a1", stablePath="old/photo.jpg"))
        world.mortal.writes_left, world.mortal.after = fatal, after
        lives = world.operator

        async def run(world: World = world) -> None:
            for _ in range(4):
                await world.reconcile("shop", "a1")
                for job, task in list(world.jobs.running()):
                    await world.play(job, task, None)
            await world.reconcile("shop", "a1")

        await run()
        await world.touch("shop", "a1", "again")
        await run()
        await world.edit("shop", "a1", visibility="Private")
        await run()
        asset = await world.assets.get("shop", "a1")
        assert asset.status.is_true(ConditionType.READY)
        assert asset.status.attempt == 2
        assert len(world.jobs.made) == 2
        assert not [key for key in await world.objects() if key.startswith("media/")]
        await world.assets.delete("shop", "a1")
        await run()
        assert await world.objects() == ["tombstones/shop/a1.json"]
        assert world.jobs.present == {}
        died = world.operator is not lives
        deaths += died
        await database.close()
        if not died:
            break
    assert deaths > 10


async def test_no_more_jobs_than_the_cap_and_everyone_gets_a_turn_by_being_woken(world: World) -> None:
    known = [("bulk", f"a{number}") for number in range(9)] + [("small", "b0")]
    for namespace, name in known:
        await world.add(make_asset(namespace=namespace, name=name))
        await world.reconcile(namespace, name)
    order, calls = [], 0
    while running := list(world.jobs.running()):
        assert len(running) <= SETTINGS.max_active_jobs
        job, task = running[0]
        order.append(task.namespace)
        # As in a cluster: the Result is there and the pod has ended, and a little later the Job says that it is over.
        await world.play(job, task, None)
        over = world.jobs.present[job.name]
        world.jobs.present[job.name] = (job, task)
        await world.reconcile(task.namespace, task.name)
        assert (await world.assets.get(task.namespace, task.name)).status.is_true(ConditionType.READY)
        world.jobs.present[job.name] = over
        await world.reconcile(task.namespace, task.name)
        while world.woken:
            calls += 1
            await world.reconcile(*world.woken.pop(0))
    assert sorted(order) == sorted(namespace for namespace, _ in known)
    assert "small" in order[:3]
    assert calls <= 2 * len(known)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    database = await Database.open(tmp_path / "db")
    yield World(database, WEB)
    await database.close()


async def test_one_lost_object_does_not_keep_the_others_public(world: World) -> None:
    await world.add(make_asset())
    await world.settle([("shop", "a1")])
    (lost, *_) = [key for key in await world.objects() if key.startswith("media/shop/")]
    await world.store.delete([lost])
    await world.edit("shop", "a1", visibility="Private")
    await world.settle([("shop", "a1")])
    assert not [key for key in await world.objects() if key.startswith("media/")]
    asset = await world.assets.get("shop", "a1")
    assert sorted(r.state.value for r in asset.status.renditions) == ["Failed", "Ready"]


async def test_a_document_that_is_too_large_is_none_and_hinders_nothing(world: World) -> None:
    asset = await world.add(make_asset())
    await world.store.create(f"work/{asset.metadata.uid}/1/result.json", b" " * (MAX_DOCUMENT_BYTES + 1))
    await world.settle([("shop", "a1")])
    done = await world.assets.get("shop", "a1")
    assert done.status.is_true(ConditionType.READY)
    assert done.status.attempt == 2
    await world.assets.delete("shop", "a1")
    await world.settle([("shop", "a1")])
    assert await world.objects() == ["tombstones/shop/a1.json"]


async def test_an_asset_that_cannot_be_started_holds_up_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name is taken by something that never ends, which the world of the test cannot bring about."""
    names = [f"a{number}" for number in range(SETTINGS.max_active_jobs)]
    for name in (*names, "good"):
        await world.add(make_asset(name=name))
    create = world.jobs.create

    async def refuse(name: str, task: Task) -> None:
        if task.name != "good":
            raise NameTakenError(name)
        await create(name, task)

    monkeypatch.setattr(world.jobs, "create", refuse)
    for name in names:
        with pytest.raises(NameTakenError):
            await world.reconcile("shop", name)
    await world.reconcile("shop", "good")
    assert [task.name for _, task in world.jobs.running()] == ["good"]


async def test_a_store_that_does_not_answer_is_said_after_a_while_and_only_of_what_is_on_its_way(world: World) -> None:
    for name in ("ready", "new"):
        await world.add(make_asset(name=name))
    await world.settle([("shop", "ready")])
    before = await world.assets.get("shop", "ready")
    await world.edit("shop", "ready", visibility="Private")
    world.broken.add("work/")

    async def fail() -> None:
        for name in ("ready", "new"):
            with pytest.raises(MediaError):
                await world.reconcile("shop", name)

    await fail()
    assert (await world.assets.get("shop", "new")).status == Status()
    world.now += timedelta(seconds=SETTINGS.start_patience_seconds)
    await fail()
    told = (await world.assets.get("shop", "new")).status
    assert conditions(told)["Ready"] == ("False", "StoreUnavailable")
    await fail()
    assert (await world.assets.get("shop", "new")).status == told
    assert (await world.assets.get("shop", "ready")).status == before.status
    world.broken.clear()
    await world.settle([("shop", "ready"), ("shop", "new")])
    for name in ("ready", "new"):
        assert (await world.assets.get("shop", name)).status.is_true(ConditionType.READY)


async def test_its_own_writes_are_no_news_once_and_those_that_finish_an_asset_are_not_remembered(world: World) -> None:
    """Whoever is finished is what there are thousands of, and no watch takes their versions back."""
    key = ("shop", "a1")
    await world.add(make_asset())
    await world.reconcile(*key)
    started = (await world.assets.get(*key)).metadata.resource_version
    assert world.operator.wrote(key, started)
    assert not world.operator.wrote(key, started)
    await world.edit(*key, altText="by someone else")
    assert not world.operator.wrote(key, (await world.assets.get(*key)).metadata.resource_version)
    await world.settle([key])
    done = await world.assets.get(*key)
    assert done.status.is_true(ConditionType.READY)
    assert not world.operator.wrote(key, done.metadata.resource_version)
