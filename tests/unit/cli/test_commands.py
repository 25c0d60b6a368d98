import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def test_get_shows_what_upload_made(media: Any, server: Any, photo: Path) -> None:
    media("upload", photo, "--wait")
    assert json.loads(media("get", "m0", "-o", "json").stdout) == server.assets["m0"] | {"progress": None}
    assert f"{server.url}/media/{'a' * 60}/medium.jpg" in media("get", "m0").stdout


def test_get_of_a_failed_asset_exits_with_1(media: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"x")
    media("upload", "broken.jpg", "--wait")
    done = media("get", "m0")
    assert (done.returncode, done.stdout.strip()) == (
        1,
        "m0  failed (CorruptMedia: The image is cut short.)  image  1 byte  broken.jpg",
    )


def test_get_of_nothing(media: Any) -> None:
    done = media("get", "../x", "-o", "json")
    assert (done.returncode, done.stdout) == (3, "")
    assert "404" in done.stderr
    done = media("get", "nope")
    assert "Not found (404)" in done.stderr
    assert "There is no such asset." in done.stderr
    assert "Check the id" in done.stderr


def test_reprocess_asks_for_all_or_for_some_renditions(media: Any, server: Any, photo: Path) -> None:
    media("upload", photo, "--wait")
    assert json.loads(media("reprocess", "m0", "-o", "json").stdout)["status"] == "processing"
    assert "processing" in media("reprocess", "m0", "--rendition", "medium", "--rendition", "webp").stdout
    assert server.reprocessed == [None, "medium,webp"]


def test_ls_pages(media: Any, photo: Path) -> None:
    media("upload", photo, photo, photo)
    page = json.loads(media("ls", "--page", "2", "--page-size", "2", "--output", "json").stdout)
    assert [body["id"] for body in page["results"]] == ["m0"]
    shown = media("ls", "--page-size", "2").stdout
    assert "m2" in shown
    assert "m0" not in shown
    assert shown.splitlines()[-1] == "2 of 3"


def test_a_server_of_another_kind(media: Any, server: Any) -> None:
    done = media("get", "m0", "--url", f"{server.url}/foreign")
    assert done.returncode == 3
    assert "something else than media-operator's JSON" in done.stderr


def test_wrong_usage(media: Any) -> None:
    for arguments in (["upload"], ["ls", "--page", "0"], ["get", "m0", "--url", "ftp://x"], ["nope"]):
        done = media(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr


def test_standalone_without_its_extra_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['aiosqlite'] = None; sys.argv = ['media', 'standalone', '--port', '0']\n"
        "from media_cli.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'media-operator[standalone]'" in done.stderr


def test_the_command_line_imports_no_other_program() -> None:
    code = "import sys, media_cli.__main__; print(*sorted(name.partition('.')[0] for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not {"media_standalone", "media_ingest", "media_operator", "mediaasset"} & set(done.stdout.split())
