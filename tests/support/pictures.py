"""Pictures for tests, what compares them, and files that no library here writes: PNG of any kind, ICC profiles."""

import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import piexif
from PIL import Image, ImageDraw, ImageFilter
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import structural_similarity

from mediaasset.media import Kind
from mediaasset.task import Format, Rendition

#: How the stored pixels are turned so that a viewer sees the scene: by numpy, as an independent rendering.
STORED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda pixels: pixels,
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: np.swapaxes(pixels, 0, 1),
    6: lambda pixels: np.rot90(pixels, 1),
    7: lambda pixels: np.rot90(np.swapaxes(pixels, 0, 1), 2),
    8: lambda pixels: np.rot90(pixels, 3),
}

PNG = Rendition(name="png", kind=Kind.IMAGE, format=Format.PNG)
ORIGINAL = Rendition(name="original", kind=Kind.IMAGE, format=Format.ORIGINAL)


def scene(width: int = 900, height: int = 600) -> Image.Image:
    """Return a picture without any symmetry: no turned or flipped version resembles it."""
    picture = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, width // 3, height // 4), fill=(220, 30, 30))
    draw.ellipse((width // 2, height // 2, width - 20, height - 20), fill=(30, 200, 60))
    draw.polygon([(20, height - 20), (width // 4, height // 2), (width // 3, height - 60)], fill=(40, 60, 220))
    return picture.filter(ImageFilter.GaussianBlur(1))


def stored(picture: Image.Image, orientation: int) -> Image.Image:
    """Return a picture as a camera that was held so would store it."""
    return Image.fromarray(np.ascontiguousarray(STORED[orientation](np.asarray(picture))))


def jpeg(name: str, width: int, height: int, **options: Any) -> Rendition:
    return Rendition(
        name=name, kind=Kind.IMAGE, format=Format.JPEG, width=width, height=height, **({"quality": 95} | options)
    )


def rgb(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("RGB"), dtype=np.float64)


def similarity(left: Image.Image, right: Image.Image) -> float:
    assert left.size == right.size
    return float(structural_similarity(np.asarray(left.convert("L")), np.asarray(right.convert("L")), data_range=255))


def distance(left: Image.Image, right: Image.Image) -> float:
    """Return the mean colour difference of two pictures of equal size, CIEDE2000: 1 is just visible side by side."""
    assert left.size == right.size
    return float(deltaE_ciede2000(rgb2lab(rgb(left) / 255), rgb2lab(rgb(right) / 255)).mean())


def gps_exif(orientation: int) -> bytes:
    dumped: bytes = piexif.dump(
        {
            "0th": {piexif.ImageIFD.Orientation: orientation, piexif.ImageIFD.Make: b"Camera"},
            "GPS": {piexif.GPSIFD.GPSLatitudeRef: b"N", piexif.GPSIFD.GPSLatitude: ((52, 1), (30, 1), (0, 1))},
        }
    )
    return dumped


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


#: Where the passes of an interlaced PNG begin, and their steps (PNG 3rd edition, 8.1): y, x, step of y, step of x.
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def png(samples: np.ndarray, depth: int, colour_type: int, *, interlaced: bool = False, **chunks: bytes) -> bytes:
    """Write samples of height x width x channels, of `depth` bits each, as PNG; chunks last_* follow the pixels."""
    height, width = samples.shape[:2]
    passes = [samples[y::dy, x::dx] for y, x, dy, dx in _ADAM7] if interlaced else [samples]
    rows = b"".join(b"\0" + _packed(row, depth) for part in passes if part.size for row in part)
    before = b"".join(chunk(name.encode(), content) for name, content in chunks.items() if not name.startswith("last_"))
    after = b"".join(chunk(name[5:].encode(), content) for name, content in chunks.items() if name.startswith("last_"))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, interlaced))
    return b"\x89PNG\r\n\x1a\n" + head + before + chunk(b"IDAT", zlib.compress(rows)) + after + chunk(b"IEND", b"")


def _packed(row: np.ndarray, depth: int) -> bytes:
    if depth >= 8:
        return row.astype(">u2" if depth == 16 else "u1").tobytes()
    bits = (row.reshape(-1, 1).astype(np.uint8) >> np.arange(depth - 1, -1, -1, dtype=np.uint8)) & 1
    return np.packbits(bits.reshape(-1)).tobytes()


#: XYZ of the primaries of a space, adapted to D50, by rows: red, green, blue; and its gamma.
DISPLAY_P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
D50 = (0.9642, 1.0, 0.8249)


def rgb_profile(primaries: Sequence[Sequence[float]], curve: Sequence[float]) -> bytes:
    """Write an ICC profile of a display: its primaries, and a curve of linear light from 0 to 1."""
    tags = {name: _xyz(row) for name, row in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)}
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(curve)))


def grey_profile(curve: Sequence[float]) -> bytes:
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _curve(curve)})


def cmyk_profile(inks: Callable[[tuple[int, int, int, int]], tuple[float, float, float]]) -> bytes:
    """Write an ICC profile of a press: `inks` gives the Lab colour of each overprint of full inks."""
    corners = [tuple(number >> shift & 1 for shift in (3, 2, 1, 0)) for number in range(16)]
    labs = (inks(corner) for corner in corners)  # type: ignore[arg-type]
    table = b"".join(bytes([round(light * 2.55), round(a + 128), round(b + 128)]) for light, a, b in labs)
    identity = bytes(range(256))
    matrix = struct.pack(">9i", *(0x10000 if at % 4 == 0 else 0 for at in range(9)))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + matrix + identity * 4 + table + identity * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": lut})


def _xyz(values: Sequence[float]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 0x10000) for value in values))


def _curve(values: Sequence[float]) -> bytes:
    levels = [round(value * 65_535) for value in values]
    return b"curv\0\0\0\0" + struct.pack(f">I{len(levels)}H", len(levels), *levels)


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"wtpt": _xyz(D50)} | tags
    body, index, start = b"", b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        index += name + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">4sI4s4s4s12x4s28x12s48x", b"", 0x02400000, kind, space, connection, b"acsp", _xyz(D50)[8:])
    return struct.pack(">I", start + len(body)) + head + struct.pack(">I", len(tags)) + index + body
