"""How fast uploads come in, in pairs of one run, as ratios; and the memory of four at once.

    python benchmarks/ingest.py [--rounds 5]

The app runs in a process of its own on uvloop, over SQLite and a directory or a versitygw, as uploads go through it in
production. Beside it a bare asyncio protocol and, if there is one, nginx (PUT of its WebDAV module) write the same
bytes to the same disk, and boto3 to the same versitygw. Others ask for a list and an item while four uploads run, which
come from a third process. The ratio of CPU time beside that of the clock is of all processes, clients too: it says what
is left of the ratio where something else keeps the machine busy.
"""

import argparse
import asyncio
import http.client
import itertools
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import psutil
import uvloop

_ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_ROOT), str(_ROOT / "tests/support")]

import s3server
import webserver
from mediaasset.s3 import StoreSettings, open_store
from mediaasset.s3parts import S3Parts
from mediaasset.store import Length, Store
from servers import free_port
from uploading import running_api

SIZE = 100_000_000
HEAD = b"\0\0\0\x18ftypisom" + bytes(12)
BUCKET = "bench"
#: How often each of four goes again while others ask: enough for half a minute, and no more than the disk may hold.
_LOAD = 40
#: What the sockets are fed at a time.
PIECE = 1 << 20
#: As curl makes them.
BOUNDARY = "------------------------d74496d66958873e"
FORM = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'.encode(),
    f"\r\n--{BOUNDARY}--\r\n".encode(),
)


class Bare(asyncio.Protocol):
    """Writes the body of each request to a file and makes it durable: the least that an upload can cost."""

    def __init__(self, folder: Path) -> None:
        """Take where the files go."""
        self._folder = folder
        self._head = b""
        self._left = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        # uvloop's is none by its class.
        self._transport = cast("asyncio.Transport", transport)
        self._file = (self._folder / "bare").open("wb", buffering=0)

    def data_received(self, data: bytes) -> None:
        """Write; answer when the body is whole."""
        if self._left < 0:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._left = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        self._file.write(data)
        self._left -= len(data)
        if self._left == 0:
            os.fsync(self._file.fileno())
            self._file.close()
            self._transport.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self._transport.close()


async def serve(kind: str, folder: Path) -> None:
    """Serve until killed; say the port first."""
    if kind == "bare":
        server = await asyncio.get_running_loop().create_server(lambda: Bare(folder), "127.0.0.1", 0)
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        await server.serve_forever()
    settings = StoreSettings(url=f"s3://{BUCKET}/root")
    parts = {"store": open_store(settings), "parts": S3Parts(settings)} if kind == "s3" else None
    async with running_api(folder, parts=parts) as api:
        sys.stdout.write(f"{api.port}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


@contextmanager
def started(kind: str, folder: Path, **environment: str) -> Iterator[tuple[int, psutil.Process]]:
    """Run a server in a process of its own; yield its port and the process."""
    folder.mkdir()
    command = [sys.executable, __file__, "--serve", kind, "--folder", str(folder)]
    log = (folder.parent / f"{kind}.log").open("wb")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env={**os.environ, **environment}) as process:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        port = int(process.stdout.readline())
        # The log goes to the same pipe, and a full one would stop it.
        threading.Thread(target=process.stdout.read, daemon=True).start()
        try:
            yield port, psutil.Process(process.pid)
        finally:
            process.kill()


_NGINX = """
server {{
    listen 127.0.0.1:{port}; client_max_body_size 0; location / {{ root {folder}; dav_methods PUT; }}
}}
"""


@contextmanager
def nginx(folder: Path) -> Iterator[int]:
    """Run nginx as it comes, where a PUT writes a file of this folder; yield its port."""
    port = free_port()
    with webserver.started(folder, _NGINX.format(folder=folder, port=port), port):
        yield port


