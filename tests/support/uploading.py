"""The API over a real uvicorn on loopback, with the SQLite assets and a directory as the store."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import uvicorn

from described import check_answer
from media_ingest.app import create_app
from media_ingest.auth import Scope, Token, Tokens, digest
from media_ingest.settings import Settings
from media_standalone.assets import SqliteAssets
from media_standalone.database import Database
from media_standalone.directory import open_store
from media_standalone.partial import DirectoryParts
from mediaasset.objects import ObjectStore
from mediaasset.signing import UrlSigner
from mediaasset.task import Progress
from polling import until

BASE_URL = "https://cdn.example"
USERS = {
    "alice": Token(
        sha256=digest("alice"),
        user="42",
        username="Alice",
        namespace="shop",
        scopes=frozenset({"read", "write", "delete"}),
    ),
    "bob": Token(
        sha256=digest("bob"), user="43", username="Bob", namespace="shop", scopes=frozenset({"read", "write", "delete"})
    ),
    "reader": Token(sha256=digest("reader"), user="42", username="A", namespace="shop", scopes=frozenset({Scope.READ})),
    "dealer": Token(
        sha256=digest("dealer"),
        user="42",
        username="A",
        namespace="shop",
        scopes=frozenset({"write"}),
        paths=("ads/**",),
    ),
    "writer": Token(
        sha256=digest("writer"), user="42", username="A", namespace="shop", scopes=frozenset({Scope.WRITE})
    ),
    "admin": Token(
        sha256=digest("admin"), user="1", username="Root", namespace="shop", scopes=frozenset({Scope.ADMIN})
    ),
    "other": Token(
        sha256=digest("other"), user="42", username="O", namespace="museum", scopes=frozenset({Scope.ADMIN})
    ),
}


class Halfway:
    """Progress as a running transcoder would report it."""

    async def progress(self, uid: str) -> Progress | None:  # noqa: ARG002 - the signature is the port's
        return Progress(stage="render", percent=50.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """A running service, and what lies behind it."""

    port: int
    client: httpx2.AsyncClient
    assets: SqliteAssets
    database: Database
    store: ObjectStore
    directory: Path

    def auth(self, user: str = "alice") -> dict[str, str]:
        return {"Authorization": f"Bearer {user}"}

    async def post(self, *, user: str = "alice", **arguments: Any) -> httpx2.Response:
        headers = {**self.auth(user), **arguments.pop("headers", {})}
        return await self.client.post("/api/media/upload/", headers=headers, **arguments)

    async def get(self, path: str, *, user: str = "alice", **arguments: Any) -> httpx2.Response:
        return await self.client.get(path, headers=self.auth(user), **arguments)

    async def delete(self, path: str, *, user: str = "alice") -> httpx2.Response:
        return await self.client.delete(path, headers=self.auth(user))

    async def image_limit(self) -> int:
        """Return how many bytes an image may have."""
        limit = (await self.assets.profile("web")).spec.limits.image.max_bytes
        assert limit is not None
        return limit

    def objects(self) -> list[Path]:
        """Return every file of the store, also one that is half written."""
        return [path for path in self.directory.rglob("*") if path.is_file()]

    async def nothing_exists(self) -> bool:
        page = await self.assets.list("shop", limit=1)
        return not self.objects() and page.total == 0

    async def quiet(self) -> None:
        """Wait until nothing exists, which a broken-off request reaches a moment after it ended."""
        await until(self._nothing)

    async def _nothing(self) -> bool | None:
        return await self.nothing_exists() or None


async def hold_to_document(response: httpx2.Response) -> None:
    """Check an answer as it comes: a hook for clients."""
    request = response.request
    if "Access-Control-Request-Method" in request.headers:
        # What a browser asks first is between it and Starlette.
        return
    body = await response.aread()
    check_answer(request.method, request.url.path, response.status_code, response.headers, body)


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[int]:
    """Run an application and yield its port."""
    config = uvicorn.Config(app, port=0, http="httptools", ws="none", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    # What serve() does, without its signal handlers and its clock, for whose ticks of 0.1 s every test would wait.
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        await server.shutdown()


@asynccontextmanager
async def running_api(tmp_path: Path, *, parts: Mapping[str, Any] | None = None, **settings: Any) -> AsyncIterator[Api]:
    """Run the API; settings are those of the service, parts what else `create_app` takes."""
    database = await Database.open(tmp_path / "assets.sqlite")
    assets = SqliteAssets(database, lambda *_: None)
    directory = tmp_path / "store"
    made: dict[str, Any] = {
        "assets": assets,
        "store": open_store(directory, UrlSigner(BASE_URL, b"s" * 32)),
        "parts": DirectoryParts(tmp_path / "partial", directory),
        "progress": Halfway(),
        "tokens": Tokens(USERS.values()),
        "settings": Settings(**settings),
        **(parts or {}),
    }
    app = create_app(**made)
    try:
        async with (
            serving(app) as port,
            httpx2.AsyncClient(
                base_url=f"http://127.0.0.1:{port}", timeout=30, event_hooks={"response": [hold_to_document]}
            ) as client,
        ):
            yield Api(
                port=port, client=client, assets=assets, database=database, store=made["store"], directory=directory
            )
    finally:
        await database.close()
