"""Uploads in several requests: tus 1.0.0, request by request."""

import asyncio
import base64
import hashlib
import itertools
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from polling import until
from uploading import Api, running_api

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 400
VERSION = {"Tus-Resumable": "1.0.0"}
BYTES = {"Content-Type": "application/offset+octet-stream"}


def metadata(**fields: str) -> dict[str, str]:
    return {"Upload-Metadata": ",".join(f"{key} {base64.b64encode(v.encode()).decode()}" for key, v in fields.items())}


async def call(api: Api, method: str, url: str, *, user: str = "alice", content: Any = b"", **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await api.client.request(method, url, content=content, headers={**VERSION, **api.auth(user), **named})


async def begun(api: Api, size: int | None = len(PNG), fields: Mapping[str, str] | None = None) -> str:
    length = {"Upload_Length": str(size)} if size is not None else {"Upload_Defer_Length": "1"}
    response = await call(api, "POST", "/api/tus/", **length, **metadata(**(fields or {})))
    assert response.status_code == 201, response.text
    return str(response.headers["Location"])


async def patch(api: Api, url: str, offset: int, content: Any, **headers: str) -> Any:
    return await call(api, "PATCH", url, content=content, **BYTES, Upload_Offset=str(offset), **headers)


def slug(response: Any) -> str:
    return str(response.json()["type"].rpartition(":")[2])


async def test_what_is_understood(api: Api) -> None:
    for url in ("/api/tus/", "/api/tus", "/api/tus/x"):
        response = await api.client.options(url)
        assert response.status_code == 204
        assert response.headers["Tus-Version"] == response.headers["Tus-Resumable"] == "1.0.0"
        assert response.headers["Tus-Checksum-Algorithm"] == "sha1,sha256"
        assert "creation-with-upload" in response.headers["Tus-Extension"]


async def test_three_pieces_become_an_asset(api: Api) -> None:
    fields = {"filename": "äpfel.png", "filetype": "image/png", "caption": "Äpfel", "order": "3", "is_public": "false"}
    url = await begun(api, fields=fields)
    name = url.rpartition("/")[2]
    cuts = [0, 10, 60_000, len(PNG)]
    for start, end in itertools.pairwise(cuts):
        head = await call(api, "HEAD", url)
        assert head.headers["Upload-Offset"] == str(start)
        assert head.headers["Upload-Length"] == str(len(PNG))
        assert head.headers["Cache-Control"] == "no-store"
        answer = (await api.get(f"/api/media/{name}/")).json()
        assert (answer["status"], answer["caption"], answer["file_size"]) == ("uploading", "Äpfel", len(PNG))
        response = await patch(api, url, start, PNG[start:end])
        assert (response.status_code, response.headers["Upload-Offset"]) == (204, str(end))
        assert ("Media-Location" in response.headers) is (end == len(PNG))
    assert response.headers["Media-Location"] == f"/api/media/{name}/"
    answer = (await api.get(response.headers["Media-Location"])).json()
    assert (answer["status"], answer["original_name"], answer["order"]) == ("processing", "äpfel.png", 3)
    assert (answer["is_public"], answer["caption"]) == (False, "Äpfel")
    asset = await api.assets.get("shop", name)
    assert asset.spec.source.object
    assert await api.store.read(asset.spec.source.object.key, max_bytes=1 << 20) == PNG
    assert len(api.objects()) == 1
    head = await call(api, "HEAD", url)
    assert (head.headers["Upload-Offset"], head.headers["Media-Location"]) == (str(len(PNG)), f"/api/media/{name}/")


async def test_one_request_is_enough(api: Api) -> None:
    response = await call(api, "POST", "/api/tus/", content=PNG, **BYTES, Upload_Length=str(len(PNG)))
    assert (response.status_code, response.headers["Upload-Offset"]) == (201, str(len(PNG)))
    assert (await api.get(response.headers["Media-Location"])).json()["file_type"] == "image"


async def test_the_length_may_follow(api: Api) -> None:
    url = await begun(api, None)
    assert (await call(api, "HEAD", url)).headers["Upload-Defer-Length"] == "1"
    await patch(api, url, 0, PNG[:5000])
    assert "Upload-Length" not in (await call(api, "HEAD", url)).headers
    response = await patch(api, url, 5000, PNG[5000:], Upload_Length=str(len(PNG)))
    assert (response.status_code, "Media-Location" in response.headers) == (204, True)
    other = await begun(api, 10)
    assert (await patch(api, other, 0, b"", Upload_Length="11")).status_code == 400


async def test_methods_may_be_overridden(api: Api) -> None:
    url = await begun(api)
    headers = {**BYTES, "X_HTTP_Method_Override": "PATCH", "Upload_Offset": "0"}
    response = await call(api, "POST", url, content=PNG[:10], **headers)
    assert (response.status_code, response.headers["Upload-Offset"]) == (204, "10")
    assert (await call(api, "POST", url, X_HTTP_Method_Override="DELETE")).status_code == 204
    assert (await call(api, "HEAD", url)).status_code == 404
    assert (await call(api, "POST", url)).status_code == 405


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
async def test_checksums(api: Api, algorithm: str) -> None:
    url = await begun(api)
    right = f"{algorithm} {base64.b64encode(hashlib.new(algorithm, PNG[:5000]).digest()).decode()}"
    wrong = await patch(api, url, 0, PNG[:5001], Upload_Checksum=right)
    assert (wrong.status_code, slug(wrong)) == (460, "checksum-mismatch")
    assert (await call(api, "HEAD", url)).headers["Upload-Offset"] == "0"
    assert (await patch(api, url, 0, PNG[:5000], Upload_Checksum=right)).headers["Upload-Offset"] == "5000"


@pytest.mark.parametrize("checksum", ["md5 AAAA", "sha1", "sha1 !", ""])
async def test_what_is_no_checksum(api: Api, checksum: str) -> None:
    url = await begun(api)
    expected = 460 if checksum == "sha1" else 400
    assert (await patch(api, url, 0, PNG[:10], Upload_Checksum=checksum)).status_code == expected


async def test_giving_up_leaves_nothing(api: Api) -> None:
    url = await begun(api)
    await patch(api, url, 0, PNG[:5000])
    assert (await call(api, "DELETE", url)).status_code == 204
    for method in ("HEAD", "DELETE"):
        assert (await call(api, method, url)).status_code == 404
    assert (await patch(api, url, 5000, PNG[5000:])).status_code == 404
    assert await api.nothing_exists()
    assert not list((api.directory.parent / "partial").iterdir())


async def test_an_upload_is_its_users(api: Api) -> None:
    url = await begun(api)
    for user, status in (("bob", 404), ("other", 404), ("reader", 403), ("wrong", 401), ("admin", 200)):
        assert (await call(api, "HEAD", url, user=user)).status_code == status
    name = url.rpartition("/")[2]
    assert (await api.get(f"/api/media/{name}/", user="bob")).status_code == 404
    assert (await api.get("/api/media/")).json()["count"] == 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upload_Length": "0"}, 400),
        ({"Upload_Length": "-1"}, 400),
        ({"Upload_Length": "1e3"}, 400),
        ({"Upload_Length": "9" * 30}, 400),
        ({}, 400),
        ({"Upload_Length": "10", "Upload_Metadata": "filename !"}, 400),
        ({"Upload_Length": "10", **metadata(order="x")}, 422),
        ({"Upload_Length": "10", **metadata(path="ads/1")}, 403),
        ({"Upload_Length": "10", **metadata(profile="none")}, 422),
        ({"Upload_Length": "10", "Tus-Resumable": "0.2.2"}, 412),
        ({"Upload_Length": str(10**9)}, 413),
    ],
)
async def test_what_is_not_begun(api: Api, headers: dict[str, str], status: int) -> None:
    response = await call(api, "POST", "/api/tus/", **headers)
    assert response.status_code == status
    assert await api.nothing_exists()