def send(port: int, body: bytes, *, form: bool = False, request: str = "POST /api/media/upload/") -> float:
    """Upload a body on a connection of its own; return the seconds from the first byte to the answer."""
    before, after = FORM if form else (b"", b"")
    content_type = f"multipart/form-data; boundary={BOUNDARY}" if form else "video/mp4"
    head = (
        f"{request} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer alice\r\nConnection: close\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(before) + len(body) + len(after)}\r\n\r\n"
    )
    started_at = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head.encode() + before)
        view = memoryview(body)
        for start in range(0, len(body), PIECE):
            connection.sendall(view[start : start + PIECE])
        connection.sendall(after)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        text = answer.read()
    # nginx has 204 for a file that was there before.
    if answer.status not in (http.client.CREATED, http.client.NO_CONTENT):
        sys.exit(f"{answer.status}: {text.decode()}")
    return time.perf_counter() - started_at


def pair(name: str, rounds: int, ours: Callable[[], float], other: Callable[[], float]) -> None:
    """Measure two things in turn; print the rate of the first by that of the second, and the same of CPU time."""
    taken = [(costs(ours), costs(other)) for _ in range(rounds + 1)][1:]
    ratio = statistics.median(second[0] / first[0] for first, second in taken)
    cpu = sum(second[1] for _, second in taken) / sum(first[1] for first, _ in taken)
    rates = [SIZE / 1e6 / statistics.median(side[0] for side in sides) for sides in zip(*taken, strict=True)]
    print(f"{name}: {ratio:.2f} ({rates[0]:.0f} against {rates[1]:.0f} MB/s), of CPU time {cpu:.2f}", flush=True)


def costs(run: Callable[[], float]) -> tuple[float, float]:
    """Return the seconds that something took, on the clock and of the CPU in this process and those it started."""
    used = cpu_seconds()
    return run(), cpu_seconds() - used


def cpu_seconds() -> float:
    """Return the CPU time of this process and of those it started."""
    this = psutil.Process()
    times = [process.cpu_times() for process in (this, *this.children(recursive=True))]
    return float(sum(time.user + time.system for time in times))


def memory(what: str, port: int, process: psutil.Process, body: bytes, *, rounds: int, form: bool = False) -> None:
    """Print how much memory four uploads at once take, each, and what remains of it."""
    send(port, body, form=form)
    rest, most = process.memory_info().rss, 0
    for _ in range(rounds):
        threads = [threading.Thread(target=send, args=(port, body), kwargs={"form": form}) for _ in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            most = max(most, process.memory_info().rss)
            time.sleep(0.01)
    after = process.memory_info().rss
    running, left = (most - rest) / 4 / 2**20, (after - rest) / 2**20
    print(
        f"RSS of four at once {what}, {rounds} rounds: {running:.1f} MiB each while running, {left:.1f} MiB after",
        flush=True,
    )


def others(what: str, port: int, seconds: int) -> None:
    """Print how long a list and an item take while another process uploads four at a time, and when none does."""

    def ask(connection: http.client.HTTPConnection, path: str) -> tuple[float, bytes]:
        started_at = time.perf_counter()
        connection.request("GET", path, headers={"Authorization": "Bearer alice"})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != http.client.OK:
            sys.exit(f"{path}: {answer.status}")
        return time.perf_counter() - started_at, text

    def asked(load: "subprocess.Popen[bytes] | None" = None) -> list[float]:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        taken: list[float] = []
        end = time.monotonic() + seconds
        for path in itertools.cycle(["/api/media/", f"/api/media/{item}/"]):
            taken.append(ask(connection, path)[0])
            if time.monotonic() > end or (load and load.poll() is not None):
                return sorted(taken)
            time.sleep(0.005)
        raise AssertionError

    first = ask(http.client.HTTPConnection("127.0.0.1", port), "/api/media/")[1]
    item = json.loads(first)["results"][0]["id"]
    found = {"alone": asked()}
    with subprocess.Popen([sys.executable, __file__, "--load", str(port)], stdout=subprocess.PIPE) as load:
        assert load.stdout is not None  # noqa: S101 - it was asked for
        try:
            load.stdout.readline()
            found["while four uploads run"] = asked(load)
        finally:
            load.kill()
    for when, taken in found.items():
        p50, p99 = statistics.median(taken), taken[int(len(taken) * 0.99)]
        print(
            f"others {what}, {when}: p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms of {len(taken)} requests",
            flush=True,
        )


def upload_on(port: int) -> None:
    """Upload four at a time, but not for ever; say when the first ones are on their way."""
    body = HEAD + os.urandom(SIZE - len(HEAD))

    def again() -> None:
        for _ in range(_LOAD):
            send(port, body)

    for _ in range(4):
        threading.Thread(target=again).start()
    sys.stdout.write("\n")
    sys.stdout.flush()


def boto3_put(client: Any, body: bytes) -> float:
    """Put an object with boto3; return the seconds."""
    started_at = time.perf_counter()
    # Never over another: what is deleted at once need not be written to the disk.
    client.put_object(Bucket=BUCKET, Key=f"boto3/{uuid4()}", Body=body)
    return time.perf_counter() - started_at


def straight(store: Store, body: bytes) -> float:
    """Write an object with our store and nothing before it; return the seconds."""

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), PIECE):
            yield body[start : start + PIECE]

    async def write() -> float:
        started_at = time.perf_counter()
        await store.write(f"straight/{uuid4()}", chunks(), Length(len(body), len(body)))
        return time.perf_counter() - started_at

    return uvloop.run(write())


