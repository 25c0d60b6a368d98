"""What of an asset can be changed after its upload."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Self
from urllib.parse import parse_qsl

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, ValidationError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from media_ingest import jsonbody
from media_ingest.errors import Problem, Slug, from_validation
from media_ingest.multipart import FormParser
from media_ingest.settings import Settings
from mediaasset.spec import DisplayText, MediaAssetSpec, Visibility

_FORM = "application/x-www-form-urlencoded"


def _parsed(value: object) -> object:
    """Take JSON in the text of a form."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        message = "must be a JSON object"
        raise ValueError(message) from None


class Edit(BaseModel):
    """New values of some fields, with the bounds of MediaAssetSpec; None takes one away."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    alt_text: DisplayText | None = None
    caption: DisplayText | None = None
    order: Annotated[int | None, Field(ge=0, le=1_000_000)] = None
    is_public: StrictBool = True
    metadata: Annotated[dict[str, str] | None, BeforeValidator(_parsed)] = None

    @classmethod
    async def of_request(cls, request: Request, settings: Settings) -> Self:
        """Read a JSON object or a form.

        Raises Problem: malformed-request, form-too-large, and invalid-field also for a field that cannot be changed.
        """
        main, options = parse_options_header(request.headers.get("Content-Type", ""))
        if main == b"multipart/form-data":
            fields = _of_form(await _parts(request, options.get(b"boundary", b""), settings))
        elif main == _FORM.encode():
            fields = _of_form(_pairs(await jsonbody.read_bytes(request, settings)))
        else:
            fields = await jsonbody.read(request, settings)
        return cls.of(fields)

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        """Check new values. Raises Problem invalid-field."""
        try:
            edit = cls.model_validate(fields)
            # What the model of the spec says about metadata is not repeated here.
            MediaAssetSpec.model_validate({"source": {"url": "https://-"}, "metadata": edit.metadata or {}})
        except ValidationError as error:
            raise from_validation(error, {}) from error
        return edit

    def to_spec(self) -> dict[str, object]:
        """Return the members of the spec that change, by their names in JSON."""
        members = {
            "alt_text": ("altText", self.alt_text),
            "caption": ("caption", self.caption),
            "order": ("order", self.order),
            "is_public": ("visibility", (Visibility.PUBLIC if self.is_public else Visibility.PRIVATE).value),
            "metadata": ("metadata", self.metadata),
        }
        return dict(members[name] for name in self.model_fields_set)


def _of_form(fields: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of a form's fields; an empty one is taken away."""
    values: dict[str, Any] = {name: text or None for name, text in fields.items()}
    if "is_public" in fields:
        known = {"true": True, "1": True, "on": True, "false": False, "0": False, "off": False}
        values["is_public"] = known.get(fields["is_public"].lower(), fields["is_public"])
    return values


async def _parts(request: Request, boundary: bytes, settings: Settings) -> dict[str, str]:
    if not boundary:
        raise Problem(Slug.MALFORMED_REQUEST, "The Content-Type multipart/form-data needs its parameter boundary.")
    parser = FormParser(boundary, settings)
    async for chunk in request.stream():
        if chunk:
            parser.feed(chunk)
        if parser.has_file:
            raise Problem(Slug.MALFORMED_REQUEST, "The file of an asset cannot be changed: upload a new one.")
    parser.finish()
    return parser.form.fields


def _pairs(raw: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, errors="strict")
    except ValueError:
        raise Problem(Slug.MALFORMED_REQUEST, "The form is not well formed: send its fields in UTF-8.") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Problem(Slug.MALFORMED_REQUEST, "A field comes twice: send each once.")
    return fields
