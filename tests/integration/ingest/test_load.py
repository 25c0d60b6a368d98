"""Memory and latency of a process of its own while large files stream into it."""

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import httpx2
import psutil
import pytest

import s3server

MIB = 1024 * 1024
HEAD = b"\0\0\0\x18ftypisom"
AUTHORIZED = {"Authorization": "Bearer alice"}

Chunks = Callable[[int], AsyncIterator[bytes]]


@pytest.fixture
def environment() -> dict[str, str]:
    """Return the variables of the server beside ours."""
    return {}


@pytest.fixture
async def server(tmp_path: Path, environment: dict[str, str]) -> AsyncIterator[tuple[psutil.Process, str]]:
    script = Path(__file__).with_name("serve.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        str(tmp_path),
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout
    try:
        async with asyncio.timeout(30):
            port = int(await process.stdout.readline())
        # Its log is read on, so that it does not fill the pipe.
        reading = asyncio.create_task(process.stdout.read())
        yield psutil.Process(process.pid), f"http://127.0.0.1:{port}"
        process.kill()
        await reading
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def chunks(size: int) -> AsyncIterator[bytes]:
    yield HEAD
    block = bytes(256 * 1024)
    left = size - len(HEAD)
    while left:
        piece = block[:left]
        left -= len(piece)
        yield piece


async def form(size: int) -> AsyncIterator[bytes]:
    yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
    async for chunk in chunks(size):
        yield chunk
    yield b"\r\n--b--\r\n"


VIDEO = {"Content-Type": "video/mp4"}


async def upload(
    client: httpx2.AsyncClient, size: int, content: Chunks = chunks, headers: Mapping[str, str] = VIDEO
) -> None:
    response = await client.post("/api/media/upload/", content=content(size), headers={**AUTHORIZED, **headers})
    assert response.status_code == 201
    assert response.json()["file_size"] == size


BODIES = pytest.mark.parametrize(
    ("content", "content_type"),
    [(chunks, "video/mp4"), (form, "multipart/form-data; boundary=b")],
    ids=["bare", "form"],
)


async def growth(process: psutil.Process, url: str, content: Chunks, content_type: str, *, known: bool) -> float:
    """Return by how many MiB the process grows during an upload of 100 MiB, whose length may be known before."""

    async def headers(size: int) -> dict[str, str]:
        length = {"Content-Length": str(sum([len(chunk) async for chunk in content(size)]))} if known else {}
        return {"Content-Type": content_type, **length}

    async with httpx2.AsyncClient(base_url=url, timeout=60) as client:
        # What is loaded and allocated once is not what is measured.
        await upload(client, 6 * MIB, content, await headers(6 * MIB))
        before = peak = process.memory_info().rss

        async def watch() -> None:
            nonlocal peak
            while True:
                peak = max(peak, process.memory_info().rss)
                await asyncio.sleep(0.01)

        watching = asyncio.create_task(watch())
        started = time.monotonic()
        await upload(client, 100 * MIB, content, await headers(100 * MIB))
        seconds = time.monotonic() - started
        watching.cancel()
    grown = (peak - before) / MIB
    print(f"RSS {before / MIB:.0f} MiB, +{grown:.1f} MiB during 100 MiB in {seconds:.2f} s")  # noqa: T201 - read by -rP
    return grown


@BODIES
async def test_a_large_upload_is_never_whole_in_memory(
    server: tuple[psutil.Process, str],
    record_property: Callable[[str, object], None],
    content: Chunks,
    content_type: str,
) -> None:
    grown = await growth(*server, content, content_type, known=False)
    record_property("rss_growth_mib", grown)
    assert grown < 32


class TestOverS3:
    @pytest.fixture
    def environment(self, tmp_path: Path) -> Iterator[dict[str, str]]:
        with s3server.start(tmp_path / "s3") as started:
            started.create_bucket("media")
            yield started.environment("media")

    @BODIES
    async def test_an_upload_of_known_length_is_not_even_gathered_in_parts(
        self, server: tuple[psutil.Process, str], content: Chunks, content_type: str
    ) -> None:
        # Three parts would be 15 MiB.
        assert await growth(*server, content, content_type, known=True) < 10


async def test_other_requests_are_answered_during_ten_uploads(
    server: tuple[psutil.Process, str], record_property: Callable[[str, object], None]
) -> None:
    _, url = server
    limits = httpx2.Limits(max_connections=20)
    async with httpx2.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
        uploads = asyncio.gather(*(upload(client, 20 * MIB) for _ in range(10)))
        latencies = []
        while not uploads.done():
            started = time.monotonic()
            response = await client.get("/api/media/", headers=AUTHORIZED)
            latencies.append(time.monotonic() - started)
            assert response.status_code == 200
        await uploads
        assert (await client.get("/api/media/", headers=AUTHORIZED)).json()["count"] == 10
    record_property("median_seconds", statistics.median(latencies))
    print(f"{len(latencies)} requests, median {statistics.median(latencies):.3f} s, max {max(latencies):.3f} s")  # noqa: T201 - read by -rP
    assert len(latencies) >= 3
