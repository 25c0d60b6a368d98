"""Waiting for an asset: the stream of events and the answer that waits, over a real server."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog

from polling import until
from shelf import finish, upload
from uploading import Api, running_api


@asynccontextmanager
async def following(api: Api, name: str, user: str = "alice", **headers: str) -> AsyncIterator[httpx2.Response]:
    """Open a stream; the client of the tests would read it to its end before it gave the answer."""
    async with (
        httpx2.AsyncClient(base_url=api.client.base_url, timeout=30) as client,
        client.stream("GET", f"/api/media/{name}/events/", headers={**api.auth(user), **headers}) as answer,
    ):
        yield answer


async def messages(answer: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    """Parse a stream as the HTML standard has it: fields up to an empty line; lines with a colon first are comments."""
    fields: dict[str, Any] = {}
    async for line in answer.aiter_lines():
        if not line:
            if fields:
                yield {**fields, "data": json.loads(fields["data"])}
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")


async def test_a_stream_says_what_happens_and_ends_when_the_asset_is_ready(api: Api) -> None:
    name = await upload(api)
    async with following(api, name) as answer:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert answer.headers["Cache-Control"] == "no-store"
        stream = messages(answer)
        first = await anext(stream)
        assert (first["event"], first["data"]) == ("status", (await api.get(f"/api/media/{name}/")).json())
        progress = await anext(stream)
        assert (progress["event"], progress["data"]) == ("progress", {"stage": "render", "percent": 50.0})
        await api.assets.change("shop", name, {"altText": "new"})
        changed = await anext(stream)
        assert (changed["event"], changed["data"]["alt_text"], changed["data"]["status"]) == (
            "status",
            "new",
            "processing",
        )
        await finish(api, name)
        last = await anext(stream)
        assert last["data"]["status"] == "ready"
        assert last["data"] == (await api.get(f"/api/media/{name}/")).json()
        assert [message async for message in stream] == []
    # An EventSource connects again after the end; what it says then stops it.
    async with following(api, name, **{"Last-Event-ID": last["id"]}) as answer:
        assert answer.status_code == 204
    async with following(api, name, **{"Last-Event-ID": first["id"]}) as answer:
        assert [message["data"]["status"] async for message in messages(answer)] == ["ready"]


async def test_a_stream_ends_when_the_asset_is_deleted(api: Api) -> None:
    name = await upload(api)
    async with following(api, name) as answer:
        stream = messages(answer)
        await anext(stream)
        await api.delete(f"/api/media/{name}/")
        rest = [message async for message in stream if message["event"] != "progress"]
    assert [(message["event"], message["data"]) for message in rest] == [("deleted", {"id": name})]


@pytest.mark.parametrize(("user", "status"), [("bob", 404), ("other", 404), ("admin", 200), ("nobody", 401)])
async def test_who_may_follow(api: Api, user: str, status: int) -> None:
    name = await upload(api)
    await finish(api, name)
    async with following(api, name, user) as answer:
        assert answer.status_code == status


async def test_a_token_in_the_address_is_none(api: Api) -> None:
    name = await upload(api)
    answer = await api.client.get(f"/api/media/{name}/events/?access_token=alice")
    assert answer.status_code == 401


async def test_so_many_may_wait_and_who_goes_away_makes_room(tmp_path: Path) -> None:
    async with running_api(tmp_path, max_followers=2) as api:
        name = await upload(api)

        async def asked(path: str) -> httpx2.Response:
            return await api.get(path)

        async with following(api, name) as first, following(api, name) as second:
            # One that nobody holds any more is closed, and its place is free.
            streams = [messages(first), messages(second)]
            for stream in streams:
                assert (await anext(stream))["event"] == "status"
            for path in (f"/api/media/{name}/events/", f"/api/media/{name}/?wait=1"):
                refused = await asked(path)
                assert refused.status_code == 503
                assert refused.json()["type"].endswith(":too-busy")
                assert int(refused.headers["Retry-After"]) > 0
            assert (await asked(f"/api/media/{name}/")).status_code == 200
            assert len(streams) == 2

        async def again() -> bool | None:
            async with following(api, name) as third:
                return third.status_code == 200 or None

        assert await until(again)


async def test_the_log_has_no_token_of_a_stream(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as lines:
        async with running_api(tmp_path) as api:
            name = await upload(api)
            await finish(api, name)
            async with following(api, name) as answer:
                assert [message async for message in messages(answer)]
            await api.client.get(f"/api/media/{name}/events/?access_token=a-secret-token")
    assert "secret" not in str(lines)


async def test_an_answer_that_waits_comes_when_the_asset_is_finished(api: Api) -> None:
    name = await upload(api)
    waiting = asyncio.create_task(api.get(f"/api/media/{name}/?wait=30"))
    while not api.assets._changes._waiting:  # noqa: ASYNC110 - the server waits in this process, and says so nowhere else
        await asyncio.sleep(0)
    await finish(api, name)
    assert (await waiting).json()["status"] == "ready"
    # Now there is nothing to wait for.
    assert (await api.get(f"/api/media/{name}/?wait=60")).json()["status"] == "ready"


async def test_an_answer_that_waited_long_enough_says_what_is_there(api: Api) -> None:
    name = await upload(api)
    for wait in ("1", "0", ""):
        assert (await api.get(f"/api/media/{name}/?wait={wait}")).json()["status"] == "processing"


async def test_an_answer_that_waits_for_what_is_deleted_is_not_found(api: Api) -> None:
    name = await upload(api)
    waiting = asyncio.create_task(api.get(f"/api/media/{name}/?wait=30"))
    while not api.assets._changes._waiting:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)
    await api.delete(f"/api/media/{name}/")
    assert (await waiting).status_code == 404


@pytest.mark.parametrize("wait", ["61", "-1", "1.5", "x", "99999999999999999999", "\N{SUPERSCRIPT TWO}"])
async def test_waits_that_cannot_be(api: Api, wait: str) -> None:
    name = await upload(api)
    answer = await api.get(f"/api/media/{name}/", params={"wait": wait})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["wait"]
