"""tus 1.0.0 (https://tus.io/protocols/resumable-upload): files in as many requests as it takes."""

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import format_datetime
from http import HTTPStatus

from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response

from media_ingest import resumable
from media_ingest.auth import Scope, Token, authorize
from media_ingest.body import content_length
from media_ingest.errors import Problem, Slug
from media_ingest.fields import FileHead, Form, text_of
from media_ingest.locks import LockedError
from media_ingest.resumable import Checksum, HandedOverError, Record
from media_ingest.routes.items import asset_name
from media_ingest.routes.upload import location
from media_ingest.service import Service, service_of

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination"
#: By the names of the protocol, which are those of hashlib.
ALGORITHMS = ("sha1", "sha256")
CONTENT_TYPE = "application/offset+octet-stream"

#: How long a request waits until the one before it has let go of the upload, in seconds.
PATIENCE_SECONDS = 10
#: Upload-Length has no more digits, which is more than any store takes.
_MAX_DIGITS = 15

#: Names that other tus clients give to filename and filetype.
_NAME_KEYS, _TYPE_KEYS = ("filename", "name"), ("filetype", "type")


class Uploads(HTTPEndpoint):
    """Where uploads begin."""

    async def options(self, request: Request) -> Response:  # noqa: ARG002 - the signature is Starlette's
        """Say what is understood."""
        return _answer(
            HTTPStatus.NO_CONTENT,
            **{
                "Tus-Version": VERSION,
                "Tus-Extension": EXTENSIONS,
                "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
            },
        )

    async def post(self, request: Request) -> Response:
        """Begin an upload, perhaps with its first bytes."""
        _check_version(request)
        service = service_of(request)
        token = authorize(request, service.tokens, Scope.WRITE)
        size = _length(request)
        if size is None and request.headers.get("Upload-Defer-Length") != "1":
            raise Problem(Slug.MALFORMED_REQUEST, "Send Upload-Length, or Upload-Defer-Length: 1.")
        form = _metadata(request.headers.get("Upload-Metadata", ""), service.settings.max_fields)
        name, record = await resumable.begin(service, token, form, size)
        headers = {"Location": f"{_base(request)}/api/tus/{name}"}
        if request.headers.get("Content-Type") == CONTENT_TYPE:
            async with _held(service, token, name) as wanted:
                headers |= await _append(request, token, name, record, start=0, wanted=wanted)
        return _answer(HTTPStatus.CREATED, **headers, **_expiry(record))


class Upload(HTTPEndpoint):
    """One upload, or what became of it."""

    async def options(self, request: Request) -> Response:
        """Say what is understood."""
        return await Uploads.options(self, request)  # type: ignore[arg-type]  # both only answer

    async def head(self, request: Request) -> Response:
        """Say how far it is. One whose asset could not be made is tried again."""
        service, token, name = _opened(request)
        async with _held(service, token, name):
            try:
                record = await resumable.find(service, token, name)
            except Problem:
                return await _complete(request, service, token, name)
            offset = await resumable.offset(service, record)
            headers = {"Upload-Offset": str(offset), "Cache-Control": "no-store", **_expiry(record)}
            if record.size is None:
                headers["Upload-Defer-Length"] = "1"
            else:
                headers["Upload-Length"] = str(record.size)
            if offset == record.size:
                await resumable.conclude(service, token, name, record)
                headers["Media-Location"] = location(request, name)
        return _answer(HTTPStatus.OK, **headers)

    async def patch(self, request: Request) -> Response:
        """Append the body."""
        service, token, name = _opened(request)
        if request.headers.get("Content-Type") != CONTENT_TYPE:
            raise Problem(
                Slug.REQUEST_REFUSED,
                f"Send Content-Type: {CONTENT_TYPE}.",
                status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                headers={"Accept": CONTENT_TYPE},
            )
        start = _number(request, "Upload-Offset")
        if start is None:
            raise Problem(Slug.MALFORMED_REQUEST, "Send Upload-Offset.")
        async with _held(service, token, name) as wanted:
            record = await resumable.find(service, token, name)
            if (size := _length(request)) is not None:
                record = await resumable.with_size(service, token.namespace, name, record, size)
            offset = await resumable.offset(service, record)
            if offset != start:
                raise Problem(Slug.OFFSET_MISMATCH, offset=offset)
            headers = await _append(request, token, name, record, start=start, wanted=wanted)
        return _answer(HTTPStatus.NO_CONTENT, **headers, **_expiry(record))

    async def delete(self, request: Request) -> Response:
        """Give it up."""
        service, token, name = _opened(request)
        async with _held(service, token, name):
            await resumable.forget(service, token.namespace, name, await resumable.find(service, token, name))
        return _answer(HTTPStatus.NO_CONTENT)

    async def post(self, request: Request) -> Response:
        """Do what X-HTTP-Method-Override says, for clients that can send nothing but GET and POST."""
        methods: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "PATCH": self.patch,
            "DELETE": self.delete,
            "HEAD": self.head,
        }
        method = methods.get(request.headers.get("X-HTTP-Method-Override", "").upper())
        if method is None:
            raise Problem(Slug.METHOD_NOT_ALLOWED, headers={"Allow": "HEAD, PATCH, DELETE, OPTIONS"})
        return await method(request)


