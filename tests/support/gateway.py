"""The gateway as it ships: its start script and configuration with the nginx of this machine, in front of a bucket."""

import hashlib
import json
import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import obstore
from obstore.store import S3Store

import s3server
from media_transcoder import publish
from mediaasset import keys
from mediaasset.media import served_mime
from mediaasset.policies import bucket_policy
from s3server import Account, S3Server
from service import wait_for
from tap import Tap

START = Path(__file__).parents[2] / "gateway/start.sh"


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that serves, and the file that its standard output goes to."""

    base_url: str
    output: Path

    def log(self, server: str) -> list[dict[str, Any]]:
        """Return what one of its two servers, edge or origin, has logged: one entry for each request."""
        complete, _, _ = self.output.read_text().rpartition("\n")
        lines = [json.loads(line) for line in complete.splitlines()]
        return [line for line in lines if line["server"] == server]


def crowd(served: Gateway, target: str, line: Tap) -> list[bytes]:
    """Have twenty ask for one target while the line to S3 holds; return what each is sent, head and body."""
    address = urlsplit(served.base_url)
    line.passing.clear()
    waiting = [socket.create_connection((address.hostname, address.port), timeout=30) for _ in range(20)]
    for connection in waiting:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n\r\n".encode())
    wait_for(lambda: line.arrived, what="the first request to reach S3")
    # Answers to later requests, of both workers, say that the earlier ones have been read.
    for _ in range(20):
        assert httpx2.get(f"{served.base_url}/healthz").status_code == 200
    line.passing.set()
    answers = []
    for connection in waiting:
        with connection, connection.makefile("rb") as answer:
            answers.append(answer.read())
    return answers


#: Starts a gateway with settings.
Start = Callable[..., Gateway]


@dataclass(frozen=True, slots=True)
class Bucket:
    """The bucket `media` of an S3 server."""

    endpoint: str
    store: S3Store

    def put(self, key: str, body: bytes) -> None:
        """Write a rendition as the transcoder does."""
        obstore.put(self.store, key, body, attributes=publish._attributes(key, served_mime(key) or ""))


def bucket(server: S3Server, *, prefix: str = "", account: Account | None = None, signed_urls: bool = False) -> Bucket:
    """Make the bucket, of which anybody may read what lies under media/ and nothing else, or only the account."""
    named = {"gateway": account.access_key} if account else {}
    policy = bucket_policy("media", prefix, named, signed_urls=signed_urls)
    if account:
        policy["Statement"] = [each for each in policy["Statement"] if each["Principal"] != "*"]
    server.create_bucket("media", policy)
    store = S3Store(
        "media",
        prefix=prefix or None,
        endpoint=server.endpoint,
        region=s3server.REGION,
        access_key_id=server.access_key,
        secret_access_key=server.secret_key,
        client_options={"allow_http": True},
    )
    return Bucket(server.endpoint, store)


def put(bucket: Bucket, body: bytes, extension: str = "jpg") -> str:
    """Write a new rendition; return its key."""
    prefix = f"media/shop/assets/{secrets.token_hex(8)}/"
    key = keys.rendition(prefix, "medium", hashlib.sha256(body).hexdigest(), extension)
    bucket.put(key, body)
    return key


def settings(path: Path, endpoint: str, **changed: str) -> dict[str, str]:
    """Return the environment of a gateway that keeps its files below `path`, with settings added or replaced."""
    run, cache = path / "run", path / "cache"
    for folder in (run, cache):
        folder.mkdir(parents=True, exist_ok=True)
    own = {
        "PATH": f"{os.environ['PATH']}:/usr/sbin",  # where Debian puts nginx
        "GATEWAY_ENDPOINT": endpoint,
        "GATEWAY_BUCKET": "media",
        "GATEWAY_RUN_DIR": str(run),
        "GATEWAY_CACHE_DIR": str(cache),
        "GATEWAY_METRICS_LISTEN": f"unix:{run}/metrics.sock",
    }
    return own | changed


@contextmanager
def start(path: Path, endpoint: str, output: int | None = None, /, **changed: str) -> Iterator[Gateway]:
    """Run a gateway on a free port; it is stopped in the end, and must end cleanly.

    output: a descriptor for its standard output, in place of a file.
    """
    path.mkdir(parents=True, exist_ok=True)
    # nginx takes over a socket that it is given by number, so no other process can come between.
    with socket.create_server(("127.0.0.1", 0)) as listening, (path / "log").open("wb") as errors:
        # Two workers wait on it, and one of them comes too late.
        listening.settimeout(0)
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        log = path / "access.log"
        environment = settings(path, endpoint, GATEWAY_LISTEN=address, **changed)
        environment["NGINX"] = f"{listening.fileno()};"
        with log.open("wb") as lines:
            process = subprocess.Popen(
                [START],
                env=environment,
                stdout=lines if output is None else output,
                stderr=errors,
                pass_fds=[listening.fileno()],
                start_new_session=True,
            )
    try:
        wait_for(lambda: _is_ready(process, path), what="the gateway")
        yield Gateway(f"http://{address}", log)
    finally:
        process.send_signal(signal.SIGQUIT)
        try:
            code = process.wait(30)
        finally:
            kill(process)
    assert code == 0, (path / "log").read_text()


def run(environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run the start script to its end; one that becomes a gateway, as it should not, leaves nothing running."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [START], env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        try:
            output, errors = process.communicate(timeout=30)
        finally:
            kill(process)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def kill(process: "subprocess.Popen[Any]") -> None:
    """Kill what is left of a gateway that got a session of its own: nginx's workers outlive their killed master."""

    def is_gone() -> bool:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return True
        process.poll()
        return False

    wait_for(is_gone, what="the gateway to be gone")


def _is_ready(process: "subprocess.Popen[bytes]", path: Path) -> bool:
    assert process.poll() is None, (path / "log").read_text()
    # It is written when the sockets are open.
    return (path / "run/nginx.pid").exists()
