"""The problems of the HTTP API, as RFC 9457 has them: one closed table, and the answer made from it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mediaasset.assets import AssetsError
from mediaasset.media import MEDIA_TYPES
from mediaasset.reasons import TABLE, MediaError, Reason

TYPE_PREFIX = "urn:media-operator:problem:"
MEDIA_TYPE = "application/problem+json"

#: After how many seconds it makes sense to ask again when a part of the machine did not answer.
RETRY_AFTER_SECONDS = 5


class Slug(StrEnum):
    """The last part of a problem's `type`: stable, and what a client may decide by."""

    MALFORMED_REQUEST = "malformed-request"
    REQUEST_REFUSED = "request-refused"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    FORM_TOO_LARGE = "form-too-large"
    INVALID_FIELD = "invalid-field"
    ASSETS_UNAVAILABLE = "assets-unavailable"
    NOT_READY = "not-ready"
    # Those of mediaasset.reasons.
    EMPTY_SOURCE = "empty-source"
    SOURCE_TOO_LARGE = "source-too-large"
    UNSUPPORTED_TYPE = "unsupported-type"
    TYPE_MISMATCH = "type-mismatch"
    PROFILE_NOT_FOUND = "profile-not-found"
    STORE_UNAVAILABLE = "store-unavailable"
    STORE_FORBIDDEN = "store-forbidden"
    DISK_FULL = "disk-full"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table: the HTTP status, the title, and the detail for when there is nothing particular to say."""

    status: int
    title: str
    detail: str


#: All problems that the API answers with.
KINDS: Mapping[Slug, Kind] = {
    Slug.MALFORMED_REQUEST: Kind(400, "The request is malformed", "Correct the request and send it again."),
    # Its status is what the framework refused the request with.
    Slug.REQUEST_REFUSED: Kind(400, "The request was refused", "Correct the request and send it again."),
    Slug.EMPTY_SOURCE: Kind(400, "The file is empty", TABLE[Reason.EMPTY_SOURCE].text),
    Slug.UNAUTHORIZED: Kind(
        401, "A token is needed", "Send the header Authorization: Bearer TOKEN with a valid token."
    ),
    Slug.FORBIDDEN: Kind(403, "The token may not do this", "Use a token that has the scope and the path."),
    Slug.NOT_FOUND: Kind(404, "Not found", "There is nothing here: check the path and the id."),
    Slug.METHOD_NOT_ALLOWED: Kind(405, "Method not allowed", "Use one of the methods in the header Allow."),
    Slug.SOURCE_TOO_LARGE: Kind(
        413, "The file is too large", "Send a smaller file, or use a profile with a higher limit."
    ),
    Slug.FORM_TOO_LARGE: Kind(413, "The form is too large", "Send fewer or shorter fields."),
    Slug.UNSUPPORTED_TYPE: Kind(415, "The content is of no supported type", TABLE[Reason.UNSUPPORTED_TYPE].text),
    Slug.TYPE_MISMATCH: Kind(415, "The content is not what was declared", TABLE[Reason.TYPE_MISMATCH].text),
    Slug.INVALID_FIELD: Kind(422, "A field is invalid", "Correct the fields listed in errors."),
    Slug.PROFILE_NOT_FOUND: Kind(
        422, "There is no such profile", "Name an existing profile, or none to get the default one."
    ),
    Slug.INTERNAL: Kind(500, "An error in media-operator itself", "Report this, with the time and the path."),
    Slug.ASSETS_UNAVAILABLE: Kind(
        503, "The assets cannot be reached", "Try again later; the list tells whether an upload was kept after all."
    ),
    Slug.STORE_UNAVAILABLE: Kind(503, "The object store cannot be reached", "Nothing was kept: try again later."),
    Slug.STORE_FORBIDDEN: Kind(
        503,
        "The object store refused the service",
        "Nothing was kept: whoever runs the service must correct its credentials.",
    ),
    Slug.NOT_READY: Kind(503, "The service is not ready", "Ask again later."),
    Slug.DISK_FULL: Kind(507, "The object store is full", "Nothing was kept: whoever runs the service must make room."),
}


def slug_of(reason: Reason) -> Slug | None:
    """Return the problem of a reason (SourceTooLarge is source-too-large), None if no request is refused with it."""
    kebab = re.sub(r"(?<!^)(?=[A-Z])", "-", reason.value).lower()
    return next((slug for slug in Slug if slug.value == kebab), None)


class Problem(Exception):  # noqa: N818 - RFC 9457 calls it a problem
    """A request that is answered with a problem; `members` are its own members, such as `limit`."""

    def __init__(
        self,
        slug: str,
        detail: str = "",
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        """Take one of Slug and what is particular to this case; status only differs for `request-refused`."""
        self.slug = Slug(slug)
        kind = KINDS[self.slug]
        super().__init__(detail or kind.detail)
        self.status = status or kind.status
        self.headers = dict(headers or {})
        self.members = members
        if self.status == HTTPStatus.SERVICE_UNAVAILABLE:
            self.headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
        if self.status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
            # RFC 9110, section 15.5.16: a 415 says what would have been accepted.
            self.headers.setdefault("Accept", ", ".join(media.mime for media in MEDIA_TYPES))

    def to_response(self) -> Response:
        """Make the answer."""
        body = {
            "type": TYPE_PREFIX + self.slug,
            "title": KINDS[self.slug].title,
            "status": self.status,
            "detail": str(self),
            **self.members,
        }
        return JSONResponse(body, self.status, self.headers, media_type=MEDIA_TYPE)


def too_large(limit: int, received: int, what: str) -> Problem:
    """Refuse a file: both in bytes; received is what was counted until then, or what Content-Length announces."""
    detail = f"{what} may have {limit:,} bytes. {KINDS[Slug.SOURCE_TOO_LARGE].detail}"
    return Problem(Slug.SOURCE_TOO_LARGE, detail, limit=limit, received=received)


def invalid(errors: Mapping[str, str]) -> Problem:
    """Refuse fields, each with what is wrong about it."""
    detail = " ".join(f"{name}: {text.rstrip('.')}." for name, text in errors.items())
    return Problem(
        Slug.INVALID_FIELD, detail, errors=[{"field": name, "detail": text} for name, text in errors.items()]
    )


def from_validation(error: ValidationError, names: Mapping[str, str]) -> Problem:
    """Refuse what pydantic refused; `names` gives the field of the API for a member of the model."""
    found: dict[str, str] = {}
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        member = str(item["loc"][0]) if item["loc"] else ""
        found.setdefault(names.get(member, member), item["msg"])
    return invalid(found)


def translate(error: Exception) -> Problem:
    """Give any exception its problem; of one that nobody expected, nothing leaks."""
    problem = Problem(Slug.INTERNAL)
    match error:
        case Problem():
            problem = error
        case MediaError():
            problem = Problem(slug_of(error.reason) or Slug.INTERNAL)
        case AssetsError():
            problem = Problem(Slug.ASSETS_UNAVAILABLE)
        case HTTPException(status_code=HTTPStatus.NOT_FOUND):
            problem = Problem(Slug.NOT_FOUND)
        case HTTPException(status_code=HTTPStatus.METHOD_NOT_ALLOWED):
            problem = Problem(Slug.METHOD_NOT_ALLOWED, headers=error.headers)
        case HTTPException():
            problem = Problem(Slug.REQUEST_REFUSED, error.detail, status=error.status_code, headers=error.headers)
    return problem


async def respond(request: Request, error: Exception) -> Response:  # noqa: ARG001 - the signature is Starlette's
    """Answer an exception that Starlette caught."""
    return translate(error).to_response()
