"""A proxy before an API server: that of httpproxy.py, which also spoils watches as networks and servers do."""

import asyncio
import base64
import json
import re
import ssl
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

from httpproxy import HttpProxy, Journal

Json = dict[str, Any]

#: The events that go on in place of one event.
Spoil = Callable[[Json], list[Json]]


def failure(code: int, reason: str, message: str, **more: object) -> Json:
    """Return what the API server says when it refuses something."""
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return {**body, "reason": reason, "message": message, "code": code, **more}


_GONE = failure(410, "Expired", "too old")


@dataclass
class _Stream:
    path: str
    answer: web.StreamResponse
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Proxy(HttpProxy):
    """Watches are told by their path, without the query."""

    def __init__(self, kubeconfig: Path, journal: Journal | None = None) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        super().__init__(cluster["server"], client_context(cluster, user), journal)
        self._streams: list[_Stream] = []
        self._spoils: dict[str, Spoil] = {}
        self._frozen: dict[str, dict[str, bytes]] = {}
        #: The token that is taken, where one is asked for.
        self.token: str | None = None

    def mute(self, pattern: str) -> None:
        """Let no event of such watches through any more."""
        self.spoil(pattern, lambda _: [])

    def spoil(self, pattern: str, change: Spoil) -> None:
        """Have each event of such watches replaced."""
        self._spoils[pattern] = change

    def heal(self, pattern: str) -> None:
        """Let such watches be again."""
        self._spoils.pop(pattern, None)

    def freeze(self, pattern: str) -> None:
        """Answer such a list as it is answered next, whatever happens meanwhile: a server that lags behind."""
        self._frozen[pattern] = {}

    def frozen(self, pattern: str) -> list[str]:
        """Return the answers that such lists get."""
        return [content.decode() for content in self._frozen[pattern].values()]

    def thaw(self, pattern: str) -> None:
        """Answer such lists as they are."""
        self._frozen.pop(pattern, None)

    def cut(self, pattern: str) -> None:
        """Break such watches off without a word, and spoil them no longer."""
        self.heal(pattern)
        for stream in [stream for stream in self._streams if re.search(pattern, stream.path)]:
            self._loop.call_soon_threadsafe(stream.ended.set)

    def expire(self, pattern: str, error: Json = _GONE) -> int:
        """End such watches with an error, 410, and spoil them no longer; return how many there were."""
        return asyncio.run_coroutine_threadsafe(self._expire(pattern, error), self._loop).result(10)

    async def _expire(self, pattern: str, error: Json) -> int:
        self.heal(pattern)
        found = [stream for stream in self._streams if re.search(pattern, stream.path)]
        for stream in found:
            with suppress(ConnectionError):
                await stream.answer.write(json.dumps({"type": "ERROR", "object": error}).encode() + b"\n")
            stream.ended.set()
        return len(found)

    def watches(self, pattern: str) -> int:
        """Return how many such watches are open."""
        return sum(re.search(pattern, stream.path) is not None for stream in list(self._streams))

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

    def _stopping(self) -> None:
        for stream in self._streams:
            stream.ended.set()

    async def _take(self, session: aiohttp.ClientSession, request: web.BaseRequest) -> web.StreamResponse:
        # Clients write the scheme as they like (RFC 9110).
        if self.token is not None and request.headers.get("Authorization", "").split()[1:] != [self.token]:
            await request.read()
            return web.json_response(failure(401, "Unauthorized", "Unauthorized"), status=401)
        return await super()._take(session, request)

    def _answer(self, request: web.BaseRequest, content: bytes) -> bytes:
        if request.method != "GET":
            return content
        kept = next((each for pattern, each in self._frozen.items() if re.search(pattern, request.path)), None)
        return content if kept is None else kept.setdefault(request.path_qs, content)

    def _is_stream(self, request: web.BaseRequest) -> bool:
        return request.query.get("watch") in {"true", "1"}

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
                spoil = next((each for pattern, each in self._spoils.items() if re.search(pattern, stream.path)), None)
                for each in [line] if spoil is None else _encoded(spoil(json.loads(line))):
                    await stream.answer.write(each)


def _encoded(events: list[Json]) -> list[bytes]:
    return [json.dumps(event).encode() + b"\n" for event in events]


def client_context(cluster: Json, user: Json) -> ssl.SSLContext:
    """Return how to speak to a cluster as a user, both as a kubeconfig has them."""

    def data(source: Json, name: str) -> bytes:
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
