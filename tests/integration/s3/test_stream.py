"""Large objects on their way into S3, on a real server behind a line that can spoil them."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import pytest

from mediaasset.objects import ObjectStore
from mediaasset.reasons import MediaError, Reason
from mediaasset.s3 import StoreSettings, open_store
from mediaasset.store import Length
from polling import until
from s3server import S3Server
from servers import free_port

MIB = 1024 * 1024
CONTENT = hashlib.shake_256(b"content").digest(12 * MIB + 345)
ALL = Length(len(CONTENT), len(CONTENT))
LEAST = Length(len(CONTENT) - 100_000, len(CONTENT) + 1000)

Spoil = Callable[[bytes], bytes]


@pytest.fixture
def bucket(server: S3Server, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"b{hashlib.sha256(request.node.name.encode()).hexdigest()[:20]}"
    server.create_bucket(name)
    for variable, value in server.environment(name, prefix="root/a+b=ü").items():
        monkeypatch.setenv(variable, value)
    return name


def opened() -> ObjectStore:
    return open_store(StoreSettings())


async def chunks(content: bytes = CONTENT, size: int = 700_001) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def left_in(server: S3Server, bucket: str) -> list[str]:
    client = server.client()
    objects = [item["Key"] for item in client.list_objects_v2(Bucket=bucket).get("Contents", [])]
    return objects + [item["Key"] for item in client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]


async def refused(store: ObjectStore, length: Length, content: AsyncIterator[bytes]) -> Reason:
    with pytest.raises(MediaError) as raised:
        await store.write("uploads/x", content, length)
    return raised.value.reason


@asynccontextmanager
async def line(server: S3Server, port: int = 0, spoil: Spoil = bytes) -> AsyncIterator[str]:
    """Listen where the server shall be reached by a line that passes what is sent through `spoil`; yield its URL."""
    address = urlsplit(server.endpoint)
    running, ends = set[asyncio.Task[None] | None](), list[asyncio.StreamWriter]()

    async def passing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, change: Spoil) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(64 * 1024):
                writer.write(change(data))
                await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.add(asyncio.current_task())
        there, back = await asyncio.open_connection(address.hostname, address.port)
        ends.extend((writer, back))
        await asyncio.gather(passing(reader, back, spoil), passing(there, writer, bytes))

    async with await asyncio.start_server(connected, "127.0.0.1", port) as listener:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        # boto3 keeps its connections, and so does the server.
        for end in ends:
            end.close()
        await asyncio.gather(*(task for task in running if task))


@pytest.mark.parametrize("unsigned", ["", "true", "false"])
@pytest.mark.parametrize("length", [ALL, LEAST], ids=["all", "least"])
async def test_object_is_stored_as_it_was_sent_and_without_traces_of_how(
    server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, unsigned: str, length: Length
) -> None:
    if unsigned:
        monkeypatch.setenv("AWS_UNSIGNED_PAYLOAD", unsigned)
    await opened().write("uploads/x", chunks(), length)
    (key,) = left_in(server, bucket)
    found = server.client().get_object(Bucket=bucket, Key=key)
    assert found["Body"].read() == CONTENT
    assert "ContentEncoding" not in found


@pytest.mark.parametrize("length", [ALL, LEAST], ids=["all", "least"])
async def test_content_that_changes_on_its_way_is_refused(
    server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, length: Length
) -> None:
    passed = 0

    def spoil(data: bytes) -> bytes:
        nonlocal passed
        before, passed = passed, passed + len(data)
        # One bit, in the middle of the content.
        return data[:-1] + bytes([data[-1] ^ 1]) if before < 6 * MIB <= passed else data

    async with line(server, spoil=spoil) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT", endpoint)
        assert await refused(opened(), length, chunks()) is Reason.STORE_UNAVAILABLE
    assert passed > 6 * MIB
    assert left_in(server, bucket) == []


@pytest.mark.parametrize("length", [ALL, LEAST], ids=["all", "least"])
async def test_line_that_breaks_leaves_nothing(
    server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, length: Length
) -> None:
    passed = 0

    def spoil(data: bytes) -> bytes:
        nonlocal passed
        before, passed = passed, passed + len(data)
        # Once: the requests that clear up pass.
        if before < 6 * MIB <= passed:
            raise ConnectionResetError
        return data

    async with line(server, spoil=spoil) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT", endpoint)
        assert await refused(opened(), length, chunks()) is Reason.STORE_UNAVAILABLE
    await until(lambda: asyncio.to_thread(lambda: left_in(server, bucket) == [] or None))


async def test_server_that_is_back_in_a_moment_is_waited_for(
    server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("AWS_ENDPOINT", f"http://127.0.0.1:{port}")
    writing = asyncio.create_task(opened().write("uploads/x", chunks(), ALL))
    # Only to let the first try fail; were it late, the test would pass all the same.
    await asyncio.sleep(0.3)
    async with line(server, port):
        await writing
    assert len(left_in(server, bucket)) == 1


@pytest.mark.parametrize("length", [ALL, LEAST], ids=["all", "least"])
async def test_credentials_that_are_wrong_are_a_reason_of_their_own(
    server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, length: Length
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert await refused(opened(), length, chunks()) is Reason.STORE_FORBIDDEN
    assert left_in(server, bucket) == []


@pytest.mark.parametrize(("unsigned", "wrong"), [("", -1), ("", 1), ("true", 1)])
async def test_length_that_was_wrong_leaves_nothing(
    server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, unsigned: str, wrong: int
) -> None:
    if unsigned:
        monkeypatch.setenv("AWS_UNSIGNED_PAYLOAD", unsigned)
    said = len(CONTENT) + wrong
    with pytest.raises(ValueError, match="announced"):
        await opened().write("uploads/x", chunks(), Length(said, said))
    assert left_in(server, bucket) == []


@pytest.mark.parametrize("length", [ALL, LEAST], ids=["all", "least"])
async def test_server_that_does_not_check_is_not_believed(
    server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, length: Length
) -> None:
    # A server that knows no trailing checksums answers as this one does once it is not asked for any.
    monkeypatch.setattr("mediaasset.s3stream._CHECKSUM", "x-amz-checksum-crc32c")
    assert await refused(opened(), length, chunks()) is Reason.STORE_UNAVAILABLE
    assert left_in(server, bucket) == []
