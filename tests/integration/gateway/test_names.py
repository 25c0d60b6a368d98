"""The store's host name: asked of DNS again and again, as a server behind a name may move."""

import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

import gateway
import s3server
import tap
import webserver
from gateway import Bucket, Gateway, put
from mediaasset import keys
from servers import free_port
from service import wait_for
from tap import Tap


@dataclass
class Names:
    """A DNS server that answers every question with one address, to be kept for a second."""

    server: str
    address: str


@contextmanager
def answering(address: str) -> Iterator[Names]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        names = Names(f"127.0.0.1:{server.getsockname()[1]}", address)

        def answer() -> None:
            while (received := server.recvfrom(512))[0]:
                question, client = received
                is_v4 = question[-4:-2] == b"\0\1"
                # RFC 1035 section 4.1: the header, the question as it came, and a record that points to its name.
                head = question[:2] + struct.pack(">HHHHH", 0x8180, 1, int(is_v4), 0, 0)
                record = struct.pack(">HHHIH", 0xC00C, 1, 1, 1, 4) + socket.inet_aton(names.address)
                server.sendto(head + question[12:] + (record if is_v4 else b""), client)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield names
        finally:
            # An empty question ends it.
            server.sendto(b"", server.getsockname())
            thread.join()


def test_server_that_moves_is_found(
    bucket: Bucket, line: Tap, start: Callable[..., Gateway], client: httpx2.Client
) -> None:
    port = urlsplit(line.endpoint).port
    assert port
    with tap.start(bucket.endpoint, "127.0.0.2", port) as moved, answering("127.0.0.1") as names:
        served = start(GATEWAY_ENDPOINT=f"http://store.example:{port}", GATEWAY_RESOLVER=names.server)

        def fetch() -> None:
            body = secrets.token_bytes(8)
            key = keys.rendition("media/shop/assets/moved/", "medium", body.hex(), "jpg")
            bucket.put(key, body)
            assert client.get(f"{served.base_url}/{key}").content == body

        fetch()
        assert line.asked[-1].headers["host"] == f"store.example:{port}"
        assert not moved.asked
        names.address = "127.0.0.2"

        def has_moved() -> bool:
            fetch()
            return bool(moved.asked)

        wait_for(has_moved, what="the new address to be asked")
        assert moved.asked[-1].status == 206


def test_server_that_is_replaced_is_found_without_a_failed_request(
    bucket: Bucket, start: Callable[..., Gateway], client: httpx2.Client, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        old = stack.enter_context(s3server.start(tmp_path / "old"))
        gateway.bucket(old)
        port = urlsplit(old.endpoint).port
        assert port
        names = stack.enter_context(answering("127.0.0.1"))
        served = start(GATEWAY_ENDPOINT=f"http://store.example:{port}", GATEWAY_RESOLVER=names.server)
        # Every worker has a connection to the old one, and knows where it is.
        for _ in range(20):
            assert client.get(f"{served.base_url}/media/a/medium-{secrets.token_hex(8)}.jpg").status_code == 404
        stack.enter_context(tap.start(bucket.endpoint, "127.0.0.2", port))
        names.address = "127.0.0.2"
        # nginx counts whole seconds, and takes the one in which the record ends for good.
        key = put(bucket, b"moved")
        ends = time.monotonic() + 2.1
        wait_for(lambda: time.monotonic() > ends, what="the end of the record")
        old.stop()
        assert client.get(f"{served.base_url}/{key}").content == b"moved"


def test_connections_to_the_store_are_kept_with_tls(
    bucket: Bucket, start: Callable[..., Gateway], client: httpx2.Client, tmp_path: Path
) -> None:
    authority = webserver.authority(tmp_path)
    pem, port, log = authority.issue("store.example"), free_port(), tmp_path / "connections"
    block = (
        f"log_format connections $connection; server {{ listen 127.0.0.1:{port} ssl; access_log {log} connections;"
        f" ssl_certificate {pem}; ssl_certificate_key {pem}; location / {{ proxy_pass {bucket.endpoint}; }} }}"
    )
    with webserver.started(tmp_path / "tls", block, port), answering("127.0.0.1") as names:
        served = start(
            GATEWAY_ENDPOINT=f"https://store.example:{port}",
            GATEWAY_RESOLVER=names.server,
            SSL_CERT_FILE=str(authority.file),
        )
        for number in range(20):
            body = b"%d" % number
            assert client.get(f"{served.base_url}/{put(bucket, body)}").content == body
        # The first of each worker goes by the name, and so does one now and then; those after it share another.
        connections = log.read_text().split()
        assert len(connections) == 20
        assert len(set(connections)) <= 8
