"""The demo must not pass over a file that is not what it should be."""

import functools
import http.server
import importlib.util
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from media_cli.client import ServerError
from media_cli.upload import Upload

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def demo() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("demo", ROOT / "hack" / "demo.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_whole_image_and_a_cut_one(demo: Any) -> None:
    body = demo.PHOTO.read_bytes()
    assert demo.image_dimensions(body) == "4032x3024"
    with pytest.raises(demo.DemoError, match="does not decode"):
        demo.image_dimensions(body[: len(body) // 2])


def test_a_whole_clip_and_a_cut_one(demo: Any, tmp_path: Path) -> None:
    body = demo.make_clip(tmp_path / "clip.mp4").read_bytes()
    assert demo.stream_dimensions(body) == "1280x720"
    with pytest.raises(demo.DemoError, match="ffmpeg says"):
        demo.stream_dimensions(body[: len(body) // 2])


def test_a_sound(demo: Any, tmp_path: Path) -> None:
    body = demo.make_sound(tmp_path / "chord.wav").read_bytes()
    assert demo.stream_dimensions(body) is None
    with pytest.raises(demo.DemoError, match="ffmpeg says"):
        demo.stream_dimensions(b"RIFF" + bytes(1000))


@pytest.fixture
def files(tmp_path: Path) -> Iterator[str]:
    """Serve a directory with one sound that is none."""
    (tmp_path / "chord.mp3").write_bytes(b"x" * 12_345)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_is_missing_failed_or_of_another_kind_is_named(demo: Any, files: str) -> None:
    def faults(url: str | None = None, **asset: Any) -> list[str]:
        mp3 = {"name": "mp3", "url": url, "mime_type": "audio/mpeg", "file_size": 1, "width": None, "height": None}
        return list(demo.judge(Upload(Path("chord.wav"), asset={"id": "m0", "renditions": [mp3]} | asset)))

    assert faults(status="ready") == ["chord.wav: has no mp3"]
    reason = {"reason": "CorruptMedia", "message": "It is cut."}
    assert "chord.wav: failed: CorruptMedia: It is cut." in faults(status="failed", error=reason)
    found = faults(f"{files}/chord.mp3", status="ready")
    assert any("ffmpeg says" in fault for fault in found)
    assert any("the answer says" in fault for fault in found)
    assert "is answered with 404" in str(faults(f"{files}/nothing", status="ready"))
    refused = Upload(Path("chord.wav"), error=ServerError("Unauthorized (401)"))
    assert list(demo.judge(refused)) == ["chord.wav: Unauthorized (401)"]
