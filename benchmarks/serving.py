"""How fast the gateway serves, as ratios of one run: from its cache, to a crowd, to who seeks, and when it is cold.

    python benchmarks/serving.py [--rounds 5] [--readers 1000]

Needs nginx with the modules of the gateway, wrk (Debian packages) and the versitygw of the local cluster. Gateway, bare
nginx, S3 server and clients share one machine.
"""

import argparse
import asyncio
import http.client
import random
import re
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

_ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_ROOT), str(_ROOT / "tests/support")]

import gateway
import s3server
import webserver
from gateway import Bucket, Gateway
from servers import free_port

#: As a rendition `medium` is.
IMAGE = 60_000
VIDEO = 100_000_000
SECONDS = 3
_CONNECTIONS = 32
_SEEKS = 50
_SEEK_BYTES = 256 * 1024
#: How far away a store is that is not on this machine, there and back.
FAR_SECONDS = 0.01
_PLAIN = """
server {{
    listen 127.0.0.1:{port}; root {path}/root; access_log {path}/access.log; sendfile on; tcp_nopush on;
    keepalive_timeout 65s; types {{ image/jpeg jpg; }}
}}
"""


@contextmanager
def plain(path: Path, key: str, body: bytes) -> Iterator[str]:
    """Run nginx that serves one file from disk, as anybody would set it up; yield its address."""
    file = path / "root" / key
    file.parent.mkdir(parents=True)
    file.write_bytes(body)
    port = free_port()
    with webserver.started(path, _PLAIN.format(path=path, port=port), port, workers=2):
        yield f"http://127.0.0.1:{port}"


