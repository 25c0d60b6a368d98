"""The main job end to end: the real process, real uploads over HTTP, real transcoders."""

import hashlib
import io
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from PIL import Image

from service import UPLOAD, wait_for
from standalone import Standalone, assets_in, children_of, files_under, jobs_in, started

PHOTO = Path(__file__).parents[2] / "data" / "photo.jpg"
IMAGES = {"thumbnail", "small", "medium", "large", "webp", "original"}


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (800, 600)) -> Path:
    """Write a JPEG that differs from those of other seeds."""
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    image.paste((seed * 25 % 256, 40, 200), (seed * 10, 10, seed * 10 + 90, 100))
    image.save(path, "JPEG")
    return path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Standalone]:
    with started(tmp_path / "data") as running:
        yield running


def test_photo_becomes_ready_and_every_url_loads(server: Standalone) -> None:
    created = server.upload(PHOTO)
    assert created["status"] == "processing"
    body = server.finished(created["id"])
    assert (body["status"], body["error"]) == ("ready", None)
    assert set(body["urls"]) == IMAGES
    assert body["display_url"] == body["urls"]["medium"]
    with httpx2.Client() as anybody:
        for name, url in body["urls"].items():
            assert url.startswith(f"{server.base_url}/media/default/")
            answer = anybody.get(url)
            assert answer.status_code == 200
            assert answer.headers["Content-Type"] == ("image/webp" if name == "webp" else "image/jpeg")
            # The name says what the content is, so nothing can ever be served that is not what was published.
            assert answer.headers["ETag"].strip('"') == hashlib.sha256(answer.content).hexdigest()[:16]
            with Image.open(io.BytesIO(answer.content)) as image:
                image.load()
                assert not image.getexif()
    assert children_of(server.data_dir) == []
    assert files_under(server.data_dir / "scratch") == []
    (asset,) = assets_in(server.data_dir)
    assert asset["status"]["attempt"] == 1
    assert jobs_in(server.data_dir) == [(asset["metadata"]["uid"], 1, "Succeeded")]


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        ("clip.mp4", "testsrc2=size=320x240:rate=25:duration=1", {"mp4": "video/mp4", "thumbnail": "image/jpeg"}),
        ("tone.wav", "sine=frequency=440:duration=1", {"mp3": "audio/mpeg"}),
    ],
)
def test_clip_and_sound_become_ready(
    server: Standalone, tmp_path: Path, name: str, source: str, expected: dict[str, str]
) -> None:
    path = tmp_path / name
    command = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", source, str(path)]
    subprocess.run(command, check=True, timeout=60)
    body = server.finished(server.upload(path)["id"])
    assert (body["status"], body["error"]) == ("ready", None)
    types = {rendition: httpx2.head(url).headers["Content-Type"] for rendition, url in body["urls"].items()}
    assert types == expected
    part = httpx2.get(body["display_url"], headers={"Range": "bytes=0-99"})
    assert (part.status_code, len(part.content)) == (206, 100)


