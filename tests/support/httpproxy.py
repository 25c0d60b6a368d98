"""A reverse proxy before a real HTTP server: it notes writes, holds and refuses requests, and is slow or gone."""

import asyncio
import concurrent.futures
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import aiohttp
from aiohttp import web
from yarl import URL

if TYPE_CHECKING:
    from pathlib import Path

#: What belongs to one connection and is not passed on.
_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "content-length", "content-encoding"}
_READS = {"GET", "HEAD"}


class Held:
    """The first request of a method whose path and body match: stopped on its way there, or on its way back."""

    def __init__(self, method: str, pattern: str, body: str, *, after: bool) -> None:
        self._method, self._pattern, self._body = method, pattern, body
        self.after = after
        self._reached = threading.Event()
        self._released: concurrent.futures.Future[bool] = concurrent.futures.Future()

    def matches(self, method: str, path: str, body: bytes) -> bool:
        if self._reached.is_set() or method != self._method:
            return False
        return re.search(self._pattern, path) is not None and re.search(self._body.encode(), body) is not None

    async def stop(self) -> bool:
        """Wait here; tell whether to go on."""
        self._reached.set()
        return await asyncio.wrap_future(self._released)

    def reached(self, seconds: float = 60) -> None:
        """Wait until the request is here."""
        assert self._reached.wait(seconds), f"no {self._method} {self._pattern} came"

    def release(self) -> None:
        self._end(passes=True)

    def drop(self) -> None:
        """Forget the request: its sender is dead."""
        self._end(passes=False)

    def _end(self, *, passes: bool) -> None:
        if not self._released.done():
            self._released.set_result(passes)


class Journal:
    """The writes that one program makes through any number of proxies, in their order, and the one at which it dies."""

    def __init__(self) -> None:
        #: (method, path) of each.
        self.writes: list[tuple[str, str]] = []
        self._lock = threading.Lock()
        self._fatal: tuple[int, bool, Callable[[], None]] | None = None

    def kill_at(self, number: int, kill: Callable[[], None], *, after: bool) -> None:
        """Have `kill` called at the write of this number, from 1: before it is passed on, or when it is done."""
        self._fatal = number, after, kill

    @property
    def is_deadly(self) -> bool:
        """Tell whether that write has not come yet."""
        return self._fatal is not None

    def note(self, method: str, path: str) -> bool | None:
        """Take a write; tell whether its sender dies now: None for no, else whether that is after it."""
        with self._lock:
            self.writes.append((method, path))
            if self._fatal is None or len(self.writes) != self._fatal[0]:
                return None
            return self._fatal[1]

    def strike(self) -> None:
        """Kill the sender."""
        assert self._fatal is not None
        kill, self._fatal = self._fatal[2], None
        kill()


@dataclass
class Refusal:
    """An answer that some requests get from the proxy instead of from the server."""

    method: str
    pattern: str
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    #: How often; None for ever.
    times: int | None = None
    #: How many requests got it.
    met: int = 0
    #: The server does what it is asked, and only its answer is lost.
    late: bool = False

    def answer(self) -> web.Response:
        self.met += 1
        return web.Response(status=self.status, body=self.body, headers=self.headers)

    def matches(self, method: str, path: str) -> bool:
        if self.times is not None and self.met >= self.times:
            return False
        return re.fullmatch(self.method, method) is not None and re.search(self.pattern, path) is not None