@pytest.mark.parametrize("extra", [-1, 0, 1])
async def test_the_limit_of_what_it_is_declared_to_be(api: Api, extra: int) -> None:
    limit = await api.image_limit()
    response = await call(api, "POST", "/api/tus/", Upload_Length=str(limit + extra), **metadata(filetype="image/png"))
    assert response.status_code == (413 if extra > 0 else 201)
    if extra > 0:
        assert (response.json()["limit"], response.json()["received"]) == (limit, limit + 1)


@pytest.mark.parametrize("extra", [-1, 0, 1])
async def test_the_limit_of_what_it_turns_out_to_be(api: Api, extra: int) -> None:
    limit = await api.image_limit()
    url = await begun(api, limit + extra)
    response = await patch(api, url, 0, PNG[:5000])
    if extra <= 0:
        assert response.status_code == 204
        return
    assert (response.status_code, response.json()["limit"], response.json()["received"]) == (413, limit, limit + 1)
    assert await api.nothing_exists()


async def test_what_is_of_no_type_is_refused_by_its_first_bytes(api: Api) -> None:
    url = await begun(api, 100_000)
    response = await patch(api, url, 0, bytes(5000))
    assert (response.status_code, slug(response)) == (415, "unsupported-type")
    assert (await call(api, "HEAD", url)).status_code == 404
    assert await api.nothing_exists()


