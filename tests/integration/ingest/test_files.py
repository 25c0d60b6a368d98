"""Changing an asset, having it made once more, and getting its files."""

import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from mediaasset.names import REPROCESS_ANNOTATION, REPROCESS_RENDITIONS_ANNOTATION
from mediaasset.reasons import Reason
from mediaasset.spec import MediaAsset
from mediaasset.status import ConditionType, RenditionStatus, Status, condition
from mediaasset.task import RenditionState
from uploading import BASE_URL, Api

PNG = b"\x89PNG\r\n\x1a\n" + bytes(1000)


async def upload(api: Api, user: str = "alice", **params: str) -> str:
    headers = {"Content-Disposition": "attachment; filename*=UTF-8''caf%C3%A9.png"}
    response = await api.post(content=PNG, user=user, params=params, headers=headers)
    assert response.status_code == 201
    name: str = response.json()["id"]
    return name


async def patch(api: Api, name: str, user: str = "alice", **arguments: Any) -> httpx2.Response:
    headers = {**api.auth(user), **arguments.pop("headers", {})}
    return await api.client.patch(f"/api/media/{name}/", headers=headers, **arguments)


FIELDS = {"alt_text": "A cat", "caption": "Miau", "order": 3, "is_public": False, "metadata": {"color": "black"}}


async def test_fields_are_changed_and_the_others_stay(api: Api) -> None:
    name = await upload(api, alt_text="old", collection="cats")
    before = (await api.get(f"/api/media/{name}/")).json()
    response = await patch(api, name, json=FIELDS)
    assert response.status_code == 200
    changed = response.json()
    assert {field: changed[field] for field in FIELDS} == FIELDS
    # Renditions that are about to be moved have no place in the answer's other fields.
    assert {**before, **FIELDS} == changed
    assert (await api.get(f"/api/media/{name}/")).json() == changed
    assert (await patch(api, name, json={})).json() == changed
    assert (await api.assets.get("shop", name)).metadata.generation == 2


async def test_null_takes_a_field_away(api: Api) -> None:
    name = await upload(api, alt_text="a", caption="b", order="1", metadata='{"a": "b"}')
    response = await patch(api, name, json=dict.fromkeys(["alt_text", "caption", "order", "metadata"]))
    answer = response.json()
    assert (answer["alt_text"], answer["caption"], answer["order"], answer["metadata"]) == (None, None, None, {})


@pytest.mark.parametrize("kind", ["urlencoded", "multipart"])
async def test_a_form_does_the_same(api: Api, kind: str) -> None:
    name = await upload(api, caption="gone")
    fields = {"alt_text": "Käse", "caption": "", "order": "7", "is_public": "false", "metadata": '{"a": "b"}'}
    if kind == "urlencoded":
        response = await patch(api, name, data=fields)
    else:
        response = await patch(api, name, files={field: (None, text) for field, text in fields.items()})
    assert response.status_code == 200
    expected = {"alt_text": "Käse", "caption": None, "order": 7, "is_public": False, "metadata": {"a": "b"}}
    assert {field: response.json()[field] for field in expected} == expected


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"file_size": 1}, "file_size"),
        ({"collection": "other"}, "collection"),
        ({"alt_text": "x" * 2049}, "alt_text"),
        ({"alt_text": 7}, "alt_text"),
        ({"caption": "a\0b"}, "caption"),
        ({"order": -1}, "order"),
        ({"order": 1_000_001}, "order"),
        ({"order": "many"}, "order"),
        ({"is_public": None}, "is_public"),
        ({"is_public": "perhaps"}, "is_public"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": {"": "empty"}}, "metadata"),
        ({"metadata": {"a": "x" * 1025}}, "metadata"),
        ({"metadata": {str(number): "" for number in range(65)}}, "metadata"),
        ({"alt_text": "fine", "caption": "\ud800"}, "caption"),
    ],
)
async def test_what_cannot_be_is_refused_and_nothing_changes(api: Api, body: dict[str, Any], field: str) -> None:
    name = await upload(api, alt_text="old")
    before = (await api.get(f"/api/media/{name}/")).json()
    content = json.dumps(body).encode()
    response = await patch(api, name, content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert (await api.get(f"/api/media/{name}/")).json() == before


async def test_bounds_are_inclusive(api: Api) -> None:
    name = await upload(api)
    body = {"alt_text": "x" * 2048, "order": 1_000_000, "metadata": {"k" * 128: "x" * 1024}}
    assert (await patch(api, name, json=body)).status_code == 200


PART = b"--x\r\nContent-Disposition: form-data; name=%s\r\n\r\n"


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"[]", "application/json", 400),
        (b"{", "application/json", 400),
        (b"\xff", "application/x-www-form-urlencoded", 400),
        (b"order=1&order=2", "application/x-www-form-urlencoded", 400),
        (b"", "multipart/form-data", 400),
        (PART % b"order" + b"1\r\n", "multipart/form-data; boundary=x", 400),
        (PART % b"file; filename=a" + b"1\r\n--x--", "multipart/form-data; boundary=x", 400),
        (b'{"caption": "' + b"x" * 70_000 + b'"}', "application/json", 413),
    ],
)
async def test_malformed_bodies(api: Api, content: bytes, content_type: str, status: int) -> None:
    name = await upload(api)
    assert (await patch(api, name, content=content, headers={"Content-Type": content_type})).status_code == status


