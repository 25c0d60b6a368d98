"""Every status that the OpenAPI document promises, reached by a real request and held to what it says of the answer.

A row names a status, the problem's type, the request and the situation. Each operation has a row for each status that
is documented, and no row reaches another one.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import graph
import redisserver
import s3server
from asking import (
    LARGE,
    MESSAGE,
    PNG,
    SOURCE,
    UNKNOWN,
    WRONG,
    Row,
    ad_image,
    ad_images,
    again,
    appends,
    arrange,
    ask,
    avatar,
    bulk,
    bulk_body,
    change,
    check,
    collection,
    complete,
    completing,
    create,
    creating,
    delete,
    deleted,
    deliver,
    delivery,
    download,
    download_of_many_files,
    files,
    followed,
    following,
    form,
    from_url,
    guarded,
    handshake,
    limited,
    lost,
    message,
    objects,
    page,
    page_of_docs,
    plain,
    presign,
    put,
    put_named,
    read,
    redelivered,
    reprocess,
    sending,
    slow,
    stats,
    to_upload,
    tus_rows,
    upload,
    user,
    whatsapp,
)
from described import METHODS, operations
from graph import Fault, Graph
from media_ingest.errors import TYPE_PREFIX
from media_ingest.routes import tus
from messages import APP_SECRET, NUMBER, TOKEN
from tabled import DISK_BYTES, Call, Situations

TABLE: dict[str, list[Row]] = {
    "upload": [ask(201, None, upload), *files(upload)],
    "put": [ask(201, None, put), *files(put)],
    "put-named": [ask(201, None, put_named), *files(put_named)],
    "upload-ad-image": [*files(ad_image), lost(ad_image, "/api/ads/.hidden/upload_image/")],
    "set-avatar": [*files(avatar, 200), lost(avatar, "/api/users/43/")],
    "presign": [
        ask(201, None, presign),
        *guarded(presign, store=True),
        *objects(presign),
        ask(404, "not-found", presign, "no forms"),
        ask(413, "source-too-large", form(10**12)),
        ask(422, "invalid-field", form(0)),
    ],
    "complete": [
        ask(200, None, complete),
        *guarded(complete, store=True),
        lost(complete, "/api/media/nothing/complete/"),
        ask(409, "upload-incomplete", completing(None)),
        ask(413, "source-too-large", completing(LARGE)),
        ask(415, "unsupported-type", completing(UNKNOWN)),
        ask(422, "infected", complete, "infected"),
    ],
    "tusOptions": [ask(204, None, plain("OPTIONS", "/api/tus/"), user=None)],
    "tusUploadOptions": [ask(204, None, plain("OPTIONS", "/api/tus/m1"), user=None)],
    "tusCreate": [
        ask(201, None, create),
        ask(201, None, creating),
        *guarded(create, store=True),
        ask(400, "malformed-request", create, headers={"Upload-Length": None}),
        slow(creating),
        ask(412, "tus-version", create, headers={"Tus-Resumable": None}),
        ask(413, "source-too-large", create, headers={"Upload-Length": str(10**12)}),
        ask(415, "unsupported-type", creating, content=UNKNOWN, headers={"Upload-Length": str(len(UNKNOWN))}),
        ask(422, "invalid-field", create, headers={"Upload-Metadata": "order Zmlyc3Q="}),
        ask(460, "checksum-mismatch", creating, headers=WRONG),
        ask(
            507,
            "disk-full",
            creating,
            "full",
            content=PNG.ljust(DISK_BYTES + 1, b"x"),
            headers={"Upload-Length": str(DISK_BYTES + 1)},
        ),
    ],
    "tusOffset": [ask(200, None, to_upload("HEAD")), *tus_rows(to_upload("HEAD"))],
    "tusAppend": appends(),
    "tusTerminate": [ask(204, None, to_upload("DELETE")), *tus_rows(to_upload("DELETE"))],
    "tusOverride": [
        ask(200, None, to_upload("POST", override="HEAD")),
        ask(204, None, to_upload("POST", override="DELETE")),
        *appends(override="PATCH"),
        ask(405, "method-not-allowed", to_upload("POST")),
    ],
    "fromURL": [
        ask(201, None, from_url),
        *guarded(from_url),
        *objects(from_url),
        ask(410, "deleted", deleted(from_url)),
        ask(422, "invalid-field", from_url, json={"url": "ftp://files.example.org/a"}),
    ],
    "list": [
        ask(200, None, page),
        *guarded(page, lesser="writer"),
        ask(422, "invalid-field", page, params={"page": "0"}),
    ],
    "stats": [ask(200, None, stats), *guarded(stats, lesser="writer")],
    "bulk": [
        ask(200, None, bulk),
        *guarded(bulk, lesser="alice"),
        *objects(bulk),
        ask(422, "invalid-field", bulk, json={**bulk_body, "action": "forget"}),
    ],
    "read": [
        ask(200, None, read),
        *guarded(read, lesser="writer"),
        lost(read, "/api/media/nothing/"),
        ask(422, "invalid-field", read, params={"wait": "long"}),
    ],
    "change": [
        ask(200, None, change),
        *guarded(change),
        *objects(change),
        lost(change, "/api/media/nothing/"),
        ask(422, "invalid-field", change, json={"order": "first"}),
    ],
    "delete": [ask(204, None, delete), *guarded(delete), lost(delete, "/api/media/nothing/")],
    "reprocess": [
        ask(202, None, reprocess),
        *guarded(reprocess),
        lost(reprocess, "/api/media/nothing/reprocess/"),
        ask(422, "invalid-field", reprocess, params={"renditions": "nothing"}),
    ],
    "download": [
        ask(302, None, download),
        *guarded(download, lesser="writer"),
        lost(download, "/api/media/nothing/download/"),
        ask(409, "asset-not-ready", download, params={"rendition": "large"}),
        ask(422, "invalid-field", download_of_many_files),
    ],
    "follow": [
        ask(200, None, following),
        ask(204, None, followed),
        *guarded(following, lesser="writer"),
        lost(following, "/api/media/nothing/events/"),
    ],
    "collection": [
        ask(200, None, collection),
        *guarded(collection, lesser="writer"),
        lost(collection, "/api/collections/.hidden/"),
        ask(422, "invalid-field", collection, params={"page": "0"}),
    ],
    "arrange": [
        ask(200, None, arrange),
        *guarded(arrange),
        *objects(arrange),
        lost(arrange, "/api/collections/.hidden/order/"),
        ask(422, "invalid-field", arrange, json={"ids": ["nothing"]}),
    ],
    "ad-images": [
        ask(200, None, ad_images),
        *guarded(ad_images, lesser="writer"),
        lost(ad_images, "/api/ads/.hidden/images/"),
        ask(422, "invalid-field", ad_images, params={"page": "0"}),
    ],
    "user": [ask(200, None, user), *guarded(user, lesser="writer"), lost(user, "/api/users/43/")],
    "deliver": [
        ask(201, None, deliver),
        again(200, None, deliver),
        ask(204, None, redelivered),
        ask(400, "malformed-request", delivery("{")),
        ask(401, "signature-missing", delivery({}, signed=False)),
        ask(403, "signature-invalid", deliver, content=b"{}"),
        lost(deliver, "/webhooks/in/nobody/"),
        ask(413, "payload-too-large", deliver, content=bytes(4_000_000)),
        ask(422, "invalid-field", delivery({"url": "ftp://files.example.org/a"})),
        limited(deliver),
        ask(503, "assets-unavailable", deliver, "no assets"),
    ],
    "whatsappHandshake": [
        ask(200, None, handshake, user=None),
        ask(403, "forbidden", handshake, params={"hub.mode": "subscribe"}),
        limited(handshake),
        ask(503, "assets-unavailable", handshake, "no assets"),
    ],
    "whatsappDeliver": [
        ask(200, None, message),
        ask(400, "malformed-request", whatsapp(b"{")),
        ask(401, "signature-missing", whatsapp(MESSAGE, None)),
        ask(403, "signature-invalid", whatsapp(MESSAGE, "another")),
        ask(413, "payload-too-large", message, content=bytes(4_000_000)),
        limited(message),
        ask(503, "assets-unavailable", message, "no assets"),
    ],
    "whatsappSend": [
        ask(200, None, sending()),
        *guarded(sending()),
        ask(400, "malformed-request", sending(), content=b"{"),
        lost(sending(), "/api/whatsapp/nobody/send/"),
        ask(409, "asset-not-ready", sending(ready=False)),
        ask(413, "payload-too-large", sending(), content=bytes(100_000)),
        ask(422, "invalid-field", sending(), json={}),
        ask(429, "whatsapp-busy", sending(fault=Fault(status=400, code=130429))),
        ask(502, "whatsapp-account", sending(fault=Fault(status=401, code=190))),
        ask(504, "whatsapp-unknown", sending(fault=Fault(status=502))),
    ],
    "whatsappCheck": [
        ask(200, None, check),
        *guarded(check),
        lost(check, "/api/whatsapp/nobody/check/"),
    ],
    "openapi": [
        ask(200, None, plain("GET", "/api/openapi.json"), user=None),
        limited(plain("GET", "/api/openapi.json")),
    ],
    "docs": [ask(200, None, page_of_docs, user=None), limited(page_of_docs)],
    "docs-file": [
        ask(200, None, page_of_docs, path="/api/docs/page.js"),
        ask(200, None, page_of_docs, path="/api/docs/page.css"),
        lost(page_of_docs, "/api/docs/page.html"),
        limited(plain("GET", "/api/docs/page.js")),
    ],
    "healthz": [ask(200, None, plain("GET", "/healthz"), user=None)],
    "readyz": [
        ask(200, None, plain("GET", "/readyz"), user=None),
        ask(503, "not-ready", plain("GET", "/readyz"), "no store"),
    ],
}


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3server.S3Server]:
    with s3server.start(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redisserver.RedisServer]:
    with redisserver.started(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def graph_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Graph]:
    with graph.serving() as server:
        server.tokens.add(TOKEN)
        server.numbers[NUMBER] = "+1 555-078-3881"
        server.businesses["8856996819413533"] = ["media"]
        server.app_secret = APP_SECRET
        monkeypatch.setenv("MEDIA_GRAPH_URL", server.url)
        yield server


@pytest.fixture
def situations(
    tmp_path: Path, s3: s3server.S3Server, redis_server: redisserver.RedisServer, graph_server: Graph
) -> Situations:
    return Situations(path=tmp_path, s3=s3, redis=redis_server, graph=graph_server, sources=[SOURCE])


@pytest.mark.parametrize("name", operations())
async def test_each_documented_status_and_no_other(
    name: str, situations: Situations, monkeypatch: pytest.MonkeyPatch
) -> None:
    # How long a request waits for the one before it says nothing about the answer.
    monkeypatch.setattr(tus, "PATIENCE_SECONDS", 0.5)
    operation, found = operations()[name], set[int]()
    for kind in sorted({row.situation for row in TABLE[name]}):
        async with situations.one(kind) as at:
            for row in (each for each in TABLE[name] if each.situation == kind):
                answer = await row.asking(at)
                slug = answer.json()["type"].removeprefix(TYPE_PREFIX) if answer.is_error and answer.content else None
                # A HEAD has no body to say it in.
                expected = None if answer.request.method == "HEAD" else row.slug
                assert (answer.status_code, slug) == (row.status, expected), (kind, answer.text)
                found.add(answer.status_code)
    assert found == operation.statuses


async def test_other_methods_are_refused_with_those_that_there_are(situations: Situations) -> None:
    paths: dict[str, set[str]] = {}
    for operation in operations().values():
        # What can be read can be asked for without its body.
        also = {"HEAD"} if operation.method == "GET" else set[str]()
        paths.setdefault(operation.template, set()).update({operation.method} | also)
    async with situations.one("no forms") as at:
        for path, there in paths.items():
            for method in {name.upper() for name in METHODS} - there:
                answer = await at.send(Call(method=method, path=re.sub(r"{\w+}", "m1", path)))
                assert (answer.status_code, set(answer.headers["Allow"].split(", "))) == (405, there), (method, path)
