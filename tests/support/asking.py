"""Calls that the API answers, and rows of the table that are made from them: see test_table.py."""

import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx2
from standardwebhooks import Webhook

from graph import Fault
from media_ingest.routes import tus
from media_ingest.settings import Settings
from mediaasset import names
from mediaasset.media import Kind, served_mime
from mediaasset.reasons import Reason
from mediaasset.status import ConditionType, RenditionStatus, SourceInfo, Status, condition
from mediaasset.task import RenditionState
from messages import APP_SECRET, IMAGE, VERIFY_TOKEN, encoded, payload, signature, value
from tabled import DISK_BYTES, Call, Situation

PNG = b"\x89PNG\r\n\x1a\n" + bytes(10_000)
LARGE = PNG.ljust(10_000_001 + 1_000_000, b"x")
UNKNOWN = b"\x7fELF" + bytes(10_000)
SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
KEYED = names.keyed_asset_name("shop", "42", "k")
SOURCE = {"name": "crm", "secrets": [SECRET], "namespace": "shop", "user": "42"}

Maker = Callable[[Situation], Awaitable[Call]]
Asking = Callable[[Situation], Awaitable[httpx2.Response]]


@dataclass(frozen=True, slots=True)
class Row:
    status: int
    slug: str | None
    asking: Asking
    situation: str = "whole"


def ask(status: int, slug: str | None, maker: Maker, situation: str = "whole", **change: Any) -> Row:
    """Return a row for a call that is known to be answered, with something changed about it."""

    async def asking(at: Situation) -> httpx2.Response:
        return await at.send((await maker(at)).but(**change))

    return Row(status, slug, asking, situation)


def again(status: int, slug: str | None, maker: Maker, situation: str = "whole") -> Row:
    """Return a row for the second of two equal calls."""

    async def asking(at: Situation) -> httpx2.Response:
        call = await maker(at)
        await at.send(call)
        return await at.send(call)

    return Row(status, slug, asking, situation)


def held(status: int, slug: str, maker: Maker, lock: Callable[[Call], str]) -> Row:
    """Return a row for a call while another request holds what it needs."""

    async def asking(at: Situation) -> httpx2.Response:
        call = await maker(at)
        async with at.locks.hold(lock(call)):
            return await at.send(call)

    return Row(status, slug, asking)


def slow(maker: Maker) -> Row:
    async def asking(at: Situation) -> httpx2.Response:
        return await at.begin(await maker(at))

    return Row(408, "too-slow", asking, "slow")


def limited(maker: Maker) -> Row:
    return again(429, "too-many-requests", maker, "limited")


def guarded(maker: Maker, *, lesser: str = "reader", store: bool = False) -> list[Row]:
    """Return the rows of whatever needs a token, and the assets or the store."""
    gone = (
        ask(503, "store-unavailable", maker, "no store")
        if store
        else ask(503, "assets-unavailable", maker, "no assets")
    )
    unknown, refused = ask(401, "unauthorized", maker, user=None), ask(403, "forbidden", maker, user=lesser)
    return [unknown, refused, limited(maker), gone]


def lost(maker: Maker, path: str) -> Row:
    return ask(404, "not-found", maker, path=path)


def objects(maker: Maker) -> list[Row]:
    """Return the rows of whatever takes a JSON object."""
    large = b'"' + b"x" * Settings().max_field_bytes + b'"'
    json_headers = {"Content-Type": "application/json"}
    return [
        ask(400, "malformed-request", maker, content=b"[]", headers=json_headers),
        ask(413, "form-too-large", maker, content=large, headers=json_headers),
    ]


def keyed(maker: Maker) -> Maker:
    """Return the call with a key against duplicates."""

    async def call(at: Situation) -> Call:
        return (await maker(at)).but(headers={"Idempotency-Key": "k"})

    return call


def deleted(maker: Maker) -> Maker:
    """Return the call whose key is that of an asset which was deleted."""

    async def call(at: Situation) -> Call:
        await at.send(await keyed(maker)(at))
        await at.send(Call(method="DELETE", path=f"/api/media/{KEYED}/"))
        return await keyed(maker)(at)

    return call


def files(maker: Maker, status: int = 201) -> list[Row]:
    """Return the rows of whatever takes a file, as the body."""
    return [
        *guarded(maker, store=True),
        again(status, None, keyed(maker)),
        ask(400, "empty-source", maker, content=b""),
        slow(maker),
        held(409, "in-progress", keyed(maker), lambda _: f"key:shop/{KEYED}"),
        ask(410, "deleted", deleted(maker)),
        ask(413, "source-too-large", maker, content=LARGE),
        ask(415, "unsupported-type", maker, content=UNKNOWN),
        ask(422, "invalid-field", maker, params={"order": "first"}),
        ask(507, "disk-full", maker, "full", content=PNG.ljust(DISK_BYTES + 1, b"x")),
    ]


