"""GET, PATCH and DELETE /api/media/{id}/, GET /api/media/ and GET /api/media/stats/."""

import re
from http import HTTPStatus

from starlette.datastructures import URL
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from media_ingest import following, resumable
from media_ingest.auth import Scope, authorize
from media_ingest.edit import Edit
from media_ingest.errors import Problem, Slug, invalid
from media_ingest.listing import Listing, visible_user
from media_ingest.service import service_of
from media_ingest.settings import Settings
from mediaasset.catalogue import State, state_of
from mediaasset.media import Kind

#: What the name of a resource may be (RFC 1123); anything else names no asset and is not asked for.
_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")

NO_STORE = {"Cache-Control": "no-store"}


class Item(HTTPEndpoint):
    """One asset."""

    async def get(self, request: Request) -> Response:
        """Say all about an asset."""
        service = service_of(request)
        token = authorize(request, service.tokens, Scope.READ)
        name = asset_name(request)
        seconds = following.seconds_to_wait(request, service.settings)
        try:
            asset = await service.find(token, name)
            if seconds and state_of(asset) is State.PROCESSING:
                with following.followers_of(request).one():
                    await following.wait(service, asset, seconds)
                asset = await service.find(token, name)
        except Problem as problem:
            if problem.slug is not Slug.NOT_FOUND:
                raise
            return JSONResponse(await resumable.as_answer(service, token, name), headers=NO_STORE)
        return JSONResponse(await service.answer(asset), headers=NO_STORE)

    async def patch(self, request: Request) -> Response:
        """Change some fields of an asset."""
        service = service_of(request)
        token = authorize(request, service.tokens, Scope.WRITE)
        asset = await service.find(token, asset_name(request))
        changed = await service.change(asset, await Edit.of_request(request, service.settings))
        return JSONResponse(await service.answer(changed), headers=NO_STORE)

    async def delete(self, request: Request) -> Response:
        """Delete an asset; from now on it is not found."""
        service = service_of(request)
        token = authorize(request, service.tokens, Scope.DELETE)
        await service.delete(token, asset_name(request))
        return Response(status_code=HTTPStatus.NO_CONTENT)


class Items(HTTPEndpoint):
    """The assets that a token may see."""

    async def get(self, request: Request) -> Response:
        """List a page of those that are asked for."""
        service = service_of(request)
        token = authorize(request, service.tokens, Scope.READ)
        asked = Listing.read(request.query_params)
        page, size = asked.page, asked.page_size or service.settings.page_size
        if size > service.settings.max_page_size:
            raise invalid({"page_size": f"may be {service.settings.max_page_size} at most"})
        query = asked.query(token, asked.ordering)
        found = await service.assets.list(token.namespace, query, limit=size, offset=(page - 1) * size)
        last = max(1, -(-found.total // size))
        url = own_url(request, service.settings)
        body = {
            "count": found.total,
            "next": str(url.include_query_params(page=page + 1)) if page < last else None,
            "previous": str(url.include_query_params(page=min(page - 1, last))) if page > 1 else None,
            "results": await service.answers(found.items),
        }
        return JSONResponse(body, headers=NO_STORE)


class Stats(HTTPEndpoint):
    """How many there are of them."""

    async def get(self, request: Request) -> Response:
        """Count them."""
        service = service_of(request)
        token = authorize(request, service.tokens, Scope.READ)
        stats = await service.assets.stats(token.namespace, user_id=visible_user(token))
        body = {
            "total": stats.total,
            "by_type": {kind.lower(): stats.by_type.get(kind, 0) for kind in Kind},
            "by_status": {state.value: stats.by_state.get(state, 0) for state in State},
            "total_size": stats.size_bytes,
        }
        return JSONResponse(body, headers=NO_STORE)


def asset_name(request: Request) -> str:
    """Return the id in the path of a request; raises Problem not-found for one that cannot be."""
    name: str = request.path_params["id"]
    if not _NAME.fullmatch(name):
        raise Problem(Slug.NOT_FOUND, "There is no asset of this id: check it.")
    return name


def own_url(request: Request, settings: Settings, path: str | None = None) -> URL:
    """Return the URL of the request, or of another path with the same query, as the client should see it."""
    url = request.url if path is None else request.url.replace(path=path)
    if settings.public_url is None:
        return url
    return URL(f"{settings.public_url.rstrip('/')}{url.path}").replace(query=url.query)
