"""Reading, listing and deleting: who sees what, and how it is paged."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mediaasset.media import Kind
from mediaasset.reasons import Reason
from mediaasset.status import ConditionType, RenditionStatus, SourceInfo, Status, condition
from mediaasset.task import RenditionState
from uploading import BASE_URL, Api, running_api

PNG = b"\x89PNG\r\n\x1a\n" + bytes(1000)


async def upload(api: Api, user: str = "alice", **params: str) -> str:
    response = await api.post(content=PNG, user=user, params=params)
    assert response.status_code == 201
    name: str = response.json()["id"]
    return name


async def finish(api: Api, name: str, prefix: str, *, url: str | None = None) -> None:
    asset = await api.assets.get("shop", name)
    now = datetime.now(UTC)
    conditions = [
        condition(kind, status=True, reason=Reason.READY, message="", generation=1, now=now)
        for kind in (ConditionType.READY, ConditionType.PUBLISHED)
    ]
    rendition = RenditionStatus(name="medium", state=RenditionState.READY, key=f"{prefix}/medium-0.jpg", url=url)
    info = SourceInfo(type=Kind.IMAGE, mime_type="image/png", size_bytes=len(PNG), sha256="0" * 64, width=3, height=4)
    status = Status(observed_generation=1, renditions=(rendition,), source_info=info).with_conditions(conditions)
    await api.assets.write_status(asset, status)


async def test_a_ready_public_asset(api: Api) -> None:
    name = await upload(api)
    url = f"{BASE_URL}/media/shop/users/42/u/medium-0.jpg"
    await finish(api, name, "media/shop/users/42/u", url=url)
    answer = (await api.get(f"/api/media/{name}/")).json()
    assert (answer["status"], answer["display_url"], answer["urls"]) == ("ready", url, {"medium": url})
    assert (answer["width"], answer["height"], answer["mime_type"]) == (3, 4, "image/png")
    assert answer["progress"] is None
    assert answer["updated_at"] > answer["created_at"]


async def test_a_ready_private_asset_has_signed_urls(api: Api) -> None:
    name = await upload(api, is_public="false")
    await finish(api, name, "private/shop/users/42/u")
    answer = (await api.get(f"/api/media/{name}/")).json()
    assert answer["display_url"].startswith(f"{BASE_URL}/private/~")
    assert answer["display_url"].endswith("/shop/users/42/u/medium-0.jpg")


async def test_an_asset_that_became_private_shows_no_url_until_it_was_moved(api: Api) -> None:
    name = await upload(api, is_public="false")
    await finish(api, name, "media/shop/users/42/u", url=f"{BASE_URL}/media/x.jpg")
    answer = (await api.get(f"/api/media/{name}/")).json()
    assert answer["urls"] == {"medium": None}


@pytest.mark.parametrize("user", ["bob", "other"])
async def test_others_find_nothing(api: Api, user: str) -> None:
    name = await upload(api)
    for response in (
        await api.get(f"/api/media/{name}/", user=user),
        await api.delete(f"/api/media/{name}/", user=user),
    ):
        assert response.status_code == 404
        # The same as for one that never was.
        assert response.json() == {
            **(await api.get(f"/api/media/{name[:-1]}x/", user=user)).json(),
            "detail": response.json()["detail"],
        }
    assert (await api.get("/api/media/", user=user)).json()["count"] == 0
    assert (await api.get(f"/api/media/{name}/")).status_code == 200


async def test_the_admin_of_a_namespace_sees_all_of_it(api: Api) -> None:
    names = [await upload(api, user="alice"), await upload(api, user="bob")]
    listed = (await api.get("/api/media/", user="admin")).json()
    assert [item["id"] for item in listed["results"]] == names[::-1]
    assert (await api.delete(f"/api/media/{names[0]}/", user="admin")).status_code == 204
    assert (await api.post(content=PNG, user="admin", params={"path": "ads/1"})).status_code == 201


async def test_deleted_is_not_found_at_once_and_not_listed(api: Api) -> None:
    name = await upload(api)
    response = await api.delete(f"/api/media/{name}/")
    assert (response.status_code, response.content) == (204, b"")
    assert (await api.assets.get("shop", name)).deleted_at is not None
    assert (await api.get(f"/api/media/{name}/")).status_code == 404
    assert (await api.delete(f"/api/media/{name}/")).status_code == 404
    assert (await api.get("/api/media/")).json()["count"] == 0


async def test_pages(api: Api) -> None:
    names = [await upload(api, user="alice" if number % 2 else "bob") for number in range(10)]
    mine = [name for number, name in enumerate(names) if number % 2][::-1]
    seen, url = [], f"{api.client.base_url}/api/media/?page_size=2"
    while url:
        page = (await api.get(url)).json()
        assert page["count"] == 5
        seen += [item["id"] for item in page["results"]]
        previous, url = page["previous"], page["next"]
    assert seen == mine
    assert previous == f"{api.client.base_url}/api/media/?page_size=2&page=2"


async def test_a_page_behind_the_last_is_empty_and_leads_back(api: Api) -> None:
    await upload(api)
    page = (await api.get("/api/media/?page=9")).json()
    assert (page["results"], page["next"]) == ([], None)
    assert page["previous"].endswith("page=1")


@pytest.mark.parametrize("query", ["page=0", "page=-1", "page=x", "page_size=0", "page_size=101", "page=99999999999"])
async def test_pages_that_cannot_be(api: Api, query: str) -> None:
    response = await api.get(f"/api/media/?{query}")
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [query.partition("=")[0]]


async def test_the_public_url_is_the_base_of_links(tmp_path: Path) -> None:
    async with running_api(tmp_path, public_url="https://api.example/media-service/", page_size=1) as api:
        await upload(api)
        await upload(api)
        page = (await api.get("/api/media/")).json()
        assert page["next"] == "https://api.example/media-service/api/media/?page=2"


async def test_assets_that_do_not_answer(api: Api) -> None:
    await api.database._connection.execute("DROP TABLE assets")
    for path in ("/api/media/", "/api/media/x/"):
        response = await api.get(path)
        assert response.status_code == 503
        assert response.headers["Retry-After"]
