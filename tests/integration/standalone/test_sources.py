"""Assets that no upload made: sources by URL, renditions of their own, visibility and suspension, by the spec alone."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

from media_standalone.assets import SqliteAssets
from media_standalone.database import Database
from mediaasset.spec import MediaAsset
from standalone import Standalone, started

LOOPBACK = '["127.0.0.0/8"]'


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the signature of the standard library
        pass


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "origin"
    folder.mkdir()
    Image.linear_gradient("L").resize((900, 600)).convert("RGB").save(folder / "a.png")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


async def apply(data_dir: Path, **spec: Any) -> str:
    """Create an asset as `kubectl apply` would, while nothing runs; return its id."""
    data_dir.mkdir(exist_ok=True)  # noqa: ASYNC240 - nothing else runs on this loop
    database = await Database.open(data_dir / "standalone.db")
    try:
        assets = SqliteAssets(database, lambda *_: None)
        created = await assets.create(
            MediaAsset.model_validate(
                {"metadata": {"namespace": "default", "name": "m1"}, "spec": {"userID": "1", **spec}}
            )
        )
    finally:
        await database.close()
    return created.metadata.name


async def edit(data_dir: Path, name: str, **changes: Any) -> None:
    """Change the spec of an asset while nothing runs."""
    database = await Database.open(data_dir / "standalone.db")
    try:
        assets = SqliteAssets(database, lambda *_: None)
        asset = await assets.get("default", name)
        spec = type(asset.spec).model_validate(asset.spec.to_dict() | changes)
        await assets.replace_spec("default", name, spec)
    finally:
        await database.close()


def run(data_dir: Path, **environment: str) -> Any:
    return started(data_dir, **environment)


async def test_a_url_becomes_the_renditions_that_the_spec_names(tmp_path: Path, origin: str) -> None:
    data_dir = tmp_path / "data"
    wanted = [
        {"name": "card", "for": "Image", "format": "WebP", "fit": "Cover", "width": 200, "height": 100, "quality": 70},
        {"name": "wide", "for": "Image", "format": "PNG", "width": 450},
        {"name": "sound", "for": "Audio", "format": "MP3"},
    ]
    name = await apply(data_dir, source={"url": f"{origin}/a.png"}, renditions=wanted, visibility="Public")
    with run(data_dir, MEDIA_OPERATOR_ALLOWED_CIDRS=LOOPBACK) as server:
        body = server.finished(name)
    assert (body["status"], body["error"], body["file_type"]) == ("ready", None, "image")
    sizes = {item["name"]: (item["mime_type"], item["width"], item["height"]) for item in body["renditions"]}
    assert sizes == {"card": ("image/webp", 200, 100), "wide": ("image/png", 450, 300)}


async def test_a_url_inside_the_house_is_refused(tmp_path: Path, origin: str) -> None:
    data_dir = tmp_path / "data"
    name = await apply(data_dir, source={"url": f"{origin}/a.png"})
    with run(data_dir) as server:
        body = server.finished(name)
    assert (body["status"], body["error"]["reason"]) == ("failed", "SourceForbidden")


async def test_visibility_moves_the_objects_without_another_attempt(tmp_path: Path, origin: str) -> None:
    data_dir = tmp_path / "data"
    name = await apply(data_dir, source={"url": f"{origin}/a.png"}, visibility="Public")

    def settled(server: Standalone) -> dict[str, Any]:
        body = server.finished(name)
        assert body["status"] == "ready"
        assert {httpx2.get(url).status_code for url in body["urls"].values()} == {200}
        return body

    with run(data_dir, MEDIA_OPERATOR_ALLOWED_CIDRS=LOOPBACK) as server:
        before = settled(server)["urls"]["medium"].removeprefix(server.base_url)
    await edit(data_dir, name, visibility="Private")
    with run(data_dir) as server:
        hidden = settled(server)["urls"]["medium"]
        assert "/private/" in hidden
        assert httpx2.get(server.base_url + before).status_code == 404
        assert not list((data_dir / "store" / "media").rglob("*.jpg"))
    await edit(data_dir, name, visibility="Public")
    with run(data_dir) as server:
        assert settled(server)["urls"]["medium"].removeprefix(server.base_url) == before
        assert not list((data_dir / "store" / "private").rglob("*.jpg"))


async def test_a_suspended_asset_waits_until_it_is_let_go(tmp_path: Path, origin: str) -> None:
    data_dir = tmp_path / "data"
    name = await apply(data_dir, source={"url": f"{origin}/a.png"}, suspend=True)
    with run(data_dir, MEDIA_OPERATOR_ALLOWED_CIDRS=LOOPBACK) as server:
        assert server.get(name)["status"] == "processing"
    await edit(data_dir, name, suspend=False)
    with run(data_dir, MEDIA_OPERATOR_ALLOWED_CIDRS=LOOPBACK) as server:
        assert server.finished(name)["status"] == "ready"
