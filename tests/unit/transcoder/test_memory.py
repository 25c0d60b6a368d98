import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from bench import profile
from media_transcoder import memory
from media_transcoder.confine import MIB
from media_transcoder.media import Media, Picture
from mediaasset.media import Kind
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Format, Rendition

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs/operations/failures.md").read_text()
LIMIT = yaml.safe_load((ROOT / "charts/media-operator/values.yaml").read_text())["transcoder"]["classes"]["video"][
    "resources"
]["limits"]
PROFILES = sorted(path.stem for path in (ROOT / "charts/media-operator/files/profiles").glob("*.yaml"))
FULL = Rendition(name="mp4", kind=Kind.VIDEO, format=Format.MP4, width=1920, height=1080)


@pytest.fixture(autouse=True)
def two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "cpu_count", lambda: 2)


def image(megapixels: int, mime: str) -> Media:
    return Media(kind=Kind.IMAGE, mime_type=mime, width=megapixels * 1000, height=1000)


def film(width: int, height: int, pixel_format: str = "yuv420p") -> Media:
    picture = Picture(codec="vp9", width=width, height=height, pixel_format=pixel_format)
    return Media(kind=Kind.VIDEO, mime_type="video/webm", width=width, height=height, picture=picture)


def mebibytes(media: Media, *renditions: Rendition) -> float:
    return memory.needed_bytes(media, renditions) / MIB


@pytest.mark.parametrize("name", PROFILES)
def test_the_default_limit_holds_whatever_a_built_in_profile_takes(name: str) -> None:
    assert LIMIT["memory"] == "2Gi"
    renditions, _ = profile(name)
    sources = [image(50, f"image/{form}") for form in ("jpeg", "png", "webp", "gif", "bmp", "avif", "heic")]
    sources += [film(1920, 1080), film(3840, 2160, pixel_format="yuv420p10le"), film(2160, 3840)]
    for source in sources:
        assert mebibytes(source, *(each for each in renditions if each.kind is source.kind)) < 2048


def test_the_figures_of_the_documentation() -> None:
    web = [each for each in profile("web")[0] if each.kind is Kind.IMAGE]
    figures = [
        mebibytes(image(12, "image/png"), *web),
        mebibytes(image(50, "image/jpeg"), *web),
        mebibytes(image(50, "image/webp"), *web),
        mebibytes(film(1920, 1080), FULL),
        mebibytes(film(3840, 2160), FULL),
        mebibytes(film(3840, 2160), replace(FULL, width=None, height=None, preset="slow")),
    ]
    found = re.findall(r"\| ([0-9.]+) (MiB|GiB) \|", DOCUMENT)
    stated = [float(number) * (1024 if unit == "GiB" else 1) for number, unit in found]
    assert figures == pytest.approx(stated, rel=0.03)


def test_more_of_anything_takes_more() -> None:
    base = mebibytes(film(1920, 1080), FULL)
    assert mebibytes(film(1920, 1080), replace(FULL, preset="slow")) > base
    assert mebibytes(film(3840, 2160), FULL) > base
    assert mebibytes(film(1920, 1080, pixel_format="yuv420p10le"), FULL) > base
    ladder = replace(FULL, name="hls", format=Format.HLS)
    assert mebibytes(film(1920, 1080), FULL, ladder) > base
    # Two of one size are one encode more, or none: never less.
    assert mebibytes(film(1920, 1080), FULL, replace(FULL, name="again")) >= base


def test_a_remux_holds_no_frames_of_an_encoder() -> None:
    plain = Picture(codec="h264", profile="High", level=40, width=1920, height=1080, pixel_format="yuv420p")
    plain = replace(plain, field_order="progressive")
    copied = replace(film(1920, 1080), picture=plain, bits_per_second=4_000_000, duration_seconds=10.0, frame_rate=25.0)
    assert mebibytes(copied, FULL) < mebibytes(film(1920, 1080), FULL) - 100


def test_a_jpeg_of_which_little_is_wanted_takes_little() -> None:
    small = Rendition(name="small", kind=Kind.IMAGE, format=Format.JPEG, width=320, height=320)
    assert mebibytes(image(50, "image/jpeg"), small) < 110
    assert mebibytes(image(50, "image/png"), small) > 290


def test_both_figures_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIA_MEMORY_BYTES", str(256 * MIB))
    with pytest.raises(MediaError) as caught:
        memory.check(film(1920, 1080), [FULL])
    assert caught.value.reason is Reason.NEEDS_LARGER_CLASS
    assert re.search(r"at least 30\d MiB .* 256 MiB", str(caught.value))
    memory.check(film(1920, 1080), [replace(FULL, optional=True)])
    monkeypatch.delenv("MEDIA_MEMORY_BYTES")
    memory.check(film(1920, 1080), [FULL])
