"""The main job on real media, held against renderings that owe nothing to the transcoder."""

import io
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import piexif
import pytest
from PIL import Image
from skimage.metrics import structural_similarity
from skimage.transform import resize

from standalone import Standalone, started

PHOTO = Path(__file__).parents[2] / "data" / "photo.jpg"
GPS = {piexif.GPSIFD.GPSLatitudeRef: b"N", piexif.GPSIFD.GPSLatitude: ((52, 1), (31, 1), (1234, 100))}

#: Of the upright photograph, which is 3024 wide and 4032 high once the orientation is applied.
SIZES = {
    "thumbnail": (150, 150),
    "small": (240, 320),
    "medium": (480, 640),
    "large": (810, 1080),
    "webp": (480, 640),
    "original": (3024, 4032),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    with started(tmp_path_factory.mktemp("main") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the photograph as a telephone held upright does: lying on its side, orientation 6, with its position."""
    path = tmp_path_factory.mktemp("photo") / "IMG_0001.jpg"
    exif = piexif.dump(
        {"0th": {piexif.ImageIFD.Orientation: 6, piexif.ImageIFD.Make: b"Camera"}, "GPS": GPS, "1st": {}, "Exif": {}}
    )
    piexif.insert(exif, str(PHOTO), str(path))
    with Image.open(path) as image:
        assert image.width * image.height >= 12_000_000
        assert image.getexif()[piexif.ImageIFD.Orientation] == 6
    return path


@pytest.fixture(scope="module")
def upright() -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Return the photograph's luma as it must be seen: orientation 6 means a quarter turn clockwise."""
    with Image.open(PHOTO) as image:
        return np.rot90(np.asarray(image.convert("L"), dtype=np.float64) / 255, k=-1)


@pytest.fixture(scope="module")
def ready(server: Standalone, turned: Path) -> dict[str, Any]:
    body = server.finished(server.upload(turned)["id"])
    assert (body["status"], body["error"]) == ("ready", None)
    return body


def expected(luma: "np.ndarray[Any, np.dtype[np.float64]]", name: str) -> "np.ndarray[Any, np.dtype[np.float64]]":
    width, height = SIZES[name]
    if luma.shape == (height, width):
        return luma
    if name == "thumbnail":
        side = min(luma.shape)
        top, left = (luma.shape[0] - side) // 2, (luma.shape[1] - side) // 2
        luma = luma[top : top + side, left : left + side]
    shrunk: np.ndarray[Any, np.dtype[np.float64]] = resize(luma, (height, width), order=1, anti_aliasing=True)
    return shrunk


@pytest.mark.parametrize("name", SIZES)
def test_every_rendition_of_a_photograph_is_upright_exact_and_bare(
    ready: dict[str, Any], upright: "np.ndarray[Any, np.dtype[np.float64]]", name: str
) -> None:
    answer = httpx2.get(ready["urls"][name])
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == ("image/webp" if name == "webp" else "image/jpeg")
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.size == SIZES[name]
        assert not image.getexif()
        assert not {"exif", "xmp", "comment", "icc_profile"} & set(image.info)
        seen = np.asarray(image.convert("L"), dtype=np.float64) / 255
    assert b"Exif" not in answer.content
    assert b"Camera" not in answer.content
    wanted = expected(upright, name)
    if name == "original":  # Every fourth pixel tells as much, in a sixteenth of the time.
        seen, wanted = seen[::4, ::4], wanted[::4, ::4]
    likeness = structural_similarity(seen, wanted, data_range=1.0)
    assert likeness > 0.85, f"{name}: {likeness}"
    # The measure can tell: the same picture on its head is another one.
    assert structural_similarity(np.rot90(seen, 2), wanted, data_range=1.0) < 0.6
    (listed,) = [item for item in ready["renditions"] if item["name"] == name]
    assert (listed["width"], listed["height"], listed["file_size"]) == (*SIZES[name], len(answer.content))


def test_the_answer_describes_the_source_as_it_is_seen(ready: dict[str, Any], turned: Path) -> None:
    assert (ready["width"], ready["height"]) == (3024, 4032)
    assert (ready["mime_type"], ready["file_size"]) == ("image/jpeg", turned.stat().st_size)
    assert ready["original_name"] == "IMG_0001.jpg"


def make(path: Path, *arguments: str) -> Path:
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", *arguments, str(path)], check=True, timeout=60)
    return path


def inspect(url: str, path: Path) -> dict[str, Any]:
    path.write_bytes(httpx2.get(url).content)
    answer = subprocess.run(
        ["ffprobe", "-v", "error", "-of", "json", "-show_streams", "-show_format", str(path)],
        check=True,
        capture_output=True,
        timeout=60,
    )
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def test_a_clip_plays_everywhere(server: Standalone, tmp_path: Path) -> None:
    pictures = ["-f", "lavfi", "-i", "testsrc2=size=2200x1300:rate=25:duration=2"]
    sound = ["-f", "lavfi", "-i", "sine=frequency=440:duration=2"]
    clip = make(tmp_path / "clip.mov", *pictures, *sound, "-c:v", "mpeg4", "-c:a", "pcm_s16le")
    body = server.finished(server.upload(clip)["id"])
    assert (body["status"], body["error"]) == ("ready", None)
    found = inspect(body["urls"]["mp4"], tmp_path / "out.mp4")
    streams = {stream["codec_type"]: stream for stream in found["streams"]}
    picture = streams["video"]
    assert (picture["codec_name"], picture["pix_fmt"], picture["profile"]) == ("h264", "yuv420p", "High")
    assert picture["width"] <= 1920
    assert picture["height"] <= 1080
    assert abs(picture["width"] / picture["height"] - 2200 / 1300) < 0.01
    assert streams["audio"]["codec_name"] == "aac"
    assert abs(float(found["format"]["duration"]) - 2) < 0.3
    head = (tmp_path / "out.mp4").read_bytes()
    assert head.index(b"moov") < head.index(b"mdat")
    with Image.open(io.BytesIO(httpx2.get(body["thumbnail_url"]).content)) as still:
        assert still.format == "JPEG"
        assert abs(still.width / still.height - 2200 / 1300) < 0.02


def test_a_sound_plays_everywhere(server: Standalone, tmp_path: Path) -> None:
    tone = make(tmp_path / "tone.wav", "-f", "lavfi", "-i", "sine=frequency=440:duration=3:sample_rate=48000")
    body = server.finished(server.upload(tone)["id"])
    assert (body["status"], body["duration"]) == ("ready", 3.0)
    (stream,) = inspect(body["urls"]["mp3"], tmp_path / "out.mp3")["streams"]
    assert (stream["codec_name"], stream["sample_rate"], stream["channels"]) == ("mp3", "44100", 1)
    assert abs(int(stream["bit_rate"]) - 128_000) < 2000


def test_a_clip_with_the_full_range_of_levels_is_brought_to_that_of_video(server: Standalone, tmp_path: Path) -> None:
    """Phones record so; played as limited range it would be too dark and too bright."""
    grey = ["-f", "lavfi", "-i", "color=c=0x404040:size=320x240:rate=25:duration=1"]
    full = make(
        tmp_path / "full.mp4",
        *grey,
        "-vf",
        "scale=out_range=pc,format=yuvj420p",
        "-c:v",
        "libx264",
        "-pix_fmt",
        "yuvj420p",
    )
    body = server.finished(server.upload(full)["id"])
    assert (body["status"], body["error"]) == ("ready", None)
    (picture,) = inspect(body["urls"]["mp4"], tmp_path / "out.mp4")["streams"]
    assert picture["pix_fmt"] == "yuv420p"
    assert picture.get("color_range", "tv") == "tv"
    frame = make(tmp_path / "frame.png", "-i", str(tmp_path / "out.mp4"), "-frames:v", "1")
    with Image.open(frame) as image:
        level = image.convert("L").getpixel((160, 120))
    assert isinstance(level, int)
    assert abs(level - 0x40) <= 2
