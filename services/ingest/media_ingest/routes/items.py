"""GET and DELETE /api/media/{id}/, and GET /api/media/."""

import re
from http import HTTPStatus
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError
from starlette.datastructures import URL
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from media_ingest.auth import Scope, authorize
from media_ingest.errors import Problem, Slug, from_validation, invalid
from media_ingest.service import service_of
from media_ingest.settings import Settings

#: What the name of a resource may be (RFC 1123); anything else names no asset and is not asked for.
_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")


class _Paging(BaseModel):
    # The upper bound keeps the offset within what a database counts to.
    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    page_size: Annotated[int, Field(ge=1)] | None = None


class Item(HTTPEndpoint):
    """One asset."""

    async def get(self, request: Request) -> Response:
        """Say all about an asset."""
        service = service_of(request)
        token = authorize(request, service.tokens, Scope.READ)
        asset = await service.find(token, _name(request))
        return JSONResponse(await service.answer(asset), headers={"Cache-Control": "no-store"})

    async def delete(self, request: Request) -> Response:
        """Delete an asset; from now on it is not found."""
        service = service_of(request)
        token = authorize(request, service.tokens, Scope.DELETE)
        await service.delete(token, _name(request))
        return Response(status_code=HTTPStatus.NO_CONTENT)


class Items(HTTPEndpoint):
    """The assets that a token may see."""

    async def get(self, request: Request) -> Response:
        """List a page of them, newest first."""
        service = service_of(request)
        token = authorize(request, service.tokens, Scope.READ)
        page, size = _paging(request, service.settings)
        found = await service.assets.list(
            token.namespace,
            user_id=None if token.has(Scope.ADMIN) else token.user,
            limit=size,
            offset=(page - 1) * size,
        )
        last = max(1, -(-found.total // size))
        url = _own_url(request, service.settings)
        body = {
            "count": found.total,
            "next": str(url.include_query_params(page=page + 1)) if page < last else None,
            "previous": str(url.include_query_params(page=min(page - 1, last))) if page > 1 else None,
            "results": [await service.answer(asset) for asset in found.items],
        }
        return JSONResponse(body, headers={"Cache-Control": "no-store"})


def _name(request: Request) -> str:
    name: str = request.path_params["id"]
    if not _NAME.fullmatch(name):
        raise Problem(Slug.NOT_FOUND, "There is no asset of this id: check it.")
    return name


def _paging(request: Request, settings: Settings) -> tuple[int, int]:
    try:
        paging = _Paging.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise from_validation(error, {}) from error
    size = paging.page_size or settings.page_size
    if size > settings.max_page_size:
        raise invalid({"page_size": f"may be {settings.max_page_size} at most"})
    return paging.page, size


def _own_url(request: Request, settings: Settings) -> URL:
    """Return the URL of the request as the client should see it."""
    if settings.public_url is None:
        return request.url
    return URL(f"{settings.public_url.rstrip('/')}{request.url.path}").replace(query=request.url.query)
