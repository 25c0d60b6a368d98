"""A proxy before an API server that holds requests where a test wants them, and spoils watches as networks do."""

import asyncio
import base64
import concurrent.futures
import json
import re
import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

#: What belongs to one connection and is not passed on.
_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "host", "content-length", "content-encoding"}
_GONE = {
    "kind": "Status",
    "apiVersion": "v1",
    "status": "Failure",
    "reason": "Expired",
    "message": "too old",
    "code": 410,
}


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


@dataclass
class _Stream:
    path: str
    answer: web.StreamResponse
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Proxy:
    """Passes on what it is not told to hold, and counts the writes."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._upstream = cluster["server"]
        self._loop = asyncio.new_event_loop()
        self._tls = _context(cluster, user)
        self._holds: list[Held] = []
        self._streams: list[_Stream] = []
        self._muted: list[str] = []
        self.url = ""
        #: (method, path) of every request that may have changed something.
        self.writes: list[tuple[str, str]] = []
        #: The path and query of every list and watch.
        self.reads: list[str] = []

    def hold(self, method: str, pattern: str, body: str = "", *, after: bool = False) -> Held:
        """Hold the next such request: before it reaches the server, or after, when it is done but nobody knows."""
        held = Held(method, pattern, body, after=after)
        self._holds.append(held)
        return held

    def mute(self, pattern: str) -> None:
        """Let no event of such watches through any more."""
        self._muted.append(pattern)

    def cut(self, pattern: str) -> None:
        """Break such watches off without a word, and mute them no longer."""
        self._muted = [each for each in self._muted if each != pattern]
        for stream in [stream for stream in self._streams if re.search(pattern, stream.path)]:
            self._loop.call_soon_threadsafe(stream.ended.set)

    def expire(self, pattern: str) -> int:
        """End such watches with the error 410, and mute them no longer; return how many there were."""
        return asyncio.run_coroutine_threadsafe(self._expire(pattern), self._loop).result(10)

    async def _expire(self, pattern: str) -> int:
        self._muted = [each for each in self._muted if each != pattern]
        found = [stream for stream in self._streams if re.search(pattern, stream.path)]
        for stream in found:
            with suppress(ConnectionError):
                await stream.answer.write(json.dumps({"type": "ERROR", "object": _GONE}).encode() + b"\n")
            stream.ended.set()
        return len(found)

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig that leads here."""
        body = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxy", "cluster": {"server": self.url}}],
            "users": [{"name": "proxy", "user": {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
            "current-context": "proxy",
        }
        path.write_text(yaml.safe_dump(body))
        return path

    @contextmanager
    def running(self) -> Iterator["Proxy"]:
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
            self._loop.call_soon_threadsafe(stop.set)
            thread.join(10)
            self._loop.close()

    async def _serve(self, started: threading.Event, stop: asyncio.Event) -> None:
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
            runner = web.ServerRunner(web.Server(lambda request: self._pass(session, request)), shutdown_timeout=1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            started.set()
            await stop.wait()
            for stream in self._streams:
                stream.ended.set()
            await runner.cleanup()

    async def _pass(self, session: aiohttp.ClientSession, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        held = next((held for held in self._holds if held.matches(request.method, request.path, body)), None)
        if held and not held.after and not await held.stop():
            raise web.HTTPBadGateway
        if request.method == "GET":
            self.reads.append(request.path_qs)
        else:
            self.writes.append((request.method, request.path))
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        timeout = aiohttp.ClientTimeout(total=None)
        async with session.request(
            request.method, self._upstream + request.path_qs, headers=headers, data=body or None, timeout=timeout
        ) as answer:
            kept = {
                name: value for name, value in answer.headers.items() if name.lower() not in _HOP - {"content-encoding"}
            }
            if "watch=true" in request.query_string or "watch=1" in request.query_string:
                return await self._stream(request, answer, kept)
            content = await answer.read()
            if held and held.after and not await held.stop():
                raise web.HTTPBadGateway
            return web.Response(status=answer.status, headers=kept, body=content)

    async def _stream(
        self, request: web.BaseRequest, answer: aiohttp.ClientResponse, headers: dict[str, str]
    ) -> web.StreamResponse:
        passed = web.StreamResponse(status=answer.status, headers=headers)
        await passed.prepare(request)
        stream = _Stream(request.path, passed)
        self._streams.append(stream)
        copying = asyncio.ensure_future(self._copy(stream, answer))
        ending = asyncio.ensure_future(stream.ended.wait())
        try:
            await asyncio.wait({copying, ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._streams.remove(stream)
            for task in (copying, ending):
                task.cancel()
            await asyncio.gather(copying, ending, return_exceptions=True)
            # A watch that is given up has no end that TLS could announce, and the loop would be gone before it came.
            if answer.connection is not None and answer.connection.transport is not None:
                answer.connection.transport.abort()
        return passed

    async def _copy(self, stream: _Stream, answer: aiohttp.ClientResponse) -> None:
        with suppress(ConnectionError, aiohttp.ClientError):
            async for line in answer.content:
                if not any(re.search(pattern, stream.path) for pattern in self._muted):
                    await stream.answer.write(line)


def _context(cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    def data(source: dict[str, Any], name: str) -> bytes:
        inline = source.get(f"{name}-data")
        return base64.b64decode(inline) if inline else Path(source[name]).read_bytes()

    context = ssl.create_default_context(cadata=data(cluster, "certificate-authority").decode())
    # The clusters of tests sign their certificates without the key identifiers that Python 3.13 insists on.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    with tempfile.NamedTemporaryFile() as file:
        file.write(data(user, "client-certificate") + b"\n" + data(user, "client-key"))
        file.flush()
        context.load_cert_chain(file.name)
    return context
