"""Serving the renditions over HTTP with the headers that the gateway of a cluster gives them."""

import asyncio
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from urllib.parse import parse_qsl, quote

from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from media_ingest.errors import Problem, Slug
from media_standalone import naming
from media_standalone.directory import DOWNLOAD
from mediaasset import keys
from mediaasset.media import Kind, by_mime, served_mime
from mediaasset.objects import attachment
from mediaasset.signing import UrlSigner

_METHODS = "GET, HEAD, OPTIONS"
_IMMUTABLE = "public, max-age=31536000, immutable"
#: Of what is asked for by a stable name, which may lead to something else soon; as the gateway has it by default.
_STABLE = "public, max-age=300"

#: How a rendition's key ends (mediaasset.keys.rendition and rendition_tree). Nothing else is served: neither a file
#: that obstore is still writing, nor one that somebody put beside them.
_RENDITION = re.compile(
    rf"(?:.*/)?[a-z][a-z0-9-]{{0,31}}-(?P<digest>[0-9a-f]{{{keys.DIGEST_DIGITS}}})(?:/[a-z0-9][a-z0-9_-]{{0,63}})?"
    r"\.[a-z0-9]{1,8}\Z"
)
#: The segments before it: never empty, never beginning with a dot, no backslash, NUL or percent sign.
_SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\Z")
#: One range. Several at once, or what is no range, is ignored, as RFC 9110 section 14.2 allows: the answer is whole.
_RANGE = re.compile(
    r"bytes=(?:(?P<first>\d{1,18})-(?P<last>\d{0,18})|-(?P<suffix>\d{1,18}))\Z", re.IGNORECASE | re.ASCII
)

#: On every answer. A rendition is data: it runs no script, and a browser does not guess what it might be.
_COMMON = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "ETag, Content-Length, Content-Range, Accept-Ranges, Last-Modified",
}
_PREFLIGHT = {
    "Access-Control-Allow-Methods": _METHODS,
    "Access-Control-Allow-Headers": "Range, If-Range, If-None-Match, If-Modified-Since",
    "Access-Control-Max-Age": "86400",
}


@dataclass(frozen=True, slots=True)
class _File:
    """One rendition as it lies there."""

    path: Path
    status: os.stat_result
    mime: str
    etag: str

    @property
    def last_modified(self) -> str:
        return formatdate(self.status.st_mtime, usegmt=True)


class Renditions:
    """An ASGI endpoint that serves the files of the store, whose keys are the paths of their URLs."""

    _noun = "rendition"

    def __init__(self, root: Path) -> None:
        """Take the directory of the store."""
        self._root = root.resolve()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        response = await self._answer(scope)
        await response(scope, receive, send)

    async def _answer(self, scope: Scope) -> Response:
        if scope["method"] == "OPTIONS":
            return Response(status_code=204, headers={**_COMMON, **_PREFLIGHT, "Allow": _METHODS})
        if scope["method"] not in ("GET", "HEAD"):
            return _problem(Slug.METHOD_NOT_ALLOWED, "Renditions can only be read.", headers={"Allow": _METHODS})
        # The path as it is: what a Route matches ends before a line break at its end.
        return await self._of_path(scope, scope["path"].removeprefix("/"))

    async def _of_path(self, scope: Scope, path: str) -> Response:
        if _RENDITION.match(path):
            return await self._of_key(scope, path, _IMMUTABLE)
        named = await asyncio.to_thread(naming.key_of, self._root, path.removeprefix(f"{keys.PUBLIC}/"))
        return await self._of_key(scope, named or path, _STABLE)

    async def _of_key(self, scope: Scope, key: str, cache_control: str, disposition: str | None = None) -> Response:
        file = await asyncio.to_thread(self._find, key)
        if file is None:
            return _problem(Slug.NOT_FOUND, f"There is no such {self._noun}.")
        return _of_file(scope, file, cache_control, disposition)

    def _find(self, key: str) -> _File | None:
        *folders, name = key.split("/")
        match, mime = _RENDITION.match(key), served_mime(name)
        if match is None or mime is None or not all(_SEGMENT.match(folder) for folder in folders):
            return None
        status = _status(self._root / key)
        return _File(self._root / key, status, mime, f'"{match["digest"]}"') if status else None


class PrivateRenditions(Renditions):
    """An ASGI endpoint for the files under private/, for whoever has a URL that the signer made."""

    def __init__(self, root: Path, signer: UrlSigner) -> None:
        """Take the directory of the store, and the signer."""
        super().__init__(root)
        self._signer = signer

    async def _of_path(self, scope: Scope, path: str) -> Response:
        top, token, rest = [*path.split("/", 2), "", ""][:3]
        return await self._opened(scope, token, f"{top}/{rest}")

    async def _opened(self, scope: Scope, token: str, key: str) -> Response:
        name = _query(scope).get("download", "")
        remaining = self._signer.remaining(token, key, quote(name, safe=""))
        if remaining is None:
            return _problem(Slug.SIGNATURE_INVALID, "The URL is not signed, or was changed: ask the API for a new one.")
        if remaining <= 0:
            return _problem(Slug.URL_EXPIRED, "Ask the API for a new URL.")
        return await self._of_key(scope, key, f"private, max-age={remaining}", attachment(name) if name else None)


