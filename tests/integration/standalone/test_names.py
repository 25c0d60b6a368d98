"""URLs that stay, with real transcoders: what is replaced, hidden, deleted, and asked for by two."""

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx2
import pytest
from PIL import Image

from service import wait_for
from standalone import Standalone, files_under, started


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Standalone]:
    with started(tmp_path / "data") as running:
        yield running


@pytest.fixture
def http() -> Iterator[httpx2.Client]:
    with httpx2.Client(timeout=30) as client:
        yield client


def picture(path: Path, colour: str) -> Path:
    Image.new("RGB", (400, 300), colour).save(path, "JPEG")
    return path


def status_of(http: httpx2.Client, url: str) -> int:
    return http.get(url).status_code


def are_all(http: httpx2.Client, urls: list[str], status: int) -> bool:
    return {status_of(http, url) for url in urls} == {status}


def test_one_url_always_shows_the_latest_avatar(server: Standalone, http: httpx2.Client, tmp_path: Path) -> None:
    fields = {
        "collection": "users/7/avatar",
        "keep_latest": "true",
        "stable_path": "users/7/avatar.jpg",
    }
    url = f"{server.base_url}/media/default/users/7/avatar.jpg"
    assert status_of(http, url) == 404
    first = server.finished(server.upload(picture(tmp_path / "red.jpg", "red"), **fields)["id"])
    assert first["stable_path_url"] == url
    assert first["stable_urls"].keys() == first["urls"].keys()
    for name, stable in first["stable_urls"].items():
        assert http.get(stable).content == http.get(first["urls"][name]).content
    red = http.get(url)
    assert red.content == http.get(first["urls"]["original"]).content

    seen, is_over = set[int](), threading.Event()

    def look() -> None:
        with httpx2.Client(timeout=30) as client:
            while not is_over.is_set():
                seen.add(client.get(url).status_code)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        second = server.finished(server.upload(picture(tmp_path / "blue.jpg", "blue"), **fields)["id"])
        wait_for(lambda: status_of(http, first["stable_urls"]["medium"]) == 404, what="the end of the first")
    finally:
        is_over.set()
        looking.join()
    assert seen == {200}
    blue = http.get(url, headers={"If-None-Match": red.headers["ETag"]})
    assert blue.status_code == 200
    assert blue.content == http.get(second["urls"]["original"]).content
    assert blue.headers["ETag"] != red.headers["ETag"]


def test_names_end_with_what_they_lead_to(server: Standalone, http: httpx2.Client, tmp_path: Path) -> None:
    made = server.finished(server.upload(picture(tmp_path / "a.jpg", "red"), stable_path="old/Größe 1.jpg")["id"])
    urls = [*made["stable_urls"].values(), made["stable_path_url"]]
    assert {status_of(http, url) for url in urls} == {200}
    with server.client() as client:
        for is_public, status in ((False, 404), (True, 200)):
            client.patch(f"/api/media/{made['id']}/", json={"is_public": is_public}).raise_for_status()
            wait_for(partial(are_all, http, urls, status), what="the change")
            body = server.finished(made["id"])
            assert bool(body["stable_urls"]) == bool(body["stable_path_url"]) == is_public
            assert body["stable_path"] == "old/Größe 1.jpg"
        client.delete(f"/api/media/{made['id']}/").raise_for_status()
    wait_for(partial(are_all, http, urls, 404), what="the end")
    wait_for(lambda: not files_under(server.data_dir / "store/media"), what="the last pointer to go")


def test_of_two_the_first_has_a_path_and_then_the_other(
    server: Standalone, http: httpx2.Client, tmp_path: Path
) -> None:
    first, second = (
        server.finished(server.upload(picture(tmp_path / f"{colour}.jpg", colour), stable_path="old/a.jpg")["id"])
        for colour in ("red", "blue")
    )
    url = first["stable_path_url"]
    assert (second["status"], second["stable_path"], second["stable_path_url"]) == ("ready", "old/a.jpg", None)
    assert http.get(url).content == http.get(first["urls"]["original"]).content
    with server.client() as client:
        client.delete(f"/api/media/{first['id']}/").raise_for_status()
    # The next resync of standalone comes within 36 s.
    wait_for(lambda: server.get(second["id"])["stable_path_url"] == url, seconds=90, what="the path to be handed on")
    assert http.get(url).content == http.get(second["urls"]["original"]).content


@pytest.mark.parametrize(
    "path", ["../a.jpg", "a/.b.jpg", "a.html", "by-name/a.jpg", "a/medium-0123456789abcdef.jpg", "a\n.jpg"]
)
def test_what_is_no_path_is_refused(server: Standalone, tmp_path: Path, path: str) -> None:
    with server.client() as client, picture(tmp_path / "a.jpg", "red").open("rb") as file:
        answer = client.post("/api/media/upload/", files={"file": file}, data={"stable_path": path})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "stable_path"