@pytest.mark.parametrize("method", ["patch", "reprocess", "download"])
async def test_who_may(api: Api, method: str) -> None:
    name = await upload(api)

    async def call(user: str, asset: str = name) -> int:
        if method == "patch":
            return (await patch(api, asset, user, json={"order": 1})).status_code
        if method == "download":
            return (await api.get(f"/api/media/{asset}/download/", user=user)).status_code
        return (await api.client.post(f"/api/media/{asset}/reprocess/", headers=api.auth(user))).status_code

    fine = {"patch": 200, "reprocess": 202, "download": 302}[method]
    assert await call("alice") == fine
    assert await call("admin") == fine
    assert await call("bob") == await call("other") == 404
    assert await call("alice", "none") == await call("alice", "No_Name") == 404
    assert await call("nobody") == 401
    assert await call("reader") == (302 if method == "download" else 403)
    await api.delete(f"/api/media/{name}/")
    assert await call("alice") == 404


async def test_reprocess_asks_anew_each_time(api: Api) -> None:
    name = await upload(api)
    await end(api, name, [])
    assert (await api.get(f"/api/media/{name}/")).json()["status"] == "ready"
    asked = []
    for _ in range(2):
        response = await api.client.post(f"/api/media/{name}/reprocess", headers=api.auth())
        assert (response.status_code, response.json()["status"]) == (202, "processing")
        asked.append((await api.assets.get("shop", name)).metadata.annotations[REPROCESS_ANNOTATION])
    assert asked[0] < asked[1]
    assert (await api.get("/api/media/?status=ready")).json()["count"] == 0
    assert await api.assets.unfinished() == (("shop", name),)


async def test_reprocess_of_some_renditions_names_them_and_only_those_that_there_are(api: Api) -> None:
    name = await upload(api)
    await end(api, name, [RenditionStatus(name=each, state=RenditionState.READY) for each in ("medium", "webp")])
    asked = f"/api/media/{name}/reprocess/?renditions="
    assert (await api.client.post(f"{asked}medium,webp", headers=api.auth())).status_code == 202
    annotations = (await api.assets.get("shop", name)).metadata.annotations
    assert annotations[REPROCESS_RENDITIONS_ANNOTATION] == "medium,webp"
    refused = await api.client.post(f"{asked}medium,large", headers=api.auth())
    assert refused.status_code == 422
    assert "there are: medium, webp" in refused.text
    # Whoever asks for all is not given what was named before.
    await api.client.post(f"/api/media/{name}/reprocess/", headers=api.auth())
    assert (await api.assets.get("shop", name)).reprocess_renditions == frozenset()


