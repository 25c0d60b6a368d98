"""The files of an asset, saved from a standalone: as they came, and as renditions."""

import re
from pathlib import Path

import httpx2
from PIL import Image

from standalone import started


def test_files_are_saved_under_their_names_by_whoever_has_the_url(tmp_path: Path) -> None:
    picture = tmp_path / "caf\u00e9 1.png"
    Image.effect_noise((320, 200), 64).save(picture)
    with started(tmp_path / "data") as server:
        asset = server.upload(picture, is_public="false")["id"]
        assert server.finished(asset)["status"] == "ready"
        with server.client() as client, httpx2.Client() as anyone:
            url = client.get(f"/api/media/{asset}/download/").headers["Location"]
            answer = anyone.get(url)
            assert (answer.status_code, answer.content) == (200, picture.read_bytes())
            assert answer.headers["Content-Disposition"] == (
                "attachment; filename=\"caf_ 1.png\"; filename*=UTF-8''caf%C3%A9%201.png"
            )
            assert answer.headers["Content-Type"] == "application/octet-stream"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            part = anyone.get(url, headers={"Range": "bytes=1-3"})
            assert (part.status_code, part.content) == (206, b"PNG")
            for other in (
                url.replace("download=", "download=x"),
                url.replace("/uploads/", "/work/"),
                url.replace("/~", "/~9"),
                url.partition("?")[0],
                url.replace("/download/~", "/private/~"),
                re.sub(r"/download/~[^/]+", "", url),
            ):
                assert anyone.get(other).status_code in (403, 404)
            small = client.get(f"/api/media/{asset}/download/?rendition=thumbnail").headers["Location"]
            saved = anyone.get(small)
            assert (saved.status_code, saved.headers["Content-Type"]) == (200, "image/jpeg")
            assert "-thumbnail.jpg" in saved.headers["Content-Disposition"]
            assert anyone.post(small).status_code == 405
