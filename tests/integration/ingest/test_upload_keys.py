"""Idempotency-Key: one key, one asset, whatever is repeated, at once or later."""

import asyncio
import hashlib
from typing import Any

import pytest

from mediaasset import keys
from mediaasset.names import keyed_asset_name
from uploading import Api

PNG = b"\x89PNG\r\n\x1a\n" + bytes(5000)
URL = "https://example.org/photo.jpg"


def keyed(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


def slug(response: Any) -> str:
    return str(response.json()["type"].rpartition(":")[2])


@pytest.mark.parametrize("quoted", [True, False])
async def test_the_same_again_is_answered_with_the_same_asset(api: Api, *, quoted: bool) -> None:
    first = await api.post(content=PNG, params={"caption": "One"}, headers=keyed('"a key"' if quoted else "a-key"))
    again = await api.post(content=PNG, params={"caption": "One"}, headers=keyed('"a key"' if quoted else "a-key"))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert first.headers["Location"] == again.headers["Location"]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert first.json()["id"] == keyed_asset_name("shop", "42", "a key" if quoted else "a-key")
    asset = await api.assets.get("shop", first.json()["id"])
    assert asset.spec.source.object
    assert asset.spec.source.object.sha256 == hashlib.sha256(PNG).hexdigest()
    assert len(api.objects()) == 1


async def test_a_form_and_a_bare_body_that_say_the_same_are_the_same(api: Api) -> None:
    first = await api.post(files={"file": ("a.png", PNG, "image/png")}, data={"order": "3"}, headers=keyed("k"))
    again = await api.post(
        content=PNG,
        params={"order": "3"},
        headers={**keyed("k"), "Content-Disposition": 'attachment; filename="a.png"'},
    )
    assert first.json() == again.json()


@pytest.mark.parametrize(
    "other",
    [{"content": PNG + b"x"}, {"content": PNG, "params": {"caption": "Two"}}, {"content": PNG[:-1] + b"x"}],
    ids=["longer", "field", "byte"],
)
async def test_other_content_or_fields_are_refused(api: Api, other: dict[str, Any]) -> None:
    await api.post(content=PNG, headers=keyed("k"))
    response = await api.post(**other, headers=keyed("k"))
    assert (response.status_code, slug(response)) == (422, "idempotency-mismatch")
    assert len(api.objects()) == 1


async def test_keys_are_of_a_user(api: Api) -> None:
    first = await api.post(content=PNG, headers=keyed("k"))
    other = await api.post(content=PNG + b"x", headers=keyed("k"), user="bob")
    assert (first.status_code, other.status_code) == (201, 201)


async def test_a_refused_upload_uses_no_key(api: Api) -> None:
    assert (await api.post(content=b"", headers=keyed("k"))).status_code == 400
    assert (await api.post(content=PNG, headers=keyed("k"))).status_code == 201


async def test_of_many_at_once_one_makes_the_asset(api: Api) -> None:
    responses = await asyncio.gather(*(api.post(content=PNG, headers=keyed("k")) for _ in range(20)))
    made = [each for each in responses if each.status_code == 201]
    assert {slug(each) for each in responses if each.status_code != 201} <= {"in-progress"}
    assert len({each.json()["id"] for each in made}) == 1
    assert sum("Idempotency-Replayed" not in each.headers for each in made) == 1
    assert len(api.objects()) == 1
    again = await api.post(content=PNG, headers=keyed("k"))
    assert again.headers["Idempotency-Replayed"] == "true"


async def test_a_running_one_is_said_to_run(api: Api) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> Any:
        yield PNG[:1000]
        arrived.set()
        await go_on.wait()
        yield PNG[1000:]

    running = asyncio.create_task(api.post(content=slow(), headers=keyed("k")))
    await arrived.wait()
    # What was sent has arrived once the answer to a later request of the same connection pool has.
    while (response := await api.post(content=PNG, headers=keyed("k"))).status_code == 201:
        message = "the first request held no lock"
        raise AssertionError(message)
    assert (response.status_code, slug(response)) == (409, "in-progress")
    go_on.set()
    assert (await running).status_code == 201


@pytest.mark.parametrize("released", [False, True], ids=["being-deleted", "gone"])
async def test_the_key_of_a_deleted_asset_makes_no_other(api: Api, *, released: bool) -> None:
    first = await api.post(content=PNG, headers=keyed("k"))
    name = first.json()["id"]
    await api.delete(first.headers["Location"])
    if released:
        # As the operator does it.
        await api.store.create(keys.tombstone("shop", name), b"{}")
        await api.assets.release(await api.assets.get("shop", name))
    response = await api.post(content=PNG, headers=keyed("k"))
    assert (response.status_code, slug(response)) == (410, "deleted")


@pytest.mark.parametrize("key", ["", '""', "x" * 256, '"open', "with space", "ä"])
async def test_what_is_no_key(api: Api, key: str) -> None:
    headers = [(b"Authorization", b"Bearer alice"), (b"Idempotency-Key", key.encode())]
    response = await api.client.post("/api/media/upload/", content=PNG, headers=headers)
    assert (response.status_code, slug(response)) == (422, "invalid-field")
    assert await api.nothing_exists()


async def test_the_longest_key(api: Api) -> None:
    assert (await api.post(content=PNG, headers=keyed("x" * 255))).status_code == 201


async def from_url(api: Api, body: Any, key: str | None = None, user: str = "alice") -> Any:
    headers = {**api.auth(user), **(keyed(key) if key else {})}
    return await api.client.post("/api/media/from-url/", json=body, headers=headers)


async def test_media_of_another_server(api: Api) -> None:
    fields = {"alt_text": "A photo", "order": 3, "path": "users/42/far", "metadata": {"sku": "1"}, "caption": None}
    response = await from_url(
        api, {"url": URL, "type": "image", "is_public": False, "profile": "web", "file_name": "p.jpg", **fields}
    )
    assert response.status_code == 201
    asset = await api.assets.get("shop", response.json()["id"])
    assert asset.spec.source.url == URL
    assert asset.spec.type == "Image"
    assert asset.spec.metadata == {"sku": "1"}
    assert asset.spec.public_path == "users/42/far"
    assert (response.json()["order"], response.json()["is_public"]) == (3, False)
    assert response.json()["original_name"] == "p.jpg"
    assert (await api.get(response.headers["Location"])).json() == response.json()


async def test_media_of_another_server_by_a_key(api: Api) -> None:
    responses = await asyncio.gather(*(from_url(api, {"url": URL}, "k") for _ in range(10)))
    assert [each.status_code for each in responses] == [201] * 10
    assert sum("Idempotency-Replayed" not in each.headers for each in responses) == 1
    assert len({each.json()["id"] for each in responses}) == 1
    other = await from_url(api, {"url": URL + "?2"}, "k")
    assert (other.status_code, slug(other)) == (422, "idempotency-mismatch")
    # An upload with the key of something else is something else.
    upload = await api.post(content=PNG, headers=keyed("k"))
    assert (upload.status_code, slug(upload)) == (422, "idempotency-mismatch")


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        ({}, 422, "invalid-field"),
        ({"url": "ftp://example.org/a"}, 422, "invalid-field"),
        ({"url": "https://user:pass@example.org/a"}, 422, "invalid-field"),
        ({"url": "https://@example.org/a"}, 422, "invalid-field"),
        ({"url": "https:///a"}, 422, "invalid-field"),
        ({"url": "https://[::1/a"}, 422, "invalid-field"),
        ({"url": "https://example.org:99999/a"}, 422, "invalid-field"),
        ({"url": "https://example.org/a b"}, 422, "invalid-field"),
        ({"url": "https://example.org/" + "a" * 2048}, 422, "invalid-field"),
        ({"url": 1}, 422, "invalid-field"),
        ({"url": URL, "type": "picture"}, 422, "invalid-field"),
        ({"url": URL, "type": 1}, 422, "invalid-field"),
        ({"url": URL, "order": -1}, 422, "invalid-field"),
        ({"url": URL, "metadata": {"a": 1}}, 422, "invalid-field"),
        ({"url": URL, "metadata": []}, 422, "invalid-field"),
        ({"url": URL, "path": "ads/1"}, 403, "forbidden"),
        ({"url": URL, "profile": "none"}, 422, "profile-not-found"),
        ([], 400, "malformed-request"),
        ({"url": "x" * 70_000}, 413, "form-too-large"),
    ],
)
async def test_what_is_no_media_of_another_server(api: Api, body: Any, status: int, expected: str) -> None:
    response = await from_url(api, body)
    assert (response.status_code, slug(response)) == (status, expected)
    assert "user:pass" not in response.text
    assert await api.nothing_exists()


async def test_a_reader_may_name_nothing(api: Api) -> None:
    assert (await from_url(api, {"url": URL}, user="reader")).status_code == 403