# Calls that are answered.


def plain(method: str, path: str, **said: Any) -> Maker:
    async def call(_: Situation) -> Call:
        return Call(method=method, path=path, said=said)

    return call


def to_asset(method: str, path: str = "/api/media/{id}/", **said: Any) -> Maker:
    """Return a call on an asset that was just uploaded."""

    async def call(at: Situation) -> Call:
        return Call(method=method, path=path.format(id=await uploaded(at)), said=said)

    return call


async def uploaded(at: Situation, **params: str) -> str:
    if not at.can_prepare:
        return "nothing"
    answer = await at.send(Call(method="POST", path="/api/media/upload/", said={"content": PNG, "params": params}))
    assert answer.status_code == 201, answer.text
    name: str = answer.json()["id"]
    return name


async def finished(at: Situation, file: str = "large-0123456789abcdef.jpg", **params: str) -> str:
    """Return an asset that a transcoder made one rendition of, in a file or a directory of this name."""
    name = await uploaded(at, is_public="false", **params)
    if not at.can_prepare:
        return name
    key = f"private/shop/users/42/{name}/{file}"
    await at.api.store.create(key, b"\xff\xd8\xff")
    made = RenditionStatus(name="large", state=RenditionState.READY, key=key, mime_type=served_mime(key), size_bytes=3)
    info = SourceInfo(type=Kind.IMAGE, mime_type="image/png", size_bytes=len(PNG), sha256="0" * 64)
    conditions = [
        condition(each, status=True, reason=Reason.READY, message="", generation=1, now=datetime.now(UTC))
        for each in (ConditionType.READY, ConditionType.PUBLISHED)
    ]
    status = Status(observed_generation=1, renditions=(made,), source_info=info).with_conditions(conditions)
    await at.api.assets.write_status(await at.api.assets.get("shop", name), status)
    return name


upload = plain("POST", "/api/media/upload/", content=PNG)
put = plain("PUT", "/api/media/upload/", content=PNG)
put_named = plain("PUT", "/api/media/upload/apple.png/", content=PNG)
avatar = plain("PATCH", "/api/users/42/", content=PNG)
from_url = plain("POST", "/api/media/from-url/", json={"url": "https://files.example.org/a.jpg"})
page = plain("GET", "/api/media/")
stats = plain("GET", "/api/media/stats/")
bulk_body = {"action": "delete", "filter": {"status": "failed"}}
read, delete, reprocess = to_asset("GET"), to_asset("DELETE"), to_asset("POST", "/api/media/{id}/reprocess/")
change = to_asset("PATCH", json={"alt_text": "An apple"})
download = to_asset("GET", "/api/media/{id}/download/")
collection = plain("GET", "/api/collections/users/42/")
arrange = plain("PUT", "/api/collections/users/42/order/", json={"ids": []})
ad_images, user = plain("GET", "/api/ads/12/images/"), plain("GET", "/api/users/42/")
check = plain("GET", "/api/whatsapp/support/check/")
page_of_docs, description = plain("GET", "/api/docs/"), plain("GET", "/api/openapi.json")


async def ad_image(_: Situation) -> Call:
    return Call(method="POST", path="/api/ads/12/upload_image/", user="dealer", said={"content": PNG})


async def bulk(_: Situation) -> Call:
    return Call(method="POST", path="/api/media/bulk/", user="admin", said={"json": bulk_body})


def form(size: int, content_type: str = "application/octet-stream") -> Maker:
    return plain("POST", "/api/media/presign/", json={"size": size, "content_type": content_type})


presign = form(len(PNG))


def completing(content: bytes | None = PNG) -> Maker:
    """Return the call that completes a direct upload; without content its form was never sent."""

    async def call(at: Situation) -> Call:
        url = "/api/media/nothing/complete/"
        if at.can_prepare:
            made = (await at.send(await form(len(content or PNG))(at))).json()
            url = made["complete_url"]
            if content is not None:
                async with httpx2.AsyncClient() as client:
                    sent = await client.post(made["url"], data=made["fields"], files={"file": ("a", content)})
                assert sent.status_code == 204, sent.text
        return Call(method="POST", path=url)

    return call


complete = completing()
VERSION = {"Tus-Resumable": "1.0.0"}
BYTES = {**VERSION, "Content-Type": tus.CONTENT_TYPE}
create = plain("POST", "/api/tus/", headers={**VERSION, "Upload-Length": str(len(PNG))})
creating = plain("POST", "/api/tus/", headers={**BYTES, "Upload-Length": str(len(PNG))}, content=PNG)
WRONG = {"Upload-Checksum": f"sha1 {base64.b64encode(bytes(20)).decode()}"}


