"""POST /api/media/presign/ and POST /api/media/{id}/complete/: files that go straight to the store."""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from media_ingest import resumable
from media_ingest.auth import Scope, authorize
from media_ingest.errors import Problem, Slug, from_validation
from media_ingest.fields import FileHead, Form
from media_ingest.jsonbody import read, text_fields
from media_ingest.routes.items import asset_name
from media_ingest.routes.upload import location
from media_ingest.service import service_of

#: What a file is that is declared as nothing.
_ANYTHING = "application/octet-stream"


class _Announced(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    file_name: Annotated[str, Field(max_length=1024)] = ""
    size: Annotated[int, Field(ge=1, strict=True)]
    content_type: Annotated[str, Field(max_length=255, pattern=r"^[!-~][ -~]*$")] = _ANYTHING


class Presign(HTTPEndpoint):
    """Where forms are made."""

    async def post(self, request: Request) -> Response:
        """Make a form that takes one file of the size and type that are announced."""
        service = service_of(request)
        token = authorize(request, service.tokens, Scope.WRITE)
        if service.forms is None:
            raise Problem(
                Slug.NOT_FOUND, "The store of this service takes no forms: use /api/media/upload/ or /api/tus/."
            )
        body = await read(request, service.settings)
        try:
            announced = _Announced.model_validate(body)
        except ValidationError as error:
            raise from_validation(error, {}) from error
        form = Form(text_fields(body), FileHead(announced.file_name, announced.content_type))
        name, record = await resumable.begin(service, token, form, announced.size, posted=True)
        lifetime = timedelta(seconds=service.settings.direct_form_seconds)
        made = await service.forms.form(record.key, announced.size, announced.content_type, lifetime)
        expires = (datetime.now(UTC) + lifetime).isoformat(timespec="seconds").replace("+00:00", "Z")
        answer = {
            "id": name,
            "url": made.url,
            "fields": dict(made.fields),
            "expires_at": expires,
            "complete_url": f"{location(request, name)}complete/",
        }
        return JSONResponse(
            answer, HTTPStatus.CREATED, {"Cache-Control": "no-store", "Location": location(request, name)}
        )


class Complete(HTTPEndpoint):
    """Where it is said that a file lies in the store."""

    async def post(self, request: Request) -> Response:
        """Check the file and make its asset; again answers the same."""
        service = service_of(request)
        token = authorize(request, service.tokens, Scope.WRITE)
        name = asset_name(request)
        record = await resumable.read(service, token.namespace, name)
        if record is None:
            asset = await service.find(token, name)
        else:
            asset = await resumable.conclude(service, token, name, await resumable.find(service, token, name))
        headers = {"Location": location(request, name), "Cache-Control": "no-store"}
        return JSONResponse(await service.answer(asset), headers=headers)
