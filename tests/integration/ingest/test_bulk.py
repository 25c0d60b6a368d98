"""One action on many assets."""

from pathlib import Path
from typing import Any

import httpx2
import pytest

from mediaasset.names import REPROCESS_ANNOTATION
from uploading import Api, running_api

PNG = b"\x89PNG\r\n\x1a\n" + bytes(1000)
PDF = b"%PDF-1.7\n" + bytes(2000)


async def upload(api: Api, content: bytes = PNG, user: str = "alice", **params: str) -> str:
    response = await api.post(content=content, user=user, params=params)
    assert response.status_code == 201
    name: str = response.json()["id"]
    return name


async def post(api: Api, body: Any, user: str = "admin") -> httpx2.Response:
    return await api.client.post("/api/media/bulk/", headers=api.auth(user), json=body)


async def done(api: Api, body: Any) -> dict[str, Any]:
    response = await post(api, body)
    assert response.status_code == 200
    answer: dict[str, Any] = response.json()
    return answer


async def left(api: Api) -> set[str]:
    return {item["id"] for item in (await api.get("/api/media/", user="admin")).json()["results"]}


async def test_nothing_happens_unless_it_is_said(api: Api) -> None:
    for _ in range(3):
        await upload(api)
    answer = await done(api, {"action": "delete", "filter": {}})
    assert answer == {"dry_run": True, "matched": 3, "done": 0, "failed": []}
    assert len(await left(api)) == 3


async def test_delete_by_filter_is_for_all_users_and_one_namespace(api: Api) -> None:
    for user in ("alice", "bob"):
        await upload(api, user=user, collection="old")
    kept = {await upload(api), await upload(api, PDF, collection="old")}
    elsewhere = await upload(api, user="other", collection="old")
    asked = {"action": "delete", "filter": {"collection": "old", "type": "image"}, "dry_run": False}
    assert await done(api, asked) == {"dry_run": False, "matched": 2, "done": 2, "failed": []}
    assert await left(api) == kept
    assert (await api.assets.get("museum", elsewhere)).deleted_at is None
    assert await done(api, asked) == {"dry_run": False, "matched": 0, "done": 0, "failed": []}


async def test_reprocess_by_filter_does_not_ask_twice(api: Api) -> None:
    image, report = await upload(api), await upload(api, PDF)
    asked = {"action": "reprocess", "filter": {"type": "image"}, "dry_run": False}
    assert (await done(api, asked))["done"] == 1
    first = (await api.assets.get("shop", image)).metadata.annotations[REPROCESS_ANNOTATION]
    assert (await done(api, asked))["done"] == 1
    assert (await api.assets.get("shop", image)).metadata.annotations[REPROCESS_ANNOTATION] == first
    assert REPROCESS_ANNOTATION not in (await api.assets.get("shop", report)).metadata.annotations


async def test_more_than_one_request_may_touch_is_refused_whole(tmp_path: Path) -> None:
    async with running_api(tmp_path, max_bulk=2) as api:
        names = {await upload(api) for _ in range(3)}
        response = await post(api, {"action": "delete", "filter": {}, "dry_run": False})
        assert response.status_code == 422
        assert [error["field"] for error in response.json()["errors"]] == ["filter"]
        assert await left(api) == names
        assert (await done(api, {"action": "delete", "filter": {}}))["matched"] == 3
        await api.delete(f"/api/media/{names.pop()}/")
        assert (await done(api, {"action": "delete", "filter": {}, "dry_run": False}))["done"] == 2
        assert await left(api) == set()


async def test_more_than_a_page(api: Api) -> None:
    asset = await api.assets.get("shop", await upload(api))
    for number in range(600):
        copy = asset.metadata.model_copy(update={"name": f"copy-{number}"})
        await api.assets.create(asset.model_copy(update={"metadata": copy}))
    answer = await done(api, {"action": "delete", "filter": {"type": "image"}, "dry_run": False})
    assert (answer["matched"], answer["done"]) == (601, 601)
    assert await left(api) == set()


async def test_what_failed_is_named_and_can_be_sent_again(api: Api) -> None:
    names = [await upload(api) for _ in range(3)]
    asked = {"action": "delete", "filter": {}, "dry_run": False}
    await api.database.rows(
        f"CREATE TRIGGER fault BEFORE UPDATE ON assets WHEN NEW.name = '{names[1]}'"
        " BEGIN SELECT RAISE(ABORT, 'fault'); END"
    )
    answer = await done(api, asked)
    await api.database.rows("DROP TRIGGER fault")
    assert (answer["matched"], answer["done"], [item["id"] for item in answer["failed"]]) == (3, 2, [names[1]])
    assert (await done(api, asked))["done"] == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "action"),
        ({"action": "delete"}, "filter"),
        ({"action": "copy", "filter": {}}, "action"),
        ({"action": "delete", "filter": {"typ": "image"}, "dry_run": False}, "filter.typ"),
        ({"action": "delete", "filter": {"type": ["image"]}, "dry_run": False}, "filter.type"),
        ({"action": "delete", "filter": {"status": "done"}}, "filter.status"),
        ({"action": "delete", "filter": {}, "dry_run": "false"}, "dry_run"),
        ({"action": "delete", "filter": {}, "dryrun": False}, "dryrun"),
        ({"action": "delete", "filter": []}, "filter"),
    ],
)
async def test_what_is_not_clear_does_nothing(api: Api, body: dict[str, Any], field: str) -> None:
    await upload(api)
    response = await post(api, body)
    assert response.status_code == 422
    assert field in [error["field"] for error in response.json()["errors"]]
    assert len(await left(api)) == 1


async def test_it_needs_the_scope_admin(api: Api) -> None:
    for user, status in {"alice": 403, "reader": 403, "nobody": 401}.items():
        assert (await post(api, {"action": "delete", "filter": {}}, user)).status_code == status
    assert (await api.client.post("/api/media/bulk/", headers=api.auth("admin"), content=b"{")).status_code == 400
