"""Assets that no upload made: by URL and by WhatsApp, with renditions of their own, by the spec alone."""

import io
import json
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

import graph
from graph import Graph, Media
from media_standalone.assets import SqliteAssets
from media_standalone.database import Database
from media_standalone.process import Runner
from mediaasset.names import REPROCESS_ANNOTATION
from mediaasset.spec import MediaAsset
from mediaasset.task import Source, Task, WhatsAppMedia
from service import wait_for
from standalone import Standalone, jobs_in, started

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
        await SqliteAssets(database, lambda *_: None).change("default", name, changes)
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
    assert sizes.pop("sound") == (None, None, None), "it is for a sound, and shown as skipped"
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


TOKEN = "EAAGm0PX4ZCpsBAtoken"


@pytest.fixture
def chat() -> Iterator[Graph]:
    buffer = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(buffer, "JPEG")
    with graph.serving() as running:
        running.tokens.add(TOKEN)
        running.media["123"] = Media(content=buffer.getvalue(), mime_type="image/jpeg")
        yield running


def message(chat: Graph) -> dict[str, Any]:
    """Return a source as a webhook announces it."""
    return {
        "whatsapp": {
            "accountName": "support",
            "mediaID": "123",
            "messageID": "wamid.A",
            "timestamp": "2026-01-02T03:04:05Z",
            "mimeType": "image/jpeg",
            "sha256": chat.media["123"].base64,
        }
    }


def bind(data_dir: Path, namespace: str = "default") -> None:
    """Make the account, as its owner does."""
    account = data_dir / "accounts/support"
    account.mkdir(parents=True, exist_ok=True)
    (account / "token").write_text(TOKEN)
    (account / "namespace").write_text(namespace)


async def reprocess(data_dir: Path, name: str) -> None:
    """Ask for one more attempt while nothing runs."""
    database = await Database.open(data_dir / "standalone.db")
    try:
        await SqliteAssets(database, lambda *_: None).annotate("default", name, {REPROCESS_ANNOTATION: "now"})
    finally:
        await database.close()


async def test_what_was_sent_by_whatsapp_can_be_made_again_when_graph_has_forgotten_it(
    tmp_path: Path, chat: Graph
) -> None:
    data_dir = tmp_path / "data"
    name = await apply(data_dir, source=message(chat), visibility="Public")
    bind(data_dir)
    with run(data_dir, MEDIA_OPERATOR_ALLOWED_CIDRS=LOOPBACK, MEDIA_GRAPH_URL=chat.url) as server:
        body = server.finished(name)
    assert (body["status"], body["error"]) == ("ready", None)
    (original,) = (data_dir / "store/whatsapp-media/support/2026-01-02/image").iterdir()
    assert original.read_bytes() == chat.media["123"].content
    assert chat.steps() == ["lookup", "download"]

    # Seven days later, the id is gone.
    chat.media.clear()
    await reprocess(data_dir, name)
    with run(data_dir, MEDIA_OPERATOR_ALLOWED_CIDRS=LOOPBACK, MEDIA_GRAPH_URL=chat.url) as server:
        done = (2, "Succeeded")
        wait_for(lambda: done in [job[1:] for job in jobs_in(data_dir)], what="the second attempt")
        assert server.finished(name)["status"] == "ready"
    assert chat.steps() == ["lookup", "download"]


async def test_an_account_that_is_missing_is_said_and_can_be_made(tmp_path: Path, chat: Graph) -> None:
    data_dir = tmp_path / "data"
    name = await apply(data_dir, source=message(chat))
    with run(data_dir, MEDIA_OPERATOR_ALLOWED_CIDRS=LOOPBACK, MEDIA_GRAPH_URL=chat.url) as server:
        error = server.finished(name)["error"]
    assert error["reason"] == "SourceUnauthorized"
    assert "WhatsApp account support" in error["message"]
    bind(data_dir, "elsewhere")
    await reprocess(data_dir, name)
    with run(data_dir, MEDIA_OPERATOR_ALLOWED_CIDRS=LOOPBACK, MEDIA_GRAPH_URL=chat.url) as server:

        def reason() -> str | None:
            return (server.get(name)["error"] or {}).get("reason")

        wait_for(lambda: reason() == "SourceForbidden", what="the second attempt")
    assert chat.asked == []


async def test_only_a_transcoder_of_a_message_is_told_of_the_accounts(tmp_path: Path) -> None:
    told = tmp_path / "told"
    script = f"import json, os; open({str(told)!r}, 'w').write(json.dumps(dict(os.environ)))"
    runner = Runner(
        store_url="file:///none",
        scratch=tmp_path / "scratch",
        accounts=tmp_path / "accounts",
        command=(sys.executable, "-c", script),
    )
    for source, expected in (
        (Source(key="uploads/x"), None),
        (Source(url="https://example.org/x"), None),
        (
            Source(whatsapp=WhatsAppMedia(account_name="a", media_id="1", original_key="k")),
            str(tmp_path / "accounts"),
        ),
    ):
        task = Task(
            uid="u",
            namespace="n",
            name="a",
            attempt=1,
            inputs_hash="h",
            source=source,
            prefix="media/",
            document_prefix="private/",
        )
        assert await runner.run("pod", task, lambda _: None) == 0
        assert json.loads(told.read_text()).get("MEDIA_WHATSAPP_DIRECTORY") == expected
