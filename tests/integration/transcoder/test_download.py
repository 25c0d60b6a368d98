"""Downloads that break off, from a server that does on each request what its test has written down."""

import dataclasses
import email.utils
import hashlib
import io
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from bench import Bench
from media_transcoder.progress import Reporter
from media_transcoder.sources import connect, download
from media_transcoder.sources.connect import FetchError, Way
from media_transcoder.sources.incoming import Incoming
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Source, Task


def photo(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (400, 500, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "BMP")
    return buffer.getvalue()


#: Two files of the same length: a download that goes on with the wrong one has the right size.
PHOTO, OTHER = photo(1), photo(2)
THIRD = len(PHOTO) // 3
ETAG = '"v1"'


@dataclass(frozen=True, kw_only=True)
class Turn:
    """How one request is answered. After so many bytes of the body, ends_after, the connection goes as `how` says."""

    content: bytes = PHOTO
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": ETAG})
    status: int | None = None
    ranges: bool = True
    if_range: bool = True
    ends_after: int | None = None
    how: str = "close"
    chunked: bool = False
    most: int | None = None


class Handler(BaseHTTPRequestHandler):
    """Plays the turns, the last of them for ever."""

    protocol_version = "HTTP/1.1"
    server: "Origin"

    def do_GET(self) -> None:
        turn = self.server.turns[min(len(self.server.asked), len(self.server.turns) - 1)]
        first = self.headers["Range"]
        self.server.asked.append((self.path, first, self.headers["If-Range"]))
        self.close_connection = True
        content, status, headers = turn.content, turn.status or 200, dict(turn.headers)
        same = self.headers["If-Range"] in (turn.headers.get("ETag"), turn.headers.get("Last-Modified"))
        if turn.status is None and first and turn.ranges and (same or not turn.if_range):
            start = int(first.removeprefix("bytes=").removesuffix("-"))
            content, status = content[start:][: turn.most], 206
            headers["Content-Range"] = f"bytes {start}-{start + len(content) - 1}/{len(turn.content)}"
            headers |= {name: value for name, value in turn.headers.items() if name == "Content-Range"}
        self.send_response(status)
        if turn.chunked:
            headers["Transfer-Encoding"] = "chunked"
            content = b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content)
        elif status != 302:
            headers.setdefault("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[: turn.ends_after])
        self.wfile.flush()
        if turn.ends_after is not None and turn.how == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if turn.ends_after is not None and turn.how == "stall":
            self.server.released.wait(60)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Origin(ThreadingHTTPServer):
    turns: tuple[Turn, ...] = (Turn(),)

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str | None, str | None]] = []
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/a"

    @property
    def ranges(self) -> list[str | None]:
        return [first for _, first, _ in self.asked]


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.released.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def fetched(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> Callable[..., bytes]:
    """Download in this process with the given turns; return what lies in the file."""
    monkeypatch.setattr(download, "PAUSES", (0.01, 0.01))

    def run(*turns: Turn, limit: int | None = None, seconds: float = 60) -> bytes:
        origin.turns = turns
        file = io.BytesIO()
        into = Incoming(file, limit, Reporter())
        way = Way(allowed_cidrs=("127.0.0.0/8",), deadline=time.monotonic() + seconds)
        download.download(origin.url, into, way)
        assert into.sha256 == hashlib.sha256(file.getvalue()).hexdigest()
        assert into.size == len(file.getvalue())
        return file.getvalue()

    return run


def task_for(bench: Bench, origin: Origin) -> Task:
    return replace(bench.task(Source(url=origin.url)), allowed_cidrs=("127.0.0.0/8",))


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_download_that_breaks_off_goes_on_where_it_was(bench: Bench, origin: Origin, how: str) -> None:
    broken = Turn(ends_after=THIRD, how=how)
    origin.turns = (broken, broken, Turn())
    ended = bench.run(task_for(bench, origin))
    assert ended.code == 0, ended.log
    assert bench.result().source_info.sha256 == hashlib.sha256(PHOTO).hexdigest()
    assert bench.result().source_info.size_bytes == len(PHOTO)
    (_, first, second) = origin.asked
    assert origin.asked[0] == ("/a", None, None)
    if how == "close":  # a reset may overtake bytes that were sent before it
        assert (first[1], second[1]) == (f"bytes={THIRD}-", f"bytes={2 * THIRD}-")
    assert {first[2], second[2]} <= {ETAG, None}


def test_a_server_that_always_breaks_off_is_given_up(bench: Bench, origin: Origin) -> None:
    origin.turns = (Turn(ends_after=THIRD, ranges=False),)
    assert bench.run(task_for(bench, origin)).reason is Reason.SOURCE_UNAVAILABLE
    assert len(origin.asked) == 1 + 1 + len(download.PAUSES)


def test_a_stop_between_bytes_is_a_break(
    origin: Origin, fetched: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "READ_SECONDS", 0.3)
    assert fetched(Turn(ends_after=THIRD, how="stall"), Turn()) == PHOTO
    assert origin.ranges == [None, f"bytes={THIRD}-"]


def test_a_file_that_gets_further_each_time_is_not_given_up(origin: Origin, fetched: Callable[..., bytes]) -> None:
    part = len(PHOTO) // 12
    assert fetched(*[Turn(ends_after=part)] * 12, Turn()) == PHOTO
    assert len(origin.asked) == 13


def test_a_server_may_give_less_than_was_asked_for(origin: Origin, fetched: Callable[..., bytes]) -> None:
    assert fetched(Turn(ends_after=THIRD), Turn(most=THIRD), Turn()) == PHOTO
    assert origin.ranges == [None, f"bytes={THIRD}-", f"bytes={2 * THIRD}-"]


@pytest.mark.parametrize(
    "after",
    [
        Turn(content=OTHER, headers={"ETag": '"v2"'}),
        # It takes Range and passes over If-Range, but says what it gives.
        Turn(content=OTHER, headers={"ETag": '"v2"'}, if_range=False),
        # It has grown.
        Turn(content=OTHER + b"more", if_range=False),
        Turn(ranges=False, content=OTHER),
    ],
)
def test_a_file_that_changed_meanwhile_starts_anew(fetched: Callable[..., bytes], after: Turn) -> None:
    assert fetched(Turn(ends_after=THIRD), after) == after.content


@pytest.mark.parametrize(
    "wrong",
    [
        Turn(status=416, content=b""),
        Turn(headers={"ETag": ETAG, "Content-Range": f"bytes {THIRD - 1}-{len(PHOTO) - 1}/{len(PHOTO)}"}),
        Turn(headers={"ETag": ETAG, "Content-Range": "bytes */9"}),
        Turn(headers={"ETag": ETAG, "Content-Range": "bytes " + "9" * 5000 + "-1/1"}),
    ],
)
def test_an_answer_that_does_not_fit_starts_anew(origin: Origin, fetched: Callable[..., bytes], wrong: Turn) -> None:
    assert fetched(Turn(ends_after=THIRD), wrong, Turn()) == PHOTO
    assert origin.ranges == [None, f"bytes={THIRD}-", None]


def dated(age: float) -> dict[str, str]:
    return {"Last-Modified": email.utils.formatdate(time.time() - age, usegmt=True)}


@pytest.mark.parametrize(
    ("headers", "resumed"),
    [
        ({"ETag": ETAG}, ETAG),
        (LONG_AGO := dated(3600), LONG_AGO["Last-Modified"]),
        # Within a second it may have been changed twice.
        (dated(-3600), None),
        ({"ETag": 'W/"v1"'}, None),
        ({"ETag": 'W/"v1"', **dated(3600)}, None),
        ({"Last-Modified": "yesterday"}, None),
        ({"Last-Modified": f"Fri, 31 Dec 2021 23:59:59 +{'9' * 20}"}, None),
        ({"Accept-Ranges": "bytes"}, None),
    ],
    # The times differ between processes that collect the tests, and a name must not.
    ids=["etag", "date", "too-new", "weak", "weak-and-date", "no-date", "no-time", "nothing"],
)
def test_only_what_a_validator_vouches_for_goes_on(
    origin: Origin, fetched: Callable[..., bytes], headers: dict[str, str], resumed: str | None
) -> None:
    assert fetched(Turn(headers=headers, ends_after=THIRD), Turn(headers=headers)) == PHOTO
    assert origin.asked[1][1:] == ((f"bytes={THIRD}-", resumed) if resumed else (None, None))


def test_a_body_in_chunks_ends_cleanly_or_is_gone_on_with(origin: Origin, fetched: Callable[..., bytes]) -> None:
    assert fetched(Turn(chunked=True)) == PHOTO
    origin.asked.clear()
    cut = THIRD + len(b"%x\r\n" % len(PHOTO))
    assert fetched(Turn(chunked=True, ends_after=cut), Turn(chunked=True)) == PHOTO
    assert origin.ranges == [None, f"bytes={THIRD}-"]
    origin.asked.clear()
    # All bytes are there, and only the end of the chunks is missing: it may not be the end.
    assert fetched(Turn(chunked=True, ends_after=-5), Turn(status=416, content=b""), Turn(chunked=True)) == PHOTO


def test_the_limit_counts_over_all_parts(fetched: Callable[..., bytes]) -> None:
    turn = Turn(ends_after=THIRD, chunked=True)
    assert fetched(turn, Turn(chunked=True), limit=len(PHOTO)) == PHOTO
    with pytest.raises(MediaError) as raised:
        fetched(turn, Turn(chunked=True), limit=len(PHOTO) - 1)
    assert raised.value.reason is Reason.SOURCE_TOO_LARGE


def test_where_the_rest_comes_from_is_checked_again(bench: Bench, origin: Origin) -> None:
    # The first answer comes from where it may; on the way to the rest, the server leads elsewhere.
    away = Turn(status=302, headers={"Location": f"http://127.0.0.2:{origin.server_port}/a", "Content-Length": "0"})
    origin.turns = (Turn(ends_after=THIRD), dataclasses.replace(away, content=b""), Turn())
    ended = bench.run(replace(task_for(bench, origin), allowed_cidrs=("127.0.0.1/32",)))
    assert ended.reason is Reason.SOURCE_FORBIDDEN
    assert len(origin.asked) == 2


@pytest.mark.parametrize("status", [429, 503])
def test_a_short_pause_that_a_server_asks_for_is_kept(
    origin: Origin, fetched: Callable[..., bytes], status: int
) -> None:
    busy = Turn(status=status, content=b"", headers={"Retry-After": "0"})
    soon = {"Retry-After": email.utils.formatdate(time.time() - 5, usegmt=True)}
    assert fetched(busy, dataclasses.replace(busy, headers=soon), Turn()) == PHOTO
    assert len(origin.asked) == 3


#: What no year and no zone can be.
DATES = ("Fri, 31 Dec 9999 23:59:59 -1400", f"Fri, 31 Dec 2021 23:59:59 +{'9' * 20}")


@pytest.mark.parametrize("after", ["31", "9" * 400, "tomorrow", "-1", "", *DATES])
def test_a_long_pause_is_left_to_the_next_attempt(origin: Origin, fetched: Callable[..., bytes], after: str) -> None:
    with pytest.raises(FetchError) as raised:
        fetched(Turn(status=503, content=b"", headers={"Retry-After": after}))
    assert (raised.value.reason, raised.value.status) == (Reason.SOURCE_UNAVAILABLE, 503)
    assert len(origin.asked) == 1


def test_no_pause_goes_beyond_the_deadline(origin: Origin, fetched: Callable[..., bytes]) -> None:
    with pytest.raises(MediaError) as raised:
        fetched(Turn(status=503, content=b"", headers={"Retry-After": "29"}), seconds=20)
    assert raised.value.reason is Reason.SOURCE_UNAVAILABLE
    assert len(origin.asked) == 1


def test_a_server_that_restarts_during_a_download_is_waited_for(origin: Origin, fetched: Callable[..., bytes]) -> None:
    down = Turn(status=500, content=b"", headers={})
    assert fetched(Turn(ends_after=THIRD), down, down, Turn()) == PHOTO
    # Having given nothing yet, it is left to the next attempt.
    origin.asked.clear()
    with pytest.raises(FetchError):
        fetched(down, Turn())
    assert len(origin.asked) == 1
