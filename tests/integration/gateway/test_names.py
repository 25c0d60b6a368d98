"""The store's host name: asked of DNS again and again, as a server behind a name may move."""

import secrets
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx2

import tap
from gateway import Bucket, Gateway
from mediaasset import keys
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
