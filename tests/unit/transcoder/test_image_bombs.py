"""Small files that announce much: refused by their headers, before anything is decoded."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from media_transcoder import image
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Limits
from pictures import chunk, png, scene

HEIC = Path(__file__).parents[2] / "data/turned.heic"
WIDE, HIGH = 15_000, 14_000


def saved(written: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    scene(60, 40).save(buffer, written, **options)
    return buffer.getvalue()


def with_ispe(content: bytes) -> bytes:
    """Announce another size in each `ispe` of a HEIF file (ISO 23008-12, 6.5.3)."""
    changed = bytearray(content)
    at = -1
    while (at := changed.find(b"ispe", at + 1)) >= 0:
        changed[at + 8 : at + 16] = struct.pack(">II", WIDE, HIGH)
    return bytes(changed)


def jpeg_of(width: int, height: int) -> bytes:
    content = bytearray(saved("JPEG"))
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def webp_of(width: int, height: int) -> bytes:
    # The canvas of an animation may be larger than its frames.
    content = bytearray(saved("WEBP", save_all=True, append_images=[Image.new("RGB", (60, 40))], duration=50))
    content[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(content)


def png_of(width: int, height: int) -> bytes:
    content = png(np.zeros((8, 8, 1), dtype=np.uint8), 1, 0)
    head = chunk(b"IHDR", struct.pack(">II", width, height) + content[24:29])
    return content[:8] + head + content[33:]


def gif_of(width: int, height: int) -> bytes:
    content = bytearray(saved("GIF"))
    content[6:10] = struct.pack("<HH", width, height)
    return bytes(content)


def bmp_of(width: int, height: int) -> bytes:
    content = bytearray(saved("BMP"))
    content[18:26] = struct.pack("<ii", width, height)
    return bytes(content)


PIXELS: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: jpeg_of(WIDE, HIGH),
    "PNG": lambda: png_of(WIDE, HIGH),
    "GIF": lambda: gif_of(WIDE, HIGH),
    "WebP": lambda: webp_of(WIDE, HIGH),
    "BMP": lambda: bmp_of(WIDE, HIGH),
    "AVIF": lambda: with_ispe(saved("AVIF")),
    "HEIC": lambda: with_ispe(HEIC.read_bytes()),
}


@pytest.mark.parametrize("limits", [Limits(), Limits(max_pixels=WIDE * HIGH - 1), Limits(max_pixels=1_000_000)])
@pytest.mark.parametrize("make", PIXELS.values(), ids=PIXELS)
def test_more_pixels_than_allowed(tmp_path: Path, make: Callable[[], bytes], limits: Limits) -> None:
    (tmp_path / "bomb").write_bytes(make())
    with pytest.raises(MediaError) as caught:
        image.probe(tmp_path / "bomb", limits)
    assert caught.value.reason is Reason.LIMIT_EXCEEDED


def test_frames_are_counted_no_further_than_the_limit(tmp_path: Path) -> None:
    head = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x4c\x01\0"
    (tmp_path / "bomb").write_bytes(head + frame * 600_000 + b";")
    with pytest.raises(MediaError, match=r"^There are more than 500 frames\.$"):
        image.probe(tmp_path / "bomb", Limits(max_frames=500))
    assert image.probe(tmp_path / "bomb", Limits(max_frames=600_000)).frames == 600_000


def test_frames_are_counted_as_pillow_does(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frames = [Image.fromarray(random.integers(0, 256, (30, 40, 3), dtype=np.uint8)) for _ in range(7)]
    frames[0].save(
        tmp_path / "gif", "GIF", save_all=True, append_images=frames[1:], loop=0, comment=b"," * 700, duration=20
    )
    with Image.open(tmp_path / "gif") as opened:
        assert opened.n_frames == image.probe(tmp_path / "gif", Limits()).frames == 7  # type: ignore[attr-defined]


def test_all_frames_together_are_limited(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (100, 100), (shade, 0, 0)) for shade in range(0, 220, 20)]
    for written in ("GIF", "PNG", "WEBP", "AVIF"):
        frames[0].save(tmp_path / written, written, save_all=True, append_images=frames[1:], duration=50)
        assert image.probe(tmp_path / written, Limits(max_pixels=11_000)).frames == 11
        with pytest.raises(MediaError) as caught:
            image.probe(tmp_path / written, Limits(max_pixels=10_999))
        assert caught.value.reason is Reason.LIMIT_EXCEEDED