async def test_what_is_of_no_type_is_refused_in_the_end(api: Api) -> None:
    url = await begun(api, 100)
    assert (await patch(api, url, 0, bytes(50))).status_code == 204
    assert (await patch(api, url, 50, bytes(50))).status_code == 415
    assert await api.nothing_exists()


async def test_an_offset_that_is_not_its(api: Api) -> None:
    url = await begun(api)
    await patch(api, url, 0, PNG[:5000])
    for offset in (0, 4999, 5001):
        response = await patch(api, url, offset, PNG[offset:])
        assert (response.status_code, response.json()["offset"]) == (409, 5000)
    assert (await call(api, "PATCH", url, **BYTES)).status_code == 400
    assert (await call(api, "PATCH", url, Upload_Offset="5000", Content_Type="image/png")).status_code == 415


@pytest.mark.parametrize("chunked", [True, False])
async def test_more_than_was_announced(api: Api, *, chunked: bool) -> None:
    async def content() -> AsyncIterator[bytes]:
        yield PNG[:100]
        yield b"x"

    url = await begun(api, 100)
    response = await patch(api, url, 0, content() if chunked else PNG[:101])
    assert (response.status_code, slug(response)) == (400, "malformed-request")
    assert int((await call(api, "HEAD", url)).headers["Upload-Offset"]) <= 100


async def test_a_later_request_takes_over(api: Api) -> None:
    content = PNG.ljust(3 << 20, b"x")
    url = await begun(api, len(content))
    given_up = asyncio.Event()

    async def hanging() -> AsyncIterator[bytes]:
        yield content[: 2 << 20]
        await given_up.wait()

    async def has_begun() -> bool | None:
        return any(path.stat().st_size for path in (api.directory.parent / "partial").iterdir()) or None

    hung = asyncio.create_task(patch(api, url, 0, hanging()))
    await until(has_begun)
    head = await call(api, "HEAD", url)
    offset = int(head.headers["Upload-Offset"])
    assert 0 < offset <= 2 << 20
    # The client reads no answer before its body has ended.
    given_up.set()
    response = await hung
    assert (response.status_code, slug(response)) == (423, "upload-locked")
    assert (await patch(api, url, offset, content[offset:])).headers["Media-Location"]


async def test_what_arrived_before_the_connection_broke_is_kept(api: Api) -> None:
    url = await begun(api)
    _, writer = await asyncio.open_connection("127.0.0.1", api.port)
    lines = [f"PATCH {url} HTTP/1.1", "Host: x", "Authorization: Bearer alice", "Tus-Resumable: 1.0.0"]
    lines += ["Content-Type: application/offset+octet-stream", "Upload-Offset: 0", f"Content-Length: {len(PNG)}"]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + PNG[:70_000])
    await writer.drain()
    writer.close()
    async with asyncio.timeout(10):
        while (head := await call(api, "HEAD", url)).headers["Upload-Offset"] == "0":  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.02)
    offset = int(head.headers["Upload-Offset"])
    assert offset == 70_000
    assert (await patch(api, url, offset, PNG[offset:])).headers["Media-Location"]


async def test_assets_that_do_not_answer_are_asked_again(api: Api) -> None:
    url = await begun(api)
    await api.database._connection.execute("ALTER TABLE assets RENAME TO away")
    response = await patch(api, url, 0, PNG)
    assert response.status_code == 503
    await api.database._connection.execute("ALTER TABLE away RENAME TO assets")
    head = await call(api, "HEAD", url)
    assert (await api.get(head.headers["Media-Location"])).json()["file_size"] == len(PNG)


async def test_one_that_is_too_old_is_not_found(tmp_path: Path) -> None:
    async with running_api(tmp_path, upload_lifetime_seconds=60) as api:
        url = await begun(api)
        (record,) = api.objects()
        raw = record.read_text()
        assert '"expires"' in raw
        # As if it had begun in another year.
        year = raw.split('"expires":"')[1][:4]
        record.write_text(raw.replace(f'"expires":"{year}', '"expires":"2001'))
        assert (await call(api, "HEAD", url)).status_code == 404
