"""The HTTP API as one Starlette application: the same in a cluster and in standalone."""

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Route
from starlette.types import Lifespan

from media_ingest import errors
from media_ingest.auth import Tokens
from media_ingest.edge import Edge
from media_ingest.following import Followers
from media_ingest.guard import Guard, Places, Watch
from media_ingest.inbound import Sources
from media_ingest.jwts import Verifier
from media_ingest.limiting import Limiter
from media_ingest.locks import LocalLocks, Locks
from media_ingest.routes import (
    bulk,
    collections,
    direct,
    docs,
    events,
    files,
    fromurl,
    health,
    inbound,
    items,
    market,
    tus,
    upload,
    whatsapp,
)
from media_ingest.scan import Scanner
from media_ingest.service import Service
from media_ingest.settings import Settings
from media_ingest.whatsapp.accounts import Accounts, none_at_all
from media_ingest.whatsapp.graph import Graph
from mediaasset.assets import Assets, AssetsError
from mediaasset.jobs import ProgressReader
from mediaasset.parts import Forms, Parts
from mediaasset.reasons import MediaError
from mediaasset.store import Store

#: Every path of the API, without the slash at its end, and what answers there.
ENDPOINTS = {
    "/api/media/upload": upload.Upload,
    "/api/media/upload/{name}": upload.NamedUpload,
    "/api/media/from-url": fromurl.FromURL,
    "/api/media/stats": items.Stats,
    "/api/media/bulk": bulk.Bulk,
    "/api/media/presign": direct.Presign,
    "/api/media/{id}/complete": direct.Complete,
    "/api/tus": tus.Uploads,
    "/api/tus/{id}": tus.Upload,
    "/api/media/{id}/events": events.Events,
    "/api/media/{id}/download": files.Download,
    "/api/media/{id}/reprocess": files.Reprocess,
    "/api/media/{id}": items.Item,
    "/api/media": items.Items,
    "/api/collections/{path:path}/order": collections.Order,
    "/api/collections/{path:path}": collections.Collection,
    "/api/ads/{id}/upload_image": market.UploadImage,
    "/api/ads/{id}/images": market.Images,
    "/api/users/{id}": market.User,
    "/api/whatsapp/{account}/send": whatsapp.Send,
    "/api/whatsapp/{account}/check": whatsapp.Check,
    whatsapp.PATH: whatsapp.Webhook,
    "/webhooks/in/{source}": inbound.Inbound,
    "/api/openapi.json": health.OpenAPI,
    "/api/docs": docs.Page,
    "/api/docs/{file}": docs.Part,
    "/healthz": health.Healthz,
    "/readyz": health.Readyz,
}


#: Headers of requests that pages of other origins may send, and of answers that they may read.
ACCEPTED = (
    "Authorization",
    "Content-Disposition",
    "Content-Type",
    "Idempotency-Key",
    "Last-Event-ID",
    "Traceparent",
    "Tracestate",
    "Tus-Resumable",
    "Upload-Checksum",
    "Upload-Defer-Length",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
    "X-HTTP-Method-Override",
    "X-Request-ID",
    "X-Requested-With",
)
EXPOSED = (
    "Allow",
    "ETag",
    "Idempotency-Replayed",
    "Location",
    "Media-Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Tus-Checksum-Algorithm",
    "Tus-Extension",
    "Tus-Resumable",
    "Tus-Version",
    "Upload-Defer-Length",
    "Upload-Expires",
    "Upload-Length",
    "Upload-Offset",
    "WWW-Authenticate",
    "X-Request-ID",
)
#: How long a browser need not ask again whether it may: as long as Chromium allows.
_PREFLIGHT_SECONDS = 7200


def create_app(
    *,
    assets: Assets,
    store: Store,
    parts: Parts,
    forms: Forms | None = None,
    progress: ProgressReader,
    tokens: Tokens,
    settings: Settings,
    locks: Locks | None = None,
    limiter: Limiter | None = None,
    verifier: Verifier | None = None,
    scanner: Scanner | None = None,
    accounts: Accounts | None = None,
    routes: Sequence[BaseRoute] = (),
    lifespan: Lifespan[Starlette] | None = None,
) -> Starlette:
    """Build the application over the ports.

    Without locks and a limiter that several replicas share, this process has its own; without a verifier there are no
    JWTs. routes and lifespan are for a process that serves more than the API, such as the finished media.
    """
    app = Starlette(
        routes=[*_routes(settings), *routes],
        middleware=[*_cors(settings), Middleware(Edge, linger_seconds=settings.linger_seconds)],
        exception_handlers={
            errors.Problem: errors.respond,
            AssetsError: errors.respond,
            MediaError: errors.respond,
            HTTPException: errors.respond,
        },
        lifespan=lifespan,
    )
    # Both forms of each path have a route: a redirect would make a client send its upload twice.
    app.router.redirect_slashes = False
    app.state.watch = Watch(
        settings=settings,
        tokens=tokens,
        limiter=limiter or Limiter(),
        places=Places(settings.max_uploads),
        verifier=verifier,
    )
    app.state.service = Service(
        assets=assets,
        store=store,
        progress=progress,
        tokens=tokens,
        settings=settings,
        locks=locks or LocalLocks(),
        parts=parts,
        forms=forms,
        scanner=scanner,
    )
    app.state.whatsapp = whatsapp.WhatsApp(accounts or none_at_all(), Graph(settings.graph_url))
    app.state.followers = Followers(settings.max_followers)
    app.state.sources = Sources(settings.sources)
    return app


def _cors(settings: Settings) -> list[Middleware]:
    """Return what lets pages of other origins use the API: with a token in a header, never with cookies."""
    if not settings.cors_origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
            allow_headers=ACCEPTED,
            expose_headers=EXPOSED,
            max_age=_PREFLIGHT_SECONDS,
        )
    ]


def _routes(settings: Settings) -> list[BaseRoute]:
    """Return a route for each path; further ones of the webhook count and are counted as the first."""
    templates = {**dict.fromkeys(settings.whatsapp_paths, whatsapp.PATH), **{path: path for path in ENDPOINTS}}
    return [
        Route(path + end, ENDPOINTS[template], middleware=[Middleware(Guard, template=template)])
        for path, template in templates.items()
        for end in ("/", "")
    ]
