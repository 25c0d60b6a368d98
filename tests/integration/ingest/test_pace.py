"""Uploads that hardly come: refused with 408, and their place is free again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.types import Message

from media_ingest.errors import Problem, Slug
from media_ingest.pace import Pace
from uploading import Api, running_api

PNG = b"\x89PNG\r\n\x1a\n" + bytes(10_000)


@asynccontextmanager
async def sending(
    api: Api, first: bytes, target: str = "POST /api/media/upload/", *fields: str
) -> AsyncIterator[bytes]:
    """Send the beginning of a body of the size of PNG, and keep the line open; yield all that is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    lines = [f"{target} HTTP/1.1", "Host: x", "Authorization: Bearer alice", f"Content-Length: {len(PNG)}", *fields]
    writer.write("\r\n".join([*lines, "", ""]).encode() + first)
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        yield head + await reader.readexactly(length)
    finally:
        writer.close()


async def test_silence_ends_an_upload_and_frees_its_place(tmp_path: Path) -> None:
    async with running_api(tmp_path, max_uploads=1, pace_seconds=0.3) as api:
        async with sending(api, PNG[:100]) as answer:
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b"\r\nconnection: close\r\n" in answer.lower()
            assert b"urn:media-operator:problem:too-slow" in answer
            # It still holds its line, and no place.
            assert (await api.post(content=PNG)).status_code == 201
        assert len(api.objects()) == 1


async def test_of_a_resumable_upload_what_came_is_kept(tmp_path: Path) -> None:
    async with running_api(tmp_path, pace_seconds=0.3) as api:
        tus = {"Tus-Resumable": "1.0.0", **api.auth()}
        begun = await api.client.post("/api/tus/", headers={**tus, "Upload-Length": str(len(PNG))})
        url = begun.headers["Location"]
        fields = ("Tus-Resumable: 1.0.0", "Upload-Offset: 0", "Content-Type: application/offset+octet-stream")
        async with sending(api, PNG[:6000], f"PATCH {url}", *fields) as answer:
            assert answer.startswith(b"HTTP/1.1 408 ")
        assert (await api.client.head(url, headers=tus)).headers["Upload-Offset"] == "6000"
        rest = {**tus, "Upload-Offset": "6000", "Content-Type": "application/offset+octet-stream"}
        assert (await api.client.patch(url, content=PNG[6000:], headers=rest)).status_code == 204


def chunk(size: int, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": bytes(size), "more_body": more}


async def test_a_trickle_ends_and_what_is_fast_enough_goes_on() -> None:
    async def trickle() -> Message:
        await asyncio.sleep(0.01)
        return chunk(1)

    slow = Pace(trickle, rate=1000, seconds=0.1)

    async def read_on() -> None:
        while True:
            await slow()

    with pytest.raises(Problem) as refused:
        await read_on()
    assert refused.value.slug is Slug.TOO_SLOW
    # The same drops are enough where less is asked for: many windows pass.
    steady = Pace(trickle, rate=1, seconds=0.2)
    for _ in range(60):
        assert (await steady())["body"] == bytes(1)


async def test_whoever_was_fast_and_falls_silent_ends_too() -> None:
    messages: asyncio.Queue[Message] = asyncio.Queue()
    await messages.put(chunk(1_000_000))
    pace = Pace(messages.get, rate=1, seconds=0.05)
    assert len((await pace())["body"]) == 1_000_000
    with pytest.raises(Problem):
        await pace()


async def test_time_that_others_take_does_not_count_and_the_end_is_waited_for() -> None:
    messages: asyncio.Queue[Message] = asyncio.Queue()
    pace = Pace(messages.get, rate=1_000_000, seconds=0.05)
    for _ in range(5):
        await messages.put(chunk(1))
        # The store takes its time.
        await asyncio.sleep(0.03)
        await pace()
    await messages.put(chunk(0, more=False))
    await pace()
    # What comes after a whole body is that its sender has gone, whenever that is.
    waiting = asyncio.create_task(pace())
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await messages.put({"type": "http.disconnect"})
    assert (await waiting)["type"] == "http.disconnect"
