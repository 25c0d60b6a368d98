"""POST and PUT /api/media/upload/."""

from http import HTTPStatus

from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from media_ingest import body, intake
from media_ingest.auth import Scope, authorize
from media_ingest.service import service_of


class Upload(HTTPEndpoint):
    """Where files come in."""

    async def post(self, request: Request) -> Response:
        """Take one file; 201 once it is durable and its asset exists."""
        service = service_of(request)
        token = authorize(request, service.tokens, Scope.WRITE)
        key = intake.idempotency_key(request.headers.get("Idempotency-Key"))
        return await created(
            request, await intake.accept(service, token, body.of_request(request, service.settings), key)
        )

    async def put(self, request: Request) -> Response:
        """Do the same for clients that send a file by PUT, such as `curl -T`."""
        return await self.post(request)


class NamedUpload(HTTPEndpoint):
    """The same with the name of the file in the path, as `curl -T` has it for a URL that ends with a slash."""

    async def put(self, request: Request) -> Response:
        """Take one file."""
        return await Upload.post(self, request)  # type: ignore[arg-type]  # both only answer


async def created(request: Request, accepted: intake.Accepted) -> Response:
    """Answer with a new asset, or in the same way with the one that an earlier request had made."""
    headers = {"Location": location(request, accepted.asset.metadata.name)}
    if accepted.replayed:
        headers["Idempotency-Replayed"] = "true"
    return JSONResponse(await service_of(request).answer(accepted.asset), HTTPStatus.CREATED, headers)


def location(request: Request, name: str) -> str:
    """Return the path of an asset."""
    return f"{request.scope.get('root_path', '')}/api/media/{name}/"
