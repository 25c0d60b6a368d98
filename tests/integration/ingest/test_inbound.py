"""Signed webhooks of any sender, signed here by the library of Standard Webhooks that senders use."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog
import yaml
from standardwebhooks import Webhook

from media_ingest.inbound import MAX_BYTES, Sources
from mediaasset import keys
from uploading import Api, running_api

PATH = "/webhooks/in/crm/"
URL = "https://files.example.org/apple.jpg"
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789").decode()
NEWER = "whsec_" + base64.b64encode(b"abcdef0123456789abcdef0123").decode()
SOURCE: dict[str, Any] = {
    "name": "crm",
    "secrets": [NEWER, SECRET],
    "namespace": "shop",
    "user": 42,
    "paths": ["users/{user}", "crm/**"],
}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    file = tmp_path / "sources.yaml"
    file.write_text(yaml.safe_dump([SOURCE, {**SOURCE, "name": "other"}]))
    async with running_api(tmp_path, sources=file) as running:
        yield running


async def deliver(
    api: Api,
    body: Any,
    *,
    name: str = "msg_1",
    secret: str = SECRET,
    path: str = PATH,
    age: timedelta = timedelta(),
    headers: dict[str, str] | None = None,
) -> httpx2.Response:
    text = body if isinstance(body, str) else json.dumps(body)
    moment = datetime.now(UTC) - age
    signed = {
        "webhook-id": name,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(name, moment, text),
    }
    return await api.client.post(path, content=text.encode(), headers={**signed, **(headers or {})})


async def count(api: Api) -> int:
    return (await api.assets.list("shop", limit=1)).total


async def test_a_delivery_becomes_an_asset(api: Api) -> None:
    answer = await deliver(
        api, {"url": URL, "type": "image", "path": "crm/leads/7", "metadata": {"lead": "7"}, "is_public": False}
    )
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert (body["file_type"], body["collection"], body["metadata"]) == ("image", "crm/leads/7", {"lead": "7"})
    assert (body["user"], body["user_username"], body["is_public"]) == ("42", "crm", False)
    assert answer.headers["Location"] == f"/api/media/{body['id']}/"
    assert (await api.assets.get("shop", body["id"])).spec.source.url == URL


@pytest.mark.parametrize("secret", [SECRET, NEWER])
async def test_each_secret_of_a_rotation(api: Api, secret: str) -> None:
    assert (await deliver(api, {"url": URL}, secret=secret)).status_code == 201


async def test_one_valid_signature_of_several_is_enough(api: Api) -> None:
    stranger = "whsec_" + base64.b64encode(bytes(24)).decode()
    text = json.dumps({"url": URL})
    moment = datetime.now(UTC)
    signatures = " ".join(["v1a,AAAA", *(Webhook(secret).sign("msg_1", moment, text) for secret in (stranger, SECRET))])
    assert (await deliver(api, text, headers={"webhook-signature": signatures})).status_code == 201


async def test_a_hundred_deliveries_at_once_make_one_asset(api: Api) -> None:
    answers = await asyncio.gather(*(deliver(api, {"url": URL}) for _ in range(100)))
    assert sorted(answer.status_code for answer in answers) == [200] * 99 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert await count(api) == 1


async def test_another_delivery_and_another_source_make_another_asset(api: Api) -> None:
    for name, path in (("msg_1", PATH), ("msg_2", PATH), ("msg_1", "/webhooks/in/other")):
        assert (await deliver(api, {"url": URL}, name=name, path=path)).status_code == 201
    assert await count(api) == 3


async def test_a_delivery_after_the_deletion_makes_none(api: Api) -> None:
    asset = await api.assets.get("shop", (await deliver(api, {"url": URL})).json()["id"])
    await api.assets.delete(*asset.key)
    assert (await deliver(api, {"url": URL})).status_code == 204
    await api.store.create(keys.tombstone(*asset.key), b"{}")
    await api.assets.release(await api.assets.get(*asset.key))
    assert (await deliver(api, {"url": URL})).status_code == 204
    assert await count(api) == 0


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
async def test_without_a_header(api: Api, missing: str) -> None:
    answer = await deliver(api, {"url": URL}, headers={missing: ""})
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (401, "signature-missing")


@pytest.mark.parametrize(
    "headers",
    [
        {"webhook-id": "msg_2"},
        {"webhook-timestamp": "1"},
        {"webhook-timestamp": "nan"},
        {"webhook-timestamp": "never"},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,!!!"},
        {"webhook-signature": "a,b,c , v1"},
    ],
)
async def test_what_is_not_signed(api: Api, headers: dict[str, str]) -> None:
    text = json.dumps({"url": URL})
    signed = await deliver(api, text, path="/webhooks/in/nobody/")
    assert signed.status_code == 404
    answer = await deliver(api, text, headers=headers)
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (403, "signature-invalid")
    assert await count(api) == 0


@pytest.mark.parametrize(("age", "status"), [(-290, 201), (290, 201), (310, 403), (-310, 403)])
async def test_the_window_of_five_minutes(api: Api, age: int, status: int) -> None:
    assert (await deliver(api, {"url": URL}, age=timedelta(seconds=age))).status_code == status


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("no json", 400),
        ("[]", 400),
        ({}, 422),
        ({"url": "ftp://x/y"}, 422),
        ({"url": "https://user:pass@x/y"}, 422),
        ({"url": URL, "type": "cat"}, 422),
        ({"url": URL, "path": "users/43"}, 403),
        ({"url": URL, "path": "../x"}, 422),
        ({"url": URL, "profile": "nothing"}, 422),
        ({"url": URL, "metadata": {"a": 1}}, 422),
        ({"url": URL, "caption": "\ud800"}, 422),
    ],
)
async def test_what_is_signed_but_wrong(api: Api, body: object, status: int) -> None:
    answer = await deliver(api, body)
    assert answer.status_code == status, answer.text
    assert await count(api) == 0


@pytest.mark.parametrize(("extra", "status"), [(-1, 201), (0, 201), (1, 413)])
async def test_the_largest_payload(api: Api, extra: int, status: int) -> None:
    text = json.dumps({"url": URL})
    answer = await deliver(api, text + " " * (MAX_BYTES + extra - len(text)))
    assert answer.status_code == status, answer.text


async def test_the_file_is_read_again_when_it_changes(api: Api, tmp_path: Path) -> None:
    file = tmp_path / "sources.yaml"
    file.write_text(yaml.safe_dump([{**SOURCE, "name": "crm-of-the-new-name"}]))
    assert (await deliver(api, {"url": URL})).status_code == 404
    assert (await deliver(api, {"url": URL}, path="/webhooks/in/crm-of-the-new-name/")).status_code == 201
    with structlog.testing.capture_logs() as lines:
        file.write_text("{")
        assert (await deliver(api, {"url": URL}, path="/webhooks/in/crm-of-the-new-name/")).status_code == 200
    assert "before stay" in str(lines)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"secrets": ["whsec_c2hvcnQ="]}, "24 to 64 bytes"),
        ({"secrets": ["plain-secret-that-is-none"]}, "whsec_"),
        ({"secrets": []}, "secrets"),
        ({"user": "../b"}, "user"),
        ({"namespace": "Shop"}, "namespace"),
        ({"scopes": ["admin"]}, "scopes"),
    ],
)
def test_a_file_that_is_wrong_says_where_and_shows_no_secret(
    tmp_path: Path, change: dict[str, object], words: str
) -> None:
    file = tmp_path / "sources.yaml"
    file.write_text(yaml.safe_dump([{**SOURCE, **change}]))
    with pytest.raises(ValueError, match=words) as error:
        Sources(file)
    assert "entry 1" in str(error.value)
    assert not any(secret in str(error.value) for secret in (SECRET, NEWER, "plain-secret"))


def test_two_sources_of_one_name(tmp_path: Path) -> None:
    file = tmp_path / "sources.yaml"
    file.write_text(yaml.safe_dump([SOURCE, SOURCE]))
    with pytest.raises(ValueError, match="two sources"):
        Sources(file)
