"""The profiles for channels and for players, on sources that try their rules."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench import Bench, profile
from mediaasset.reasons import Reason
from mediaasset.task import RenditionState, Task


def with_profile(task: Task, name: str) -> Task:
    renditions, limits = profile(name)
    return replace(task, renditions=renditions, limits=limits)


def noise(path: Path, width: int, height: int) -> Path:
    """Write what compresses worst."""
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), "uint8")
    Image.fromarray(pixels).save(path, quality=95)
    return path


def clip(path: Path, *options: str, size: str = "640x360", seconds: int = 2) -> Path:
    inputs = ["-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d={seconds}", "-f", "lavfi", "-i", f"sine=d={seconds}"]
    subprocess.run(["ffmpeg", "-v", "error", *inputs, *options, str(path)], check=True)
    return path


def ffprobe(path: Path) -> dict[str, Any]:
    command = ["ffprobe", "-v", "error", "-show_format", "-show_streams", "-of", "json", str(path)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


@pytest.mark.parametrize(("name", "most"), [("whatsapp", 5_000_000), ("meta-catalog", 8_000_000)])
def test_a_picture_that_compresses_badly_is_made_to_fit(bench: Bench, tmp_path: Path, name: str, most: int) -> None:
    ended = bench.run(with_profile(bench.put(noise(tmp_path / "a.jpg", 3000, 2600)), name))
    assert ended.code == 0, ended.log
    path = bench.published("large")
    assert path.stat().st_size <= most
    with Image.open(path) as picture:
        assert (picture.format, picture.mode, max(picture.size)) == ("JPEG", "RGB", 2048)


@pytest.mark.parametrize(
    ("size", "made"), [((6000, 800), (3750, 500)), ((6000, 500), (6000, 500)), ((3000, 3000), (2048, 2048))]
)
def test_a_panorama_keeps_five_hundred_pixels_for_a_catalogue(
    bench: Bench, tmp_path: Path, size: tuple[int, int], made: tuple[int, int]
) -> None:
    Image.effect_mandelbrot(size, (-2, -1, 1, 1), 20).convert("RGB").save(tmp_path / "a.png")
    ended = bench.run(with_profile(bench.put(tmp_path / "a.png"), "meta-catalog"))
    assert ended.code == 0, ended.log
    with Image.open(bench.published("large")) as picture:
        assert picture.size == made


def test_a_picture_that_is_too_small_for_a_catalogue_fails_with_the_rule(bench: Bench, tmp_path: Path) -> None:
    ended = bench.run(with_profile(bench.put(noise(tmp_path / "a.jpg", 499, 800)), "meta-catalog"))
    assert ended.reason is Reason.CHANNEL_RULE
    assert "image-sides asks for at least 500 x 500 pixels, found 499 x 800" in bench.failure().message
    assert bench.objects("media/") == []


def test_a_sticker_of_what_compresses_badly(bench: Bench, tmp_path: Path) -> None:
    ended = bench.run(with_profile(bench.put(noise(tmp_path / "a.jpg", 900, 400)), "whatsapp-sticker"))
    assert ended.code == 0, ended.log
    path = bench.published("sticker")
    assert path.stat().st_size <= 100_000
    with Image.open(path) as picture:
        assert (picture.format, picture.size, picture.mode) == ("WEBP", (512, 512), "RGBA")
        # Above and below it is transparent.
        assert [picture.getpixel(at)[3] for at in ((256, 5), (256, 256), (256, 506))] == [0, 255, 0]  # type: ignore[index]
    assert {each.name: each.state for each in bench.result().renditions}["animated"] is RenditionState.SKIPPED


def test_a_sticker_that_moves(bench: Bench, tmp_path: Path) -> None:
    frames = [Image.effect_noise((300, 300), 90).convert("RGB") for _ in range(4)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=100, loop=0)
    ended = bench.run(with_profile(bench.put(tmp_path / "a.gif"), "whatsapp-sticker"))
    assert ended.code == 0, ended.log
    for name, count, most in (("animated", 4, 500_000), ("sticker", 1, 100_000)):
        path = bench.published(name)
        assert path.stat().st_size <= most
        with Image.open(path) as picture:
            assert (picture.size, getattr(picture, "n_frames", 1)) == ((512, 512), count)


@pytest.mark.parametrize(
    "options", [("-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "2", "-c:a", "aac"), ("-c:v", "mpeg4")]
)
def test_a_clip_for_whatsapp_has_no_b_frames(bench: Bench, tmp_path: Path, options: tuple[str, ...]) -> None:
    ended = bench.run(with_profile(bench.put(clip(tmp_path / "a.mp4", *options)), "whatsapp"))
    assert ended.code == 0, ended.log
    picture, sound = ffprobe(bench.published("mp4"))["streams"]
    assert (picture["codec_name"], picture["profile"], picture["has_b_frames"]) == ("h264", "Main", 0)
    assert sound["codec_name"] == "aac"


def test_a_film_gets_all_that_a_player_needs(bench: Bench, tmp_path: Path) -> None:
    source = clip(tmp_path / "a.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", size="1280x720", seconds=9)
    ended = bench.run(with_profile(bench.put(source), "streaming"))
    assert ended.code == 0, ended.log
    made = {each.name: each for each in bench.result().renditions}
    assert {each.state for each in made.values()} == {RenditionState.READY}
    assert set(made) == {"mp4", "hls", "poster", "thumbnail", "storyboard"}
    assert (made["hls"].key or "").endswith("/index.m3u8")
    assert (made["storyboard"].key or "").endswith("/index.vtt")
    assert (made["poster"].width, made["thumbnail"].width) == (1280, 640)
