"""The store as each program opens it, on a real server: what S3 has beyond a directory."""

import asyncio
import hashlib
import io
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from media_transcoder.bucket import Bucket
from mediaasset.objects import ObjectStore
from mediaasset.reasons import MediaError, Reason
from mediaasset.s3 import StoreSettings, open_store
from s3server import S3Server

ATTRIBUTES = {
    "Content-Type": "application/pdf",
    "Cache-Control": "public, max-age=31536000, immutable",
    "Content-Disposition": "attachment",
}


@pytest.fixture
def bucket(server: S3Server, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"b{hashlib.sha256(request.node.name.encode()).hexdigest()[:20]}"
    server.create_bucket(name)
    for variable, value in server.environment(name, prefix="root").items():
        monkeypatch.setenv(variable, value)
    return name


@pytest.mark.parametrize("length", [0, 1000, 9 * 1024 * 1024])
def test_rendition_has_its_attributes_in_one_piece_or_in_parts(server: S3Server, bucket: str, length: int) -> None:
    Bucket(f"s3://{bucket}/root").write("media/x.pdf", io.BytesIO(b"x" * length), ATTRIBUTES)
    found = server.client().head_object(Bucket=bucket, Key="root/media/x.pdf")
    assert found["ContentLength"] == length
    headers = found["ResponseMetadata"]["HTTPHeaders"]
    assert {name: headers[name.lower()] for name in ATTRIBUTES} == ATTRIBUTES


def test_transcoder_creates_once_and_reads_what_is_there(server: S3Server, bucket: str) -> None:
    transcoder = Bucket(f"s3://{bucket}/root")
    assert transcoder.exists("work/u/1/result.json") is False
    assert transcoder.create("work/u/1/result.json", b"{}") is True
    assert transcoder.create("work/u/1/result.json", b"other") is False
    assert transcoder.exists("work/u/1/result.json") is True
    size, chunks = transcoder.read("work/u/1/result.json")
    assert (size, b"".join(chunks)) == (2, b"{}")
    with pytest.raises(MediaError) as raised:
        transcoder.read("uploads/nothing")
    assert raised.value.reason is Reason.SOURCE_NOT_FOUND


async def test_copy_keeps_the_attributes(server: S3Server, bucket: str) -> None:
    Bucket(f"s3://{bucket}/root").write("private/x.pdf", io.BytesIO(b"x"), ATTRIBUTES)
    assert await open_store(StoreSettings()).copy("private/x.pdf", "media/x.pdf")
    headers = server.client().head_object(Bucket=bucket, Key="root/media/x.pdf")["ResponseMetadata"]["HTTPHeaders"]
    assert {name: headers[name.lower()] for name in ATTRIBUTES} == ATTRIBUTES


def fetched(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:
        body: bytes = answer.read()
        return body


async def test_signed_url_is_for_the_public_endpoint_and_for_a_time(
    server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another name of the same machine stands for the endpoint that clients reach.
    public = server.endpoint.replace("127.0.0.1", "localhost")
    monkeypatch.setenv("MEDIA_STORE_PUBLIC_ENDPOINT", public)
    store = open_store(StoreSettings())
    await store.create("private/a b+ü.pdf", b"there")
    url = await store.sign("private/a b+ü.pdf", timedelta(hours=1))
    assert url.startswith(f"{public}/{bucket}/root/private/")
    assert "X-Amz-Expires=3600" in url
    assert await asyncio.to_thread(fetched, url) == b"there"
    with pytest.raises(urllib.error.HTTPError, match="403") as refused:
        await asyncio.to_thread(fetched, url.replace("X-Amz-Signature=", "X-Amz-Signature=0"))
    refused.value.close()


async def test_stream_that_breaks_off_leaves_no_parts(server: S3Server, bucket: str) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * (20 * 1024 * 1024)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await open_store(StoreSettings()).write("uploads/x", broken())
    assert "Uploads" not in server.client().list_multipart_uploads(Bucket=bucket)


async def reason_of(store: ObjectStore) -> Reason:
    with pytest.raises(MediaError) as raised:
        await store.stat("uploads/x")
    return raised.value.reason


async def test_refusal_and_silence_have_their_reasons(
    server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert await reason_of(open_store(StoreSettings())) is Reason.STORE_FORBIDDEN
    # A list says it in other words than all else does.
    with pytest.raises(MediaError) as refused:
        await anext(open_store(StoreSettings()).list("uploads/"))
    assert refused.value.reason is Reason.STORE_FORBIDDEN
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:9")
    assert await reason_of(open_store(StoreSettings())) is Reason.STORE_UNAVAILABLE


@pytest.mark.usefixtures("server", "bucket")
async def test_a_bucket_that_is_not_there_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIA_STORE_URL", "s3://elsewhere/root")
    with pytest.raises(MediaError, match="no such bucket") as missing:
        await anext(open_store(StoreSettings()).list("uploads/"))
    assert missing.value.reason is Reason.STORE_UNAVAILABLE


@pytest.mark.parametrize("url", ["", "media", "file:///media", "s3://", "s3:///x", "s3://Media", "s3://media/a?b"])
def test_url_that_names_no_bucket_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("MEDIA_STORE_URL", url)
    with pytest.raises(ValueError, match="url"):
        StoreSettings()
