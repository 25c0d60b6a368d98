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

from media_ingest import metrics
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
    TOO_SLOW = "too-slow"
    TOO_MANY_REQUESTS = "too-many-requests"
    TOO_BUSY = "too-busy"
    ISSUER_UNAVAILABLE = "issuer-unavailable"
    IDEMPOTENCY_MISMATCH = "idempotency-mismatch"
    IN_PROGRESS = "in-progress"
    DELETED = "deleted"
    OFFSET_MISMATCH = "offset-mismatch"
    CHECKSUM_MISMATCH = "checksum-mismatch"
    UPLOAD_LOCKED = "upload-locked"
    UPLOAD_INCOMPLETE = "upload-incomplete"
    TUS_VERSION = "tus-version"
    INFECTED = "infected"
    SCANNER_UNAVAILABLE = "scanner-unavailable"
    SIGNATURE_MISSING = "signature-missing"
    SIGNATURE_INVALID = "signature-invalid"
    URL_EXPIRED = "url-expired"
    PAYLOAD_TOO_LARGE = "payload-too-large"
    ASSET_NOT_READY = "asset-not-ready"
    NOT_SENDABLE = "not-sendable"
    WHATSAPP_REFUSED = "whatsapp-refused"
    WHATSAPP_BUSY = "whatsapp-busy"
    WHATSAPP_ACCOUNT = "whatsapp-account"
    WHATSAPP_UNAVAILABLE = "whatsapp-unavailable"
    WHATSAPP_UNKNOWN = "whatsapp-unknown"
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
    Slug.TOO_SLOW: Kind(
        408, "The upload came too slowly", "Send it again; with tus it goes on where it was, which HEAD tells."
    ),
    Slug.SIGNATURE_MISSING: Kind(401, "A signature is needed", "Sign the request as the documentation says."),
    Slug.SIGNATURE_INVALID: Kind(
        403, "The signature is not valid", "Sign the bytes that are sent, with the secret that is configured here."
    ),
    Slug.URL_EXPIRED: Kind(403, "The time of the URL is over", "Ask the API for a new URL."),
    Slug.ASSET_NOT_READY: Kind(409, "The asset is not ready", "Wait until its status is ready."),
    Slug.IN_PROGRESS: Kind(
        409,
        "The same request is still running",
        "Another request with this Idempotency-Key has not ended yet: send it again in a moment.",
    ),
    Slug.OFFSET_MISMATCH: Kind(
        409, "The upload is elsewhere", "Ask with HEAD how far it is, and go on from that Upload-Offset."
    ),
    Slug.UPLOAD_INCOMPLETE: Kind(409, "The upload is not complete", "Send the file as the form says, then ask again."),
    Slug.DELETED: Kind(
        410,
        "The asset was deleted",
        "The asset of this Idempotency-Key was deleted: to have it again, send it with a new key.",
    ),
    Slug.TUS_VERSION: Kind(412, "Another version of tus is needed", "Send the header Tus-Resumable: 1.0.0."),
    Slug.SOURCE_TOO_LARGE: Kind(
        413, "The file is too large", "Send a smaller file, or use a profile with a higher limit."
    ),
    Slug.FORM_TOO_LARGE: Kind(413, "The form is too large", "Send fewer or shorter fields."),
    Slug.PAYLOAD_TOO_LARGE: Kind(413, "The payload is too large", "Send less at once."),
    Slug.UNSUPPORTED_TYPE: Kind(415, "The content is of no supported type", TABLE[Reason.UNSUPPORTED_TYPE].text),
    Slug.TYPE_MISMATCH: Kind(415, "The content is not what was declared", TABLE[Reason.TYPE_MISMATCH].text),
    Slug.INVALID_FIELD: Kind(422, "A field is invalid", "Correct the fields listed in errors."),
    Slug.PROFILE_NOT_FOUND: Kind(
        422, "There is no such profile", "Name an existing profile, or none to get the default one."
    ),
    Slug.TOO_MANY_REQUESTS: Kind(429, "Too many requests", "Ask again after the time in Retry-After."),
    Slug.WHATSAPP_BUSY: Kind(429, "WhatsApp takes no more for now", "Send it again after the time in Retry-After."),
    Slug.IDEMPOTENCY_MISMATCH: Kind(
        422,
        "The key belongs to another request",
        "A request with other content or fields has used this Idempotency-Key: send this one with a new key.",
    ),
    Slug.NOT_SENDABLE: Kind(
        422, "There is nothing to send", "Upload the file with the profile whatsapp, and send that asset."
    ),
    Slug.WHATSAPP_REFUSED: Kind(422, "WhatsApp refused the message", "Correct what it names, and send it again."),
    Slug.INFECTED: Kind(422, "The file is infected", TABLE[Reason.INFECTED].text),
    Slug.UPLOAD_LOCKED: Kind(
        423, "The upload is being written", "Another request writes to this upload: try again in a moment."
    ),
    # The status is the one of tus 1.0, extension checksum.
    Slug.CHECKSUM_MISMATCH: Kind(
        460, "The bytes are not those of the checksum", "Nothing of the request was kept: send the same bytes again."
    ),
    Slug.INTERNAL: Kind(500, "An error in media-operator itself", "Report this, with the time and the path."),
    Slug.WHATSAPP_ACCOUNT: Kind(
        502, "WhatsApp refused the account", "Whoever runs the service must correct the account's token."
    ),
    Slug.WHATSAPP_UNAVAILABLE: Kind(503, "WhatsApp cannot be reached", "Nothing was sent: try again later."),
    Slug.WHATSAPP_UNKNOWN: Kind(
        504,
        "Nobody knows whether WhatsApp sent it",
        "It broke off while WhatsApp had the message: send it again, with a new Idempotency-Key, if it may come twice.",
    ),
    Slug.TOO_BUSY: Kind(503, "Too much at once", "Nothing was kept: try again after the time in Retry-After."),
    Slug.ISSUER_UNAVAILABLE: Kind(
        503, "The keys of the issuer cannot be had", "The token could not be checked: try again later."
    ),
    Slug.ASSETS_UNAVAILABLE: Kind(
        503, "The assets cannot be reached", "Try again later; the list tells whether an upload was kept after all."
    ),
    Slug.STORE_UNAVAILABLE: Kind(503, "The object store cannot be reached", "Nothing was kept: try again later."),
    Slug.STORE_FORBIDDEN: Kind(
        503,
        "The object store refused the service",
        "Nothing was kept: whoever runs the service must correct its credentials.",
    ),
    Slug.SCANNER_UNAVAILABLE: Kind(503, "The virus scanner does not answer", "Nothing was kept: try again later."),
    Slug.NOT_READY: Kind(503, "The service is not ready", "Ask again later."),
    Slug.DISK_FULL: Kind(507, "The object store is full", "Nothing was kept: whoever runs the service must make room."),
}
# An increase from nothing to 1 is none to Prometheus, and alerts wait for some of them.
for _slug in Slug:
    metrics.PROBLEMS.labels(_slug)


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
        metrics.PROBLEMS.labels(self.slug).inc()
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
