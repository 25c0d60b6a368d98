"""The state of the service, its description, and its access log."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import structlog
from openapi_spec_validator import validate
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from media_ingest.app import create_app
from media_ingest.auth import Tokens
from media_ingest.settings import Settings
from media_standalone.partial import DirectoryParts
from uploading import Api, Halfway, running_api, serving

PNG = b"\x89PNG\r\n\x1a\n" + bytes(1000)


async def test_alive_ready_and_described_without_a_token(api: Api) -> None:
    for path in ("/healthz", "/readyz", "/api/openapi.json", "/healthz/"):
        assert (await api.client.get(path)).status_code == 200
    validate((await api.client.get("/api/openapi.json")).json())


async def test_assets_that_do_not_answer_make_it_not_ready(api: Api) -> None:
    await api.database._connection.execute("DROP TABLE assets")
    response = await api.client.get("/readyz")
    assert response.status_code == 503
    problem = response.json()
    assert (problem["assets"], problem["store"]) == (False, True)
    assert "assets" in problem["detail"]
    assert (await api.client.get("/healthz")).status_code == 200


async def test_a_store_that_does_not_answer_makes_it_not_ready(api: Api) -> None:
    (api.directory / "uploads").write_bytes(b"")
    response = await api.client.get("/readyz")
    assert response.status_code == 503
    assert (response.json()["assets"], response.json()["store"]) == (True, False)


async def test_head_has_the_headers_of_get_and_no_body(api: Api) -> None:
    response = await api.client.head("/api/media/", headers=api.auth())
    assert response.status_code == 200
    assert int(response.headers["Content-Length"]) > 0
    assert response.content == b""


async def test_one_log_line_per_request_without_secrets(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as lines:
        async with running_api(tmp_path) as api:
            await api.post(content=PNG, params={"caption": "a-secret-caption"})
            await api.client.get("/api/media/?page=1", headers={"Authorization": "Bearer a-secret-token"})
    assert [(line["method"], line["path"], line["status"], line["user"]) for line in lines] == [
        ("POST", "/api/media/upload/", 201, "42"),
        ("GET", "/api/media/", 401, None),
    ]
    assert lines[0]["received"] == len(PNG)
    assert lines[1]["bytes"] > 0
    assert lines[0]["seconds"] > 0
    assert "secret" not in str(lines)


async def test_the_process_may_serve_more(api: Api) -> None:
    entered = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        entered.append("started")
        yield
        entered.append("stopped")

    async def crash(request: Request) -> Response:
        message = "a-secret-message"
        raise RuntimeError(message)

    app = create_app(
        assets=api.assets,
        store=api.store,
        parts=DirectoryParts(api.directory.with_name("partial"), api.directory),
        progress=Halfway(),
        tokens=Tokens.of("one"),
        settings=Settings(),
        routes=[Route("/media/{path:path}", crash)],
        lifespan=lifespan,
    )
    async with serving(app) as port, httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        response = await client.get("/media/x")
        assert response.status_code == 500
        assert response.json()["type"] == "urn:media-operator:problem:internal"
        assert "secret" not in response.text
        assert (await client.get("/api/media/", headers={"Authorization": "Bearer one"})).json()["count"] == 0
    assert entered == ["started", "stopped"]
