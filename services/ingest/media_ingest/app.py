"""The HTTP API as one Starlette application: the same in a cluster and in standalone."""

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route
from starlette.types import Lifespan

from media_ingest import errors
from media_ingest.auth import Tokens
from media_ingest.edge import Edge
from media_ingest.routes import health, items, upload
from media_ingest.service import Service
from media_ingest.settings import Settings
from mediaasset.assets import Assets, AssetsError
from mediaasset.jobs import ProgressReader
from mediaasset.reasons import MediaError
from mediaasset.store import Store

#: Every path of the API, without the slash at its end, and what answers there.
ENDPOINTS = {
    "/api/media/upload": upload.Upload,
    "/api/media/{id}": items.Item,
    "/api/media": items.Items,
    "/api/openapi.json": health.OpenAPI,
    "/healthz": health.Healthz,
    "/readyz": health.Readyz,
}


def create_app(
    *,
    assets: Assets,
    store: Store,
    progress: ProgressReader,
    tokens: Tokens,
    settings: Settings,
    routes: Sequence[BaseRoute] = (),
    lifespan: Lifespan[Starlette] | None = None,
) -> Starlette:
    """Build the application over the ports.

    routes and lifespan are for a process that serves more than the API, such as the finished media.
    """
    app = Starlette(
        routes=[*_routes(), *routes],
        middleware=[Middleware(Edge, linger_seconds=settings.linger_seconds)],
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
    app.state.service = Service(assets=assets, store=store, progress=progress, tokens=tokens, settings=settings)
    return app


def _routes() -> list[BaseRoute]:
    return [Route(path + end, endpoint) for path, endpoint in ENDPOINTS.items() for end in ("/", "")]
