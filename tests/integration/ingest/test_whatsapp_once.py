"""Messages with an Idempotency-Key: each goes out once, whatever breaks off."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from chatting import PHOTO, TO, api_of_account, graph_of_account, ready, send
from graph import Fault, Graph
from media_operator.sweep import sweep
from media_operator.sweepsettings import SweepSettings
from media_standalone.partial import DirectoryParts
from messages import account
from uploading import Api

KEY = '"order-4711"'


@pytest.fixture
def server() -> Iterator[Graph]:
    with graph_of_account() as running:
        yield running


@pytest.fixture
async def api(tmp_path: Path, server: Graph, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    monkeypatch.setenv("MEDIA_GRAPH_URL", server.url)
    async with api_of_account(tmp_path) as running:
        yield running


@pytest.fixture
async def asset(api: Api) -> str:
    return await ready(api, ("large", "image/jpeg", PHOTO))


def slug(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].rpartition(":")[2]


def notes(api: Api) -> list[Path]:
    return sorted(path for path in api.objects() if ".sent" in path.parts)


async def test_the_same_order_again_is_the_same_message(api: Api, server: Graph, asset: str) -> None:
    first = await send(api, asset, key=KEY, caption="Look")
    again = [await send(api, asset, key=KEY.strip('"'), caption="Look") for _ in range(3)]
    assert {first.status_code, *(answer.status_code for answer in again)} == {200}
    assert [answer.json() for answer in again] == [first.json()] * 3
    assert "Idempotency-Replayed" not in first.headers
    assert {answer.headers["Idempotency-Replayed"] for answer in again} == {"true"}
    assert len(server.sent) == 1
    # Another key, another user, and none at all: each is a message of its own.
    for user, key in (("alice", "other"), ("admin", KEY), ("alice", None)):
        assert "Idempotency-Replayed" not in (await send(api, asset, key=key, user=user, caption="Look")).headers
    assert len(server.sent) == 4


async def test_another_order_with_the_key_is_refused(api: Api, server: Graph, asset: str, tmp_path: Path) -> None:
    assert (await send(api, asset, key=KEY, caption="Look")).status_code == 200
    other = await ready(api, ("large", "image/jpeg", PHOTO), name="other")
    account(tmp_path / "accounts", "sales", phoneNumberID="4711", userID="42")
    refused = [
        await send(api, asset, key=KEY),
        await send(api, asset, key=KEY, caption="Listen"),
        await send(api, asset, key=KEY, caption="Look", to="+16505550000"),
        await send(api, other, key=KEY, caption="Look"),
    ]
    assert [slug(answer) for answer in refused] == [(422, "idempotency-mismatch")] * 4
    assert len(server.sent) == 1


async def test_another_account_is_another_order(api: Api, server: Graph, asset: str, tmp_path: Path) -> None:
    account(tmp_path / "accounts", "sales", phoneNumberID="4711", userID="42")
    server.numbers["4711"] = "+1 555-078-3882"
    assert (await send(api, asset, key=KEY, path="/api/whatsapp/sales/send/")).status_code == 200
    assert slug(await send(api, asset, key=KEY)) == (422, "idempotency-mismatch")


async def test_twenty_at_once_are_one_message(api: Api, server: Graph, asset: str) -> None:
    answers = await asyncio.gather(*(send(api, asset, key=KEY) for _ in range(20)))
    assert len(server.sent) == 1
    assert {slug(answer) for answer in answers if answer.status_code != 200} <= {(409, "in-progress")}
    assert (await send(api, asset, key=KEY)).json()["message_id"] == "wamid.sent1"


@pytest.mark.parametrize("step", ["upload", "message"])
async def test_what_was_refused_may_be_sent_with_the_same_key(api: Api, server: Graph, asset: str, step: str) -> None:
    server.faults[step] += [Fault(status=400, code=130429)]
    assert slug(await send(api, asset, key=KEY)) == (429, "whatsapp-busy")
    assert notes(api) == []
    assert (await send(api, asset, key=KEY)).status_code == 200
    assert len(server.sent) == 1


async def test_what_cannot_be_ordered_takes_no_key(api: Api, server: Graph, asset: str) -> None:
    assert (await send(api, "nobody", key=KEY)).status_code == 404
    assert slug(await send(api, asset, key="a b")) == (422, "invalid-field")
    assert slug(await send(api, asset, key=KEY, rendition="thumbnail")) == (422, "not-sendable")
    assert (await send(api, asset, key=KEY)).status_code == 200
    assert len(server.sent) == 1


async def test_what_may_have_been_sent_is_not_sent_again(api: Api, server: Graph, asset: str) -> None:
    server.faults["message"] += [Fault(status=502)]
    for _ in range(3):
        assert slug(await send(api, asset, key=KEY)) == (504, "whatsapp-unknown")
    assert server.steps().count("message") == 1
    assert (await send(api, asset, key="another")).status_code == 200


async def test_a_replica_that_died_on_the_way_leaves_a_message_that_nobody_knows(
    api: Api, server: Graph, asset: str
) -> None:
    await send(api, asset, key=KEY)
    # As if it had died before it wrote the answer down.
    answer, order = notes(api)
    answer.unlink()
    assert slug(await send(api, asset, key=KEY)) == (409, "in-progress")
    long_ago = (datetime.now(UTC) - timedelta(minutes=11)).timestamp()
    os.utime(order, (long_ago, long_ago))
    assert slug(await send(api, asset, key=KEY)) == (504, "whatsapp-unknown")
    assert len(server.sent) == 1


async def test_keys_are_forgotten_after_a_day_and_are_nobodys_uploads(api: Api, server: Graph, asset: str) -> None:
    await send(api, asset, key=KEY)
    parts = DirectoryParts(api.directory.parent / "partial", api.directory)
    now = datetime.now(UTC)

    async def sweep_after(hours: int, *namespaces: str) -> None:
        settings = SweepSettings(namespaces=namespaces)
        await sweep(api.assets, api.store, parts, settings, lambda: now + timedelta(hours=hours), deletes=True)

    await sweep_after(23)
    await sweep_after(25, "museum")
    assert len(notes(api)) == 2
    await sweep_after(25)
    assert notes(api) == []
    assert (await send(api, asset, key=KEY)).json()["message_id"] == "wamid.sent2"


async def test_a_note_holds_no_secret(api: Api, server: Graph, asset: str) -> None:
    await send(api, asset, key=KEY, caption="Look")
    answer, order = notes(api)
    assert json.loads(answer.read_bytes())["message_id"] == server_message(server)
    assert TO not in order.read_text()
    assert "Look" not in order.read_text()


def server_message(server: Graph) -> str:
    return f"wamid.sent{len(server.sent)}"
