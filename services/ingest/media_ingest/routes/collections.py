"""GET /api/collections/{path}/ and PUT /api/collections/{path}/order/."""

from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from media_ingest import collection, jsonbody
from media_ingest.auth import Scope, authorize
from media_ingest.errors import Problem, Slug
from media_ingest.routes.items import NO_STORE
from media_ingest.service import service_of
from mediaasset import keys


class Collection(HTTPEndpoint):
    """The items of one path."""

    async def get(self, request: Request) -> Response:
        """Show them in their order."""
        service = service_of(request)
        token = authorize(request, service.tokens, Scope.READ)
        return JSONResponse(await collection.show(service, token, _path(request)), headers=NO_STORE)


class Order(HTTPEndpoint):
    """The order of them."""

    async def put(self, request: Request) -> Response:
        """Arrange them; show the collection as it is then."""
        service = service_of(request)
        token = authorize(request, service.tokens, Scope.WRITE)
        path = _path(request)
        order = collection.Order.of(await jsonbody.read(request, service.settings))
        await collection.arrange(service, token, path, order)
        return JSONResponse(await collection.show(service, token, path), headers=NO_STORE)


def _path(request: Request) -> str:
    path: str = request.path_params["path"]
    if not keys.is_public_path(path):
        raise Problem(Slug.NOT_FOUND, "There is no collection of this path: check it.")
    return path
