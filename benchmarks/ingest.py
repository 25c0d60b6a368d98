"""How fast uploads come in, in pairs of one run, as ratios; and the memory of four at once.

    python benchmarks/ingest.py [--rounds 5]

The app runs in a process of its own on uvloop, over SQLite and a directory or a versitygw, as uploads go through it in
production. Beside it a bare asyncio protocol writes the same bytes to the same disk, and boto3 to the same versitygw.
"""

import argparse
import asyncio
import http.client
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import cast

import psutil
import uvloop

_ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_ROOT), str(_ROOT / "tests/support")]

import s3server
from mediaasset.s3 import StoreSettings, open_store
from mediaasset.s3parts import S3Parts
from uploading import running_api

SIZE = 100_000_000
HEAD = b"\0\0\0\x18ftypisom" + bytes(12)
BUCKET = "bench"
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


def send(port: int, body: bytes, *, form: bool = False) -> float:
    """Upload a body on a connection of its own; return the seconds from the first byte to the answer."""
    before, after = FORM if form else (b"", b"")
    content_type = f"multipart/form-data; boundary={BOUNDARY}" if form else "video/mp4"
    head = (
        f"POST /api/media/upload/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer alice\r\nConnection: close\r\n"
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
    if answer.status != http.client.CREATED:
        sys.exit(f"{answer.status}: {text.decode()}")
    return time.perf_counter() - started_at


def pair(name: str, rounds: int, ours: Callable[[], float], other: Callable[[], float]) -> None:
    """Measure two things in turn; print the rate of the first by that of the second."""
    seconds = [(ours(), other()) for _ in range(rounds + 1)][1:]
    ratio = statistics.median(second / first for first, second in seconds)
    first, second = (statistics.median(column) for column in zip(*seconds, strict=True))
    print(f"{name}: {ratio:.2f} ({SIZE / first / 1e6:.0f} against {SIZE / second / 1e6:.0f} MB/s)", flush=True)


def memory(port: int, process: psutil.Process, body: bytes, rounds: int) -> None:
    """Print how much memory four uploads at once take, each, and what remains of it."""
    send(port, body)
    rest, most = process.memory_info().rss, 0
    for _ in range(rounds):
        threads = [threading.Thread(target=send, args=(port, body)) for _ in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            most = max(most, process.memory_info().rss)
            time.sleep(0.01)
    after = process.memory_info().rss
    running, left = (most - rest) / 4 / 2**20, (after - rest) / 2**20
    print(
        f"RSS of four at once, {rounds} rounds: {running:.1f} MiB each while running, {left:.1f} MiB after", flush=True
    )


def boto3_put(server: s3server.S3Server, body: bytes) -> float:
    """Put an object with boto3; return the seconds."""
    client = server.client()
    started_at = time.perf_counter()
    client.put_object(Bucket=BUCKET, Key="boto3", Body=body)
    return time.perf_counter() - started_at


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the bytes go; a new one by default")
    parser.add_argument("--serve", choices=("bare", "disk", "s3"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        uvloop.run(serve(given.serve, given.folder))
        return
    random = HEAD + os.urandom(SIZE - len(HEAD))
    crlf = HEAD + b"\r\n" * ((SIZE - len(HEAD)) // 2)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=given.folder)))
        bare, _ = stack.enter_context(started("bare", folder / "bare"))
        disk, process = stack.enter_context(started("disk", folder / "disk"))
        pair(
            "raw to disk, against a bare protocol", given.rounds, lambda: send(disk, random), lambda: send(bare, random)
        )
        pair("form, against raw", given.rounds, lambda: send(disk, random, form=True), lambda: send(disk, random))
        pair(
            "form of CRLFs, against a random one",
            given.rounds,
            lambda: send(disk, crlf, form=True),
            lambda: send(disk, random, form=True),
        )
        memory(disk, process, random, given.rounds)
        server = stack.enter_context(s3server.start(folder / "s3server"))
        server.create_bucket(BUCKET)
        s3, process = stack.enter_context(started("s3", folder / "s3", **server.environment(BUCKET, prefix="root")))
        pair("to S3, against boto3", given.rounds, lambda: send(s3, random), lambda: boto3_put(server, random))
        print("over S3, ", end="")
        memory(s3, process, random, given.rounds)


if __name__ == "__main__":
    main()
