"""Uploads through two replicas that share S3 and Redis: what one began, the other ends."""

import asyncio
import base64
import hashlib
import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis.asyncio
from tusclient.client import TusClient

import s3server
from media_ingest import locks
from media_ingest.locks import PREFIX, RedisLocks
from mediaasset.s3parts import PART_BYTES
from polling import until
from replicas import Replicas, running

FILE = b"\0\0\0\x18ftypisom" + hashlib.shake_256(b"film").digest(3 * PART_BYTES + 12_345)
HEADERS = {"Tus-Resumable": "1.0.0", "Authorization": "Bearer alice"}
BYTES = {"Content-Type": "application/offset+octet-stream"}


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3server.S3Server]:
    with s3server.start(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
async def replicas(
    tmp_path: Path, s3: s3server.S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[Replicas]:
    bucket = hashlib.sha256(request.node.name.encode()).hexdigest()[:20]
    async with running(tmp_path, s3, monkeypatch, bucket) as started:
        yield started


async def begun(replicas: Replicas, size: int = len(FILE)) -> str:
    async with httpx2.AsyncClient(base_url=replicas.urls[0], headers=HEADERS) as client:
        response = await client.post("/api/tus/", headers={"Upload-Length": str(size)})
    assert response.status_code == 201, response.text
    return str(response.headers["Location"])


def tus(base: str, *, chunk_size: int, url: str | None = None, checksum: bool = False) -> Any:
    client = TusClient(f"{base}/api/tus/", headers={"Authorization": "Bearer alice"})
    if url:
        return client.uploader(file_stream=io.BytesIO(FILE), url=url, chunk_size=chunk_size, upload_checksum=checksum)
    return client.uploader(
        file_stream=io.BytesIO(FILE),
        chunk_size=chunk_size,
        metadata={"filename": "film.mp4", "caption": "Grüße"},
        upload_checksum=checksum,
    )


@pytest.mark.parametrize("chunk_size", [1_000_000, PART_BYTES, 7_654_321, len(FILE)])
async def test_tuspy_begins_at_one_replica_and_ends_at_the_other(replicas: Replicas, chunk_size: int) -> None:
    first = tus(replicas.urls[0], chunk_size=chunk_size)
    await asyncio.to_thread(first.upload_chunk)
    path = "/" + first.url.split("/", 3)[3]
    if chunk_size < len(FILE):
        second = await asyncio.to_thread(tus, replicas.urls[1], url=replicas.urls[1] + path, chunk_size=chunk_size)
        assert second.offset == chunk_size
        await asyncio.to_thread(second.upload)
    async with httpx2.AsyncClient(base_url=replicas.urls[1], headers=HEADERS) as client:
        head = await client.head(path)
        answer = (await client.get(head.headers["Media-Location"])).json()
    assert (answer["file_size"], answer["original_name"], answer["caption"]) == (len(FILE), "film.mp4", "Grüße")
    assert await replicas.content(answer["id"]) == FILE
    assert len(replicas.objects()) == 1
    assert not replicas.unfinished()


async def test_tuspy_with_checksums(replicas: Replicas) -> None:
    uploader = tus(replicas.urls[0], chunk_size=4_000_000, checksum=True)
    await asyncio.to_thread(uploader.upload)
    assert await replicas.content(uploader.url.rpartition("/")[2]) == FILE


async def test_a_request_at_the_other_replica_takes_over(replicas: Replicas) -> None:
    url = await begun(replicas)
    sent = PART_BYTES + 1000
    given_up = asyncio.Event()

    async def hanging() -> AsyncIterator[bytes]:
        yield FILE[:sent]
        await given_up.wait()

    async def has_a_part() -> Any:
        (upload,) = await asyncio.to_thread(replicas.unfinished)
        listed = replicas.s3.list_parts(Bucket=replicas.bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        return listed.get("Parts")

    async with (
        httpx2.AsyncClient(base_url=replicas.urls[0], headers=HEADERS, timeout=60) as one,
        httpx2.AsyncClient(base_url=replicas.urls[1], headers=HEADERS, timeout=60) as other,
    ):
        hung = asyncio.create_task(one.patch(url, content=hanging(), headers={**BYTES, "Upload-Offset": "0"}))
        await until(has_a_part)
        offset = int((await other.head(url)).headers["Upload-Offset"])
        # The client reads no answer before its body has ended.
        given_up.set()
        assert (await hung).status_code == 423
        assert PART_BYTES <= offset <= sent
        rest = {**BYTES, "Upload-Offset": str(offset)}
        response = await other.patch(url, content=FILE[offset:], headers=rest)
    assert response.headers["Media-Location"]
    assert await replicas.content(url.rpartition("/")[2]) == FILE


async def test_giving_up_leaves_nothing(replicas: Replicas) -> None:
    url = await begun(replicas)
    async with httpx2.AsyncClient(base_url=replicas.urls[1], headers=HEADERS) as client:
        await client.patch(url, content=FILE[: PART_BYTES + 10], headers={**BYTES, "Upload-Offset": "0"})
        assert replicas.unfinished()
        assert (await client.delete(url)).status_code == 204
    assert not replicas.unfinished()
    assert not replicas.objects()


async def test_a_key_at_two_replicas_at_once_makes_one_asset(replicas: Replicas) -> None:
    headers = {"Authorization": "Bearer alice", "Idempotency-Key": "k"}

    async def post(number: int) -> httpx2.Response:
        async with httpx2.AsyncClient(base_url=replicas.urls[number % 2], headers=headers, timeout=60) as client:
            return await client.post("/api/media/upload/", content=FILE[:200_000])

    responses = await asyncio.gather(*(post(number) for number in range(10)))
    assert {each.status_code for each in responses} <= {201, 409}
    assert len({each.json()["id"] for each in responses if each.status_code == 201}) == 1
    assert len(replicas.objects()) == 1
    assert not await replicas.redis.keys(f"{PREFIX}key:*")


async def test_a_key_at_two_replicas_without_a_common_lock(
    tmp_path: Path, s3: s3server.S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"Authorization": "Bearer alice", "Idempotency-Key": "k"}
    async with running(tmp_path, s3, monkeypatch, "no-lock", share=False) as replicas:

        async def post(url: str, content: bytes) -> httpx2.Response:
            async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=60) as client:
                return await client.post("/api/media/upload/", content=content)

        same = await asyncio.gather(*(post(url, FILE[:200_000]) for url in replicas.urls))
        assert [each.status_code for each in same] == [201, 201]
        assert same[0].json() == same[1].json()
        assert len(replicas.objects()) == 1


async def test_a_lock_outlives_redis(replicas: Replicas) -> None:
    alone = RedisLocks(redis.asyncio.Redis(port=1, socket_connect_timeout=0.5))
    async with alone.hold("a"):
        assert True
    async with RedisLocks(replicas.redis).hold("a"):
        assert await replicas.redis.get(f"{PREFIX}a")
    assert not await replicas.redis.get(f"{PREFIX}a")


async def test_a_lock_ends_although_its_lease_is_being_looked_at(replicas: Replicas) -> None:
    # The client of Redis may swallow a cancellation that meets a command: whoever waits for its effect, waits for ever.
    async def hold(number: int) -> None:
        async with RedisLocks(replicas.redis).hold(str(number)):
            await asyncio.sleep(locks.POLL_SECONDS + number % 20 / 1000)

    for _ in range(3):
        await asyncio.gather(*map(hold, range(40)))
    assert not await replicas.redis.keys(f"{PREFIX}*")


async def presigned(client: httpx2.AsyncClient, **fields: Any) -> Any:
    return await client.post("/api/media/presign/", json={"size": len(FILE), "content_type": "video/mp4", **fields})


async def put(form: Any, content: bytes, **fields: str) -> int:
    async with httpx2.AsyncClient(timeout=60) as client:
        sent = await client.post(form["url"], data={**form["fields"], **fields}, files={"file": ("film.mp4", content)})
    return sent.status_code


async def test_a_file_goes_straight_to_the_store(replicas: Replicas) -> None:
    async with httpx2.AsyncClient(base_url=replicas.urls[0], headers=HEADERS, timeout=60) as client:
        response = await presigned(client, file_name="film.mp4", caption="Film", order=2, metadata={"a": "b"})
        assert response.status_code == 201, response.text
        form = response.json()
        early = await client.post(form["complete_url"])
        assert (early.status_code, early.json()["size"]) == (409, len(FILE))
        assert (await client.get(response.headers["Location"])).json()["status"] == "uploading"
        assert await put(form, FILE + b"x") == 400
        assert await put(form, FILE[:-1]) == 400
        assert await put(form, FILE, **{"Content-Type": "text/html"}) == 403
        assert await put(form, FILE, key="root/uploads/shop/other") == 403
        assert not [key for key in replicas.objects() if not key.endswith("upload.json")]
        assert await put(form, FILE) == 204
        done = await client.post(form["complete_url"])
        again = await client.post(form["complete_url"])
    assert (done.status_code, again.status_code) == (200, 200)
    assert done.json() == again.json()
    assert (done.json()["status"], done.json()["caption"], done.json()["order"]) == ("processing", "Film", 2)
    assert await replicas.content(form["id"]) == FILE
    assert len(replicas.objects()) == 1


async def test_a_file_that_is_not_what_was_announced_becomes_nothing(replicas: Replicas) -> None:
    async with httpx2.AsyncClient(base_url=replicas.urls[0], headers=HEADERS, timeout=60) as client:
        form = (await presigned(client, size=5000)).json()
        assert await put(form, bytes(5000)) == 204
        assert (await client.post(form["complete_url"])).status_code == 415
        assert not replicas.objects()
        assert (await client.post(form["complete_url"])).status_code == 404
        for fields, status in (
            ({"size": 0}, 422),
            ({"size": "10"}, 422),
            ({"size": 10**10}, 413),
            ({"content_type": "image/png", "size": 20_000_000}, 413),
            ({"path": "ads/1"}, 403),
            ({"content_type": "a\nb"}, 422),
        ):
            assert (await presigned(client, **fields)).status_code == status
        assert (await client.post("/api/media/nothing/complete/")).status_code == 404
    assert not replicas.objects()


async def test_checksums_hold_over_s3(replicas: Replicas) -> None:
    url = await begun(replicas)
    digest = base64.b64encode(hashlib.sha256(FILE[: 6 << 20]).digest()).decode()
    headers = {**BYTES, "Upload-Offset": "0", "Upload-Checksum": f"sha256 {digest}"}
    async with httpx2.AsyncClient(base_url=replicas.urls[0], headers=HEADERS, timeout=60) as client:
        assert (await client.patch(url, content=FILE[1 : (6 << 20) + 1], headers=headers)).status_code == 460
        assert (await client.head(url)).headers["Upload-Offset"] == "0"
        response = await client.patch(url, content=FILE[: 6 << 20], headers=headers)
    assert response.headers["Upload-Offset"] == str(6 << 20)