def expect(is_so: bool, text: str) -> None:  # noqa: FBT001 - reads as a sentence
    """End the run unless it is so: a figure of something else would be worse than none."""
    if not is_so:
        sys.exit(text)


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests per second of the clock, and per second of the processors that the server took for them."""

    wall: float
    cpu: float


def rate(url: str, pid: Path) -> Rate:
    """Have wrk ask the server of this PID file."""
    server = psutil.Process(int(pid.read_text()))
    before = _cpu_seconds(server)
    command = ["wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{SECONDS}s", url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    expect("Non-2xx" not in text, text)
    taken = _cpu_seconds(server) - before
    [second], [total] = (re.findall(said, text) for said in (r"Requests/sec:\s+([\d.]+)", r"(\d+) requests in"))
    return Rate(float(second), int(total) / taken)


def _cpu_seconds(server: psutil.Process) -> float:
    times = [each.cpu_times() for each in (server, *server.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def cached(served: Gateway, bare: str, key: str, folder: Path, rounds: int) -> None:
    """Serve one image from the cache, beside nginx that serves it from disk."""

    def both() -> tuple[Rate, Rate]:
        return (
            rate(f"{served.base_url}/{key}", folder / "gateway/run/nginx.pid"),
            rate(f"{bare}/{key}", folder / "plain/pid"),
        )

    both()
    pairs = [both() for _ in range(rounds)]
    wall = statistics.median(ours.wall / theirs.wall for ours, theirs in pairs)
    cpu = statistics.median(ours.cpu / theirs.cpu for ours, theirs in pairs)
    ours, theirs = (statistics.median(side.wall for side in sides) for sides in zip(*pairs, strict=True))
    print(
        f"requests from the cache, against bare nginx: {cpu:.2f} per second of CPU, {wall:.2f} of the clock (aim 0.9)"
    )
    print(f"    {ours:.0f} and {theirs:.0f} per second")


def asked_of(served: Gateway) -> int:
    """Return how many requests went to S3 until now."""
    # The lines of the log come within a second.
    time.sleep(1.5)
    return len(served.log("origin"))


async def crowd(served: Gateway, key: str, readers: int) -> None:
    """Ask many times at once for what is not in the cache yet."""
    address = urlsplit(served.base_url)
    before = asked_of(served)

    async def read() -> int:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(f"GET /{key} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        body = await reader.read(-1)
        writer.close()
        expect(body.startswith(b"HTTP/1.1 200"), body[:100].decode(errors="replace"))
        return len(body)

    expect(min(await asyncio.gather(*(read() for _ in range(readers)))) > IMAGE, "an answer was cut")
    asked = asked_of(served) - before
    print(f"requests to S3 for {readers} readers of one cold image: {asked} (aim 1)")


def seeks(served: Gateway, key: str) -> None:
    """Read at random places of a film, as a viewer who seeks does."""
    address = urlsplit(served.base_url)
    line = http.client.HTTPConnection(address.netloc)
    before = asked_of(served)
    for _ in range(_SEEKS):
        start = random.randrange(VIDEO - _SEEK_BYTES)  # noqa: S311 - no secret
        line.request("GET", f"/{key}", headers={"Range": f"bytes={start}-{start + _SEEK_BYTES - 1}"})
        answer = line.getresponse()
        expect((answer.status, len(answer.read())) == (206, _SEEK_BYTES), f"a seek was answered {answer.status}")
    line.close()
    asked = asked_of(served) - before
    print(f"slices of 1 MiB that a seek of {_SEEK_BYTES // 1024} KiB in 100 MB fetches: {asked / _SEEKS:.2f} (aim 2)")


def first_byte(url: str, *, range_: bool) -> float:
    """Return after how many seconds an answer begins on a connection that is there already."""
    address = urlsplit(url)
    line = http.client.HTTPConnection(address.netloc)
    line.connect()
    # The way to a server that is far is part of neither side.
    time.sleep(2 * FAR_SECONDS)
    begun = time.perf_counter()
    line.request("GET", address.path, headers={"Range": "bytes=0-"} if range_ else {})
    answer = line.getresponse()
    answer.read(1)
    seconds = time.perf_counter() - begun
    line.close()
    return seconds


class Far:
    """A line to a server that is far away: what is sent arrives later, and a connection takes as long to be there."""

    def __init__(self, endpoint: str) -> None:
        self._address = urlsplit(endpoint)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Who has the first byte hangs up.
        with suppress(ConnectionError):
            while data := await reader.read(1 << 20):
                # Pieces that follow each other at once are on the way together.
                asyncio.get_running_loop().call_later(FAR_SECONDS / 2, writer.write, data)
        asyncio.get_running_loop().call_later(FAR_SECONDS / 2, writer.close)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(FAR_SECONDS)
        there, back = await asyncio.open_connection(self._address.hostname, self._address.port)
        await asyncio.gather(self._pass(reader, back), self._pass(there, writer))

    async def _serve(self, port: int, ready: threading.Event) -> None:
        async with await asyncio.start_server(self._connected, "127.0.0.1", port) as server:
            ready.set()
            await server.serve_forever()

    def start(self) -> str:
        """Listen until the program ends; return the address."""
        port, ready = free_port(), threading.Event()
        threading.Thread(target=asyncio.run, args=(self._serve(port, ready),), daemon=True).start()
        ready.wait()
        return f"http://127.0.0.1:{port}"


def cold(served: Gateway, bucket: Bucket, endpoint: str, rounds: int, where: str) -> None:
    """Ask for images that nobody has asked for, beside S3 itself."""
    pairs = []
    for _ in range(rounds * 10):
        key = gateway.put(bucket, secrets.token_bytes(IMAGE))
        other = gateway.put(bucket, secrets.token_bytes(IMAGE))
        pairs.append(
            (
                first_byte(f"{served.base_url}/{key}", range_=False),
                first_byte(f"{endpoint}/media/{other}", range_=False),
            )
        )
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    ours, theirs = (statistics.median(side) * 1000 for side in zip(*pairs, strict=True))
    print(f"first byte when cold, against S3 itself {where}: {ratio:.2f} (aim 1.3; {ours:.2f} and {theirs:.2f} ms)")


def main() -> None:
    """Measure all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--readers", type=int, default=1000)
    given = parser.parse_args()
    body = secrets.token_bytes(IMAGE)
    with tempfile.TemporaryDirectory() as folder, s3server.start(Path(folder) / "s3") as server:
        bucket = gateway.bucket(server)
        key = gateway.put(bucket, body)
        film = gateway.put(bucket, secrets.token_bytes(VIDEO), "mp4")
        # Nothing is asked again while it is measured.
        with (
            gateway.start(Path(folder) / "gateway", server.endpoint, GATEWAY_CACHE_SECONDS="3600") as served,
            plain(Path(folder) / "plain", key, body) as bare,
        ):
            cached(served, bare, key, Path(folder), given.rounds)
            asyncio.run(crowd(served, gateway.put(bucket, secrets.token_bytes(IMAGE)), given.readers))
            seeks(served, film)
            cold(served, bucket, bucket.endpoint, given.rounds, "on this machine")
        far = Far(bucket.endpoint).start()
        with gateway.start(Path(folder) / "far", far, GATEWAY_CACHE_SECONDS="3600") as served:
            cold(served, bucket, far, given.rounds, f"{FAR_SECONDS * 1000:.0f} ms away")


if __name__ == "__main__":
    main()
