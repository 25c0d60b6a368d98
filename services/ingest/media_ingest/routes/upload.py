"""POST /api/media/upload/."""

from http import HTTPStatus

from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from media_ingest import body
from media_ingest.auth import Scope, authorize
from media_ingest.service import service_of


class Upload(HTTPEndpoint):
    """Where files come in."""

    async def post(self, request: Request) -> Response:
        """Take one file; 201 once it is durable and its asset exists."""
        service = service_of(request)
        token = authorize(request, service.tokens, Scope.WRITE)
        asset = await service.accept(token, body.of_request(request, service.settings))
        headers = {"Location": f"{request.scope.get('root_path', '')}/api/media/{asset.metadata.name}/"}
        return JSONResponse(await service.answer(asset), HTTPStatus.CREATED, headers)
