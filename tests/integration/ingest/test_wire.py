"""What clients do on the wire that no client library does: raw sockets against the running service."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from uploading import Api, running_api

PNG = b"\x89PNG\r\n\x1a\n" + bytes(10_000)
MIB = 1024 * 1024


@asynccontextmanager
async def connected(api: Api) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    try:
        yield reader, writer
    finally:
        writer.close()


def head(*headers: str, user: str = "alice") -> bytes:
    lines = ["POST /api/media/upload/ HTTP/1.1", "Host: test", f"Authorization: Bearer {user}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], dict[str, Any]]:
    async with asyncio.timeout(10):
        raw_head = await reader.readuntil(b"\r\n\r\n")
        status_line, *lines = raw_head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        return int(status_line.split(" ")[1]), headers, json.loads(body)


async def test_a_chunked_body_without_a_length(api: Api) -> None:
    async with connected(api) as (reader, writer):
        writer.write(head("Transfer-Encoding: chunked"))
        for start in range(0, len(PNG), 1000):
            piece = PNG[start : start + 1000]
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        status, _, body = await answer(reader)
    assert (status, body["file_size"]) == (201, len(PNG))


async def test_a_body_that_comes_byte_by_byte(api: Api) -> None:
    form = (
        b'--b\r\nContent-Disposition: form-data; name="caption"\r\n\r\nslow\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n' + PNG[:200] + b"\r\n--b--\r\n"
    )
    async with connected(api) as (reader, writer):
        writer.write(head(f"Content-Length: {len(form)}", "Content-Type: multipart/form-data; boundary=b"))
        for position in range(len(form)):
            writer.write(form[position : position + 1])
            await writer.drain()
            # The loop turns, so that the server sees each byte alone.
            await asyncio.sleep(0)
        status, _, body = await answer(reader)
    assert (status, body["caption"], body["file_size"]) == (201, "slow", 200)


async def test_expect_continue_is_answered_before_the_body(api: Api) -> None:
    async with connected(api) as (reader, writer):
        writer.write(head(f"Content-Length: {len(PNG)}", "Expect: 100-continue"))
        async with asyncio.timeout(5):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(PNG)
        status, _, _ = await answer(reader)
    assert status == 201


@pytest.mark.parametrize(
    ("token", "length", "expected"), [("wrong", 10, 401), ("reader", 10, 403), ("alice", 10_000 * MIB, 413)]
)
async def test_a_refusal_needs_no_body(api: Api, token: str, length: int, expected: int) -> None:
    async with connected(api) as (reader, writer):
        writer.write(head(f"Content-Length: {length}", "Expect: 100-continue", user=token))
        status, headers, body = await answer(reader)
    assert (status, body["status"]) == (expected, expected)
    assert headers["connection"] == "close"


async def test_a_body_refused_in_the_middle_is_answered_before_it_ends(api: Api) -> None:
    limit = await api.image_limit()
    async with connected(api) as (reader, writer):
        writer.write(head("Transfer-Encoding: chunked"))
        piece = PNG.ljust(MIB, b"x")
        for _ in range(limit // MIB + 1):
            writer.write(b"%x\r\n%s\r\n" % (MIB, piece))
            await writer.drain()
        status, _, body = await answer(reader)
        assert (status, body["limit"]) == (413, limit)
        # The client goes on sending, and is heard out for a while.
        writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (MIB, piece))
        async with asyncio.timeout(5):
            await writer.drain()
            assert await reader.read() == b""
    await api.quiet()


async def test_a_client_that_sends_a_hundred_megabytes_before_it_reads_gets_its_answer(api: Api) -> None:
    size = 100 * MIB
    async with connected(api) as (reader, writer):
        writer.write(head(f"Content-Length: {size}", "Content-Type: image/png"))
        piece = PNG.ljust(MIB, b"x")
        for _ in range(size // MIB):
            writer.write(piece)
            await writer.drain()
        status, _, body = await answer(reader)
    assert (status, body["received"]) == (413, size)
    await api.quiet()


async def test_a_refused_sender_is_not_heard_for_ever(tmp_path: Path) -> None:
    async with running_api(tmp_path, linger_seconds=0.3) as api, connected(api) as (reader, writer):
        writer.write(head("Transfer-Encoding: chunked", user="wrong"))
        status, _, _ = await answer(reader)
        assert status == 401

        async def send_for_ever() -> None:
            while True:
                writer.write(b"1\r\nx\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)

        async with asyncio.timeout(10):
            with pytest.raises((ConnectionError, BrokenPipeError)):
                await send_for_ever()


FORM_HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'


@pytest.mark.parametrize("abort", [True, False], ids=["reset", "closed"])
@pytest.mark.parametrize("sent", [0, 5, 5000, 3 * MIB, 9 * MIB])
@pytest.mark.parametrize("form", [True, False], ids=["form", "bare"])
async def test_a_body_that_is_cut_off_leaves_nothing(api: Api, sent: int, *, abort: bool, form: bool) -> None:
    async with connected(api) as (_, writer):
        content_type = "multipart/form-data; boundary=b" if form else "image/png"
        writer.write(head(f"Content-Length: {10 * MIB}", f"Content-Type: {content_type}"))
        writer.write((FORM_HEAD if form else b"") + PNG.ljust(10 * MIB, b"x")[:sent])
        await writer.drain()
        if abort:
            writer.transport.abort()
        else:
            writer.close()
    # One that is whole is taken meanwhile, and is all there is.
    response = await api.post(content=PNG)
    assert response.status_code == 201
    await api.delete(response.headers["Location"])
    asset = await api.assets.get("shop", response.json()["id"])
    assert asset.spec.source.object
    await api.store.delete([asset.spec.source.object.key])
    await api.quiet()


async def test_what_is_cut_off_is_logged_without_an_answer(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    async with connected(api) as (_, writer):
        writer.write(head("Content-Length: 1000") + PNG[:500])
        await writer.drain()
    async with asyncio.timeout(5):
        while "499" not in (output := capsys.readouterr().out):  # noqa: ASYNC110 - stdout has no event
            await asyncio.sleep(0.02)
    assert "Traceback" not in output
