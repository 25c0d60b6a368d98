"""What every adapter of the port `Assets` keeps of lists, counts, changes and news."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from mediaasset.assets import Assets, NotFoundError
from mediaasset.catalogue import Ordering, Query, State, Stats, state_of
from mediaasset.media import Kind
from mediaasset.reasons import Reason
from mediaasset.spec import MediaAsset, Visibility
from mediaasset.status import ConditionType, RenditionStatus, SourceInfo, Status, condition
from mediaasset.task import RenditionState

NAMESPACE = "default"
NOW = datetime(2025, 1, 1, tzinfo=UTC)


def new(name: str, **spec: Any) -> MediaAsset:
    source = {"object": {"key": f"uploads/{NAMESPACE}/{name}/00", "sizeBytes": spec.pop("size", 10)}}
    return MediaAsset.model_validate(
        {"metadata": {"namespace": NAMESPACE, "name": name}, "spec": {"source": source, **spec}}
    )


def message(name: str, message_id: str, **spec: Any) -> MediaAsset:
    source = {"accountName": "shop", "mediaID": name, "messageID": message_id, "timestamp": NOW.isoformat()}
    return MediaAsset.model_validate(
        {"metadata": {"namespace": NAMESPACE, "name": name}, "spec": {"source": {"whatsapp": source}, **spec}}
    )


def finished(asset: MediaAsset, kind: ConditionType, info: SourceInfo | None = None) -> Status:
    generation = asset.metadata.generation
    reason = Reason.READY if kind is ConditionType.READY else Reason.UNDECODABLE
    final = condition(kind, status=True, reason=reason, message="", generation=generation, now=NOW)
    return Status(observed_generation=generation, attempt=1, conditions=(final,), source_info=info)


async def names(assets: Assets, limit: int = 100, offset: int = 0, **query: Any) -> list[str]:
    page = await assets.list(NAMESPACE, Query(**query), limit=limit, offset=offset)
    assert len(page.items) == min(limit, max(page.total - offset, 0))
    return [item.metadata.name for item in page.items]


async def test_list_holds_what_the_query_asks_for(assets: Assets) -> None:
    photo = new(
        "photo",
        type="Image",
        userID="42",
        publicPath="ads/1",
        visibility="Public",
        originalFileName="STRAẞE.jpg",
        altText="a Café",
    )
    film = message("film", "wamid.1", type="Video", userID="43", collection="chats", caption="x%_")
    first = await assets.create(photo)
    second = await assets.create(film)
    await assets.write_status(first, finished(first, ConditionType.READY))
    await assets.write_status(second, finished(second, ConditionType.STALLED))
    for query in (
        {"type": Kind.IMAGE},
        {"state": State.READY},
        {"user_id": "42"},
        {"collection": "ads/1"},
        {"is_public": True},
        {"search": "strasse"},
        {"search": "CAFÉ"},
        {"user_id": "42", "type": Kind.IMAGE, "state": State.READY, "collection": "ads/1", "is_public": True},
    ):
        assert await names(assets, **query) == ["photo"], query
    for query in (
        {"type": Kind.VIDEO},
        {"state": State.FAILED},
        {"collection": "chats"},
        {"is_public": False},
        {"message_id": "wamid.1"},
        {"message_id": "wamid.1", "user_id": "43"},
        {"search": "%_"},
    ):
        assert await names(assets, **query) == ["film"], query
    for query in (
        {"type": Kind.AUDIO},
        {"state": State.PROCESSING},
        {"message_id": "wamid"},
        {"message_id": "wamid.1", "user_id": "42"},
        {"collection": "ads"},
        {"search": "photo"},
        {"user_id": ""},
    ):
        assert await names(assets, **query) == [], query


async def test_type_is_what_the_probe_found_and_size_too(assets: Assets) -> None:
    asset = await assets.create(new("one", type="Image", size=10))
    assert await names(assets, type=Kind.IMAGE) == ["one"]
    info = SourceInfo(type=Kind.VIDEO, mime_type="video/mp4", size_bytes=30, sha256="0" * 64)
    await assets.write_status(asset, finished(asset, ConditionType.READY, info))
    assert await names(assets, type=Kind.IMAGE) == []
    assert await names(assets, type=Kind.VIDEO) == ["one"]
    assert (await assets.stats(NAMESPACE)).size_bytes == 30


async def test_created_is_between_what_is_asked(assets: Assets) -> None:
    asset = await assets.create(new("one"))
    created = cast("datetime", asset.created_at)
    moment = timedelta(microseconds=1)
    assert await names(assets, created_after=created) == []
    assert await names(assets, created_before=created) == []
    assert await names(assets, created_after=created - moment, created_before=created + moment) == ["one"]
    assert await names(assets, created_after=created - moment, created_before=created) == []
    elsewhere = (created - moment).astimezone().replace(microsecond=0) - timedelta(seconds=1)
    assert await names(assets, created_after=elsewhere) == ["one"]


@pytest.mark.parametrize(
    ("ordering", "expected"),
    [
        (Ordering.OLDEST, ["a", "b", "c"]),
        (Ordering.NEWEST, ["c", "b", "a"]),
        (Ordering.ORDER, ["c", "b", "a"]),
        (Ordering.ORDER_REVERSED, ["a", "b", "c"]),
        (Ordering.SMALLEST, ["b", "a", "c"]),
        (Ordering.LARGEST, ["c", "a", "b"]),
        (Ordering.NAME, ["b", "c", "a"]),
        (Ordering.NAME_REVERSED, ["a", "c", "b"]),
    ],
)
async def test_list_is_in_the_order_that_is_asked_for(assets: Assets, ordering: Ordering, expected: list[str]) -> None:
    await assets.create(new("a", size=20, originalFileName="zebra.jpg"))
    await assets.create(new("b", size=3, order=10, originalFileName="Apple.jpg"))
    await assets.create(new("c", size=100, order=9, originalFileName="berry.jpg"))
    assert await names(assets, ordering=ordering) == expected
    assert await names(assets, 1, 1, ordering=ordering) == expected[1:2]


async def test_what_changes_moves_in_the_lists(assets: Assets) -> None:
    asset = await assets.create(new("one", collection="old", visibility="Private", userID="42"))
    await assets.change(NAMESPACE, "one", {"collection": "new", "visibility": "Public", "altText": "later"})
    assert await names(assets, collection="old") == []
    assert await names(assets, collection="new", is_public=True, search="later") == ["one"]
    await assets.delete(NAMESPACE, "one")
    assert await names(assets, collection="new") == []
    await assets.release(asset)
    assert await names(assets, collection="new") == []


def oracle(assets: list[MediaAsset], query: Query) -> list[str]:
    """Do the same the plain way."""
    found = [
        asset
        for asset in assets
        if query.user_id in (None, asset.spec.user_id)
        and query.type in (None, asset.spec.type)
        and query.collection in (None, asset.spec.collection)
        and query.is_public in (None, asset.spec.visibility is Visibility.PUBLIC)
        and (query.search or "") in (asset.spec.original_file_name or "")
    ]

    def key(asset: MediaAsset) -> list[Any]:
        order, size = asset.spec.order, cast("Any", asset.spec.source.object).size_bytes
        first: dict[str, list[Any]] = {
            "order": [order is None, order or 0],
            "file_size": [size],
            "original_name": [asset.spec.original_file_name or ""],
        }
        named = first.get(query.ordering.removeprefix("-"), [])
        return [*named, asset.metadata.creation_timestamp, asset.metadata.name]

    found.sort(key=key, reverse=query.ordering.startswith("-"))
    return [asset.metadata.name for asset in found]


async def test_any_query_gives_what_the_plain_way_gives(assets: Assets) -> None:
    dice = random.Random(6)  # noqa: S311 - no secret

    def some(**values: list[Any]) -> dict[str, Any]:
        return {name: value for name, choice in values.items() if (value := dice.choice([None, *choice])) is not None}

    stored = [
        await assets.create(
            new(
                f"n{number:02}",
                size=dice.randrange(4),
                **some(userID=["1", "2"], type=["Image", "Video"], order=[0, 1, 2], originalFileName=["a", "b", "ab"]),
                collection=dice.choice(["x", "y"]),
                visibility=dice.choice(["Public", "Private"]),
            )
        )
        for number in range(30)
    ]
    for _ in range(200):
        query = Query(
            **some(user_id=["1", "2"], type=list(Kind), collection=["x", "y"], is_public=[True, False], search=["b"]),
            ordering=dice.choice(list(Ordering)),
        )
        expected = oracle(stored, query)
        limit, offset = dice.randrange(1, 12), dice.randrange(20)
        page = await assets.list(NAMESPACE, query, limit=limit, offset=offset)
        shown = [item.metadata.name for item in page.items]
        assert (shown, page.total) == (expected[offset : offset + limit], len(expected)), query


async def test_what_needs_no_work_leaves_the_state_and_what_does_not(assets: Assets) -> None:
    made = RenditionStatus(name="medium", state=RenditionState.READY, key="media/a.jpg", url="https://cdn/media/a.jpg")

    async def state_after(name: str, kind: ConditionType, change: dict[str, object]) -> State:
        created = await assets.create(new(name, visibility="Public", type="Image"))
        status = finished(created, kind).model_copy(
            update={"request_hash": created.spec.request_hash, "renditions": (made,)}
        )
        await assets.write_status(created, status)
        changed = await assets.change(NAMESPACE, name, change)
        assert changed.metadata.generation == 2
        state = state_of(changed)
        # The list, and the counts, say the same.
        assert name in await names(assets, state=state)
        return state

    ready, stalled = ConditionType.READY, ConditionType.STALLED
    edit: dict[str, object] = {"altText": "An apple", "order": 3, "metadata": {"a": "b"}}
    assert await state_after("edited", ready, edit) is State.READY
    assert await state_after("failed", stalled, edit) is State.FAILED
    # Files that are to be moved, and renditions that are to be made, are work.
    assert await state_after("hidden", ready, {"visibility": "Private"}) is State.PROCESSING
    assert await state_after("other", ready, {"profileName": "original"}) is State.PROCESSING
    stats = await assets.stats(NAMESPACE)
    assert stats.by_state == {State.READY: 1, State.FAILED: 1, State.PROCESSING: 2}


async def test_of_two_created_in_one_second_the_later_one_is_newer(assets: Assets) -> None:
    # Their names say the contrary; ten of them do not fit between two ticks of a second's clock by accident.
    created = [await assets.create(new(f"z{9 - number}")) for number in range(10)]
    moments = [each.created_at for each in created]
    assert all(moment is not None for moment in moments)
    assert moments == sorted(set(cast("list[datetime]", moments)))
    assert await names(assets, ordering=Ordering.OLDEST) == [each.metadata.name for each in created]
    # A moment that an answer shows is one that a filter knows.
    assert await names(assets, ordering=Ordering.OLDEST, created_after=moments[6]) == ["z2", "z1", "z0"]


async def test_stats_count_by_type_and_state_of_one_user_or_all(assets: Assets) -> None:
    assert await assets.stats(NAMESPACE) == Stats()
    one = await assets.create(new("one", type="Image", userID="42", size=5))
    await assets.create(new("two", type="Image", userID="43", size=7))
    await assets.create(new("three", userID=None, size=11))
    await assets.create(new("gone", type="Audio", userID="42", size=13))
    await assets.write_status(one, finished(one, ConditionType.READY))
    await assets.delete(NAMESPACE, "gone")
    assert await assets.stats(NAMESPACE) == Stats(
        total=3, by_type={Kind.IMAGE: 2}, by_state={State.READY: 1, State.PROCESSING: 2}, size_bytes=23
    )
    assert await assets.stats(NAMESPACE, user_id="42") == Stats(
        total=1, by_type={Kind.IMAGE: 1}, by_state={State.READY: 1}, size_bytes=5
    )
    assert await assets.stats(NAMESPACE, user_id="44") == Stats()
    assert await assets.stats("other") == Stats()


async def test_change_replaces_members_and_the_generation_grows_only_on_a_difference(assets: Assets) -> None:
    created = await assets.create(new("one", altText="old", caption="kept", metadata={"a": "1", "b": "2"}))
    changed = await assets.change(NAMESPACE, "one", {"altText": None, "order": 3, "metadata": {"b": "2", "c": "3"}})
    assert (changed.spec.alt_text, changed.spec.caption, changed.spec.order) == (None, "kept", 3)
    assert changed.spec.metadata == {"b": "2", "c": "3"}
    assert (changed.spec.source, changed.status) == (created.spec.source, created.status)
    assert changed.metadata.generation == 2
    assert await assets.get(NAMESPACE, "one") == changed
    same = await assets.change(NAMESPACE, "one", {"altText": None, "order": 3, "metadata": {"b": "2", "c": "3"}})
    assert same == changed
    emptied = await assets.change(NAMESPACE, "one", {"metadata": {}})
    assert (emptied.spec.metadata, emptied.metadata.generation) == ({}, 3)
    await assets.change(NAMESPACE, "one", {"metadata": None})
    assert (await assets.get(NAMESPACE, "one")).spec.metadata == {}


async def test_changes_at_the_same_time_all_count(assets: Assets) -> None:
    await assets.create(new("one"))
    await asyncio.gather(
        assets.change(NAMESPACE, "one", {"altText": "x"}),
        assets.change(NAMESPACE, "one", {"caption": "y"}),
        assets.annotate(NAMESPACE, "one", {"a": "b"}),
    )
    spec = (await assets.get(NAMESPACE, "one")).spec
    assert (spec.alt_text, spec.caption) == ("x", "y")


async def test_what_is_gone_or_going_is_not_changed(assets: Assets) -> None:
    created = await assets.create(new("one"))
    await assets.delete(NAMESPACE, "one")
    with pytest.raises(NotFoundError):
        await assets.change(NAMESPACE, "one", {"altText": "x"})
    await assets.release(created)
    with pytest.raises(NotFoundError):
        await assets.change(NAMESPACE, "one", {"altText": "x"})


async def next_of(news: AsyncIterator[MediaAsset]) -> MediaAsset:
    async with asyncio.timeout(20):
        return await anext(news)


async def test_watch_tells_the_present_and_each_change_until_it_is_deleted(assets: Assets) -> None:
    created = await assets.create(new("one"))
    await assets.create(new("other"))
    async with aclosing(cast("Any", assets.watch(NAMESPACE, "one"))) as news:
        assert await next_of(news) == created
        await assets.change(NAMESPACE, "other", {"altText": "not told"})
        changed = await assets.change(NAMESPACE, "one", {"altText": "told"})
        assert await next_of(news) == changed
        # What happened while nobody asked is told as one.
        await assets.annotate(NAMESPACE, "one", {"a": "b"})
        written = await assets.write_status(await assets.get(NAMESPACE, "one"), finished(changed, ConditionType.READY))
        seen = await next_of(news)
        while seen != written:
            seen = await next_of(news)
        waiting = asyncio.create_task(next_of(news))
        await asyncio.sleep(0)
        await assets.delete(NAMESPACE, "one")
        with pytest.raises(StopAsyncIteration):
            await waiting


async def test_many_watch_one_asset(assets: Assets) -> None:
    await assets.create(new("one"))

    async def until_ready() -> str:
        async with asyncio.timeout(20):
            async for asset in assets.watch(NAMESPACE, "one"):
                if asset.status.is_true(ConditionType.READY):
                    return "ready"
        return "gone"

    watching = [asyncio.create_task(until_ready()) for _ in range(10)]
    await asyncio.sleep(0)
    asset = await assets.get(NAMESPACE, "one")
    await assets.write_status(asset, finished(asset, ConditionType.READY))
    assert await asyncio.gather(*watching) == ["ready"] * 10


async def test_watch_of_nothing_is_not_found(assets: Assets) -> None:
    with pytest.raises(NotFoundError):
        await anext(aiter(assets.watch(NAMESPACE, "none")))
    await assets.create(new("going"))
    await assets.delete(NAMESPACE, "going")
    assert [asset async for asset in assets.watch(NAMESPACE, "going")] == []
