"""Collections and events with real transcoders: avatars that replace each other, and a stream to its end."""

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

from service import wait_for
from standalone import Standalone, assets_in, files_under, started


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Standalone]:
    with started(tmp_path / "data") as running:
        yield running


def picture(path: Path, colour: tuple[int, int, int]) -> Path:
    Image.new("RGB", (800, 600), colour).save(path, "JPEG")
    return path


def set_avatar(server: Standalone, path: Path) -> dict[str, Any]:
    with server.client() as client, path.open("rb") as file:
        answer = client.patch("/api/users/7/", files={"avatar": (path.name, file)})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def user(server: Standalone) -> dict[str, Any]:
    with server.client() as client:
        body: dict[str, Any] = client.get("/api/users/7/").json()
    return body


def names_in(server: Standalone) -> set[str]:
    return {asset["metadata"]["name"] for asset in assets_in(server.data_dir)}


def test_each_avatar_replaces_the_one_before_it_and_is_never_missing(server: Standalone, tmp_path: Path) -> None:
    first = set_avatar(server, picture(tmp_path / "red.jpg", (255, 0, 0)))
    assert first["avatar_url"] is None
    server.finished(first["latest"]["id"])
    seen, is_over = [user(server)["avatar_url"]], threading.Event()

    def look() -> None:
        while not is_over.is_set():
            seen.append(user(server)["avatar_url"])

    looking = threading.Thread(target=look)
    looking.start()
    try:
        second = set_avatar(server, picture(tmp_path / "blue.jpg", (0, 0, 255)))
        assert second["avatar_id"] == first["latest"]["id"]
        body = server.finished(second["latest"]["id"])
        wait_for(lambda: names_in(server) == {body["id"]}, what="the old avatar to go")
    finally:
        is_over.set()
        looking.join()
    assert None not in seen
    assert user(server) == {
        "id": "7",
        "avatar": body["display_url"],
        "avatar_url": body["display_url"],
        "avatar_id": body["id"],
        "latest": {"id": body["id"], "status": "ready"},
    }
    served = httpx2.get(body["display_url"])
    assert served.status_code == 200
    uploads = [path for path in files_under(server.data_dir / "store") if path.parts[0] == "uploads"]
    assert {path.parts[2] for path in uploads} == {body["id"]}
    assert httpx2.get(seen[0]).status_code == 404


def test_an_avatar_that_cannot_be_decoded_leaves_the_old_one(server: Standalone, tmp_path: Path) -> None:
    good = set_avatar(server, picture(tmp_path / "red.jpg", (255, 0, 0)))["latest"]["id"]
    url = server.finished(good)["display_url"]
    broken = tmp_path / "broken.jpg"
    broken.write_bytes((tmp_path / "red.jpg").read_bytes()[:600])
    bad = set_avatar(server, broken)["latest"]["id"]
    assert server.finished(bad)["status"] == "failed"
    assert user(server)["avatar_url"] == url
    assert user(server)["latest"] == {"id": bad, "status": "failed"}
    assert names_in(server) == {good, bad}


def test_images_of_an_ad_become_ready_in_the_order_that_was_put(server: Standalone, tmp_path: Path) -> None:
    made = []
    for number, colour in enumerate([(255, 0, 0), (0, 255, 0), (0, 0, 255)]):
        path = picture(tmp_path / f"{number}.jpg", colour)
        with server.client() as client, path.open("rb") as file:
            answer = client.post("/api/ads/12/upload_image/", files={"image": (path.name, file)})
        assert answer.status_code == 201, answer.text
        made.append(answer.json()["id"])
    for name in made:
        server.finished(name)
    with server.client() as client:
        client.put("/api/collections/ads/12/order/", json={"ids": made[::-1]}).raise_for_status()
        images = client.get("/api/ads/12/images/").json()
    assert [item["id"] for item in images["items"]] == made[::-1]
    assert images["main_image_url"] == images["items"][0]["image_url"]
    assert "/media/default/ads/12/" in images["main_image_url"]


def test_a_stream_follows_a_transcoder_to_its_end(server: Standalone, tmp_path: Path) -> None:
    created = server.upload(picture(tmp_path / "red.jpg", (255, 0, 0)))
    with server.client() as client, client.stream("GET", f"/api/media/{created['id']}/events/") as answer:
        lines = list(answer.iter_lines())
    data = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert data[-1] == server.get(created["id"])
    assert data[-1]["status"] == "ready"
    with server.client() as client:
        assert client.get(f"/api/media/{created['id']}/?wait=60").json() == data[-1]


def test_a_server_that_is_told_to_end_ends_the_streams(tmp_path: Path) -> None:
    with started(tmp_path / "data") as server, server.client() as client:
        # An asset that waits for another attempt is not finished for as long as the test takes.
        made = client.post("/api/media/from-url/", json={"url": "https://nowhere.invalid/a.jpg", "type": "image"})
        assert made.status_code == 201, made.text
        with client.stream("GET", f"/api/media/{made.json()['id']}/events/") as answer:
            assert "event: status" in [line for line, _ in zip(answer.iter_lines(), range(3), strict=False)]
            assert server.stop(signal.SIGTERM) == 0
