import io
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench import Bench
from mediaasset.media import Kind
from mediaasset.reasons import Reason
from mediaasset.task import Format, Rendition, RenditionState


def ffmpeg(*arguments: str | Path) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True)


def ffprobe(path: Path) -> dict[str, Any]:
    command = ["ffprobe", "-v", "error", "-show_format", "-show_streams", "-of", "json", str(path)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


def clip(path: Path, *options: str, size: str = "640x360", seconds: float = 2, sound: bool = True) -> Path:
    inputs = ["-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d={seconds}"]
    if sound:
        inputs += ["-f", "lavfi", "-i", f"sine=d={seconds}"]
    ffmpeg(*inputs, *options, path)
    return path


def test_a_clip_becomes_an_mp4_and_a_still(bench: Bench, tmp_path: Path) -> None:
    tags = ("-metadata", "title=secret", "-metadata", "location=+52.5+013.4/")
    source = clip(tmp_path / "in.mov", "-c:v", "libx264", "-pix_fmt", "yuv422p", *tags, size="2560x1440")
    ended = bench.run(replace(bench.put(source), file_name="holiday.MOV"))
    assert ended.code == 0, ended.log

    info = bench.result().source_info
    assert (info.type, info.mime_type, info.width, info.height) == (Kind.VIDEO, "video/quicktime", 2560, 1440)
    assert info.duration_milliseconds == pytest.approx(2000, abs=60)
    assert info.codecs == ("h264", "aac")
    found = ffprobe(bench.published("mp4"))
    picture, sound = found["streams"]
    assert (picture["codec_name"], picture["profile"], picture["pix_fmt"]) == ("h264", "High", "yuv420p")
    assert (picture["width"], picture["height"], picture["nb_frames"]) == (1920, 1080, "50")
    assert sound["codec_name"] == "aac"
    assert float(found["format"]["duration"]) == pytest.approx(2, abs=0.1)
    content = bench.published("mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    assert b"secret" not in content
    assert b"+52.5" not in content
    with Image.open(bench.published("thumbnail")) as still:
        assert (still.format, still.size) == ("JPEG", (640, 360))
    percents = [line["percent"] for line in ended.progress]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert {line["stage"] for line in ended.progress} == {"fetch", "probe", "render", "verify", "publish"}
    assert bench.is_clean()


def test_a_turned_clip_comes_out_upright(bench: Bench, tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "color=red:s=320x100:d=1", "-f", "lavfi", "-i", "color=blue:s=320x100:d=1",
           "-filter_complex", "[0:v][1:v]vstack,format=yuv420p", "-c:v", "libx264", tmp_path / "flat.mp4")  # fmt: skip
    ffmpeg("-i", tmp_path / "flat.mp4", "-c", "copy", "-metadata:s:v", "rotate=90", tmp_path / "in.mp4")
    if not ffprobe(tmp_path / "in.mp4")["streams"][0].get("side_data_list"):
        # Later versions turn by an option of the input only.
        ffmpeg("-display_rotation:v:0", "90", "-i", tmp_path / "flat.mp4", "-c", "copy", tmp_path / "in.mp4")
    # As ffprobe writes it, counterclockwise: what was on top comes to lie on the left.
    assert ffprobe(tmp_path / "in.mp4")["streams"][0]["side_data_list"][0]["rotation"] == 90
    assert bench.run(bench.put(tmp_path / "in.mp4")).code == 0
    picture = ffprobe(bench.published("mp4"))["streams"][0]
    assert (picture["width"], picture["height"]) == (200, 320)
    assert not picture.get("side_data_list")
    with Image.open(bench.published("thumbnail")) as still:
        assert still.size == (200, 320)
        left, right = np.asarray(still.convert("RGB"))[160, [30, 170]]
    assert left[0] > 150 > left[2]
    assert right[2] > 150 > right[0]


def test_a_clip_of_a_sixth_of_a_second_without_sound(bench: Bench, tmp_path: Path) -> None:
    source = clip(tmp_path / "in.webm", "-c:v", "libvpx", size="322x180", seconds=0.17, sound=False)
    assert bench.run(bench.put(source)).code == 0
    assert [stream["codec_type"] for stream in ffprobe(bench.published("mp4"))["streams"]] == ["video"]
    with Image.open(bench.published("thumbnail")) as still:
        assert still.size == (322, 180)


@pytest.mark.parametrize("name", ["in.mp4", "in.mkv", "in.webm", "in.avi"])
@pytest.mark.parametrize("seconds", [10, 20])
def test_slides_of_ten_seconds_keep_their_length(bench: Bench, tmp_path: Path, name: str, seconds: int) -> None:
    ffmpeg("-f", "lavfi", "-i", f"testsrc=d={seconds}:r=1/10", "-pix_fmt", "yuv420p", tmp_path / name)
    ended = bench.run(replace(bench.put(tmp_path / name), file_name=name))
    assert ended.code == 0, ended.log
    assert bench.result().source_info.duration_milliseconds == seconds * 1000
    found = ffprobe(bench.published("mp4"))
    assert found["streams"][0]["nb_frames"] == str(seconds // 10)
    assert float(found["format"]["duration"]) == pytest.approx(seconds, abs=0.1)


@pytest.mark.parametrize(
    ("name", "picture", "sound"),
    [("in.avi", "mpeg4", "mp3"), ("in.mkv", "libx264", "aac"), ("in.3gp", "mpeg4", "aac")],
)
def test_every_container_is_taken(bench: Bench, tmp_path: Path, name: str, picture: str, sound: str) -> None:
    source = clip(tmp_path / name, "-c:v", picture, "-c:a", sound, size="352x288", seconds=1)
    ended = bench.run(replace(bench.put(source), file_name=name))
    assert ended.code == 0, ended.log
    assert len(ffprobe(bench.published("mp4"))["streams"]) == 2


@pytest.mark.parametrize("optional", [True, False])
def test_an_optional_rendition_may_fail(bench: Bench, *, optional: bool) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (17_000, 2)).save(buffer, "PNG")
    renditions = (
        Rendition(name="good", kind=Kind.IMAGE, format=Format.JPEG, width=100, height=100),
        Rendition(name="long", kind=Kind.IMAGE, format=Format.WEBP, optional=optional),
    )
    ended = bench.run(replace(bench.put(buffer.getvalue()), renditions=renditions))
    if not optional:
        assert ended.reason is Reason.INVALID_RENDITION
        assert bench.objects("media/") == []
        return
    assert ended.code == 0
    good, long = bench.result().renditions
    assert (good.state, long.state, long.reason) == (
        RenditionState.READY,
        RenditionState.FAILED,
        Reason.INVALID_RENDITION,
    )