def to_disk(stack: ExitStack, folder: Path, random: bytes, rounds: int, seconds: int) -> None:
    """Measure the service over a directory."""
    crlf = HEAD + b"\r\n" * ((SIZE - len(HEAD)) // 2)
    bare, _ = stack.enter_context(started("bare", folder / "bare"))
    disk, process = stack.enter_context(started("disk", folder / "disk"))
    raw, form = partial(send, disk, random), partial(send, disk, random, form=True)
    pair("raw to disk, against a bare protocol", rounds, raw, partial(send, bare, random))
    pair("form, against raw", rounds, form, raw)
    pair("form of CRLFs, against a random one", rounds, partial(send, disk, crlf, form=True), form)
    if shutil.which("nginx"):
        port = stack.enter_context(nginx(folder / "nginx"))
        pair("raw to disk, against nginx", rounds, raw, partial(send, port, random, request="PUT /file"))
    memory("to disk", disk, process, random, rounds=rounds)
    others("to disk", disk, seconds)


def to_s3(stack: ExitStack, folder: Path, random: bytes, rounds: int, seconds: int) -> None:
    """Measure the service over a versitygw."""
    server = stack.enter_context(s3server.start(folder / "s3server"))
    server.create_bucket(BUCKET)
    environment = server.environment(BUCKET, prefix="root")
    os.environ.update(environment)
    s3, process = stack.enter_context(started("s3", folder / "s3", **environment))
    put = partial(boto3_put, server.client(), random)
    store = open_store(StoreSettings(url=f"s3://{BUCKET}/root"))
    pair("to S3, against boto3", rounds, partial(send, s3, random), put)
    pair("to S3 without the service, against boto3", rounds, partial(straight, store, random), put)
    memory("to S3", s3, process, random, rounds=rounds)
    memory("to S3, forms", s3, process, random, rounds=rounds, form=True)
    others("to S3", s3, seconds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the bytes go; a new one by default")
    parser.add_argument("--only", choices=("disk", "s3"), help="one half of it")
    parser.add_argument("--seconds", type=int, default=20, help="how long others ask")
    parser.add_argument("--serve", choices=("bare", "disk", "s3"), help=argparse.SUPPRESS)
    parser.add_argument("--load", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.load:
        upload_on(given.load)
        return
    if given.serve:
        uvloop.run(serve(given.serve, given.folder))
        return
    random = HEAD + os.urandom(SIZE - len(HEAD))
    for name, measure in {"disk": to_disk, "s3": to_s3}.items():
        if given.only in (None, name):
            with tempfile.TemporaryDirectory(dir=given.folder) as folder, ExitStack() as stack:
                measure(stack, Path(folder), random, given.rounds, given.seconds)


if __name__ == "__main__":
    main()
