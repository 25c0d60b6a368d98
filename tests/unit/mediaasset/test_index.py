"""The index against a server that keeps a history: whatever order news comes in, it ends where the server is."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from mediaasset.catalogue import Facts, Ordering, Query, State, facts_of
from mediaasset.index import Index
from mediaasset.kube import Json
from mediaasset.media import Kind
from mediaasset.names import API_VERSION
from mediaasset.spec import MediaAsset, Visibility

BEGIN = datetime(2025, 1, 1, tzinfo=UTC)


def asset(name: str, uid: str, version: int, *, user: str | None = None, deleted: bool = False) -> Json:
    metadata: dict[str, Any] = {
        "namespace": "default",
        "name": name,
        "uid": uid,
        "resourceVersion": str(version),
        "creationTimestamp": (BEGIN + timedelta(seconds=int(uid))).isoformat(),
    }
    if deleted:
        metadata["deletionTimestamp"] = BEGIN.isoformat()
    spec = {"source": {"url": "https://example.org/x"}, **({"userID": user} if user else {})}
    return {"apiVersion": API_VERSION, "kind": "MediaAsset", "metadata": metadata, "spec": spec}


async def one_page(version: int, items: list[Json]) -> AsyncIterator[Json]:
    yield {"metadata": {"resourceVersion": str(version)}, "items": items}


def names(index: Index, user: str | None = None) -> list[str]:
    return [item.metadata.name for item in index.page("default", Query(user_id=user), 100, 0).items]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["create", "change", "mark", "remove"]),
        st.sampled_from("abc"),
        st.booleans(),
        st.integers(min_value=0, max_value=3),
        st.booleans(),
    ),
    max_size=30,
)


@settings(deadline=None)
@given(STEPS)
def test_index_ends_where_the_server_is(steps: list[tuple[str, str, bool, int, bool]]) -> None:
    """Each step changes one asset, tells us of it at once or not, lets the watch go on a little, or lists anew."""
    stored: dict[str, Json] = {}
    history: list[tuple[str, Json]] = []
    index = Index()
    told = 0

    def watch(count: int) -> None:
        nonlocal told
        for kind, item in history[told : told + count]:
            index.drop(item) if kind == "DELETED" else index.put(item)
            index.advance(item["metadata"]["resourceVersion"])
        told = min(told + count, len(history))

    for action, name, is_ours, events, lists in steps:
        version = len(history) + 1
        known = stored.get(name)
        if action == "create" and known is None:
            stored[name] = asset(name, str(version), version, user="42" if is_ours else None)
            history.append(("ADDED", stored[name]))
        elif action in ("change", "mark") and known is not None:
            metadata = known["metadata"]
            deleted = action == "mark" or "deletionTimestamp" in metadata
            user = known["spec"].get("userID")
            stored[name] = asset(name, metadata["uid"], version, user=user, deleted=deleted)
            history.append(("MODIFIED", stored[name]))
        elif action == "remove" and known is not None:
            del stored[name]
            history.append(("DELETED", {**known, "metadata": {**known["metadata"], "resourceVersion": str(version)}}))
        else:
            continue
        if is_ours:
            if action == "remove":
                index.released(("default", name), history[-1][1]["metadata"]["uid"])
            else:
                index.wrote(history[-1][1])
            shown = {item for item in names(index) if item == name}
            is_there = name in stored and "deletionTimestamp" not in stored[name]["metadata"]
            assert shown == ({name} if is_there else set())
        watch(events)
        if lists:
            asyncio.run(index.replace(one_page(len(history), list(stored.values()))))
            told = len(history)
    watch(len(history))
    listed = [item for item in stored.values() if "deletionTimestamp" not in item["metadata"]]
    newest = sorted(listed, key=lambda item: -int(item["metadata"]["uid"]))
    assert names(index) == [item["metadata"]["name"] for item in newest]
    assert names(index, "42") == [item["metadata"]["name"] for item in newest if "userID" in item["spec"]]
    assert set(index.unfinished()) == {("default", name) for name in stored}
    assert index.stats("default", None).total == len(listed)
    assert index.stats("default", "42").total == len(names(index, "42"))


ITEMS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "userID": st.sampled_from("12"),
            "type": st.sampled_from(list(Kind)),
            "collection": st.sampled_from("xy"),
            "order": st.integers(min_value=0, max_value=3),
            "visibility": st.sampled_from(list(Visibility)),
            "originalFileName": st.sampled_from(["a", "B", "ab", "STRA\N{LATIN SMALL LETTER SHARP S}E"]),
        },
    ),
    max_size=12,
)
QUERIES = st.fixed_dictionaries(
    {"ordering": st.sampled_from(list(Ordering))},
    optional={
        "user_id": st.sampled_from("123"),
        "type": st.sampled_from(list(Kind)),
        "state": st.sampled_from(list(State)),
        "collection": st.sampled_from("xyz"),
        "is_public": st.booleans(),
        "message_id": st.just("none"),
        "search": st.sampled_from(["b", "strasse"]),
        "created_after": st.integers(min_value=-1, max_value=13).map(lambda second: BEGIN + timedelta(seconds=second)),
        "created_before": st.integers(min_value=-1, max_value=13).map(lambda second: BEGIN + timedelta(seconds=second)),
    },
)


def order_of(facts: Facts, ordering: Ordering) -> tuple[Any, ...]:
    first: dict[str, tuple[Any, ...]] = {
        "order": (facts.order is None, facts.order or 0),
        "file_size": (facts.size_bytes,),
        "original_name": (facts.file_name,),
    }
    return *first.get(ordering.removeprefix("-"), ()), facts.created, facts.name


@given(ITEMS, QUERIES, st.integers(min_value=1, max_value=5), st.integers(min_value=0, max_value=9))
def test_page_is_cut_from_what_the_query_asks_for(
    items: list[dict[str, Any]], asked: dict[str, Any], limit: int, offset: int
) -> None:
    index = Index()
    expected = []
    for number, spec in enumerate(items):
        item = asset(f"n{number}", str(number // 2), number + 1)
        item["spec"] |= spec
        index.put(item)
        expected.append(facts_of(MediaAsset.model_validate(item)))
    query = Query(**asked)
    for name in ("user_id", "type", "state", "collection", "is_public", "message_id"):
        value = getattr(query, name)
        expected = [facts for facts in expected if value is None or getattr(facts, name) == value]
    if query.search is not None:
        expected = [facts for facts in expected if query.search in facts.text]
    if query.created_after is not None:
        expected = [facts for facts in expected if facts.created > query.created_after.timestamp()]
    if query.created_before is not None:
        expected = [facts for facts in expected if facts.created < query.created_before.timestamp()]
    expected.sort(key=lambda facts: order_of(facts, query.ordering), reverse=query.ordering.startswith("-"))
    page = index.page("default", query, limit, offset)
    shown = [item.metadata.name for item in page.items]
    assert (shown, page.total) == ([facts.name for facts in expected[offset : offset + limit]], len(expected))


def test_index_keeps_nothing_of_what_is_gone() -> None:
    index, empty = Index(), Index()
    item = asset("a", "1", 1, user="42")
    item["spec"]["source"] = {
        "whatsapp": {"accountName": "a", "mediaID": "1", "messageID": "m", "timestamp": BEGIN.isoformat()}
    }
    index.put(item)
    assert index.page("default", Query(message_id="m"), 9, 0).total == 1
    index.drop({**item, "metadata": {**item["metadata"], "resourceVersion": "2"}})
    assert (index._entries, index._shelves, index._counts) == (empty._entries, empty._shelves, empty._counts)


async def test_whoever_follows_an_asset_hears_of_its_changes_and_of_no_others() -> None:
    index = Index()
    index.put(asset("a", "1", 1))

    async def read(namespace: str, name: str) -> MediaAsset:
        found = index.page(namespace, Query(), 9, 0).items
        return next((item for item in found if item.metadata.name == name), gone)

    gone = MediaAsset.model_validate(asset("a", "1", 9, deleted=True))

    async def follow() -> list[str]:
        return [item.metadata.resource_version async for item in index.changes.follow(("default", "a"), read)]

    following = asyncio.create_task(follow())
    for item in (asset("b", "2", 2), asset("a", "1", 3), asset("b", "2", 4), asset("a", "1", 5)):
        for _ in range(5):
            await asyncio.sleep(0)
        index.put(item)
    for _ in range(5):
        await asyncio.sleep(0)
    index.put(asset("a", "1", 6, deleted=True))
    assert await following == ["1", "3", "5"]
    assert not index.changes._waiting


def test_assets_of_one_second_have_one_order_everywhere() -> None:
    items = [asset(name, "1", 1) for name in "bdac"]
    one, other = Index(), Index()
    for item in items:
        one.put(item)
    for item in reversed(items):
        other.put(item)
    assert names(one) == names(other) == ["d", "c", "b", "a"]


def test_asset_that_becomes_unreadable_leaves_the_list() -> None:
    index = Index()
    index.put(asset("a", "1", 1))
    index.put(asset("b", "2", 2))
    changed = asset("a", "1", 3)
    changed["spec"]["novelty"] = 1
    index.put(changed)
    assert names(index) == ["b"]
    index.put(asset("a", "1", 4))
    assert names(index) == ["b", "a"]


def test_nothing_of_before_is_left_once_the_server_was_put_back_to_a_backup() -> None:
    async def play() -> Index:
        index = Index()
        await index.replace(one_page(1000, [asset("kept", "1", 400), asset("lost", "2", 990)]))
        await index.replace(one_page(500, [asset("kept", "1", 400)]))
        return index

    assert names(asyncio.run(play())) == ["kept"]


def test_asset_that_cannot_be_read_is_named_without_what_it_holds() -> None:
    broken = asset("one", "1", 2)
    broken["spec"]["source"] = {"url": "https://example.org/x?signature=secret", "token": "secret"}
    index = Index()
    with capture_logs() as logs:
        index.put(broken)
    assert logs[0]["asset"] == "default/one"
    assert "source" in str(logs)
    assert "secret" not in str(logs)