class Downloads(PrivateRenditions):
    """An ASGI endpoint for what is to be saved: any file of the store by a URL that the signer made, with a name."""

    _noun = "file"

    async def _of_path(self, scope: Scope, path: str) -> Response:
        _, token, key = [*path.split("/", 2), "", ""][:3]
        return await self._opened(scope, token, key)

    def _find(self, key: str) -> _File | None:
        status = _status(self._root / key) if all(_SEGMENT.match(part) for part in key.split("/")) else None
        if status is None:
            return None
        # Nothing is ever overwritten with other bytes.
        mime = served_mime(key.rpartition("/")[2]) or "application/octet-stream"
        return _File(self._root / key, status, mime, f'"{status.st_mtime_ns:x}-{status.st_size:x}"')


def _status(path: Path) -> os.stat_result | None:
    """Return what is known of a regular file; None for anything else."""
    try:
        # The resolved path is compared, so that no symbolic link leads out of the store or across its prefixes.
        if path.resolve(strict=True) != path:
            return None
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def routes(root: Path, signer: UrlSigner) -> list[Route]:
    """Return the routes under which the renditions of this store are served."""
    return [
        Route(f"/{keys.PUBLIC}/{{path:path}}", Renditions(root)),
        Route(f"/{keys.PRIVATE}/{{path:path}}", PrivateRenditions(root, signer)),
        Route(f"/{DOWNLOAD}/{{path:path}}", Downloads(root, signer)),
    ]


def _of_file(scope: Scope, file: _File, cache_control: str, disposition: str | None = None) -> Response:
    request = Headers(scope=scope)
    headers = {
        **_COMMON,
        "Cache-Control": cache_control,
        "ETag": file.etag,
        "Last-Modified": file.last_modified,
        "Accept-Ranges": "bytes",
    }
    if _is_not_modified(request, file):
        return Response(status_code=304, headers=headers)
    if not _wants_range(request, file):
        _drop_range(scope)
    elif not _is_satisfiable(request["range"], file.status.st_size):
        size = file.status.st_size
        detail = f"The file has {size} bytes; ask for a range within them."
        return _problem(Slug.REQUEST_REFUSED, detail, 416, {"Content-Range": f"bytes */{size}"})
    media = by_mime(file.mime)
    if media is not None and media.kind is Kind.DOCUMENT:
        headers["Content-Disposition"] = "attachment"
    if disposition is not None:
        headers["Content-Disposition"] = disposition
    # Starlette would add a charset to text; what is in the file nobody knows, and nosniff makes a wrong one worse.
    headers["Content-Type"] = file.mime
    return FileResponse(file.path, headers=headers, media_type=file.mime, stat_result=file.status)


def _is_not_modified(request: Headers, file: _File) -> bool:
    """Evaluate If-None-Match, else If-Modified-Since (RFC 9110 section 13.2.2)."""
    tags = request.get("if-none-match")
    if tags is not None:
        return tags.strip() == "*" or file.etag in (tag.strip().removeprefix("W/") for tag in tags.split(","))
    since = request.get("if-modified-since")
    if since is None:
        return False
    try:
        return int(file.status.st_mtime) <= parsedate_to_datetime(since).timestamp()
    except (ValueError, OverflowError):
        return False


def _wants_range(request: Headers, file: _File) -> bool:
    if _RANGE.match(request.get("range", "").strip()) is None:
        return False
    condition = request.get("if-range")
    # Only the strong validators count, exactly (RFC 9110 section 13.1.5).
    return condition is None or condition.strip() in (file.etag, file.last_modified)


def _is_satisfiable(text: str, size: int) -> bool:
    match = _RANGE.match(text.strip())
    if match is None:
        return False
    if match["suffix"]:
        return int(match["suffix"]) > 0 and size > 0
    last = int(match["last"]) if match["last"] else size
    return int(match["first"]) < size and int(match["first"]) <= last


def _drop_range(scope: Scope) -> None:
    scope["headers"] = [(name, value) for name, value in scope["headers"] if name.lower() != b"range"]


def _query(scope: Scope) -> Mapping[str, str]:
    try:
        return dict(parse_qsl(scope["query_string"].decode("latin-1"), max_num_fields=10))
    except ValueError:  # More fields than any URL of ours has.
        return {}


def _problem(slug: Slug, detail: str, status: int | None = None, headers: Mapping[str, str] | None = None) -> Response:
    """Return a problem: never cached, never empty."""
    own = {**_COMMON, "Cache-Control": "no-store", **(headers or {})}
    return Problem(slug, detail, status=status, headers=own).to_response()
