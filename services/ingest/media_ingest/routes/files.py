"""GET /api/media/{id}/download/ and POST /api/media/{id}/reprocess/."""

from http import HTTPStatus

from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from media_ingest.auth import Scope, authorize
from media_ingest.routes.items import NO_STORE, asset_name
from media_ingest.service import service_of


class Download(HTTPEndpoint):
    """A file of an asset."""

    async def get(self, request: Request) -> Response:
        """Send the client to the bytes as they came, or to a rendition."""
        service = service_of(request)
        token = authorize(request, service.tokens, Scope.READ)
        asset = await service.find(token, asset_name(request))
        url = await service.download(asset, request.query_params.get("rendition") or None)
        return RedirectResponse(url, HTTPStatus.FOUND, NO_STORE)


class Reprocess(HTTPEndpoint):
    """The work on an asset."""

    async def post(self, request: Request) -> Response:
        """Have it done once more, all of it or some renditions; until then what there is stays."""
        service = service_of(request)
        token = authorize(request, service.tokens, Scope.WRITE)
        names = [name for name in request.query_params.get("renditions", "").split(",") if name]
        asset = await service.reprocess(await service.find(token, asset_name(request)), names)
        return JSONResponse(await service.answer(asset), HTTPStatus.ACCEPTED, NO_STORE)
