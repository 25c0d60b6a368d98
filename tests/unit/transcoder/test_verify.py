import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import piexif
import pytest
from PIL import Image

from media_transcoder.media import Media
from media_transcoder.messages import Rendered
from media_transcoder.verify import verify
from mediaasset.media import Kind
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Format, Rendition

SOURCE = Media(kind=Kind.IMAGE, mime_type="image/jpeg", width=400, height=300)
SMALL = Rendition(name="small", kind=Kind.IMAGE, format=Format.JPEG, width=200, height=200)
MADE = Rendered(name="small", file="small", mime_type="image/jpeg", width=200, height=150)
PICTURE = Image.effect_mandelbrot((200, 150), (-2, -1, 1, 1), 50).convert("RGB")


def test_a_good_image_passes(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "small", "JPEG")
    verify(SOURCE, SMALL, MADE, tmp_path / "small")


def cut(path: Path) -> None:
    PICTURE.save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:-500])


WRONG: dict[str, Callable[[Path], object]] = {
    "the source itself": lambda path: PICTURE.resize((400, 300)).save(path, "JPEG"),
    "a pixel too small": lambda path: PICTURE.resize((199, 150)).save(path, "JPEG"),
    "another format": lambda path: PICTURE.save(path, "PNG"),
    "orientation left": lambda path: PICTURE.save(path, "JPEG", exif=piexif.dump({"0th": {274: 6}})),
    "profile left": lambda path: PICTURE.save(path, "JPEG", icc_profile=b"profile"),
    "comment left": lambda path: PICTURE.save(path, "JPEG", comment=b"here"),
    "cut short": cut,
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda _: None,
}


@pytest.mark.parametrize("make", WRONG.values(), ids=WRONG)
def test_a_wrong_image_is_not_published(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "small")
    with pytest.raises(MediaError) as caught:
        verify(SOURCE, SMALL, MADE, tmp_path / "small")
    assert caught.value.reason is Reason.INVALID_OUTPUT


FILM = Media(
    kind=Kind.VIDEO, mime_type="video/mp4", width=320, height=240, duration_seconds=3, video_stream=0, audio_stream=None
)
MP4 = Rendition(name="mp4", kind=Kind.VIDEO, format=Format.MP4, width=1920, height=1080)
GOOD = "-pix_fmt yuv420p -movflags +faststart"


@pytest.mark.parametrize(
    ("size", "seconds", "options", "good"),
    [
        ("320x240", 3, GOOD, True),
        ("320x240", 3, "-pix_fmt yuv420p", False),
        ("320x240", 3, "-pix_fmt yuv444p -movflags +faststart", False),
        ("320x240", 3, f"{GOOD} -c:v mpeg4", False),
        ("322x240", 3, GOOD, False),
    ],
)
def test_an_mp4_is_held_to_what_browsers_need(
    tmp_path: Path, size: str, seconds: int, options: str, *, good: bool
) -> None:
    path = tmp_path / "mp4"
    command = f"ffmpeg -v error -f lavfi -i testsrc2=s={size}:d={seconds} {options} -f mp4 {path}"
    subprocess.run(command.split(), check=True)
    made = Rendered(name="mp4", file="mp4", mime_type="video/mp4", width=320, height=240)
    if good:
        verify(FILM, MP4, made, path)
        return
    with pytest.raises(MediaError) as caught:
        verify(FILM, MP4, made, path)
    assert caught.value.reason is Reason.INVALID_OUTPUT


@pytest.mark.parametrize("seconds", [1, 5])
@pytest.mark.parametrize(("is_exact", "is_refused"), [(True, True), (False, False)])
def test_an_output_that_is_too_short_or_long_tells_of_a_damaged_source(
    tmp_path: Path, seconds: int, *, is_exact: bool, is_refused: bool
) -> None:
    path = tmp_path / "mp4"
    command = f"ffmpeg -v error -f lavfi -i testsrc2=s=320x240:d={seconds} {GOOD} -f mp4 {path}"
    subprocess.run(command.split(), check=True)
    made = Rendered(name="mp4", file="mp4", mime_type="video/mp4", width=320, height=240)
    film = replace(FILM, has_exact_duration=is_exact)
    if not is_refused:
        verify(film, MP4, made, path)
        return
    with pytest.raises(MediaError) as caught:
        verify(film, MP4, made, path)
    assert str(caught.value) in {
        "The file ends after 1.0 of 3.0 seconds.",
        "The file states 3.0 seconds, but lasts 5.0.",
    }
    assert caught.value.reason is Reason.UNDECODABLE