async def _append(
    request: Request, token: Token, name: str, record: Record, *, start: int, wanted: asyncio.Event
) -> dict[str, str]:
    """Append the body of a request; make the asset when that was all. Return headers of the answer."""
    service = service_of(request)
    if record.size is not None and content_length(request) > record.size - start:
        raise Problem(Slug.MALFORMED_REQUEST, "There are more bytes than Upload-Length says.")
    offset = start
    if start != record.size:
        try:
            offset = await resumable.append(
                service, record, start, request.stream(), wanted=wanted, checksum=_checksum(request)
            )
        except HandedOverError:
            raise Problem(Slug.UPLOAD_LOCKED) from None
        except Problem as problem:
            # What cannot become an asset with these first bytes cannot with others.
            if problem.slug in (Slug.UNSUPPORTED_TYPE, Slug.TYPE_MISMATCH, Slug.SOURCE_TOO_LARGE):
                await resumable.forget(service, token.namespace, name, record)
            raise
    headers = {"Upload-Offset": str(offset)}
    if offset == record.size:
        await resumable.conclude(service, token, name, record)
        headers["Media-Location"] = location(request, name)
    return headers


async def _complete(request: Request, service: Service, token: Token, name: str) -> Response:
    """Answer for an upload that is an asset; raises Problem not-found when there is none."""
    asset = await service.find(token, name)
    source = asset.spec.source.object
    size = str(source.size_bytes if source else None)
    if source is None or source.size_bytes is None:
        raise Problem(Slug.NOT_FOUND)
    headers = {"Upload-Offset": size, "Upload-Length": size, "Media-Location": location(request, name)}
    return _answer(HTTPStatus.OK, **headers, **{"Cache-Control": "no-store"})


def _opened(request: Request) -> tuple[Service, Token, str]:
    _check_version(request)
    service = service_of(request)
    return service, authorize(request, service.tokens, Scope.WRITE), asset_name(request)


@asynccontextmanager
async def _held(service: Service, token: Token, name: str) -> AsyncIterator[asyncio.Event]:
    try:
        async with service.locks.hold(f"upload:{token.namespace}/{name}", PATIENCE_SECONDS) as wanted:
            yield wanted
    except LockedError:
        raise Problem(Slug.UPLOAD_LOCKED) from None


def _check_version(request: Request) -> None:
    if request.headers.get("Tus-Resumable") != VERSION:
        raise Problem(Slug.TUS_VERSION, headers={"Tus-Version": VERSION})


def _length(request: Request) -> int | None:
    return _number(request, "Upload-Length")


def _number(request: Request, header: str) -> int | None:
    text = request.headers.get(header)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS):
        raise Problem(Slug.MALFORMED_REQUEST, f"{header} must be a number of bytes.")
    return int(text)


def _metadata(header: str, max_fields: int) -> Form:
    """Read Upload-Metadata: pairs of a key and a value in base64, which may be absent."""
    found: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in header.split(","))):
        key, _, value = pair.partition(" ")
        try:
            found[key] = text_of(base64.b64decode(value.strip(), validate=True))
        except (binascii.Error, ValueError):
            raise Problem(Slug.MALFORMED_REQUEST, f"Upload-Metadata: {key[:64]} is no base64.") from None
    if len(found) > max_fields:
        raise Problem(Slug.FORM_TOO_LARGE, f"Upload-Metadata may have {max_fields} keys.", limit=max_fields)
    name = next((found[key] for key in _NAME_KEYS if key in found), "")
    content_type = next((found[key] for key in _TYPE_KEYS if key in found), "")
    fields = {key: value for key, value in found.items() if key not in (*_NAME_KEYS, *_TYPE_KEYS)}
    return Form(fields, FileHead(name, content_type))


def _checksum(request: Request) -> Checksum | None:
    header = request.headers.get("Upload-Checksum")
    if header is None:
        return None
    algorithm, _, value = header.partition(" ")
    if algorithm not in ALGORITHMS:
        raise Problem(Slug.MALFORMED_REQUEST, f"Upload-Checksum must be of {' or '.join(ALGORITHMS)}.")
    try:
        return Checksum(algorithm, base64.b64decode(value, validate=True))
    except ValueError:
        raise Problem(Slug.MALFORMED_REQUEST, "Upload-Checksum is no base64.") from None


def _expiry(record: Record) -> dict[str, str]:
    return {"Upload-Expires": format_datetime(record.expires, usegmt=True)}


def _base(request: Request) -> str:
    return (service_of(request).settings.public_url or request.scope.get("root_path", "")).rstrip("/")


def _answer(status: HTTPStatus, **headers: str) -> Response:
    return Response(status_code=status, headers={"Tus-Resumable": VERSION, **headers})
