"""The body of an upload as it streams in: a form with a file in it, or the bare file."""

import urllib.parse
from collections.abc import AsyncIterator
from typing import Protocol

from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from media_ingest.errors import Problem, Slug
from media_ingest.fields import FileHead, Form, text_of
from media_ingest.multipart import FileData, FileEnd, FormParser
from media_ingest.settings import Settings
from mediaasset.store import Length


class Body(Protocol):
    """An upload being read, once and in this order: open, chunks, finish."""

    @property
    def form(self) -> Form:
        """Return what was read until now beside the bytes of the file."""

    #: How many bytes the file will have, as far as Content-Length tells.
    length: Length

    async def open(self) -> None:
        """Read up to the first byte of the file."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes of the file as they come."""

    async def finish(self) -> None:
        """Read what follows the file; afterwards the form is complete and known to be well formed."""


def of_request(request: Request, settings: Settings) -> Body:
    """Return the body that a request carries. Raises Problem malformed-request for a form without a boundary."""
    content_type = request.headers.get("Content-Type", "")
    main, options = parse_options_header(content_type)
    if main == b"multipart/form-data":
        boundary = options.get(b"boundary")
        if not boundary:
            raise Problem(Slug.MALFORMED_REQUEST, "The Content-Type multipart/form-data needs its parameter boundary.")
        return FormBody(request, FormParser(boundary, settings), settings)
    return RawBody(request, content_type)


class RawBody:
    """The body is the file; its fields are query parameters, and its name stands in Content-Disposition or the path."""

    def __init__(self, request: Request, content_type: str) -> None:
        """Take the request and the type that it declares."""
        self._request = request
        size = content_length(request)
        self.length = Length(size, size) if size else Length()
        name = file_name(request.headers.get("Content-Disposition", "")) or request.path_params.get("name", "")
        fields: dict[str, str] = {}
        for key, value in request.query_params.multi_items():
            if key in fields:
                raise Problem(Slug.MALFORMED_REQUEST, f"The query parameter {key} comes twice: send it once.")
            fields[key] = value
        self.form = Form(fields, FileHead(name, content_type))

    async def open(self) -> None:
        """Do nothing: the file begins at once."""

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body."""
        async for chunk in self._request.stream():
            if chunk:
                yield chunk

    async def finish(self) -> None:
        """Do nothing: nothing follows the file."""


class FormBody:
    """The body is a form, of which one part is the file."""

    def __init__(self, request: Request, parser: FormParser, settings: Settings) -> None:
        """Take the request and the parser of its body."""
        self._stream = request.stream()
        self._parser = parser
        self.form = parser.form
        size = content_length(request)
        self.length = Length(max(0, size - settings.max_form_bytes), size)

    async def open(self) -> None:
        """Read the parts before the file. Raises Problem malformed-request when there is no file at all."""
        while not self._parser.has_file:
            if not await self._read():
                raise Problem(
                    Slug.MALFORMED_REQUEST,
                    "The form has no file part: send one named file, image or avatar.",
                )

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the file's part."""
        while True:
            for event in self._parser.take():
                match event:
                    case FileData(data):
                        yield data
                    case FileEnd():
                        return
            if not await self._read():
                return

    async def finish(self) -> None:
        """Read the parts after the file."""
        while await self._read():
            pass

    async def _read(self) -> bool:
        async for chunk in self._stream:
            if chunk:
                self._parser.feed(chunk)
                return True
        self._parser.finish()
        return False


def content_length(request: Request) -> int:
    """Return what the request announces, 0 when it does not (chunked)."""
    text = request.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() else 0


def file_name(disposition: str) -> str:
    """Return the file name of a Content-Disposition (RFC 6266): `filename*` wins over `filename`; empty if neither."""
    for part in disposition.split(";"):
        name, _, value = part.strip().partition("=")
        if name.strip().lower() == "filename*":
            charset, _, rest = value.strip().strip('"').partition("'")
            encoded = rest.partition("'")[2]
            if charset.lower() in ("utf-8", "iso-8859-1"):
                return urllib.parse.unquote(encoded, encoding=charset, errors="replace")
    return text_of(parse_options_header(disposition)[1].get(b"filename", b""))
