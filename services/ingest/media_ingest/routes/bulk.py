"""POST /api/media/bulk/."""

from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from media_ingest import bulk, jsonbody
from media_ingest.auth import Scope, authorize
from media_ingest.routes.items import NO_STORE
from media_ingest.service import service_of


class Bulk(HTTPEndpoint):
    """Many assets at once."""

    async def post(self, request: Request) -> Response:
        """Do one thing to all that a filter chooses, or count them."""
        service = service_of(request)
        token = authorize(request, service.tokens, Scope.ADMIN)
        asked, chosen = bulk.Bulk.of(await jsonbody.read(request, service.settings))
        return JSONResponse(await bulk.run(service, token, asked, chosen), headers=NO_STORE)
