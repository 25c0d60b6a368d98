"""/healthz, /readyz and the OpenAPI document; none of them needs a token."""

import asyncio
from collections.abc import Awaitable
from functools import cache
from importlib import resources
from typing import Any

import structlog
import yaml
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from media_ingest.errors import Problem, Slug
from media_ingest.service import service_of
from mediaasset.assets import NotFoundError

#: A port that takes longer counts as one that does not answer.
READY_SECONDS = 3

_LOG = structlog.get_logger("media_ingest")


class Healthz(HTTPEndpoint):
    """Whether the process is alive."""

    async def get(self, request: Request) -> Response:  # noqa: ARG002 - the signature is Starlette's
        """Say so."""
        return JSONResponse({"status": "alive"})


class Readyz(HTTPEndpoint):
    """Whether an upload could be taken now."""

    async def get(self, request: Request) -> Response:
        """Ask the assets and the store for something that does not exist; say which of them does not answer."""
        service = service_of(request)
        namespace = min(service.tokens.namespaces, default="default")
        answers = {
            "assets": await _answers("assets", service.assets.get(namespace, "readyz")),
            "store": await _answers("store", service.store.stat("uploads/readyz")),
        }
        silent = [port for port, answered in answers.items() if not answered]
        if silent:
            raise Problem(
                Slug.NOT_READY,
                f"No answer from: {', '.join(silent)}.",
                assets=answers["assets"],
                store=answers["store"],
            )
        return JSONResponse({"status": "ready", **answers})


class OpenAPI(HTTPEndpoint):
    """The description of this API."""

    async def get(self, request: Request) -> Response:  # noqa: ARG002 - the signature is Starlette's
        """Return the OpenAPI document."""
        return JSONResponse(document())


@cache
def document() -> dict[str, Any]:
    """Return the OpenAPI document of the package."""
    text = (resources.files("media_ingest") / "openapi.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


async def _answers(port: str, question: Awaitable[object]) -> bool:
    try:
        async with asyncio.timeout(READY_SECONDS):
            await question
    except NotFoundError:
        return True
    except Exception as error:  # noqa: BLE001 - whatever it is, the port is of no use
        _LOG.warning("a port does not answer", port=port, error=repr(error))
        return False
    return True
