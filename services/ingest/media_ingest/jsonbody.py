"""Bodies in JSON: the fields of an upload whose file comes by another way."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.requests import Request

from media_ingest.errors import Problem, Slug, from_validation
from media_ingest.fields import FileHead, Form
from media_ingest.settings import Settings
from mediaasset.media import Kind


def _fetchable(url: str) -> str:
    """Take only what can be fetched and shown to people; raises ValueError, and names no address that is refused."""
    message = "must be an http or https URL with a host, without user, password or spaces"
    try:
        parts = urlsplit(url)
        is_sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_sound = False
    if not is_sound or "@" in parts.netloc or not url.isprintable() or any(char.isspace() for char in url):
        raise ValueError(message)
    return url


def _kind(value: object) -> Kind:
    """Take a type as the answers write it; raises ValueError, with what there is, for anything else."""
    kinds = {kind.lower(): kind for kind in Kind}
    if not isinstance(value, str) or value not in kinds:
        message = f"must be one of {', '.join(kinds)}"
        raise ValueError(message)
    return kinds[value]


#: Where media lie that the transcoder fetches. Which addresses it may go to, it decides itself on the connection made.
SourceURL = Annotated[str, Field(max_length=2048), AfterValidator(_fetchable)]
#: A type as the API writes it.
FileType = Annotated[Kind, BeforeValidator(_kind)]


class Item(BaseModel):
    """What names media on another server; the other members are the fields of an upload."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    url: SourceURL
    type: FileType | None = None
    file_name: str = ""

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Self:
        """Read a JSON object. Raises Problem invalid-field."""
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            raise from_validation(error, {}) from error

    def form(self, body: Mapping[str, Any]) -> Form:
        """Return the fields of an upload that the same object holds."""
        return Form(text_fields(body), FileHead(self.file_name))


async def read(request: Request, settings: Settings) -> dict[str, Any]:
    """Return the JSON object that a request carries. Raises Problem malformed-request, form-too-large."""
    try:
        body = json.loads(await read_bytes(request, settings))
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise Problem(Slug.MALFORMED_REQUEST, "The body must be a JSON object.")
    return body


async def read_bytes(request: Request, settings: Settings) -> bytes:
    """Return a short body. Raises Problem form-too-large."""
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > settings.max_field_bytes:
            limit = settings.max_field_bytes
            raise Problem(Slug.FORM_TOO_LARGE, f"The body may have {limit:,} bytes: send less.", limit=limit)
    return bytes(raw)


def text_fields(body: Mapping[str, Any]) -> dict[str, str]:
    """Return the members of an object as the fields of a form have them; null is absent."""
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in body.items()
        if value is not None
    }
