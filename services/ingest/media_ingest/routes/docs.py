"""/api/docs/: a page to read and try the API, made in the browser from the OpenAPI document."""

from functools import cache
from importlib import resources

from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from media_ingest.errors import Problem, Slug

_FILES = {"index.html": "text/html", "page.js": "text/javascript", "page.css": "text/css"}

#: The page has no scripts but its own, asks nobody but the API that it is served by, and stands in no other page.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class Page(HTTPEndpoint):
    """The page itself."""

    async def get(self, request: Request) -> Response:
        """Return it; from the path without a slash it leads to the one with, which its parts are beside."""
        if not request.url.path.endswith("/"):
            return RedirectResponse("docs/")
        return _answer("index.html")


class Part(HTTPEndpoint):
    """What the page consists of."""

    async def get(self, request: Request) -> Response:
        """Return the script or the style."""
        name = request.path_params["file"]
        if name not in _FILES:
            raise Problem(Slug.NOT_FOUND)
        return _answer(name)


def _answer(name: str) -> Response:
    return Response(_read(name), headers=_HEADERS, media_type=_FILES[name])


@cache
def _read(name: str) -> bytes:
    return (resources.files("media_ingest") / "page" / name).read_bytes()
