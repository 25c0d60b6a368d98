"""Clients that people have: curl, and tus-js-client in Node and in a browser at a page of another origin."""

import asyncio
import hashlib
import http.server
import json
import shutil
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright

import s3server
from mediaasset.s3parts import PART_BYTES
from replicas import Replicas, running
from uploading import Api, running_api

ROOT = Path(__file__).parents[3]
CLIENTS = ROOT / ".tools/clients"
SCRIPT = ROOT / "tests/clients/upload.mjs"
PHOTO = ROOT / "tests/data/photo.jpg"
FILM = b"\0\0\0\x18ftypisom" + hashlib.shake_256(b"film").digest(2 * PART_BYTES + 12_345)


async def curl(api: Api, *arguments: str, user: str = "alice") -> tuple[int, dict[str, Any]]:
    """Run curl as somebody; return the status and the body of the answer."""
    command = ["curl", "-sS", "-w", "\n%{http_code}", "-H", f"Authorization: Bearer {user}", *arguments]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0
    body, _, status = output.decode().rpartition("\n")
    return int(status), json.loads(body)


def base(api: Api) -> str:
    return f"http://127.0.0.1:{api.port}"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        # curl completes a URL that ends with a slash, and no other one.
        ("/api/media/upload/", "photo.jpg"),
        ("/api/media/upload", None),
        ("/api/media/upload?is_public=false&caption=A%20photo", None),
        ("/api/media/upload/grandma%27s%20caf%C3%A9.jpg", "grandma's café.jpg"),
    ],
)
async def test_curl_sends_a_file_by_put(api: Api, path: str, name: str | None) -> None:
    status, body = await curl(api, "-T", str(PHOTO), base(api) + path)
    assert (status, body["original_name"], body["file_type"]) == (201, name, "image")
    assert (body["file_size"], body["is_public"]) == (PHOTO.stat().st_size, "is_public" not in path)
    assert body["caption"] == ("A photo" if "caption" in path else None)
    asset = await api.assets.get("shop", body["id"])
    assert asset.spec.source.object
    assert await api.store.read(asset.spec.source.object.key, max_bytes=1 << 24) == PHOTO.read_bytes()


async def test_curl_sends_what_it_reads_by_put(api: Api) -> None:
    command = f"cat {PHOTO} | curl -sS -T - -H 'Authorization: Bearer alice' {base(api)}/api/media/upload/"
    process = await asyncio.create_subprocess_shell(command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert json.loads(output)["file_size"] == PHOTO.stat().st_size


async def test_curl_hears_why_a_file_is_refused(api: Api, tmp_path: Path) -> None:
    large = tmp_path / "large.jpg"
    large.write_bytes(b"\xff\xd8\xff" + bytes(await api.image_limit()))
    for arguments in (["-T", str(large)], ["-F", f"file=@{large}"]):
        status, problem = await curl(api, *arguments, f"{base(api)}/api/media/upload/")
        assert (status, problem["limit"]) == (413, await api.image_limit())
    status, problem = await curl(api, "-T", str(PHOTO), f"{base(api)}/api/media/upload/", user="reader")
    assert (status, problem["type"]) == (403, "urn:media-operator:problem:forbidden")
    await api.quiet()


async def test_curl_sends_a_form(api: Api) -> None:
    form = [
        "-F",
        f"file=@{PHOTO};filename=grandma.jpg",
        "-F",
        "alt_text=Äpfel",
        "-F",
        "order=3",
        "-F",
        'metadata={"a": "b"}',
    ]
    status, body = await curl(api, *form, f"{base(api)}/api/media/upload/")
    assert (status, body["original_name"], body["alt_text"], body["order"]) == (201, "grandma.jpg", "Äpfel", 3)
    assert body["metadata"] == {"a": "b"}
    # A repetition of the same with a key of one's own is the same asset, by whichever method.
    key = ["-H", 'Idempotency-Key: "one"']
    first = await curl(api, *key, "-T", str(PHOTO), f"{base(api)}/api/media/upload")
    second = await curl(
        api, *key, "--data-binary", f"@{PHOTO}", "-H", "Content-Type:", f"{base(api)}/api/media/upload/"
    )
    assert first == second


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3server.S3Server]:
    with s3server.start(tmp_path_factory.mktemp("s3")) as server:
        yield server


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def page_server(folder: Path) -> Iterator[str]:
    """Serve a page with tus-js-client; yield its origin."""
    script = CLIENTS / "node_modules/tus-js-client/dist/tus.min.js"
    assert script.exists(), "tus-js-client is missing: hack/setup.sh test installs it"
    shutil.copy(script, folder)
    (folder / "index.html").write_text('<!doctype html><title>shop</title><script src="tus.min.js"></script>')
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    chromium = shutil.which("chromium")
    assert chromium, "chromium is not in PATH: hack/setup.sh test installs it"
    (tmp_path / "page").mkdir()
    with page_server(tmp_path / "page") as origin:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            opened = await browser.new_page()
            await opened.goto(origin)
            yield opened
            await browser.close()


