"""A server that answers as the HTTP contract says, and the command line run against it as a person runs it."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

TOKEN = "a-token-of-the-test"

Run = Callable[..., subprocess.CompletedProcess[str]]


@dataclass
class Server:
    """What the test's server was asked, and how it answers: `polls` is how many looks an asset takes to be ready."""

    url: str = ""
    polls: int = 2
    unavailable: int = 0
    limit: int | None = None
    uploads: list[dict[str, Any]] = field(default_factory=list)
    assets: dict[str, dict[str, Any]] = field(default_factory=dict)
    reprocessed: list[str | None] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    polled: threading.Event = field(default_factory=threading.Event)

    async def upload(self, request: Request) -> Response:
        self.requests.append("upload")
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return problem(401, "Unauthorized", "The token is not known.")
        if self.limit is not None and int(request.headers["Content-Length"]) > self.limit:
            # Answered at once: whoever still sends has to stop and read.
            return problem(413, "The file is too large", "A file may have fewer bytes.")
        async with request.form() as form:
            fields: dict[str, Any] = dict(form)
            file = fields.pop("file")
            digest, size = sha256(), 0
            while chunk := await file.read(1 << 20):
                digest.update(chunk)
                size += len(chunk)
            name = str(file.filename)
        self.uploads.append({"name": name, "fields": fields, "sha256": digest.hexdigest(), "size": size})
        if name.startswith("refused"):
            return problem(415, "Type mismatch", "The content is a document,\x1b[2J the name says an image.")
        asset = f"m{len(self.assets)}"
        self.assets[asset] = {
            "id": asset,
            "status": "processing",
            "file_type": "image",
            "file_size": size,
            "original_name": name,
            "urls": {"medium": None},
            "renditions": [],
            "display_url": None,
            "thumbnail_url": None,
            "progress": None,
            "error": None,
            "width": None,
            "height": None,
            "duration": None,
            "created_at": "2026-01-02T03:04:05Z",
            "looks": 0,
        }
        return JSONResponse(self.assets[asset], 201)

    async def get(self, request: Request) -> Response:
        self.requests.append("get")
        self.polled.set()
        if self.unavailable:
            self.unavailable -= 1
            return problem(503, "Store unavailable", "The store does not answer.")
        body = self.assets.get(request.path_params["id"])
        if body is None:
            return problem(404, "Not found", "There is no such asset.")
        body["looks"] += 1
        body["progress"] = {"stage": "rendering", "percent": 40.0}
        if body["looks"] < self.polls:
            return JSONResponse(body)
        if str(body["original_name"]).startswith("broken"):
            body |= {"status": "failed", "error": {"reason": "CorruptMedia", "message": "The image is cut short."}}
        else:
            urls = {name: f"{self.url}/media/{'a' * 60}/{name}.jpg" for name in ("medium", "original")}
            listed = [
                rendition("medium", urls["medium"], 640, 480),
                rendition("original", urls["original"], 4000, 3000),
            ]
            listed.append(rendition("webp", None) | {"error": {"reason": "Undecodable", "message": "It is damaged."}})
            body |= {"renditions": listed}
            body |= {"status": "ready", "urls": urls, "display_url": urls["medium"], "width": 4000, "height": 3000}
        return JSONResponse(body | {"progress": None})

    async def reprocess(self, request: Request) -> Response:
        self.reprocessed.append(request.query_params.get("renditions"))
        body = self.assets[request.path_params["id"]]
        body |= {"status": "processing"}
        return JSONResponse(body, 202)

    async def page(self, request: Request) -> Response:
        number, size = (int(request.query_params[name]) for name in ("page", "page_size"))
        found = list(self.assets.values())[::-1]
        page = found[(number - 1) * size : number * size]
        return JSONResponse({"count": len(found), "next": None, "previous": None, "results": page})

    async def foreign(self, _request: Request) -> Response:
        return PlainTextResponse("hello")

    def routes(self) -> list[Route]:
        return [
            Route("/api/media/upload/", self.upload, methods=["POST"]),
            Route("/api/media/{id}/", self.get),
            Route("/api/media/{id}/reprocess/", self.reprocess, methods=["POST"]),
            Route("/api/media/", self.page),
            Route("/foreign/api/media/{id}/", self.foreign),
        ]


def rendition(name: str, url: str | None, width: int | None = None, height: int | None = None) -> dict[str, object]:
    known = {"mime_type": "image/jpeg", "file_size": 12_345, "error": None} if url else {}
    return {"name": name, "url": url, "width": width, "height": height} | known


def problem(status: int, title: str, detail: str) -> JSONResponse:
    body = {"type": f"urn:test:{status}", "title": title, "status": status, "detail": detail}
    return JSONResponse(body, status, media_type="application/problem+json")


@pytest.fixture
def server() -> Iterator[Server]:
    listener = socket.create_server(("127.0.0.1", 0))
    serving = Server(url=f"http://127.0.0.1:{listener.getsockname()[1]}")
    web = uvicorn.Server(uvicorn.Config(Starlette(routes=serving.routes()), log_level="error", lifespan="off"))
    thread = threading.Thread(target=web.run, kwargs={"sockets": [listener]})
    thread.start()
    yield serving
    web.should_exit = True
    thread.join(20)
    listener.close()
    assert not thread.is_alive()


@pytest.fixture
def environment(server: Server, tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MEDIA_", "XDG_"))}
    return kept | {"MEDIA_URL": server.url, "MEDIA_TOKEN": TOKEN, "HOME": str(tmp_path / "home"), "COLUMNS": "40"}


@pytest.fixture
def media(environment: dict[str, str], tmp_path: Path) -> Run:
    def run(*arguments: object, **changes: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "media_cli", *map(str, arguments)]
        return subprocess.run(
            argv, env=environment | changes, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
        )

    return run


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(bytes(range(256)) * 1000)
    return path


def eventually(holds: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
