"""The HTTP API through the Ingress of the real cluster: two replicas, whichever answers."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from tusclient.client import TusClient

from cluster import Json
from installed import Installed
from service import wait_for

PHOTO = Path(__file__).parents[1] / "data/photo.jpg"


@pytest.fixture
def api(media: Installed) -> Iterator[httpx2.Client]:
    headers = {"Authorization": f"Bearer {media.token}"}
    with httpx2.Client(base_url=media.base_url, headers=headers, timeout=60) as client:
        yield client


def upload(api: httpx2.Client, content: bytes, **fields: str) -> Json:
    answer = api.post("/api/media/upload/", data=fields, files={"file": ("photo.jpg", content, "image/jpeg")})
    assert answer.status_code == 201, answer.text
    body: Json = answer.json()
    return body


def ready(api: httpx2.Client, name: str) -> Json:
    body: Json = api.get(f"/api/media/{name}/", params={"wait": 55}).json()
    assert body["status"] == "ready", body
    return body


def test_an_asset_is_changed_listed_made_again_and_downloaded(api: httpx2.Client, media: Installed) -> None:
    word = os.urandom(8).hex()
    name = upload(api, PHOTO.read_bytes(), alt_text="before", collection=f"changes/{word}")["id"]
    first = ready(api, name)
    changed = api.patch(f"/api/media/{name}/", json={"alt_text": f"a lighthouse {word}", "is_public": False})
    assert changed.status_code == 200, changed.text
    body = ready(api, name)
    assert (body["alt_text"], body["is_public"]) == (f"a lighthouse {word}", False)
    assert httpx2.get(body["urls"]["small"], timeout=30).status_code == 200, "signed for a minute"
    wait_for(lambda: httpx2.get(first["urls"]["small"], timeout=30).status_code == 404, what="the public URL to end")
    # Either replica may answer, and what it did not write itself it hears within moments.
    wait_for(lambda: ids(api, search=f"LIGHTHOUSE {word}") == [name], what="the search")
    private = {"collection": f"changes/{word}", "is_public": "false", "status": "ready"}
    wait_for(lambda: ids(api, **private) == [name], what="the collection")
    assert api.get("/api/media/stats/").json()["total"] >= 1
    again = api.post(f"/api/media/{name}/reprocess/")
    assert again.status_code == 202, again.text
    wait_for(lambda: media.asset(name)["status"].get("attempt") == 2, what="the second attempt")
    ready(api, name)
    moved = api.get(f"/api/media/{name}/download/", follow_redirects=False)
    assert moved.status_code == 302, moved.text
    assert httpx2.get(moved.headers["Location"], timeout=30).content == PHOTO.read_bytes()


def test_a_resumable_upload_goes_on_at_whichever_replica(api: httpx2.Client, media: Installed, clip: Path) -> None:
    client = TusClient(f"{media.base_url}/api/tus/", headers={"Authorization": f"Bearer {media.token}"})
    with clip.open("rb") as file:
        uploader = client.uploader(file_stream=file, chunk_size=100_000, metadata={"filename": "clip.mov"})
        uploader.upload()
    name = str(uploader.url).rstrip("/").rsplit("/", 1)[-1]
    body = ready(api, name)
    assert (body["file_type"], body["file_size"]) == ("video", clip.stat().st_size)
    assert body["urls"]["mp4"]


def test_a_newer_avatar_replaces_the_older_once_it_is_ready(api: httpx2.Client, media: Installed) -> None:
    fields = {"path": "users/alice", "collection": "users/alice/avatar", "keep_latest": "true"}
    old = ready(api, upload(api, PHOTO.read_bytes(), **fields)["id"])
    new = upload(api, PHOTO.read_bytes() + b"\0", **fields)["id"]
    shown = []

    def is_replaced() -> bool:
        collection = api.get("/api/collections/users/alice/avatar/").json()
        shown.append(collection["main_image_url"])
        return [item["id"] for item in collection["items"]] == [new]

    wait_for(is_replaced, what="the newer avatar alone")
    assert all(shown), "there is one to load at any time"
    wait_for(lambda: not media.cluster.exists("mediaasset", old["id"], "shop"), what="the older one to go")


def test_events_tell_of_an_asset_until_it_is_ready(api: httpx2.Client) -> None:
    name = upload(api, PHOTO.read_bytes())["id"]
    with api.stream("GET", f"/api/media/{name}/events/", timeout=60) as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        told = [json.loads(line.removeprefix("data:")) for line in stream.iter_lines() if line.startswith("data:")]
    assert told[-1]["status"] == "ready"


def test_a_key_makes_one_asset_at_both_replicas(api: httpx2.Client) -> None:
    key = {"Idempotency-Key": os.urandom(8).hex()}
    answers = [
        api.post("/api/media/upload/", headers=key, files={"file": ("a.jpg", PHOTO.read_bytes(), "image/jpeg")})
        for _ in range(4)
    ]
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_a_file_comes_from_a_url(api: httpx2.Client) -> None:
    url = ready(api, upload(api, PHOTO.read_bytes())["id"])["urls"]["large"]
    answer = api.post("/api/media/from-url/", json={"url": url, "alt_text": "fetched"})
    assert answer.status_code == 201, answer.text
    body = ready(api, answer.json()["id"])
    assert (body["width"], body["mime_type"]) == (1080, "image/jpeg")


def ids(api: httpx2.Client, **query: str) -> list[str]:
    return [item["id"] for item in api.get("/api/media/", params=query).json()["results"]]
