"""The WhatsApp accounts: what each may say, and whose app may deliver to it."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import structlog

import messages
from media_ingest.whatsapp.accounts import Account, in_directory
from messages import APP_SECRET, TOKEN, account, encoded, payload, signature, value
from uploading import Api, running_api


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    account(tmp_path / "accounts")
    async with running_api(tmp_path, parts={"accounts": in_directory(tmp_path / "accounts")}) as running:
        yield running


async def deliver(api: Api, body: messages.Json, *, secret: str = APP_SECRET) -> httpx2.Response:
    raw = encoded(body)
    headers = {"X-Hub-Signature-256": signature(raw, secret)}
    return await api.client.post("/webhooks/whatsapp/", content=raw, headers=headers)


async def test_an_app_speaks_for_its_own_numbers_only(api: Api, tmp_path: Path) -> None:
    account(tmp_path / "accounts", "other", namespace="museum", phoneNumberID="4711", appSecret="others")
    body = payload(value(messages.IMAGE, number="4711"), value(messages.VIDEO))
    assert (await deliver(api, body)).json() == {"messages": {"unknown_account": 1, "created": 1}}
    assert (await deliver(api, body, secret="others")).json() == {"messages": {"unknown_account": 1, "created": 1}}
    assert (await api.assets.list("museum", limit=9)).total == 1


async def test_what_an_account_says_becomes_of_its_media(api: Api, tmp_path: Path) -> None:
    account(
        tmp_path / "accounts",
        "sales",
        phoneNumberID="4711",
        userID="42",
        profileName="original",
        publicPath="chats/sales",
        collection="chats/all",
        expireSecondsAfterCreation="never",
    )
    assert (await deliver(api, payload(value(messages.IMAGE, number="4711")))).json() == {"messages": {"created": 1}}
    (asset,) = (await api.assets.list("shop", limit=9)).items
    spec = asset.spec
    assert (spec.user_id, spec.profile_name, spec.public_path, spec.collection, spec.expire_seconds_after_creation) == (
        "42",
        "original",
        "chats/sales",
        "chats/all",
        None,
    )
    found = (await api.get(f"/api/media/?message_id={messages.IMAGE['id']}")).json()
    assert [item["id"] for item in found["results"]] == [asset.metadata.name]


@pytest.mark.parametrize(
    "texts",
    [
        {"appSecret": ""},
        {"token": ""},
        {"verifyToken": "\n"},
        {"phoneNumberID": "+49 30"},
        {"namespace": "Shop"},
        {"expireSecondsAfterCreation": "soon"},
        {"publicPath": "../x"},
    ],
)
async def test_an_account_that_is_not_complete_is_left_out_and_its_secrets_stay_secret(
    tmp_path: Path, texts: dict[str, str]
) -> None:
    account(tmp_path / "accounts", **texts)
    with structlog.testing.capture_logs() as lines:
        assert await in_directory(tmp_path / "accounts").all() == ()
    assert [line["account"] for line in lines] == ["support"]
    assert TOKEN not in str(lines)
    assert APP_SECRET not in str(lines)


async def test_one_number_belongs_to_one_account(tmp_path: Path) -> None:
    for name in ("b", "a"):
        account(tmp_path / "accounts", name)
    (found,) = await in_directory(tmp_path / "accounts").all()
    assert found.name == "a"
    assert TOKEN not in repr(found)


async def test_a_sender_that_is_no_segment_of_a_path(tmp_path: Path) -> None:
    account(tmp_path / "accounts")
    (found,) = await in_directory(tmp_path / "accounts").all()
    assert isinstance(found, Account)
    assert found.collection_of("../x y") == "whatsapp/support/unknown"
