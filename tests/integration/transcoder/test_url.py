import hashlib
import io
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote

import pytest
from PIL import Image

from bench import Bench
from media_transcoder.fetch import URL_MAX_BYTES
from mediaasset.media import Kind
from mediaasset.reasons import Reason
from mediaasset.task import Limits, Source, Task

_BUFFER = io.BytesIO()
Image.new("RGB", (300, 200), "red").save(_BUFFER, "JPEG")
PHOTO = _BUFFER.getvalue()


class Handler(BaseHTTPRequestHandler):
    """Answers by the path; remembers what was asked."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        assert self.headers["Accept-Encoding"] == "identity"
        assert "Authorization" not in self.headers
        name, _, rest = self.path.lstrip("/").partition("/")
        if name == "status":
            self._answer(int(rest), b"no")
        elif name == "to":
            self._answer(302, b"", Location=rest.replace("!", "/"))
        elif name == "raw":
            self._answer(302, b"", Location=unquote(rest))
        elif name == "loop":
            self._answer(302, b"", Location="/loop")
        elif name == "encoded":
            self._answer(200, PHOTO, **{"Content-Encoding": rest})
        elif name == "announced":
            self._answer(200, PHOTO, **{"Content-Length": rest})
        elif name == "endless":
            self.send_response(200)
            self.end_headers()
            chunk = b"\xff\xd8\xff" + bytes(65_533)
            try:
                while True:
                    self.wfile.write(chunk)
            except OSError:
                return
        else:
            self._answer(200, PHOTO)

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for header, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    handler = type("OneHandler", (Handler,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def asked(server: ThreadingHTTPServer) -> list[str]:
    return server.RequestHandlerClass.asked  # type: ignore[attr-defined,no-any-return]


def task_for(bench: Bench, server: ThreadingHTTPServer, path: str, *, host: str = "127.0.0.1") -> Task:
    task = bench.task(Source(url=f"http://{host}:{server.server_port}/{path}"))
    return replace(task, allowed_cidrs=("127.0.0.0/8",))


def test_a_url_inside_an_allowed_range_is_fetched(bench: Bench, server: ThreadingHTTPServer) -> None:
    ended = bench.run(task_for(bench, server, "to/!photo%20é.jpg?x=1"))
    assert ended.code == 0, ended.log
    assert bench.result().source_info.sha256 == hashlib.sha256(PHOTO).hexdigest()
    assert len(asked(server)) == 2


def test_a_redirect_to_a_name_that_is_not_ascii_is_followed(bench: Bench, server: ThreadingHTTPServer) -> None:
    # Servers send the bytes of the name as they are, in UTF-8, though a header should be ASCII.
    raw = "/señal.jpg".encode().decode("latin-1")
    ended = bench.run(task_for(bench, server, f"raw/{quote(raw)}"))
    assert ended.code == 0, ended.log
    assert asked(server)[1] == "/se%C3%B1al.jpg"


def test_without_the_range_loopback_is_forbidden_and_never_asked(bench: Bench, server: ThreadingHTTPServer) -> None:
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0x7f000001", "127.1"):
        task = replace(task_for(bench, server, "photo.jpg", host=host), allowed_cidrs=())
        assert bench.run(task).reason is Reason.SOURCE_FORBIDDEN, host
        (bench.store / "work/uid/1/failure-pod.json").unlink()
    assert asked(server) == []


def test_a_redirect_is_checked_like_the_first_address(bench: Bench, server: ThreadingHTTPServer) -> None:
    # The first address is allowed, the one that it leads to is not, though the same server listens there.
    task = task_for(bench, server, f"to/http:!!127.0.0.1:{server.server_port}!photo.jpg")
    allowed = replace(task, allowed_cidrs=("127.0.0.1/32",))
    assert bench.run(allowed).code == 0
    (bench.store / "work/uid/1/result.json").unlink()
    asked(server).clear()
    other = task_for(bench, server, f"to/http:!!127.0.0.2:{server.server_port}!photo.jpg")
    assert bench.run(replace(other, allowed_cidrs=("127.0.0.1/32",))).reason is Reason.SOURCE_FORBIDDEN
    assert len(asked(server)) == 1


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("status/404", Reason.SOURCE_NOT_FOUND),
        ("status/410", Reason.SOURCE_NOT_FOUND),
        ("status/401", Reason.SOURCE_FORBIDDEN),
        ("status/403", Reason.SOURCE_FORBIDDEN),
        ("status/429", Reason.SOURCE_UNAVAILABLE),
        ("status/500", Reason.SOURCE_UNAVAILABLE),
        ("status/503", Reason.SOURCE_UNAVAILABLE),
        ("status/204", Reason.SOURCE_UNAVAILABLE),
        ("encoded/gzip", Reason.SOURCE_UNAVAILABLE),
        ("encoded/br", Reason.SOURCE_UNAVAILABLE),
        ("loop", Reason.SOURCE_FORBIDDEN),
        ("to/file:!!!etc!passwd", Reason.SOURCE_FORBIDDEN),
        ("to/http:!!user:word@127.0.0.1!", Reason.SOURCE_FORBIDDEN),
        ("to/http:!!127.0.0.1:99999!", Reason.SOURCE_FORBIDDEN),
        ("raw/http:%2F%2Fexa mple%2F", Reason.SOURCE_FORBIDDEN),
        ("raw/http:%2F%2Fa%01b%2F", Reason.SOURCE_FORBIDDEN),
        ("raw/http:%2F%2F[bad%2F", Reason.SOURCE_FORBIDDEN),
    ],
)
def test_what_a_server_answers_has_its_reason(
    bench: Bench, server: ThreadingHTTPServer, path: str, reason: Reason
) -> None:
    ended = bench.run(task_for(bench, server, path))
    assert ended.reason is reason, ended.log
    assert bench.objects("media/") == []
    assert len(asked(server)) <= 4


@pytest.mark.parametrize("name", ["aws-chunked", "binary", "identity"])
def test_an_encoding_that_is_no_compression_is_none(bench: Bench, server: ThreadingHTTPServer, name: str) -> None:
    ended = bench.run(task_for(bench, server, f"encoded/{name}"))
    assert ended.code == 0, ended.log


def test_a_name_that_is_none_is_said_to_be_so(bench: Bench, server: ThreadingHTTPServer) -> None:
    ended = bench.run(task_for(bench, server, "photo.jpg", host="shop..example"))
    assert ended.reason is Reason.SOURCE_UNAVAILABLE
    assert "host name of the source could not be resolved" in ended.log


def test_a_body_without_an_end_is_counted(bench: Bench, server: ThreadingHTTPServer) -> None:
    task = bench.with_limits(task_for(bench, server, "endless"), Kind.IMAGE, Limits(max_bytes=1_000_000))
    assert bench.run(replace(task, type=Kind.IMAGE)).reason is Reason.SOURCE_TOO_LARGE


@pytest.mark.parametrize("declared", [None, Kind.IMAGE])
@pytest.mark.parametrize(
    ("limit", "size", "reason"),
    [
        (Limits(), URL_MAX_BYTES + 1, Reason.SOURCE_TOO_LARGE),
        (Limits(), URL_MAX_BYTES, Reason.SOURCE_UNAVAILABLE),
        (None, URL_MAX_BYTES + 1, Reason.SOURCE_TOO_LARGE),
        # A limit in the profile goes before the ceiling; what is announced then does not come.
        (Limits(max_bytes=URL_MAX_BYTES + 1), URL_MAX_BYTES + 1, Reason.SOURCE_UNAVAILABLE),
        (Limits(max_bytes=URL_MAX_BYTES + 1), URL_MAX_BYTES + 2, Reason.SOURCE_TOO_LARGE),
    ],
)
def test_a_url_has_a_ceiling_where_the_profile_has_no_limit(
    bench: Bench, server: ThreadingHTTPServer, *, declared: Kind | None, limit: Limits | None, size: int, reason: Reason
) -> None:
    task = replace(task_for(bench, server, f"announced/{size}"), type=declared)
    limits = {kind: known for kind, known in task.limits.items() if kind is not Kind.IMAGE}
    ended = bench.run(replace(task, limits=limits | ({Kind.IMAGE: limit} if limit else {})))
    assert ended.reason is reason, ended.log


def test_nobody_listening_is_unavailable(bench: Bench, server: ThreadingHTTPServer) -> None:
    task = task_for(bench, server, "photo.jpg")
    server.socket.close()
    server.socket = socket.socket()
    assert bench.run(task).reason is Reason.SOURCE_UNAVAILABLE
