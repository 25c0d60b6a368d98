"""The client of docs/guides/javascript.md in a real browser, at a page of another origin than the service."""

import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

import pages
from pages import ROOT
from pictures import scene
from standalone import TOKEN, started

BLOCKS = pages.blocks(ROOT / "docs/guides/javascript.md")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Serve a directory; give it and its origin."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    folder = tmp_path / "shop"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def page() -> Iterator[Page]:
    chromium = shutil.which("chromium")
    assert chromium, "chromium is not in PATH: hack/setup.sh test installs it"
    with sync_playwright() as playwright:
        # In a container there is no user namespace for its sandbox; all that it loads is ours.
        yield playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"]).new_page()


def test_page_uploads_and_shows_the_picture(shop: tuple[Path, str], page: Page, tmp_path: Path) -> None:
    folder, origin = shop
    scene(900, 600).save(tmp_path / "photo.jpg")
    [client] = [block.text for block in BLOCKS if block.kind == "file"]
    [document] = [block.text for block in BLOCKS if block.language == "html"]
    (folder / "media.mjs").write_text(client)
    with started(tmp_path / "data", MEDIA_INGEST_CORS_ORIGINS=json.dumps([origin])) as server:
        document = document.replace("https://media.example.org", server.base_url).replace('"TOKEN"', f'"{TOKEN}"')
        (folder / "index.html").write_text(document)
        page.goto(origin)
        page.locator("#file").set_input_files(tmp_path / "photo.jpg")
        picture = page.locator("#picture")
        expect(picture).to_have_js_property("naturalWidth", 640, timeout=60_000)
        assert "/medium-" in (picture.get_attribute("src") or "")
