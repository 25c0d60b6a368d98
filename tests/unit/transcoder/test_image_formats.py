"""Every format and kind of image that is taken in shows what was drawn into it, upright."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import piexif
import pytest
from PIL import AvifImagePlugin, Image

from media_transcoder import image
from mediaasset.media import Kind
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Format, Limits, Rendition
from pictures import (
    DISPLAY_P3,
    ORIGINAL,
    PNG,
    distance,
    gps_exif,
    jpeg,
    png,
    rgb,
    rgb_profile,
    scene,
    similarity,
    stored,
)

Render = Callable[..., dict[str, Image.Image]]

SMALL = jpeg("small", 150, 150)
WEBP = Rendition(name="webp", kind=Kind.IMAGE, format=Format.WEBP, quality=95)
HEIC = Path(__file__).parents[2] / "data"


def shows(output: Image.Image, picture: Image.Image) -> bool:
    expected = picture.resize(output.size, Image.Resampling.LANCZOS)
    return similarity(output, expected) > 0.97 and distance(output, expected) < 2


@pytest.mark.parametrize("written", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_of_every_format(render: Render, tmp_path: Path, written: str, orientation: int) -> None:
    picture = scene(450, 300)
    stored(picture, orientation).save(tmp_path / "source", written, quality=95, exif=gps_exif(orientation))
    media = image.probe(tmp_path / "source", Limits())
    assert (media.width, media.height) == (450, 300)
    outputs = render(tmp_path / "source", SMALL, ORIGINAL)
    assert outputs["original"].format == ("JPEG" if written == "JPEG" else "PNG")
    for output in outputs.values():
        assert shows(output, picture)
    for path in (tmp_path / "outputs").iterdir():
        content = path.read_bytes()
        assert b"Exif" not in content
        assert b"Camera" not in content


@pytest.mark.parametrize("written", ["JPEG", "WEBP", "AVIF"])
def test_xmp_turns_nothing(render: Render, tmp_path: Path, written: str) -> None:
    picture, xmp = scene(450, 300), b'<rdf:Description tiff:Orientation="6" note="secret"/>'
    picture.save(tmp_path / "source", written, quality=95, xmp=xmp)
    assert xmp in (tmp_path / "source").read_bytes()
    assert image.probe(tmp_path / "source", Limits()).width == 450
    output = render(tmp_path / "source", WEBP)["webp"]
    assert shows(output, picture)
    assert b"secret" not in (tmp_path / "outputs/webp").read_bytes()


#: What the boxes irot and imir of a HEIF make of the picture as it is stored, by angle and axis (ISO 23008-12, 6.5).
MIRRORS = {None: lambda pixels: pixels, 0: np.flipud, 1: np.fliplr}


@pytest.mark.parametrize("angle", range(4))
@pytest.mark.parametrize(("name", "axis"), [("turned", None), ("mirrored", 0), ("mirrored", 1)])
def test_heic_is_turned_once(render: Render, tmp_path: Path, name: str, axis: int | None, angle: int) -> None:
    content = bytearray((HEIC / f"{name}.heic").read_bytes())
    as_stored = {"turned": 6, "mirrored": 5}[name]
    content[content.index(b"irot") + 4] = angle
    if axis is not None:
        content[content.index(b"imir") + 4] = axis
    (tmp_path / "source").write_bytes(content)
    pixels = np.rot90(np.asarray(stored(scene(360, 240), as_stored)), angle)
    expected = Image.fromarray(np.ascontiguousarray(MIRRORS[axis](pixels)))
    media = image.probe(tmp_path / "source", Limits())
    assert (media.mime_type, media.width, media.height) == ("image/heic", *expected.size)

    output = render(tmp_path / "source", WEBP)["webp"]

    assert output.size == expected.size
    white = Image.new("RGB", output.size, "white")
    white.paste(output, mask=output if output.mode == "RGBA" else None)
    # A corner of one is transparent, and the colours of the other are wider than sRGB.
    assert similarity(white, expected) > (0.95 if name == "turned" else 0.7)
    assert similarity(white, expected.transpose(Image.Transpose.ROTATE_180)) < 0.7


def test_heic_keeps_colours_and_alpha_and_loses_the_rest(render: Render, tmp_path: Path) -> None:
    curve = [((at / 255 + 0.055) / 1.055) ** 2.4 if at > 10 else at / 255 / 12.92 for at in range(256)]
    picture = scene(360, 240)
    picture.save(tmp_path / "wide", "PNG", icc_profile=rgb_profile(DISPLAY_P3, curve))
    expected = render(tmp_path / "wide", PNG)["png"]
    (tmp_path / "outputs").rename(tmp_path / "before")

    outputs = render(HEIC / "turned.heic", ORIGINAL, PNG)

    assert outputs["original"].format == "JPEG"
    assert distance(outputs["png"], expected) < 1.5
    for path in (tmp_path / "outputs").iterdir():
        assert not any(word in path.read_bytes() for word in (b"Exif", b"Camera", b"secret", b"xmpmeta", b"acsp"))

    (tmp_path / "outputs").rename(tmp_path / "before that")
    outputs = render(HEIC / "mirrored.heic", ORIGINAL, SMALL)
    assert outputs["original"].format == "PNG"
    assert np.asarray(outputs["original"])[10, 350, 3] == 0
    assert np.asarray(outputs["original"])[200, 20, 3] == 255
    assert rgb(outputs["small"])[5, 140].min() > 250


def test_a_png_may_tell_its_orientation_after_the_pixels(render: Render, tmp_path: Path) -> None:
    picture = scene(450, 300)
    exif = piexif.dump({"0th": {piexif.ImageIFD.Orientation: 6}})[6:]
    (tmp_path / "source").write_bytes(png(np.asarray(stored(picture, 6)), 8, 2, last_eXIf=exif))
    assert image.probe(tmp_path / "source", Limits()).width == 450
    assert distance(render(tmp_path / "source", PNG)["png"], picture) == 0


JPEGS = {
    "progressive": {"progressive": True},
    "whole colours": {"subsampling": "4:4:4"},
    "restart markers": {"restart_marker_rows": 1},
    "optimised": {"optimize": True},
}


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_every_kind_of_jpeg(render: Render, tmp_path: Path, mode: str, options: dict[str, object]) -> None:
    picture = scene(450, 300).convert(mode)
    picture.save(tmp_path / "source", "JPEG", quality=95, **options)
    outputs = render(tmp_path / "source", SMALL, ORIGINAL)
    assert all(shows(output, picture.convert("RGB")) for output in outputs.values())


def test_a_jpeg_with_tables_of_16_bits(render: Render, tmp_path: Path) -> None:
    picture, buffer = scene(450, 300), io.BytesIO()
    picture.save(buffer, "JPEG", quality=95)
    content = bytearray(buffer.getvalue())
    # DQT with Pq = 1, and the extended sequential process that it needs (ITU T.81, B.2.4.1).
    while (at := content.find(b"\xff\xdb\0\x43")) >= 0:
        table = content[at + 5 : at + 69]
        wide = b"".join(bytes([0, value]) for value in table)
        content[at : at + 69] = b"\xff\xdb\0\x83" + bytes([0x10 | content[at + 4]]) + wide
    content[content.index(b"\xff\xc0") + 1] = 0xC1
    (tmp_path / "source").write_bytes(content)
    assert all(shows(output, picture) for output in render(tmp_path / "source", SMALL, ORIGINAL).values())


def test_only_the_first_picture_of_an_mpo_counts(render: Render, tmp_path: Path) -> None:
    picture = scene(450, 300)
    picture.save(
        tmp_path / "source", "MPO", quality=95, save_all=True, append_images=[Image.new("RGB", (450, 300), "red")]
    )
    media = image.probe(tmp_path / "source", Limits(max_frames=1))
    assert (media.mime_type, media.frames) == ("image/jpeg", 1)
    outputs = render(tmp_path / "source", SMALL, ORIGINAL)
    assert outputs["original"].format == "JPEG"
    assert all(shows(output, picture) for output in outputs.values())


CHUNKS = {
    "a drawing of 2 MB": ("zTXt", b"mxfile\0\0" + zlib.compress(bytes(range(1, 251)) * 8000)),
    "XMP of 2 MB": ("iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"x" * 2_000_000)),
    "an animation of no frames": ("acTL", bytes(8)),
}


@pytest.mark.parametrize(("name", "content"), CHUNKS.values(), ids=CHUNKS.keys())
def test_what_surrounds_the_pixels_of_a_png_does_not_spoil_them(
    render: Render, tmp_path: Path, name: str, content: bytes
) -> None:
    picture = scene(60, 40)
    around = {name: content}
    (tmp_path / "source").write_bytes(png(np.asarray(picture), 8, 2, interlaced=False, **around))
    assert distance(render(tmp_path / "source", PNG)["png"], picture) == 0


def test_a_large_profile_of_a_png_is_applied(render: Render, tmp_path: Path) -> None:
    # The space of Display P3 without its gamma; real ones are as long by their tables.
    profile = rgb_profile(DISPLAY_P3, np.linspace(0, 1, 256).tolist()).ljust(2_000_000, b"\0")
    grey = np.full((40, 60, 3), 55)
    (tmp_path / "source").write_bytes(png(grey, 8, 2, iCCP=b"tables\0\0" + zlib.compress(profile)))
    # 55 / 255 of linear light in the curve of sRGB.
    assert rgb(render(tmp_path / "source", PNG)["png"])[20, 30] == pytest.approx([128, 128, 128], abs=1)


#: Colour type and depth of all kinds of PNG (3rd edition, table 11.1), with the number of channels.
PNGS = [(0, depth, 1) for depth in (1, 2, 4, 8, 16)] + [
    (2, 8, 3),
    (2, 16, 3),
    (4, 8, 2),
    (4, 16, 2),
    (6, 8, 4),
    (6, 16, 4),
]


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("kind", "depth", "channels"), PNGS)
def test_every_kind_of_png(
    render: Render, tmp_path: Path, kind: int, depth: int, channels: int, *, interlaced: bool
) -> None:
    random = np.random.default_rng(0)
    top = 2**depth - 1
    samples = random.integers(0, top + 1, (37, 53, channels))
    if kind in (4, 6):
        samples[:20, :, -1] = top
        samples[20:, :, -1] = 0
    (tmp_path / "source").write_bytes(png(samples, depth, kind, interlaced=interlaced))
    output = np.asarray(render(tmp_path / "source", PNG)["png"].convert("RGBA"), dtype=np.float64)
    expected = np.broadcast_to((samples[..., : 3 if channels > 2 else 1] * 255.0 / top), (37, 53, 3))
    shown = output[..., 3] == 255
    assert shown[:20].all()
    assert shown[20:].all() == (kind not in (4, 6))
    assert np.abs(output[..., :3] - expected)[shown].max() <= 1


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("transparent", [b"", b"\xff\x00", b"\x80"])
def test_a_palette_of_every_depth(
    render: Render, tmp_path: Path, depth: int, transparent: bytes, *, interlaced: bool
) -> None:
    random = np.random.default_rng(0)
    colours = random.integers(0, 256, (2**depth, 3), dtype=np.uint8)
    samples = random.integers(0, 2**depth, (37, 53, 1))
    chunks = {"PLTE": colours.tobytes()} | ({"tRNS": transparent} if transparent else {})
    (tmp_path / "source").write_bytes(png(samples, depth, 3, interlaced=interlaced, **chunks))
    output = np.asarray(render(tmp_path / "source", PNG)["png"].convert("RGBA"))
    alpha = np.full(2**depth, 255)
    alpha[: len(transparent)] = list(transparent)
    assert np.array_equal(output[..., 3], alpha[samples[..., 0]])
    opaque = output[..., 3] == 255
    assert np.array_equal(output[..., :3][opaque], colours[samples[..., 0]][opaque])


@pytest.mark.parametrize(("kind", "depth"), [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16)])
def test_one_colour_of_a_png_may_be_transparent(render: Render, tmp_path: Path, kind: int, depth: int) -> None:
    random = np.random.default_rng(0)
    samples = random.integers(0, 2**depth, (37, 53, 3 if kind else 1))
    samples[5, 5] = samples[6, 6] = samples[0, 0]
    name = samples[0, 0].astype(">u2").tobytes()
    (tmp_path / "source").write_bytes(png(samples, depth, kind, tRNS=name))
    output = np.asarray(render(tmp_path / "source", PNG)["png"])
    assert np.array_equal(output[..., 3] == 0, (samples == samples[0, 0]).all(axis=-1))


@pytest.mark.parametrize(("alpha", "expected"), [(0, 255), (128, 128)])
def test_the_alpha_of_a_bmp_counts_if_there_is_any(render: Render, tmp_path: Path, alpha: int, expected: int) -> None:
    body = bytes([30, 20, 10, alpha]) * 12
    # BITMAPV4HEADER: 4 x 3 pixels of 32 bits, with masks for red, green, blue and alpha.
    head = struct.pack("<IiiHHIIiiII", 108, 4, 3, 1, 32, 3, len(body), 2835, 2835, 0, 0)
    head += struct.pack("<IIII4s48x", 0xFF0000, 0xFF00, 0xFF, 0xFF000000, b"BGRs")
    (tmp_path / "source").write_bytes(b"BM" + struct.pack("<IHHI", 122 + len(body), 0, 0, 122) + head + body)
    pixel = render(tmp_path / "source", PNG)["png"].convert("RGBA").getpixel((2, 1))
    assert pixel == pytest.approx((10, 20, 30, expected), abs=1)


SAVED = {
    "GIF": ("GIF", "RGB", {}),
    "BMP": ("BMP", "RGB", {}),
    "BMP of 8 bits": ("BMP", "P", {}),
    "BMP of 1 bit": ("BMP", "1", {}),
    "lossy WebP": ("WEBP", "RGB", {"quality": 95}),
    "lossless WebP": ("WEBP", "RGB", {"lossless": True}),
    "AVIF": ("AVIF", "RGB", {"quality": 95}),
    "AVIF of whole colours": ("AVIF", "RGB", {"quality": 95, "subsampling": "4:4:4"}),
    "grey AVIF": ("AVIF", "L", {"quality": 95}),
}


@pytest.mark.parametrize(("written", "mode", "options"), SAVED.values(), ids=SAVED)
def test_other_formats(render: Render, tmp_path: Path, written: str, mode: str, options: dict[str, object]) -> None:
    picture = scene(450, 300).convert(mode)
    picture.save(tmp_path / "source", written, **options)
    assert image.probe(tmp_path / "source", Limits()).mime_type == f"image/{written.lower()}"
    with Image.open(tmp_path / "source") as source:
        expected = source.convert("RGB")
    outputs = render(tmp_path / "source", SMALL, ORIGINAL)
    assert outputs["original"].format == "PNG"
    assert distance(outputs["original"], expected) == 0
    assert distance(outputs["small"], expected.resize((150, 100), Image.Resampling.LANCZOS)) < 3


@pytest.mark.parametrize("written", ["PNG", "WEBP", "AVIF"])
def test_alpha_has_no_fringe(render: Render, tmp_path: Path, written: str) -> None:
    """A white disc on transparent black must not get a dark border when it is made smaller."""
    y, x = np.mgrid[:400, :400]
    disc = ((x - 200) ** 2 + (y - 200) ** 2 < 150**2).astype(np.uint8) * 255
    Image.fromarray(np.dstack([disc] * 4)).save(tmp_path / "source", written, lossless=True, quality=100)
    wanted = {
        name: Rendition(name=name, kind=Kind.IMAGE, format=format_, width=100, height=100, quality=quality)
        for name, format_, quality in (("png", Format.PNG, None), ("webp", Format.WEBP, 95), ("avif", Format.AVIF, 95))
    }
    outputs = render(tmp_path / "source", *wanted.values(), jpeg("jpeg", 100, 100))
    for name in wanted:
        pixels = np.asarray(outputs[name].convert("RGBA"), dtype=np.float64)
        half = (pixels[..., 3] > 40) & (pixels[..., 3] < 255)
        assert half.sum() > 50
        assert pixels[..., :3][half].min() > (250 if name == "png" else 215), name
        assert pixels[50, 50, 3] == 255
        assert pixels[2, 2, 3] == 0
    assert rgb(outputs["jpeg"]).min() > 250


def test_one_thread_decodes_avif(render: Render, tmp_path: Path) -> None:
    scene(90, 60).save(tmp_path / "source", "AVIF")
    render(tmp_path / "source", SMALL)
    assert AvifImagePlugin.DEFAULT_MAX_THREADS == 1


@pytest.mark.parametrize("written", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "AVIF", "HEIC"])
def test_a_file_that_ends_early_is_undecodable(render: Render, tmp_path: Path, written: str) -> None:
    if written == "HEIC":
        content = (HEIC / "turned.heic").read_bytes()
    else:
        buffer = io.BytesIO()
        scene(450, 300).save(buffer, written)
        content = buffer.getvalue()
    (tmp_path / "source").write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(MediaError) as caught:
        render(tmp_path / "source", SMALL)
    assert caught.value.reason is Reason.UNDECODABLE
