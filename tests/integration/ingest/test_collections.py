"""Collections, and the doors of marketplaces over them, through the real app."""

from pathlib import Path
from typing import Any

import pytest

from media_ingest.auth import Token, Tokens, digest
from mediaasset.media import Kind
from mediaasset.spec import CollectionPolicy
from shelf import MP4, PATH, PNG, finish, upload
from uploading import USERS, Api, running_api


async def ids(api: Api, path: str = PATH, user: str = "alice") -> list[str]:
    answer = await api.get(f"/api/collections/{path}/", user=user)
    assert answer.status_code == 200
    return [item["id"] for item in answer.json()["items"]]


async def arrange(api: Api, body: object, path: str = PATH, user: str = "alice") -> Any:
    return await api.client.put(f"/api/collections/{path}/order/", json=body, headers=api.auth(user))


async def test_items_stand_by_order_then_by_age_and_the_first_image_leads(api: Api) -> None:
    unplaced = await upload(api, caption="last")
    second = await upload(api, order=2)
    film = await upload(api, MP4, order=0)
    first = await upload(api, order=1, alt_text="An apple")
    await upload(api, path="users/42")
    poster, picture = await finish(api, film, Kind.VIDEO), await finish(api, second)
    body = (await api.get(f"/api/collections/{PATH}/")).json()
    assert (body["path"], body["count"]) == (PATH, 4)
    assert [item["id"] for item in body["items"]] == [film, first, second, unplaced]
    assert body["main_image_url"] == picture
    assert body["items"][0]["image_url"] == body["items"][0]["image"] == poster
    assert (body["items"][1]["alt_text"], body["items"][1]["image_url"], body["items"][1]["status"]) == (
        "An apple",
        None,
        "processing",
    )
    assert body["items"][3]["caption"] == "last"


async def test_a_collection_of_nothing_is_empty_and_a_path_that_cannot_be_is_not_found(api: Api) -> None:
    assert (await api.get("/api/collections/ads/77/")).json() == {
        "path": "ads/77",
        "count": 0,
        "main_image_url": None,
        "items": [],
        "next": None,
    }
    for path in ("a//b", ".hidden", "a b", "a/../b%2F"):
        assert (await api.get(f"/api/collections/{path}/")).status_code == 404


async def test_a_large_collection_has_pages_and_one_main_image(api: Api) -> None:
    names = [await upload(api, order=number) for number in range(5)]
    picture = await finish(api, names[0])
    url, found, answers = f"/api/collections/{PATH}/?page_size=2", list[str](), list[Any]()
    while url:
        answers.append((await api.get(url)).json())
        found += [item["id"] for item in answers[-1]["items"]]
        url = answers[-1]["next"]
    assert found == names
    assert [(each["count"], each["main_image_url"]) for each in answers] == [(5, picture)] * 3
    # Other doors lead to the same pages.
    arranged = (await arrange(api, {"ids": names})).json()
    assert (arranged["items"], arranged["next"]) == ((await api.get(f"/api/collections/{PATH}/")).json()["items"], None)
    for query in ("page=0", "page_size=0", "page_size=1001", "page=x"):
        assert (await api.get(f"/api/collections/{PATH}/?{query}")).status_code == 422


async def test_who_sees_what(api: Api) -> None:
    mine = await upload(api)
    his = await upload(api, user="bob", path="users/43", collection=PATH)
    assert await ids(api) == [mine]
    assert await ids(api, user="bob") == [his]
    assert await ids(api, user="admin") == [mine, his]
    assert await ids(api, user="other") == []
    assert (await api.client.get(f"/api/collections/{PATH}/")).status_code == 401


async def test_the_order_is_put_as_often_as_one_likes(api: Api) -> None:
    names = [await upload(api) for _ in range(5)]
    asked = [names[3], names[1]]
    expected = [names[3], names[1], names[0], names[2], names[4]]
    for _ in range(2):
        answer = await arrange(api, {"ids": asked})
        assert answer.status_code == 200
        assert [(item["id"], item["order"]) for item in answer.json()["items"]] == list(
            zip(expected, range(5), strict=True)
        )
    versions = [(await api.assets.get("shop", name)).metadata.resource_version for name in names]
    await arrange(api, {"ids": expected})
    assert [(await api.assets.get("shop", name)).metadata.resource_version for name in names] == versions
    await api.delete(f"/api/media/{names[3]}/")
    assert await ids(api) == expected[1:]


@pytest.mark.parametrize("body", [{}, {"ids": "x"}, {"ids": [1]}, {"ids": [], "more": 1}, {"ids": ["x"] * 1001}])
async def test_an_order_that_is_none(api: Api, body: dict[str, Any]) -> None:
    assert (await arrange(api, body)).status_code == 422


async def test_ids_that_are_not_there_or_come_twice_are_named_and_nothing_changes(api: Api) -> None:
    mine = await upload(api)
    his = await upload(api, user="bob", path="users/43", collection=PATH)
    answer = await arrange(api, {"ids": [mine, his, "nobody"]})
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["field"] == "ids"
    assert his in error["detail"]
    assert "nobody" in error["detail"]
    assert mine not in error["detail"]
    answer = await arrange(api, {"ids": [mine, mine]})
    assert mine in answer.json()["errors"][0]["detail"]
    assert (await api.assets.get("shop", mine)).spec.order is None
    assert (await arrange(api, {"ids": [mine]}, user="reader")).status_code == 403


