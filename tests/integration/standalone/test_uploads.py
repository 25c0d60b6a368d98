"""Uploads in several requests to the real process, which is killed in the middle."""

from pathlib import Path

import httpx2

from standalone import TOKEN, started

PHOTO = (Path(__file__).parents[2] / "data" / "photo.jpg").read_bytes()
HEADERS = {"Tus-Resumable": "1.0.0", "Authorization": f"Bearer {TOKEN}"}
BYTES = {"Content-Type": "application/offset+octet-stream"}


def test_an_upload_goes_on_after_the_process_was_killed(tmp_path: Path) -> None:
    half = len(PHOTO) // 2
    with started(tmp_path / "data") as server:
        length = {"Upload-Length": str(len(PHOTO)), "Upload-Metadata": "filename cGhvdG8uanBn"}
        created = httpx2.post(f"{server.base_url}/api/tus/", headers={**HEADERS, **length})
        path = created.headers["Location"]
        name = path.rpartition("/")[2]
        start = {**HEADERS, **BYTES, "Upload-Offset": "0"}
        assert httpx2.patch(f"{server.base_url}{path}", content=PHOTO[:half], headers=start).status_code == 204
        server.kill()
    with started(tmp_path / "data") as server:
        assert server.get(name)["status"] == "uploading"
        head = httpx2.head(f"{server.base_url}{path}", headers=HEADERS)
        assert head.headers["Upload-Offset"] == str(half)
        rest = {**HEADERS, **BYTES, "Upload-Offset": str(half)}
        done = httpx2.patch(f"{server.base_url}{path}", content=PHOTO[half:], headers=rest)
        assert done.headers["Media-Location"] == f"/api/media/{name}/"
        answer = server.finished(name)
    assert (answer["status"], answer["original_name"], answer["file_size"]) == ("ready", "photo.jpg", len(PHOTO))


def test_media_of_a_private_address_are_not_fetched(tmp_path: Path) -> None:
    with started(tmp_path / "data") as server, server.client() as client:
        created = client.post("/api/media/from-url/", json={"url": f"{server.base_url}/healthz"})
        assert created.status_code == 201
        answer = server.finished(created.json()["id"])
        assert client.post("/api/media/presign/", json={"size": 10}).status_code == 404
    assert answer["status"] == "failed"
    assert answer["error"]["reason"] == "SourceForbidden"
