"""A tap on the line to an HTTP server: it passes requests on, keeps what was asked, and can hold or break the line."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

#: What concerns one connection, and is not passed on.
_HOP = ("connection", "keep-alive", "transfer-encoding", "date", "server")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came, and the status it was answered with."""

    method: str
    path: str
    headers: dict[str, str]
    status: int


@dataclass
class Tap:
    """The line. `passing` holds requests while it is cleared; `broken` has each answered with a 503."""

    endpoint: str
    asked: list[Asked] = field(default_factory=list)
    arrived: int = 0
    broken: bool = False
    passing: threading.Event = field(default_factory=threading.Event)


@contextmanager
def start(upstream: str, host: str = "127.0.0.1", port: int = 0) -> Iterator[Tap]:
    """Listen on a free port and pass on to `upstream`, http://host:port."""
    target = urlsplit(upstream).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            tap.arrived += 1
            tap.passing.wait()
            if tap.broken:
                self._answer(503, [("Content-Length", "0")], b"")
                return
            line = http.client.HTTPConnection(target, timeout=30)
            line.request(self.command, self.path, headers=dict(self.headers))
            answer = line.getresponse()
            body = answer.read()
            self._answer(answer.status, [h for h in answer.getheaders() if h[0].lower() not in _HOP], body)
            line.close()

        do_HEAD = do_GET  # noqa: N815 - the same

        def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            names = {name.lower(): value for name, value in self.headers.items()}
            tap.asked.append(Asked(self.command, self.path, names, status))
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
            """Say nothing."""

    with ThreadingHTTPServer((host, port), Handler) as server:
        tap = Tap(f"http://{host}:{server.server_port}")
        tap.passing.set()
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield tap
        finally:
            tap.passing.set()
            server.shutdown()