def origin_of(page: Page) -> str:
    return page.url.rstrip("/")


async def check(replicas: Replicas, location: str) -> None:
    name = location.rstrip("/").rpartition("/")[2]
    asset = await replicas.assets.get("shop", name)
    assert (asset.spec.original_file_name, asset.spec.caption) == ("film.mp4", "Grüße")
    assert await replicas.content(name) == FILM
    assert len(replicas.objects()) == 1
    assert not replicas.unfinished()


async def test_tus_js_client_is_killed_and_goes_on_at_another_replica(
    tmp_path: Path, s3: s3server.S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(FILM)

    async def started(replica: str) -> asyncio.subprocess.Process:
        endpoint, storage = f"{replicas.urls[0]}/api/tus/", tmp_path / "uploads.json"
        arguments = [endpoint, "alice", str(film), str(storage), str(PART_BYTES), replica]
        return await asyncio.create_subprocess_exec(
            "node", str(SCRIPT), *arguments, cwd=CLIENTS, stdout=asyncio.subprocess.PIPE
        )

    async with running(tmp_path, s3, monkeypatch, "node-clients") as replicas:
        first = await started(replicas.urls[0])
        assert first.stdout
        durable = int(await first.stdout.readline())
        first.send_signal(signal.SIGKILL)
        await first.wait()
        second = await started(replicas.urls[1])
        lines = (await second.communicate())[0].decode().split()
        assert second.returncode == 0
        # Nothing that was durable is sent again.
        assert int(lines[0]) > durable
        await check(replicas, lines[-1])


_BROKEN_OFF = """([endpoint, size]) => new Promise((resolve, reject) => {
  const bytes = new Uint8Array(window.film)
  const upload = new tus.Upload(new File([bytes], 'film.mp4'), {
    endpoint, chunkSize: size, retryDelays: null, headers: {Authorization: 'Bearer alice'},
    metadata: {filename: 'film.mp4', filetype: 'video/mp4', caption: 'Grüße'},
    onError: reject,
    onChunkComplete: (_, durable) => upload.abort().then(() => resolve([upload.url, durable])),
  })
  upload.start()
})"""
_RESUMED = """([uploadUrl, size]) => new Promise((resolve, reject) => {
  const durable = []
  const upload = new tus.Upload(new File([new Uint8Array(window.film)], 'film.mp4'), {
    uploadUrl, chunkSize: size, retryDelays: null, headers: {Authorization: 'Bearer alice'}, onError: reject,
    onChunkComplete: (_, offset) => durable.push(offset),
    onSuccess: ({lastResponse}) => resolve([lastResponse.getHeader('Media-Location'), durable]),
  })
  upload.start()
})"""


async def test_tus_js_client_in_a_browser_at_a_page_of_another_origin(
    tmp_path: Path, s3: s3server.S3Server, monkeypatch: pytest.MonkeyPatch, page: Page
) -> None:
    (tmp_path / "page/film.mp4").write_bytes(FILM)
    async with running(tmp_path, s3, monkeypatch, "pages", cors_origins=(origin_of(page),)) as replicas:
        await page.evaluate("async () => { window.film = await (await fetch('film.mp4')).arrayBuffer() }")
        url, durable = await page.evaluate(_BROKEN_OFF, [f"{replicas.urls[0]}/api/tus/", PART_BYTES])
        assert durable == PART_BYTES
        there = url.replace(replicas.urls[0], replicas.urls[1])
        assert there != url
        location, offsets = await page.evaluate(_RESUMED, [there, PART_BYTES])
        assert offsets[0] > durable
        await check(replicas, location)


_FETCHED = """async (url) => {
  const answer = await fetch(url, {method: 'POST', body: new Blob([new Uint8Array([255, 216, 255])]), headers: {
    Authorization: 'Bearer alice', 'Idempotency-Key': 'k', 'Content-Type': 'image/jpeg'}})
  const names = ['Location', 'RateLimit', 'Retry-After', 'X-Request-ID']
  return [answer.status, ...names.map((name) => answer.headers.get(name) !== null)]
}"""


async def test_a_page_reads_headers_and_one_of_another_origin_nothing(tmp_path: Path, page: Page) -> None:
    origins = (origin_of(page),)
    async with running_api(tmp_path, cors_origins=origins, uploads_per_token="1/hour") as api:
        url = f"{base(api)}/api/media/upload/"
        assert await page.evaluate(_FETCHED, url) == [201, True, True, False, True]
        assert await page.evaluate(_FETCHED, url) == [429, False, True, True, True]
        # The same page under its other name is another origin.
        await page.goto(page.url.replace("127.0.0.1", "localhost"))
        outcome = await page.evaluate(f"(url) => ({_FETCHED})(url).catch((error) => String(error))", url)
        assert outcome == "TypeError: Failed to fetch"
        # The request that asks first was refused, so the other one was never made.
        assert (await api.get("/api/media/")).json()["count"] == 1