def to_upload(method: str, *, size: int | None = None, override: str | None = None, **said: Any) -> Maker:
    """Return a call on an upload that was just begun."""

    async def call(at: Situation) -> Call:
        path = "/api/tus/nothing"
        if at.can_prepare:
            length = len(said.get("content", PNG)) if size is None else size
            path = (await at.send((await create(at)).but(headers={"Upload-Length": str(length)}))).headers["Location"]
        headers = {**said.get("headers", VERSION), **({"X-HTTP-Method-Override": override} if override else {})}
        return Call(method="POST" if override else method, path=path, said={**said, "headers": headers})

    return call


def appends(override: str | None = None) -> list[Row]:
    """Return the rows of what appends to an upload."""
    at_start = {**BYTES, "Upload-Offset": "0"}

    def append(content: bytes = PNG, size: int | None = None) -> Maker:
        return to_upload("PATCH", override=override, headers=at_start, content=content, size=size)

    full = PNG.ljust(DISK_BYTES + 1, b"x")
    return [
        ask(204, None, append()),
        *tus_rows(append()),
        ask(400, "malformed-request", append(), headers={"Upload-Offset": None}),
        slow(append()),
        ask(409, "offset-mismatch", append(), headers={"Upload-Offset": "5"}),
        ask(413, "source-too-large", append(LARGE)),
        ask(415, "unsupported-type", append(UNKNOWN)),
        ask(422, "infected", append(), "infected"),
        ask(460, "checksum-mismatch", append(), headers=WRONG),
        ask(507, "disk-full", append(full), "full"),
    ]


def tus_rows(maker: Maker) -> list[Row]:
    """Return the rows of whatever is done to an upload."""
    return [
        *guarded(maker, store=True),
        lost(maker, "/api/tus/nothing"),
        ask(412, "tus-version", maker, headers={"Tus-Resumable": None}),
        held(423, "upload-locked", maker, lambda call: f"upload:shop/{call.path.rpartition('/')[2]}"),
    ]


def delivery(body: object, *, name: str = "msg_1", signed: bool = True) -> Maker:
    text = body if isinstance(body, str) else json.dumps(body)

    async def call(_: Situation) -> Call:
        moment = datetime.now(UTC)
        headers = {"webhook-id": name, "webhook-timestamp": str(int(moment.timestamp()))}
        if signed:
            headers["webhook-signature"] = Webhook(SECRET).sign(name, moment, text)
        return Call(
            method="POST", path="/webhooks/in/crm/", user=None, said={"content": text.encode(), "headers": headers}
        )

    return call


deliver = delivery({"url": "https://files.example.org/a.jpg"})


async def redelivered(at: Situation) -> Call:
    """Return the delivery of an asset that was deleted."""
    made = await at.send(await deliver(at))
    await at.send(Call(method="DELETE", path=made.headers["Location"]))
    return await deliver(at)


def whatsapp(body: bytes, signed_by: str | None = APP_SECRET) -> Maker:
    headers = {"X-Hub-Signature-256": signature(body, signed_by)} if signed_by else {}

    async def call(_: Situation) -> Call:
        return Call(method="POST", path="/webhooks/whatsapp/", user=None, said={"content": body, "headers": headers})

    return call


MESSAGE = encoded(payload(value(IMAGE)))
message = whatsapp(MESSAGE)
handshake = plain(
    "GET",
    "/webhooks/whatsapp/",
    params={"hub.mode": "subscribe", "hub.challenge": "1", "hub.verify_token": VERIFY_TOKEN},
)


def sending(*, fault: Fault | None = None, ready: bool = True) -> Maker:
    """Return the call that sends a picture, which Graph perhaps refuses."""

    async def call(at: Situation) -> Call:
        name = await finished(at, profile="whatsapp") if ready else await uploaded(at, profile="whatsapp")
        if fault:
            at.graph.faults["message"].append(fault)
        body = {"to": "+16505551234", "media_id": name}
        return Call(method="POST", path="/api/whatsapp/support/send/", said={"json": body})

    return call


async def following(at: Situation) -> Call:
    return Call(method="GET", path=f"/api/media/{await finished(at)}/events/")


async def followed(at: Situation) -> Call:
    call = await following(at)
    streamed = (await at.send(call)).text
    last = next(line for line in streamed.splitlines() if line.startswith("id: "))
    return call.but(headers={"Last-Event-ID": last.removeprefix("id: ")})


async def download_of_many_files(at: Situation) -> Call:
    name = await finished(at, "large-0123456789abcdef/index.m3u8")
    return Call(method="GET", path=f"/api/media/{name}/download/", said={"params": {"rendition": "large"}})