async def test_a_collection_that_keeps_the_latest_shows_the_old_one_until_the_new_one_is_ready(api: Api) -> None:
    options: dict[str, Any] = {"collection": PATH, "keep_latest": "true"}
    old = await upload(api, **options)
    beside = await upload(api)
    await finish(api, old)
    new = await upload(api, **options)
    assert (await api.assets.get("shop", new)).spec.collection_policy is CollectionPolicy.KEEP_LATEST
    assert await ids(api) == [old, beside, new]
    await finish(api, new)
    # Nobody has deleted the old one yet: no operator runs here.
    body = (await api.get(f"/api/collections/{PATH}/")).json()
    assert [item["id"] for item in body["items"]] == [beside, new]
    assert body["count"] == 2


async def test_keeping_the_latest_needs_a_collection(api: Api) -> None:
    answer = await api.post(content=PNG, params={"keep_latest": "true"})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["keep_latest"]


SELLER = Token(
    sha256=digest("seller"),
    user="7",
    username="Seller",
    namespace="shop",
    scopes=frozenset({"read", "write"}),
    paths=("ads/*", "avatars/user_{user}"),
)


async def test_the_images_of_an_ad(tmp_path: Path) -> None:
    async with running_api(tmp_path, parts={"tokens": Tokens([*USERS.values(), SELLER])}) as api:
        door, seller = "/api/ads/12/upload_image/", api.auth("seller")
        form = {"alt_text": "Left side", "order": "1", "path": "users/7", "collection": "x", "keep_latest": "true"}
        answer = await api.client.post(door, files={"image": ("a.png", PNG, "image/png")}, data=form, headers=seller)
        assert answer.status_code == 201, answer.text
        made = answer.json()
        assert (made["alt_text"], made["order"], made["status"], made["image_url"]) == (
            "Left side",
            1,
            "processing",
            None,
        )
        assert answer.headers["Location"] == f"/api/media/{made['id']}/"
        spec = (await api.assets.get("shop", made["id"])).spec
        assert (spec.public_path, spec.collection, spec.user_id) == ("ads/12", "ads/12", "7")
        assert spec.collection_policy is CollectionPolicy.KEEP_ALL
        url = await finish(api, made["id"])
        images = (await api.get("/api/ads/12/images/", user="seller")).json()
        assert (images["count"], images["main_image_url"], images["items"][0]["image"]) == (1, url, url)
        assert await ids(api, "ads/12", "seller") == [made["id"]]
        # A token that may not write there, a film, and an id that cannot be a path.
        refused = await api.client.post(door, files={"image": ("a.png", PNG)}, headers=api.auth("alice"))
        assert refused.status_code == 403
        refused = await api.client.post(door, files={"image": ("a.mp4", MP4)}, headers=seller)
        assert (refused.status_code, refused.json()["detected"]) == (415, "video/mp4")
        refused = await api.client.post("/api/ads/.x/upload_image/", files={"image": ("a.png", PNG)}, headers=seller)
        assert refused.status_code == 404
        assert len(api.objects()) == 1


async def set_avatar(api: Api, user: str, token: str) -> Any:
    files = {"avatar": ("me.png", PNG, "image/png")}
    return await api.client.patch(f"/api/users/{user}/", files=files, headers=api.auth(token))


async def test_an_avatar_is_answered_until_the_next_one_is_ready(api: Api) -> None:
    nobody = {"id": "42", "avatar": None, "avatar_url": None, "avatar_id": None, "latest": None}
    assert (await api.get("/api/users/42/")).json() == nobody
    answer = await set_avatar(api, "42", "alice")
    assert answer.status_code == 200, answer.text
    first = answer.json()["latest"]["id"]
    assert answer.json() == {**nobody, "latest": {"id": first, "status": "processing"}}
    url = await finish(api, first)
    answer = await set_avatar(api, "42", "alice")
    second = answer.json()["latest"]["id"]
    assert (answer.json()["avatar_url"], answer.json()["avatar"], answer.json()["avatar_id"]) == (url, url, first)
    spec = (await api.assets.get("shop", second)).spec
    assert (spec.collection, spec.public_path) == ("avatars/user_42", "avatars/user_42")
    assert spec.collection_policy is CollectionPolicy.KEEP_LATEST
    url = await finish(api, second)
    assert (await api.get("/api/users/42/")).json() == {
        "id": "42",
        "avatar": url,
        "avatar_url": url,
        "avatar_id": second,
        "latest": {"id": second, "status": "ready"},
    }


async def test_only_oneself_and_the_admin_set_an_avatar(api: Api) -> None:
    assert (await set_avatar(api, "42", "bob")).status_code == 404
    assert (await api.get("/api/users/42/", user="bob")).status_code == 404
    assert (await set_avatar(api, "42", "reader")).status_code == 403
    assert (await set_avatar(api, ".x", "admin")).status_code == 404
    answer = await set_avatar(api, "42", "admin")
    assert (await api.assets.get("shop", answer.json()["latest"]["id"])).spec.user_id == "42"
    assert (await api.get("/api/users/42/")).json()["latest"] == answer.json()["latest"]
    assert (await api.client.patch("/api/users/42/", json={}, headers=api.auth())).status_code in (400, 415)