def test_damaged_file_fails_with_its_reason_and_nothing_is_public(server: Standalone, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(PHOTO.read_bytes()[:40_000])
    body = server.finished(server.upload(broken)["id"])
    assert body["status"] == "failed"
    assert body["error"]["reason"] == "Undecodable"
    assert body["error"]["message"]
    assert files_under(server.data_dir / "store" / "media") == []
    assert [(attempt, phase) for _, attempt, phase in jobs_in(server.data_dir)] == [(1, "Failed")]


def test_ten_uploads_at_once_are_all_ready_while_others_are_answered(server: Standalone, tmp_path: Path) -> None:
    pictures = [picture(tmp_path / f"{number}.jpg", number, (2000, 1500)) for number in range(10)]
    with ThreadPoolExecutor(10) as pool:
        created = list(pool.map(server.upload, pictures))
    answered: list[int] = []

    def check() -> bool:
        with server.client() as client:
            answer = client.get("/api/media/", params={"page_size": 20})
        assert answer.status_code == 200
        answered.append(sum(item["status"] == "ready" for item in answer.json()["results"]))
        return answered[-1] == len(pictures)

    wait_for(check, seconds=100, what="all ten to be ready")
    # Answers came all along, not only once the work was done.
    assert len(set(answered)) > 3
    digests = {server.get(body["id"])["urls"]["medium"].rpartition("-")[2] for body in created}
    assert len(digests) == 10


def test_delete_removes_all_objects_and_leaves_a_tombstone(server: Standalone, tmp_path: Path) -> None:
    kept = server.finished(server.upload(picture(tmp_path / "kept.jpg", 1))["id"])
    gone = server.finished(server.upload(picture(tmp_path / "gone.jpg", 2))["id"])
    uid = next(a["metadata"]["uid"] for a in assets_in(server.data_dir) if a["metadata"]["name"] == gone["id"])
    with server.client() as client:
        assert client.delete(f"/api/media/{gone['id']}/").status_code == 204
        assert client.get(f"/api/media/{gone['id']}/").status_code == 404
        store = server.data_dir / "store"

        def left() -> list[str]:
            return [str(path) for path in files_under(store) if uid in str(path) or gone["id"] in str(path)]

        tombstone = f"tombstones/default/{gone['id']}.json"
        wait_for(lambda: left() == [tombstone], what="the objects to go")
        assert client.get(gone["urls"]["medium"]).status_code == 404
        assert client.get(kept["urls"]["medium"]).status_code == 200
    wait_for(lambda: len(assets_in(server.data_dir)) == 1, what="the asset to go")
    assert uid not in {job[0] for job in jobs_in(server.data_dir)}


def test_delete_during_the_transcode_ends_it(server: Standalone) -> None:
    created = server.upload(PHOTO)
    wait_for(lambda: children_of(server.data_dir), what="the transcoder to start")
    with server.client() as client:
        assert client.delete(f"/api/media/{created['id']}/").status_code == 204
    wait_for(lambda: not assets_in(server.data_dir), what="the asset to go")
    assert children_of(server.data_dir) == []
    store = server.data_dir / "store"
    assert [str(path) for path in files_under(store)] == [f"tombstones/default/{created['id']}.json"]


def test_private_renditions_are_loaded_by_signed_urls_only(server: Standalone, tmp_path: Path) -> None:
    created = server.upload(picture(tmp_path / "private.jpg"), is_public="false")
    body = server.finished(created["id"])
    assert body["status"] == "ready"
    url = body["urls"]["medium"]
    assert httpx2.get(url).status_code == 200
    assert httpx2.get(url.replace("/~", "/~1")).status_code == 403
    assert httpx2.get(re.sub("/~[^/]+", "", url)).status_code == 403
    assert files_under(server.data_dir / "store" / "media") == []
    assert "/~" not in json.dumps(assets_in(server.data_dir))


def test_other_namespaces_see_nothing(tmp_path: Path) -> None:
    tokens = {"a-token-of-the-shop": "shop", "a-token-of-the-club": "club"}
    entries = [
        {
            "sha256": hashlib.sha256(token.encode()).hexdigest(),
            "user": "1",
            "username": namespace,
            "namespace": namespace,
            "scopes": ["read", "write", "delete"],
        }
        for token, namespace in tokens.items()
    ]
    (tmp_path / "tokens.yaml").write_text(yaml.safe_dump(entries))
    with started(tmp_path / "data", "--tokens", str(tmp_path / "tokens.yaml"), token=None) as server:
        shop, club = (server.client(token) for token in tokens)
        with shop, club:
            with picture(tmp_path / "mine.jpg").open("rb") as file:
                created = shop.post(UPLOAD, files={"file": ("mine.jpg", file)})
            assert created.status_code == 201
            path = f"/api/media/{created.json()['id']}/"
            assert shop.get(path).status_code == 200
            assert club.get(path).status_code == 404
            assert club.delete(path).status_code == 404
            assert club.get("/api/media/").json()["count"] == 0
            wait_for(lambda: shop.get(path).json()["status"] == "ready", what="it to be ready")


def test_finished_assets_are_served_after_a_restart_at_another_port(tmp_path: Path) -> None:
    with started(tmp_path / "data") as server:
        before = server.finished(server.upload(picture(tmp_path / "one.jpg"))["id"])
    with started(tmp_path / "data") as again:
        assert again.base_url != server.base_url
        expected = {name: url.replace(server.base_url, again.base_url) for name, url in before["urls"].items()}

        def check() -> dict[str, Any] | None:
            body = again.get(before["id"])
            return body if body["urls"] == expected else None

        body = wait_for(check, what="the URLs of the new port")
        assert body["status"] == "ready"
        assert all(httpx2.get(url).status_code == 200 for url in body["urls"].values())
        assert len(jobs_in(tmp_path / "data")) == 1


def test_stop_during_a_transcode_is_clean_and_the_next_start_goes_on(tmp_path: Path) -> None:
    with started(tmp_path / "data") as server:
        created = server.upload(PHOTO)
        wait_for(lambda: children_of(server.data_dir), what="the transcoder to start")
        assert server.stop() == 0
        assert children_of(server.data_dir) == []
    with started(tmp_path / "data") as again:
        assert again.finished(created["id"])["status"] == "ready"
        assert [(attempt, phase) for _, attempt, phase in jobs_in(tmp_path / "data")] == [(1, "Succeeded")]


def test_upload_that_breaks_off_leaves_nothing(server: Standalone) -> None:
    sent = threading.Event()

    def half() -> Iterator[bytes]:
        yield PHOTO.read_bytes()[:1_000_000]
        sent.set()
        message = "the cable"
        raise OSError(message)

    with server.client() as client, pytest.raises(OSError, match="cable"):
        client.post(UPLOAD, content=half(), headers={"Content-Type": "image/jpeg", "Content-Length": "2000000"})
    assert sent.is_set()
    wait_for(lambda: not files_under(server.data_dir / "store"), what="the half object to go")
    assert assets_in(server.data_dir) == []
