"""POST /api/ads/{id}/upload_image/, GET /api/ads/{id}/images/, GET and PATCH /api/users/{id}/."""

from http import HTTPStatus

from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from media_ingest import body, collection, intake, market
from media_ingest.auth import Scope, authorize
from media_ingest.routes.collections import shown
from media_ingest.routes.items import NO_STORE
from media_ingest.routes.upload import location
from media_ingest.service import service_of


class UploadImage(HTTPEndpoint):
    """Where the images of an ad come in."""

    async def post(self, request: Request) -> Response:
        """Take one image; 201 once it is durable and its asset exists."""
        service = service_of(request)
        token = authorize(request, service.tokens, Scope.WRITE)
        key = intake.idempotency_key(request.headers.get("Idempotency-Key"))
        image = market.ad_image(body.of_request(request, service.settings), request.path_params["id"])
        accepted = await intake.accept(service, token, image, key)
        headers = {"Location": location(request, accepted.asset.metadata.name)}
        if accepted.replayed:
            headers["Idempotency-Replayed"] = "true"
        return JSONResponse(await collection.item(service, accepted.asset), HTTPStatus.CREATED, headers)


class Images(HTTPEndpoint):
    """The images of an ad."""

    async def get(self, request: Request) -> Response:
        """Show them in their order."""
        service = service_of(request)
        token = authorize(request, service.tokens, Scope.READ)
        path = market.ad_path(request.path_params["id"])
        paging = collection.Paging.of(request.query_params)
        return JSONResponse(await shown(request, token, path, paging), headers=NO_STORE)


class User(HTTPEndpoint):
    """A user, as far as media go."""

    async def get(self, request: Request) -> Response:
        """Show the avatar."""
        service = service_of(request)
        token = market.acting_for(authorize(request, service.tokens, Scope.READ), request.path_params["id"])
        return JSONResponse(await market.user_of(service, token), headers=NO_STORE)

    async def patch(self, request: Request) -> Response:
        """Take a new avatar; the old one is shown until it is ready."""
        service = service_of(request)
        token = market.acting_for(authorize(request, service.tokens, Scope.WRITE), request.path_params["id"])
        key = intake.idempotency_key(request.headers.get("Idempotency-Key"))
        await intake.accept(service, token, market.avatar(body.of_request(request, service.settings), token.user), key)
        return JSONResponse(await market.user_of(service, token), headers=NO_STORE)
