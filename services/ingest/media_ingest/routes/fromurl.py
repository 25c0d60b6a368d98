"""POST /api/media/from-url/."""

from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response

from media_ingest import intake
from media_ingest.auth import Scope, authorize
from media_ingest.jsonbody import Item, read
from media_ingest.routes.upload import created
from media_ingest.service import service_of


class FromURL(HTTPEndpoint):
    """Where media are named that lie on another server."""

    async def post(self, request: Request) -> Response:
        """Create the asset of media that the transcoder will fetch."""
        service = service_of(request)
        token = authorize(request, service.tokens, Scope.WRITE)
        key = intake.idempotency_key(request.headers.get("Idempotency-Key"))
        body = await read(request, service.settings)
        item = Item.read(body)
        return await created(
            request, await intake.refer(service, token, item.form(body), url=item.url, kind=item.type, key=key)
        )
