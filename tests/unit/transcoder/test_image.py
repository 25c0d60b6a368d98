import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from media_transcoder import image
from mediaasset.media import Kind
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Fit, Format, Limits, Rendition
from pictures import STORED, gps_exif, jpeg, rgb, scene, similarity, stored

Render = Callable[..., dict[str, Image.Image]]


@pytest.mark.parametrize("orientation", STORED)
def test_every_orientation_comes_out_upright_without_metadata(orientation: int, render: Render, tmp_path: Path) -> None:
    upright = scene(1800, 1200)
    source = tmp_path / "source"
    stored(upright, orientation).save(source, "JPEG", quality=95, exif=gps_exif(orientation), comment=b"secret")
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
        Rendition(name="r", kind=Kind.IMAGE, format=Format.JPEG, fit=Fit.EXACT, height=10),
        Rendition(name="r", kind=Kind.IMAGE, format=Format.JPEG, animated=True),
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