async def end(
    api: Api, name: str, renditions: list[RenditionStatus], kind: ConditionType = ConditionType.READY
) -> None:
    asset = await api.assets.get("shop", name)
    generation = asset.metadata.generation
    kinds = [kind, *([ConditionType.PUBLISHED] if kind is ConditionType.READY else [])]
    conditions = tuple(
        condition(item, status=True, reason=Reason.READY, message="", generation=generation, now=datetime.now(UTC))
        for item in kinds
    )
    status = Status(observed_generation=generation, renditions=tuple(renditions), conditions=conditions)
    await api.assets.write_status(asset, status)


async def test_download_of_the_bytes_as_they_came(api: Api) -> None:
    name = await upload(api)
    response = await api.get(f"/api/media/{name}/download/")
    assert response.status_code == 302
    assert response.headers["Cache-Control"] == "no-store"
    url = urlsplit(response.headers["Location"])
    source = (await api.assets.get("shop", name)).spec.source.object
    assert source is not None
    assert f"{url.scheme}://{url.netloc}" == BASE_URL
    assert re.fullmatch(f"/download/~[^/]+/{source.key}", url.path)
    assert parse_qs(url.query)["download"] == ["café.png"]
    await api.store.delete([source.key])
    assert (await api.get(f"/api/media/{name}/download/")).status_code == 409
    await end(api, name, [])
    assert (await api.get(f"/api/media/{name}/download/")).status_code == 404


async def test_download_of_a_rendition(api: Api) -> None:
    name = await upload(api)
    assert (await api.get(f"/api/media/{name}/download/?rendition=medium")).status_code == 409
    made = "media/shop/users/42/u/medium-0123456789abcdef.jpg"
    await api.store.create(made, b"jpeg")
    renditions = [
        RenditionStatus(name="medium", state=RenditionState.READY, key=made, mime_type="image/jpeg"),
        RenditionStatus(
            name="hls",
            state=RenditionState.READY,
            key="media/shop/users/42/u/hls-0123456789abcdef/index.m3u8",
            mime_type="application/vnd.apple.mpegurl",
        ),
        RenditionStatus(name="large", state=RenditionState.SKIPPED, reason=Reason.NOT_APPLICABLE, message="why not"),
    ]
    await end(api, name, renditions)
    response = await api.get(f"/api/media/{name}/download/?rendition=medium")
    url = urlsplit(response.headers["Location"])
    assert response.status_code == 302
    assert re.fullmatch(f"/download/~[^/]+/{made}", url.path)
    assert parse_qs(url.query)["download"] == ["café-medium.jpg"]
    for rendition, status, said in (
        ("hls", 422, "several files"),
        ("large", 404, "why not"),
        ("nothing", 404, "medium"),
    ):
        response = await api.get(f"/api/media/{name}/download/?rendition={rendition}")
        assert (response.status_code, said in response.json()["detail"]) == (status, True)
    # While it is being moved it is not where the status says.
    await patch(api, name, json={"is_public": False})
    assert (await api.get(f"/api/media/{name}/download/?rendition=medium")).status_code == 409


async def test_download_of_what_failed(api: Api) -> None:
    name = await upload(api)
    await end(api, name, [], ConditionType.STALLED)
    assert (await api.get(f"/api/media/{name}/download/?rendition=medium")).status_code == 404
    assert (await api.get(f"/api/media/{name}/download/")).status_code == 302


async def test_download_of_what_came_otherwise(api: Api) -> None:
    sent = {"accountName": "shop", "mediaID": "1", "messageID": "m", "timestamp": "2025-01-01T00:00:00Z"}
    for name, source in {"fetched": {"url": "https://example.org/x.jpg"}, "sent": {"whatsapp": sent}}.items():
        body = {"metadata": {"namespace": "shop", "name": name}, "spec": {"source": source, "userID": "42"}}
        await api.assets.create(MediaAsset.model_validate(body))
    assert (await api.get("/api/media/fetched/download/")).status_code == 404
    assert (await api.get("/api/media/sent/download/")).status_code == 409
