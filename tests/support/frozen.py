"""A line to a server that freezes: from the first request of a kind on nothing passes any more, in either direction."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Line:
    """Where to connect instead of the server, and whether the line is frozen."""

    endpoint: str
    frozen: threading.Event = field(default_factory=threading.Event)


@contextmanager
def start(upstream: str, request: bytes) -> Iterator[Line]:
    """Pass connections on to http://host:port until one sends `request`, the beginning of a request line."""
    target = urlsplit(upstream)
    sockets: list[socket.socket] = []

    def pass_on(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(65536):
                if request in chunk:
                    line.frozen.set()
                if line.frozen.is_set():
                    return
                sink.sendall(chunk)
            sink.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = server.accept()
                far = socket.create_connection((target.hostname, target.port))
                sockets.extend((near, far))
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=pass_on, args=ends, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        line = Line(f"http://127.0.0.1:{server.getsockname()[1]}")
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield line
        finally:
            server.shutdown(socket.SHUT_RDWR)
            for each in sockets:
                each.close()
