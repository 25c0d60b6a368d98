import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import piexif
import pytest
from PIL import Image, ImageCms, ImageDraw, ImageFilter
from skimage.metrics import structural_similarity

from media_transcoder import image
from mediaasset.media import Kind
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Fit, Format, Limits, Rendition

Render = Callable[..., dict[str, Image.Image]]


def scene(width: int = 900, height: int = 600) -> Image.Image:
    """Return a picture without any symmetry: no turned or flipped version resembles it."""
    picture = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, width // 3, height // 4), fill=(220, 30, 30))
    draw.ellipse((width // 2, height // 2, width - 20, height - 20), fill=(30, 200, 60))
    draw.polygon([(20, height - 20), (width // 4, height // 2), (width // 3, height - 60)], fill=(40, 60, 220))
    return picture.filter(ImageFilter.GaussianBlur(1))


def rgb(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("RGB"), dtype=np.float64)


def similarity(left: Image.Image, right: Image.Image) -> float:
    assert left.size == right.size
    return float(structural_similarity(np.asarray(left.convert("L")), np.asarray(right.convert("L")), data_range=255))


def gps_exif(orientation: int) -> bytes:
    dumped: bytes = piexif.dump(
        {
            "0th": {piexif.ImageIFD.Orientation: orientation, piexif.ImageIFD.Make: b"Camera"},
            "GPS": {piexif.GPSIFD.GPSLatitudeRef: b"N", piexif.GPSIFD.GPSLatitude: ((52, 1), (30, 1), (0, 1))},
        }
    )
    return dumped


def jpeg(size: str, width: int, height: int) -> Rendition:
    return Rendition(name=size, kind=Kind.IMAGE, format=Format.JPEG, width=width, height=height, quality=95)


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


@pytest.mark.parametrize("orientation", STORED)
def test_every_orientation_comes_out_upright_without_metadata(orientation: int, render: Render, tmp_path: Path) -> None:
    upright = scene(1800, 1200)
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](np.asarray(upright))))
    source = tmp_path / "source"
    stored.save(source, "JPEG", quality=95, exif=gps_exif(orientation), comment=b"secret")
    assert image.probe(source, Limits()).width == 1800

    outputs = render(source)

    sizes = {name: output.size for name, output in outputs.items()}
    assert sizes == {
        "thumbnail": (150, 150),
        "small": (320, 213),
        "medium": (640, 427),
        "large": (1080, 720),
        "webp": (640, 427),
        "original": (1800, 1200),
    }
    for name in ("small", "medium", "large", "webp", "original"):
        expected = upright.resize(outputs[name].size, Image.Resampling.LANCZOS)
        assert similarity(outputs[name], expected) > 0.97, name
        assert similarity(outputs[name], expected.transpose(Image.Transpose.ROTATE_180)) < 0.9, name
    cut = upright.crop((300, 0, 1500, 1200)).resize((150, 150), Image.Resampling.LANCZOS)
    assert similarity(outputs["thumbnail"], cut) > 0.97
    for path in (tmp_path / "outputs").iterdir():
        content = path.read_bytes()
        assert b"Exif" not in content, path
        assert b"GPS" not in content, path
        assert b"Camera" not in content, path
        assert b"secret" not in content, path


def test_nothing_is_enlarged(render: Render, tmp_path: Path) -> None:
    scene(100, 60).save(tmp_path / "source", "PNG")
    sizes = {name: output.size for name, output in render(tmp_path / "source").items()}
    assert sizes == dict.fromkeys(("small", "medium", "large", "webp", "original"), (100, 60)) | {
        "thumbnail": (100, 60)
    }


def test_alpha_is_kept_where_the_format_has_it_and_white_elsewhere(render: Render, tmp_path: Path) -> None:
    picture = Image.new("RGBA", (800, 400), (255, 0, 0, 0))
    picture.paste((0, 0, 255, 255), (0, 0, 400, 400))
    picture.save(tmp_path / "source", "PNG")
    png = Rendition(name="png", kind=Kind.IMAGE, format=Format.PNG, width=200, height=200)
    webp = Rendition(name="webp", kind=Kind.IMAGE, format=Format.WEBP, width=200, height=200, quality=95)

    outputs = render(tmp_path / "source", png, webp, jpeg("jpeg", 200, 200))

    assert outputs["png"].getpixel((150, 50)) == (0, 0, 0, 0)
    assert outputs["png"].getpixel((50, 50)) == (0, 0, 255, 255)
    assert outputs["webp"].mode == "RGBA"
    assert outputs["webp"].getpixel((150, 50))[3] == 0  # type: ignore[index]
    assert rgb(outputs["jpeg"])[50, 150].min() >= 250
    # The border fades from blue to white: the red that hides behind the transparency shows nowhere.
    assert rgb(outputs["jpeg"])[:, :, 0].min() < 10
    assert (rgb(outputs["jpeg"])[:, :, 0] - rgb(outputs["jpeg"])[:, :, 1]).max() < 20


def test_a_cmyk_jpeg_becomes_rgb_of_the_same_colours(render: Render, tmp_path: Path) -> None:
    picture = scene()
    picture.convert("CMYK").save(tmp_path / "source", "JPEG", quality=95)
    output = render(tmp_path / "source", jpeg("jpeg", 300, 300))["jpeg"]
    assert output.mode == "RGB"
    assert np.abs(rgb(output) - rgb(picture.resize((300, 200), Image.Resampling.LANCZOS))).mean() < 5


@pytest.mark.parametrize("transparent", [False, True])
def test_a_palette_is_resolved(render: Render, tmp_path: Path, *, transparent: bool) -> None:
    palette = scene().quantize(64)
    if transparent:
        palette.paste(63, (0, 0, 100, 100))
        palette.save(tmp_path / "source", "PNG", transparency=63)
    else:
        palette.save(tmp_path / "source", "PNG")
    output = render(tmp_path / "source", jpeg("jpeg", 300, 300))["jpeg"]
    expected = palette.convert("RGB").resize((300, 200), Image.Resampling.LANCZOS)
    corner = np.zeros((200, 300), dtype=bool)
    corner[:60, :60] = transparent
    assert np.abs(rgb(output) - rgb(expected))[~corner].mean() < 8
    if transparent:
        assert rgb(output)[10, 10].min() > 250


@pytest.mark.parametrize("mode", ["L", "1", "LA", "I;16"])
def test_grey_images_keep_their_brightness(render: Render, tmp_path: Path, mode: str) -> None:
    grey = Image.new("L", (400, 300), 100)
    grey.paste(200, (200, 0, 400, 300))
    if mode == "I;16":
        source = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    else:
        source = grey.convert(mode, dither=Image.Dither.NONE) if mode == "1" else grey.convert(mode)
    source.save(tmp_path / "source", "PNG")
    pixels = rgb(render(tmp_path / "source", jpeg("jpeg", 200, 200))["jpeg"])
    expected = (0, 255) if mode == "1" else (100, 200)
    assert abs(pixels[75, 20].mean() - expected[0]) < 4
    assert abs(pixels[75, 180].mean() - expected[1]) < 4


def test_the_first_frame_of_an_animation_is_taken(render: Render, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (400, 300), colour) for colour in ("red", "green", "blue")]
    frames[0].save(tmp_path / "source", "GIF", save_all=True, append_images=frames[1:], duration=50)
    assert image.probe(tmp_path / "source", Limits()).frames == 3
    outputs = render(tmp_path / "source")
    assert outputs["original"].format == "PNG"
    for output in outputs.values():
        assert np.abs(rgb(output) - [255, 0, 0]).mean() < 4


def test_an_embedded_profile_is_applied_and_a_broken_one_ignored(render: Render, tmp_path: Path) -> None:
    lab = ImageCms.createProfile("LAB", 5000)
    swapped = _profile_with_swapped_primaries()
    picture = Image.new("RGB", (400, 300), (200, 40, 40))
    picture.save(tmp_path / "source", "JPEG", quality=95, icc_profile=swapped)
    red, green, _ = rgb(render(tmp_path / "source", jpeg("jpeg", 200, 200))["jpeg"])[50, 50]
    assert green > red + 50

    for number, profile in enumerate((b"nonsense", swapped[:200], ImageCms.ImageCmsProfile(lab).tobytes())):
        source = tmp_path / f"source{number}"
        picture.save(source, "JPEG", quality=95, icc_profile=profile)
        (tmp_path / "outputs").rename(tmp_path / f"outputs{number}")
        output = render(source, jpeg("jpeg", 200, 200))["jpeg"]
        assert np.abs(rgb(output) - [200, 40, 40]).mean() < 4


def _profile_with_swapped_primaries() -> bytes:
    """Return an RGB profile, not called sRGB, in which the red primary is sRGB's green and the other way round."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {
        bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * int.from_bytes(profile[128:132], "big"), 12)
    }
    red, green = tags[b"rXYZ"], tags[b"gXYZ"]
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    for name in ("sRGB".encode("utf-16-be"), b"sRGB"):
        while name in profile:
            at = profile.index(name)
            profile[at : at + len(name)] = "test".encode("utf-16-be") if len(name) == 8 else b"test"
    return bytes(profile)


def test_more_pixels_than_allowed_are_refused_before_decoding(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    (tmp_path / "bomb").write_bytes(buffer.getvalue())
    for limits in (Limits(max_pixels=1_000_000), Limits(max_pixels=399_999_999), Limits()):
        with pytest.raises(MediaError) as caught:
            image.probe(tmp_path / "bomb", limits)
        assert caught.value.reason is Reason.LIMIT_EXCEEDED


def test_the_limit_itself_is_allowed(render: Render, tmp_path: Path) -> None:
    scene(400, 300).save(tmp_path / "source", "PNG")
    assert render(tmp_path / "source", jpeg("a", 10, 10), limits=Limits(max_pixels=120_000))
    with pytest.raises(MediaError):
        image.probe(tmp_path / "source", Limits(max_pixels=119_999))


def test_frames_and_their_sum_are_limited(tmp_path: Path) -> None:
    frames = [Image.new("L", (100, 100), shade * 10) for shade in range(20)]
    frames[0].save(tmp_path / "gif", "GIF", save_all=True, append_images=frames[1:])
    assert image.probe(tmp_path / "gif", Limits(max_frames=20)).frames == 20
    for limits in (Limits(max_frames=19), Limits(max_pixels=10_000)):
        with pytest.raises(MediaError) as caught:
            image.probe(tmp_path / "gif", limits)
        assert caught.value.reason is Reason.LIMIT_EXCEEDED


def test_bad_exif_does_not_spoil_a_good_image(render: Render, tmp_path: Path) -> None:
    scene().save(tmp_path / "source", "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 40)
    assert render(tmp_path / "source", jpeg("jpeg", 300, 300))["jpeg"].size == (300, 200)


@pytest.mark.parametrize(
    "rendition",
    [
        Rendition(name="r", kind=Kind.IMAGE, format=Format.MP4),
        Rendition(name="r", kind=Kind.IMAGE, format=Format.JPEG, fit=Fit.COVER, width=10),
    ],
)
def test_what_cannot_be_made_is_refused(render: Render, tmp_path: Path, rendition: Rendition) -> None:
    scene().save(tmp_path / "source", "PNG")
    with pytest.raises(MediaError) as caught:
        render(tmp_path / "source", rendition)
    assert caught.value.reason is Reason.INVALID_RENDITION


def test_a_webp_that_is_too_long_is_refused(render: Render, tmp_path: Path) -> None:
    Image.new("RGB", (17_000, 2)).save(tmp_path / "source", "PNG")
    with pytest.raises(MediaError) as caught:
        render(tmp_path / "source", Rendition(name="r", kind=Kind.IMAGE, format=Format.WEBP))
    assert caught.value.reason is Reason.INVALID_RENDITION
