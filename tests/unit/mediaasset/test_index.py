"""The index against a server that keeps a history: whatever order news comes in, it ends where the server is."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from mediaasset.index import Index
from mediaasset.kube import Json
from mediaasset.names import API_VERSION

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
    return [item.metadata.name for item in index.page("default", user, 100, 0).items]


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
