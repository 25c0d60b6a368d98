"""GET /api/media/{id}/events/."""

from contextlib import AbstractContextManager
from http import HTTPStatus

from sse_starlette import EventSourceResponse
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from media_ingest import following
from media_ingest.auth import Scope as TokenScope
from media_ingest.auth import authorize
from media_ingest.routes.items import NO_STORE, asset_name
from media_ingest.service import Service, service_of
from mediaasset.catalogue import State, state_of
from mediaasset.spec import MediaAsset


class Events(HTTPEndpoint):
    """What happens to an asset, as it happens."""

    async def get(self, request: Request) -> Response:
        """Stream it until the asset is ready or failed."""
        service = service_of(request)
        token = authorize(request, service.tokens, TokenScope.READ)
        asset = await service.find(token, asset_name(request))
        is_finished = state_of(asset) is not State.PROCESSING
        if is_finished and request.headers.get("Last-Event-ID") == following.version_of(asset):
            # An EventSource connects again after each end; by the HTML standard this answer is what stops it.
            return Response(status_code=HTTPStatus.NO_CONTENT, headers=NO_STORE)
        return _Stream(service, asset, following.followers_of(request).one())


class _Stream(EventSourceResponse):
    """The stream; it holds its place from the first byte to the last, and while it is being broken off."""

    def __init__(self, service: Service, asset: MediaAsset, place: AbstractContextManager[None]) -> None:
        super().__init__(following.events(service, asset), sep=following.SEPARATOR)
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._place:
            await super().__call__(scope, receive, send)
