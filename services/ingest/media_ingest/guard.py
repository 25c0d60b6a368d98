"""What stands before a route: who asks, whether so often, and whether there is room for one more upload."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum, auto

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from media_ingest import auth, limiting, metrics, tracing
from media_ingest.auth import Tokens
from media_ingest.errors import Problem, Slug
from media_ingest.jwts import Verifier
from media_ingest.limiting import Budget, Limiter
from media_ingest.pace import Pace
from media_ingest.settings import Settings

#: Where the template of the route that answers stands in the ASGI scope, for logs and metrics.
ROUTE_SCOPE = "media_ingest.route"
#: And there the headers that every answer to the request gets, a problem too.
HEADERS_SCOPE = "media_ingest.headers"


class Traffic(Enum):
    """What a request counts as."""

    #: The state of the service and its description: never limited.
    FREE = auto()
    REQUEST = auto()
    #: A file comes in, as a new one.
    UPLOAD = auto()
    #: A file comes in, as a further piece of one that was counted.
    PIECE = auto()
    WEBHOOK = auto()


#: What counts as more than a request, by method and path.
UPLOADS = {
    ("POST", "/api/media/upload"): Traffic.UPLOAD,
    ("PUT", "/api/media/upload"): Traffic.UPLOAD,
    ("PUT", "/api/media/upload/{name}"): Traffic.UPLOAD,
    ("POST", "/api/media/from-url"): Traffic.UPLOAD,
    ("POST", "/api/media/presign"): Traffic.UPLOAD,
    ("POST", "/api/media/{id}/complete"): Traffic.PIECE,
    ("POST", "/api/tus"): Traffic.UPLOAD,
    ("POST", "/api/tus/{id}"): Traffic.PIECE,
    ("PATCH", "/api/tus/{id}"): Traffic.PIECE,
    ("POST", "/api/ads/{id}/upload_image"): Traffic.UPLOAD,
    ("PATCH", "/api/users/{id}"): Traffic.UPLOAD,
}
_PROBES = frozenset({"/healthz", "/readyz"})
_WEBHOOKS = "/webhooks/"
_ASSETS = "/api/media/{id}"


class Places:
    """How many bodies are read at once."""

    def __init__(self, count: int) -> None:
        """Take how many there are."""
        self._free = count

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold one of them. Raises Problem too-busy when none is free."""
        if self._free <= 0:
            raise Problem(Slug.TOO_BUSY)
        self._free -= 1
        metrics.UPLOADS_RUNNING.inc()
        try:
            yield
        finally:
            self._free += 1
            metrics.UPLOADS_RUNNING.dec()


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What all guards of an application share."""

    settings: Settings
    tokens: Tokens
    limiter: Limiter
    places: Places
    verifier: Verifier | None = None

    async def identify(self, request: Request) -> str | None:
        """Look at what the request presents; return as whom limits count it, None for nobody known.

        A JWT is verified here, once; what came of it stands in the scope for `auth.authorize`.
        """
        presented = auth.presented(request.headers)
        if presented is None:
            return None
        found: auth.Token | Problem | None
        if self.verifier is not None and presented.count(".") == 2:  # noqa: PLR2004 - the dots of a compact JWS
            found = await auth.outcome(self.verifier.verify(presented))
            request.scope[auth.IDENTITY_SCOPE] = found
        else:
            found = self.tokens.find(presented)
        return found.sha256[:32] if isinstance(found, auth.Token) else None

    def budgets(self, traffic: Traffic, caller: str | None, address: str) -> list[Budget]:
        """Return all that a request is counted against."""
        settings, found = self.settings, list[Budget]()
        if traffic is Traffic.FREE:
            return found
        if traffic is Traffic.WEBHOOK:
            return limiting.budgets("webhooks", settings.webhooks_per_address, address)
        found += limiting.budgets("requests-address", settings.requests_per_address, address)
        if traffic is Traffic.UPLOAD:
            found += limiting.budgets("uploads-address", settings.uploads_per_address, address)
        if caller is not None:
            found += limiting.budgets("requests-token", settings.requests_per_token, caller)
            if traffic is Traffic.UPLOAD:
                found += limiting.budgets("uploads-token", settings.uploads_per_token, caller)
        return found


class Guard:
    """ASGI middleware around one route."""

    def __init__(self, app: ASGIApp, *, template: str, otherwise: Traffic | None = None) -> None:
        """Take the route's path, and what requests on it count as where the path itself does not say."""
        self._app = app
        self._template = template
        self._otherwise = otherwise or _otherwise(template)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through. Raises Problem too-many-requests, too-busy and too-slow."""
        scope[ROUTE_SCOPE] = self._template
        if self._template.startswith(_ASSETS):
            tracing.name_asset(scope["path_params"]["id"])
        traffic = UPLOADS.get((scope["method"], self._template), self._otherwise)
        if traffic is Traffic.FREE:
            await self._app(scope, receive, send)
            return
        watch: Watch = scope["app"].state.watch
        request = Request(scope)
        caller = await watch.identify(request) if traffic is not Traffic.WEBHOOK else None
        address = limiting.network(request.client.host if request.client else "")
        windows = await watch.limiter.take(watch.budgets(traffic, caller, address))
        scope[HEADERS_SCOPE] = limiting.headers(windows)
        with ExitStack() as place:
            if traffic in (Traffic.UPLOAD, Traffic.PIECE):
                place.enter_context(watch.places.one())
                rate, seconds = watch.settings.min_upload_rate, watch.settings.pace_seconds
                receive = Pace(receive, rate=rate, seconds=seconds)

            async def answer(message: Message) -> None:
                # What is answered is read no further, but to be thrown away.
                place.close()
                await send(message)

            await self._app(scope, receive, answer)


def _otherwise(template: str) -> Traffic:
    if template in _PROBES:
        return Traffic.FREE
    return Traffic.WEBHOOK if template.startswith(_WEBHOOKS) else Traffic.REQUEST