class HttpProxy:
    """Passes on what it is not told to do otherwise with. Paths are matched with their query."""

    def __init__(
        self,
        upstream: str,
        tls: ssl.SSLContext | None = None,
        journal: Journal | None = None,
        *,
        bind: str = "127.0.0.1",
    ) -> None:
        self._upstream, self._tls, self._bind = upstream.rstrip("/"), tls, bind
        self._loop = asyncio.new_event_loop()
        self._holds: list[Held] = []
        self._refusals: list[Refusal] = []
        self.journal = journal or Journal()
        self.url = ""
        #: A file with a certificate and its key, where it is to be spoken to by TLS.
        self.certificate: Path | None = None
        #: Nobody is there: whoever asks finds the connection broken off.
        self.gone = False
        #: How long each request waits before it is passed on, in seconds.
        self.delay = 0.0
        #: Requests are taken and not answered, until this ends: then they are passed on, whoever still waits for them.
        self.hangs = False
        #: The path and query of every read.
        self.reads: list[str] = []

    @property
    def writes(self) -> list[tuple[str, str]]:
        """Return (method, path) of every request that may have changed something."""
        return self.journal.writes

    def hold(self, method: str, pattern: str, body: str = "", *, after: bool = False) -> Held:
        """Hold the next such request: before it reaches the server, or after, when it is done but nobody knows."""
        held = Held(method, pattern, body, after=after)
        self._holds.append(held)
        return held

    def refuse(self, refusal: Refusal) -> Refusal:
        """Answer such requests so, until it is taken back."""
        self._refusals.append(refusal)
        return refusal

    def accept(self, refusal: Refusal) -> None:
        """Take a refusal back."""
        self._refusals.remove(refusal)

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Serve from a thread of its own, so that tests may block."""
        started, stop = threading.Event(), asyncio.Event()
        thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(started, stop),))
        thread.start()
        try:
            assert started.wait(10)
            yield self
        finally:
            for held in self._holds:
                held.drop()
            self.hangs = False
            self._loop.call_soon_threadsafe(stop.set)
            thread.join(10)
            self._loop.close()

    async def _serve(self, started: threading.Event, stop: asyncio.Event) -> None:
        connector = aiohttp.TCPConnector(ssl=self._tls or True, limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
            runner = web.ServerRunner(web.Server(lambda request: self._take(session, request)), shutdown_timeout=1)
            await runner.setup()
            context = None
            if self.certificate:
                context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                context.load_cert_chain(self.certificate)
            await web.TCPSite(runner, self._bind, 0, ssl_context=context).start()
            self.url = f"{'https' if context else 'http'}://{self._bind}:{runner.addresses[0][1]}"
            started.set()
            await stop.wait()
            self._stopping()
            await runner.cleanup()

    def _stopping(self) -> None:
        """End what would not end by itself."""

    async def _take(self, session: aiohttp.ClientSession, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        if self.gone:
            raise _broken_off(request)
        if self.delay:
            await asyncio.sleep(self.delay)
        while self.hangs:  # noqa: ASYNC110 - whoever ends it is in another thread
            await asyncio.sleep(0.1)
        held = next((held for held in self._holds if held.matches(request.method, request.path, body)), None)
        if held and not held.after and not await held.stop():
            raise web.HTTPBadGateway
        refusal = next((each for each in self._refusals if each.matches(request.method, request.raw_path)), None)
        if refusal and not refusal.late:
            return refusal.answer()
        dies_after = self._note(request, body)
        if dies_after is False:
            self.journal.strike()
            raise _broken_off(request)
        answer = await self._pass(session, request, body)
        if held and held.after and not await held.stop():
            raise web.HTTPBadGateway
        if dies_after:
            self.journal.strike()
            raise _broken_off(request)
        return refusal.answer() if refusal else answer

    async def _pass(self, session: aiohttp.ClientSession, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        # The host stays, for it may be part of what was signed.
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        async with session.request(
            request.method,
            URL(self._upstream + request.raw_path, encoded=True),
            headers=headers,
            data=body or None,
            timeout=aiohttp.ClientTimeout(total=None),
            skip_auto_headers=("Content-Type", "User-Agent", "Accept", "Accept-Encoding"),
        ) as answer:
            kept = {
                name: value for name, value in answer.headers.items() if name.lower() not in _HOP - {"content-encoding"}
            }
            if self._is_stream(request):
                return await self._stream(request, answer, kept)
            if request.method == "HEAD":
                # The length is that of what a GET would give.
                kept["Content-Length"] = answer.headers.get("Content-Length", "0")
            return web.Response(status=answer.status, headers=kept, body=self._answer(request, await answer.read()))

    def _note(self, request: web.BaseRequest, body: bytes) -> bool | None:
        """Take note of a request; see Journal.note."""
        if request.method not in _READS:
            return self.journal.note(*self._write(request, body))
        self.reads.append(request.path_qs)
        return None

    # For those that know more of the server

    def _write(self, request: web.BaseRequest, _body: bytes) -> tuple[str, str]:
        """Return the method and path by which a write is noted."""
        return request.method, request.path

    def _answer(self, _request: web.BaseRequest, content: bytes) -> bytes:
        return content

    def _is_stream(self, _request: web.BaseRequest) -> bool:
        return False

    async def _stream(
        self, request: web.BaseRequest, answer: aiohttp.ClientResponse, headers: dict[str, str]
    ) -> web.StreamResponse:
        raise NotImplementedError


class StoreProxy(HttpProxy):
    """One before an S3 server: the deletion of several objects in one request is noted by their keys."""

    def _write(self, request: web.BaseRequest, body: bytes) -> tuple[str, str]:
        if request.method != "POST" or "delete" not in request.query:
            return request.method, request.path
        deleted = re.findall(r"<Key>([^<]*)</Key>", body.decode())
        return "DELETE", f"{request.path}/{' '.join(deleted)}"


def _broken_off(request: web.BaseRequest) -> Exception:
    if request.transport is not None:
        request.transport.abort()
    return web.HTTPBadGateway()
