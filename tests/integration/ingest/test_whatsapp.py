"""The webhook of WhatsApp over the real application: who may deliver, and what becomes of each shape of message."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog

import messages
from media_ingest.whatsapp.accounts import in_directory
from media_ingest.whatsapp.webhook import MAX_BYTES
from mediaasset import keys
from mediaasset.catalogue import Query
from mediaasset.objects import ObjectStore
from mediaasset.spec import MediaAsset
from mediaasset.store import ObjectInfo
from messages import APP_SECRET, NUMBER, VERIFY_TOKEN, account, encoded, payload, signature, value
from uploading import Api, running_api

PATH = "/webhooks/whatsapp/"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    account(tmp_path / "accounts")
    # There is no Graph at this address: nothing here may ask for it.
    accounts = in_directory(tmp_path / "accounts")
    async with running_api(tmp_path, parts={"accounts": accounts}, whatsapp_paths=["/api/webhook"]) as running:
        yield running


async def deliver(api: Api, body: Any, *, path: str = PATH, secret: str = APP_SECRET) -> httpx2.Response:
    raw = body if isinstance(body, bytes) else encoded(body)
    return await api.client.post(path, content=raw, headers={"X-Hub-Signature-256": signature(raw, secret)})


async def outcomes(api: Api, *messages: Any, **of: Any) -> dict[str, int]:
    answer = await deliver(api, payload(value(*messages)), **of)
    assert answer.status_code == 200, answer.text
    found: dict[str, int] = answer.json()["messages"]
    return found


async def stored(api: Api) -> list[MediaAsset]:
    return list((await api.assets.list("shop", limit=1000)).items)


async def only(api: Api, message: Any) -> MediaAsset:
    assert await outcomes(api, message) == {"created": 1}
    (asset,) = await stored(api)
    return asset


# The handshake


@pytest.mark.parametrize("path", [PATH, "/webhooks/whatsapp", "/api/webhook", "/api/webhook/"])
async def test_the_handshake_answers_the_challenge_as_plain_text(api: Api, path: str) -> None:
    query = {"hub.mode": "subscribe", "hub.challenge": "1158201444", "hub.verify_token": VERIFY_TOKEN}
    # The further paths are whoever's who sets them: the description of the API does not have them.
    async with httpx2.AsyncClient(base_url=api.client.base_url) as client:
        answer = await client.get(path, params=query)
    assert (answer.status_code, answer.text) == (200, "1158201444")
    assert answer.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    "change",
    [
        {"hub.mode": "unsubscribe"},
        {"hub.verify_token": "wrong"},
        {"hub.verify_token": ""},
        {"hub.verify_token": "ä\udcff".encode("utf-8", "replace").decode()},
    ],
)
async def test_a_handshake_that_is_not_ours(api: Api, change: dict[str, str]) -> None:
    query = {"hub.mode": "subscribe", "hub.challenge": "1158201444", "hub.verify_token": VERIFY_TOKEN, **change}
    answer = await api.client.get(PATH, params=query)
    assert answer.status_code == 403
    assert "1158201444" not in answer.text


# The signature


async def test_a_payload_without_a_signature(api: Api) -> None:
    answer = await api.client.post(PATH, content=encoded(payload(value(messages.IMAGE))))
    assert answer.status_code == 401
    assert answer.json()["type"].endswith(":signature-missing")
    assert await stored(api) == []


@pytest.mark.parametrize("form", ["sha256={}", "sha256={}0", "{}", "sha1={}", "sha256=", "sha256=ä{}"])
async def test_a_payload_with_a_wrong_signature(api: Api, form: str) -> None:
    raw = encoded(payload(value(messages.IMAGE)))
    digest = signature(raw, "another secret" if form == "sha256={}" else APP_SECRET).removeprefix("sha256=")
    headers = {b"X-Hub-Signature-256": form.format(digest).encode()}
    answer = await api.client.post(PATH, content=raw, headers=headers)
    assert answer.status_code == 403, form
    assert await stored(api) == []


async def test_the_signature_is_of_the_bytes_and_not_of_what_they_mean(api: Api) -> None:
    escaped = encoded(payload(value({**messages.IMAGE, "image": {**messages.IMAGE["image"], "caption": "äöå"}})))
    assert rb"\u00e4\u00f6\u00e5" in escaped
    plain = json.dumps(json.loads(escaped), ensure_ascii=False).encode()
    refused = await api.client.post(PATH, content=plain, headers={"X-Hub-Signature-256": signature(escaped)})
    assert refused.status_code == 403
    assert (await deliver(api, escaped)).json() == {"messages": {"created": 1}}
    assert (await stored(api))[0].spec.caption == "äöå"


async def test_a_signature_is_looked_at_before_the_payload(api: Api) -> None:
    for body in (b"no json", b"[" * 100_000, b"\xff\xfe", b""):
        answer = await api.client.post(PATH, content=body, headers={"X-Hub-Signature-256": "sha256=" + "0" * 64})
        assert answer.status_code == 403
        assert (await deliver(api, body)).status_code == 400


@pytest.mark.parametrize("extra", [-1, 0, 1])
async def test_the_largest_payload(api: Api, extra: int) -> None:
    body = encoded(payload(value(messages.IMAGE)))
    body += b" " * (MAX_BYTES + extra - len(body))
    answer = await deliver(api, body)
    assert answer.status_code == (413 if extra > 0 else 200)
    if extra > 0:
        assert (answer.json()["limit"], answer.json()["received"]) == (MAX_BYTES, MAX_BYTES + 1)


async def test_an_endless_payload_is_not_read_to_its_end(api: Api) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield bytes(100_000)

    answer = await api.client.post(PATH, content=chunks(), headers={"X-Hub-Signature-256": "sha256=" + "0" * 64})
    assert answer.status_code == 413


# Shapes


async def test_an_image(api: Api) -> None:
    asset = await only(api, messages.IMAGE)
    spec, sent = asset.spec, asset.spec.source.whatsapp
    assert sent is not None
    assert (sent.account_name, sent.media_id, sent.message_id) == (
        "support",
        messages.IMAGE["image"]["id"],
        messages.IMAGE["id"],
    )
    assert (sent.sender, sent.mime_type, sent.sha256) == (messages.SENDER, "image/jpeg", messages.digest(b"1"))
    assert str(int(sent.timestamp.timestamp())) == messages.IMAGE["timestamp"]
    assert (spec.type, spec.visibility, spec.caption) == ("Image", "Private", "Check this out")
    assert (spec.profile_name, spec.public_path, spec.collection) == (
        "whatsapp",
        "whatsapp/support",
        f"whatsapp/support/{messages.SENDER}",
    )
    assert spec.expire_seconds_after_creation == 90 * 24 * 3600
    assert spec.metadata == {
        "account": "support",
        "media_id": messages.IMAGE["image"]["id"],
        "message_id": messages.IMAGE["id"],
        "message_type": "image",
        "phone_number_id": NUMBER,
        "sender": messages.SENDER,
        "sender_name": "Kerry Fisher",
    }


@pytest.mark.parametrize(
    ("message", "kind", "mime_type", "metadata"),
    [
        (messages.VIDEO, "Video", "video/mp4", {}),
        (messages.VOICE, "Audio", "audio/ogg", {"voice": "true"}),
        (messages.AUDIO, "Audio", "audio/mpeg", {}),
        (messages.DOCUMENT, None, "application/pdf", {}),
        (messages.STICKER, "Image", "image/webp", {}),
        (messages.ADDRESSED, "Image", "image/jpeg", {}),
        (messages.FORWARDED, "Video", "video/mp4", {"forwarded": "true"}),
    ],
    ids=lambda item: item.get("id", "")[-4:] if isinstance(item, dict) else None,
)
async def test_each_type_of_media(
    api: Api, message: dict[str, Any], kind: str | None, mime_type: str, metadata: dict[str, str]
) -> None:
    asset = await only(api, message)
    sent = asset.spec.source.whatsapp
    assert sent is not None
    assert (asset.spec.type, sent.mime_type) == (kind, mime_type)
    assert {key: asset.spec.metadata.get(key, "") for key in ("voice", "forwarded")} == {
        "voice": "",
        "forwarded": "",
        **metadata,
    }
    assert (sent.voice, sent.animated) == (message is messages.VOICE, message is messages.STICKER)


async def test_the_name_of_a_file_is_a_text_of_its_senders(api: Api) -> None:
    asset = await only(api, messages.DOCUMENT)
    assert (asset.spec.original_file_name, asset.spec.caption) == ("voice .pdf", "The invoice")


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("a" * 5000 + ".pdf", None),
        ("nul\0 \ud800half.pdf", "nul ?half.pdf"),
        ("C:\\Users\\x\\bill.pdf", "bill.pdf"),
        ("", None),
        ("//", None),
        ({"a": 1}, None),
        (None, None),
    ],
)
async def test_names_of_files_that_nobody_should_choose(api: Api, name: object, kept: str | None) -> None:
    asset = await only(api, messages.message("document", mime_type="application/pdf", filename=name))
    found = asset.spec.original_file_name
    assert found == kept if not (isinstance(name, str) and len(name) > 1024) else len(found or "") == 1024
    answer = await api.get(f"/api/media/{asset.metadata.name}/", user="admin")
    assert answer.status_code == 200


async def test_who_hides_the_number_is_named_by_an_id(api: Api) -> None:
    asset = await only(api, messages.HIDDEN)
    assert asset.spec.metadata["sender"] == "US.13491208655302741918"
    assert asset.spec.collection == "whatsapp/support/US.13491208655302741918"


@pytest.mark.parametrize(
    ("message", "words", "caption"),
    [
        (messages.UNSUPPORTED, "131051 Message type unknown: Message type is currently not supported.", None),
        (messages.LOST, "131052 Media download error", "Look"),
        (messages.message("image", id="no/id"), "it gives no id for them.", None),
    ],
)
async def test_a_message_without_its_media_is_recorded_and_the_others_go_on(
    api: Api, message: dict[str, Any], words: str, caption: str | None
) -> None:
    assert await outcomes(api, message, messages.VIDEO) == {"created": 2}
    found = (await api.assets.list("shop", Query(message_id=message["id"]), limit=9)).items
    ((spec,), sent) = ([asset.spec for asset in found], found[0].spec.source.whatsapp)
    assert sent is not None
    assert (sent.failure, sent.media_id, sent.sender, spec.caption) == (words, None, messages.SENDER, caption)
    assert spec.metadata["message_id"] == message["id"]


@pytest.mark.parametrize(
    "body",
    [
        *(payload(value(message)) for message in messages.WITHOUT_MEDIA),
        *(payload(value(**status)) for status in messages.STATUSES),
        payload(value(*messages.WITHOUT_MEDIA), value(**messages.STATUSES[0])),
        payload(value(errors=[{"code": 130429, "title": "Rate limit hit"}])),
        payload(value(**messages.ECHO), field="smb_message_echoes"),
        payload(value(**messages.HISTORY), field="history"),
        payload(value(messages.IMAGE), field="message_template_status_update"),
        payload(),
        {**payload(value(messages.IMAGE)), "object": "page"},
        {"object": "whatsapp_business_account", "entry": {"changes": 1}},
        {"object": "whatsapp_business_account", "entry": [None, {"changes": [None, {"value": "x"}]}]},
        payload(value({"type": "image"}), value({**messages.IMAGE, "id": ["x"]}), value({**messages.IMAGE, "id": ""})),
        payload(value({**messages.IMAGE, "id": "x" * 257})),
        payload({"messages": [messages.IMAGE]}),
        [],
        None,
        7,
    ],
)
async def test_what_is_no_media_is_passed_over(api: Api, body: object) -> None:
    answer = await deliver(api, body)
    assert (answer.status_code, answer.json()) == (200, {"messages": {}})
    assert await stored(api) == []


async def test_every_entry_change_and_message_counts(api: Api) -> None:
    body = payload(value(messages.IMAGE, messages.WITHOUT_MEDIA[0], messages.VIDEO), value(**messages.STATUSES[0]))
    body["entry"].append(copy.deepcopy(body["entry"][0]))
    body["entry"][-1]["changes"].append({"field": "messages", "value": value(messages.VOICE)})
    # What stands in it twice is one asset.
    assert (await deliver(api, body)).json() == {"messages": {"created": 3, "known": 2}}
    assert len(await stored(api)) == 3


async def test_a_number_that_nobody_has_is_logged_and_taken(api: Api) -> None:
    with structlog.testing.capture_logs() as lines:
        answer = await deliver(api, payload(value(messages.IMAGE, number="999")))
    assert (answer.status_code, answer.json()) == (200, {"messages": {"unknown_account": 1}})
    assert [line["phone_number_id"] for line in lines if "phone_number_id" in line] == ["999"]


async def test_a_payload_that_is_replayed_years_later_makes_nothing(api: Api) -> None:
    assert await outcomes(api, {**messages.IMAGE, "timestamp": "1700000000"}) == {"old": 1}
    assert await outcomes(api, {**messages.IMAGE, "timestamp": "never"}) == {"created": 1}


# Once, and only once


async def test_a_hundred_deliveries_at_once_make_one_asset(api: Api) -> None:
    answers = await asyncio.gather(*(deliver(api, payload(value(messages.IMAGE))) for _ in range(100)))
    found = [answer.json()["messages"] for answer in answers if answer.status_code == 200]
    assert sorted(map(str, found)) == sorted([str({"created": 1}), *[str({"known": 1})] * 99])
    assert len(await stored(api)) == 1


async def test_a_delivery_after_the_deletion_makes_none(api: Api) -> None:
    asset = await only(api, messages.IMAGE)
    await api.assets.delete(*asset.key)
    assert await outcomes(api, messages.IMAGE) == {"known": 1}
    # What the operator does, in its order.
    await api.store.create(keys.tombstone(*asset.key), b"{}")
    assert await outcomes(api, messages.IMAGE) == {"deleted": 1}
    await api.assets.release(await api.assets.get(*asset.key))
    assert await outcomes(api, messages.IMAGE) == {"deleted": 1}
    assert await stored(api) == []


async def test_an_asset_that_leaves_while_it_is_delivered_again_is_not_made_again(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = await only(api, messages.IMAGE)
    await api.assets.delete(*asset.key)
    stat, asked = type(api.store).stat, []

    async def slow(store: ObjectStore, key: str) -> ObjectInfo | None:
        """Answer as the store does, and let the operator finish before the answer arrives."""
        asked.append(key)
        answer = await stat(store, key)
        if len(asked) == 1:
            await store.create(keys.tombstone(*asset.key), b"{}")
            await api.assets.release(await api.assets.get(*asset.key))
        return answer

    monkeypatch.setattr(type(api.store), "stat", slow)
    assert await outcomes(api, messages.IMAGE) == {"deleted": 1}
    again = await api.assets.get(*asset.key)
    assert again.metadata.uid != asset.metadata.uid
    assert again.deleted_at is not None
    assert await stored(api) == []
    await api.assets.release(again)
    assert await outcomes(api, messages.IMAGE) == {"deleted": 1}


async def test_a_batch_of_a_hundred_needs_no_graph(api: Api) -> None:
    batch = [messages.message("image", number) for number in range(100)]
    assert await outcomes(api, *batch) == {"created": 100}
    assert len(await stored(api)) == 100


async def test_a_batch_of_which_a_part_cannot_be_made_is_to_come_again(api: Api) -> None:
    batch = [messages.message("image", number) for number in range(100)]
    connection = api.database._connection
    ((pages,),) = await connection.execute_fetchall("PRAGMA page_count")
    await connection.execute(f"PRAGMA max_page_count = {pages + 20}")
    answer = await deliver(api, payload(value(*batch)))
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    made = len(await stored(api))
    assert 0 < made < 100
    await connection.execute("PRAGMA max_page_count = 1000000")
    assert await outcomes(api, *batch) == {"known": made, "created": 100 - made}


async def test_a_store_that_cannot_say_whether_it_existed(api: Api) -> None:
    api.directory.mkdir(exist_ok=True)
    (api.directory / "tombstones").write_bytes(b"")
    answer = await deliver(api, payload(value(messages.IMAGE)))
    assert answer.status_code == 503
    assert await stored(api) == []
