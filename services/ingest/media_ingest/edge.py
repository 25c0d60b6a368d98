"""The outermost layer: an access log line per request, no error without an answer, and refused bodies read out."""

import asyncio
import time
from http import HTTPStatus

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from media_ingest import metrics, tracing
from media_ingest.auth import USER_SCOPE
from media_ingest.errors import translate
from media_ingest.guard import HEADERS_SCOPE, ROUTE_SCOPE

#: A sender that is silent for so long is not waited for; nginx's lingering_timeout.
QUIET_SECONDS = 5

#: What nginx logs for a client that went away before there was an answer.
_CLIENT_GONE = 499

_PROBES = ("/healthz", "/readyz")

_LOG = structlog.get_logger("media_ingest.access")


class Edge:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, linger_seconds: float) -> None:
        """Take the application, and how long a refused body is read on."""
        self._app = app
        self._linger_seconds = linger_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._linger_seconds)
        started = time.monotonic()
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            exchange.status = _CLIENT_GONE
        except Exception as error:
            # Nobody expected it, or a handler would have answered: the log has it all, the client only the fact.
            _LOG.exception("unexpected error", method=scope["method"], path=scope["path"])
            if exchange.status:
                raise  # The answer has begun; the server can only break it off.
            await translate(error).to_response()(scope, exchange.receive, exchange.send)
        finally:
            exchange.count(time.monotonic() - started)
            # A probe comes every few seconds; only one that fails is news.
            if scope["path"] not in _PROBES or exchange.status != HTTPStatus.OK:
                _LOG.info(
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    status=exchange.status,
                    seconds=round(time.monotonic() - started, 4),
                    bytes=exchange.sent,
                    received=exchange.received,
                    user=scope.get(USER_SCOPE),
                )


class _Exchange:
    """One request and its answer, counted.

    An answer given before the body was read is sent at once and whole, but the connection stays open a little while
    the rest is read and thrown away: closing with unread bytes makes the kernel send a reset, and the client would lose
    the answer; reading on without an end would let it send for ever. (nginx calls this lingering close.)
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, linger_seconds: float) -> None:
        headers = Headers(scope=scope)
        self._scope = scope
        self._request_id = tracing.begin(headers)
        self.status = 0
        self.sent = 0
        self.received = 0
        self._receive = receive
        self._send = send
        self._linger_seconds = linger_seconds
        self._unread = headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers

    async def receive(self) -> Message:
        message = await self._receive()
        self.received += len(message.get("body", b""))
        if not message.get("more_body", False):
            self._unread = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
            headers = MutableHeaders(scope=message)
            headers[tracing.REQUEST_ID_HEADER] = self._request_id
            for name, value in self._scope.get(HEADERS_SCOPE, {}).items():
                headers.setdefault(name, value)
            if self._unread:
                headers["Connection"] = "close"
        elif message["type"] == "http.response.body":
            self.sent += len(message.get("body", b""))
            if self._unread and not message.get("more_body", False) and self.status >= HTTPStatus.BAD_REQUEST:
                await self._send({**message, "more_body": True})
                await self._read_out()
                message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    def count(self, seconds: float) -> None:
        """Have the request in the metrics, now that it is over."""
        method, route = metrics.method(self._scope["method"]), self._scope.get(ROUTE_SCOPE, metrics.NO_ROUTE)
        metrics.REQUESTS.labels(method, route, self.status).inc()
        metrics.SECONDS.labels(method, route).observe(seconds)
        metrics.RECEIVED.inc(self.received)

    async def _read_out(self) -> None:
        try:
            async with asyncio.timeout(self._linger_seconds):
                while self._unread:
                    async with asyncio.timeout(QUIET_SECONDS):
                        await self.receive()
        except TimeoutError:
            return
