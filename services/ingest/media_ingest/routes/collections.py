"""GET /api/collections/{path}/ and PUT /api/collections/{path}/order/."""

from typing import Any

from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from media_ingest import collection, jsonbody
from media_ingest.auth import Scope, Token, authorize
from media_ingest.errors import Problem, Slug
from media_ingest.routes.items import NO_STORE, own_url
from media_ingest.service import service_of
from mediaasset import keys


class Collection(HTTPEndpoint):
    """The items of one path."""

    async def get(self, request: Request) -> Response:
        """Show them in their order."""
        service = service_of(request)
        token = authorize(request, service.tokens, Scope.READ)
        paging = collection.Paging.of(request.query_params)
        return JSONResponse(await shown(request, token, _path(request), paging), headers=NO_STORE)


class Order(HTTPEndpoint):
    """The order of them."""

    async def put(self, request: Request) -> Response:
        """Arrange them; show the collection as it is then."""
        service = service_of(request)
        token = authorize(request, service.tokens, Scope.WRITE)
        path = _path(request)
        order = collection.Order.of(await jsonbody.read(request, service.settings))
        await collection.arrange(service, token, path, order)
        return JSONResponse(await shown(request, token, path), headers=NO_STORE)


async def shown(
    request: Request, token: Token, path: str, paging: collection.Paging = collection.FIRST_PAGE
) -> dict[str, Any]:
    """Return the answer for a collection, whichever door the request came by."""
    service = service_of(request)
    url = own_url(request, service.settings, f"{request.scope.get('root_path', '')}/api/collections/{path}/")
    return await collection.show(service, token, path, url, paging)


def _path(request: Request) -> str:
    path: str = request.path_params["path"]
    if not keys.is_public_path(path):
        raise Problem(Slug.NOT_FOUND, "There is no collection of this path: check it.")
    return path
