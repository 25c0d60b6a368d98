"""Colours come out as what a colour-managed viewer shows: held to littlecms at full size, and to plain arithmetic."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from mediaasset.media import Kind
from mediaasset.task import Format, Rendition
from pictures import (
    ADOBE_RGB,
    DISPLAY_P3,
    PNG,
    cmyk_profile,
    distance,
    grey_profile,
    jpeg,
    rgb,
    rgb_profile,
    scene,
)

Render = Callable[..., dict[str, Image.Image]]

SMALL = Rendition(name="small", kind=Kind.IMAGE, format=Format.PNG, width=150, height=150)


def to_linear(values: np.ndarray) -> np.ndarray:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def from_linear(values: np.ndarray) -> np.ndarray:
    values = values.clip(0, 1)
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055)


RAMP = np.arange(1024) / 1023
SRGB_CURVE, LINEAR = [float(value) for value in to_linear(RAMP)], [0.0, 1.0]
GAMMA = [float(value) for value in RAMP**2.19921875]
DARK = [float(value) for value in RAMP**3]
#: From linear light of each space to that of sRGB (CSS Color 4, 17.3; all have the white of D65).
P3_TO_SRGB = np.array([[1.2249, -0.2249, 0], [-0.0420, 1.0420, 0], [-0.0197, -0.0786, 1.0983]])
ADOBE_TO_SRGB = np.array([[1.3983, -0.3983, 0], [0, 1, 0], [0, -0.0429, 1.0429]])
#: The same primaries as sRGB's, adapted to D50.
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))


@pytest.mark.parametrize(
    ("profile", "linear", "matrix"),
    [
        (rgb_profile(DISPLAY_P3, SRGB_CURVE), to_linear, P3_TO_SRGB),
        (rgb_profile(ADOBE_RGB, GAMMA), lambda values: values**2.19921875, ADOBE_TO_SRGB),
        # Called sRGB by those who make it, and yet another curve.
        (rgb_profile(SRGB, LINEAR) + b"desc sRGB linear", lambda values: values, np.eye(3)),
    ],
    ids=["Display P3", "Adobe RGB", "linear"],
)
@pytest.mark.parametrize("written", ["PNG", "JPEG", "WEBP", "AVIF"])
def test_wide_gamut_is_converted_as_arithmetic_says(
    render: Render,
    tmp_path: Path,
    *,
    written: str,
    profile: bytes,
    linear: Callable[[np.ndarray], np.ndarray],
    matrix: np.ndarray,
) -> None:
    picture = scene(450, 300)
    picture.save(tmp_path / "source", written, quality=95, icc_profile=profile)
    with Image.open(tmp_path / "source") as source:
        pixels = linear(rgb(source) / 255) @ matrix.T
    expected = Image.fromarray((from_linear(pixels) * 255).round().astype(np.uint8))

    outputs = render(tmp_path / "source", PNG, SMALL)

    assert distance(outputs["png"], expected) < 0.4
    assert distance(outputs["small"], expected.resize((150, 100), Image.Resampling.LANCZOS)) < 0.5
    assert distance(outputs["png"], picture) > 1
    assert "icc_profile" not in outputs["png"].info


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_a_grey_profile_is_applied_to_grey_only(render: Render, tmp_path: Path, mode: str) -> None:
    picture = scene(450, 300)
    picture.convert(mode).save(tmp_path / "source", "PNG", icc_profile=grey_profile(DARK))
    grey = np.asarray(picture.convert("L")) / 255
    expected = Image.fromarray((from_linear(grey**3) * 255).round().astype(np.uint8))
    assert distance(render(tmp_path / "source", PNG)["png"], expected) < 0.5

    (tmp_path / "outputs").rename(tmp_path / "before")
    picture.save(tmp_path / "source", "PNG", icc_profile=grey_profile(DARK))
    assert distance(render(tmp_path / "source", PNG)["png"], picture) == 0


def press(inks: tuple[int, int, int, int]) -> tuple[float, float, float]:
    """Return what overprints look like on coated paper, roughly those of ISO 12647-2."""
    cyan, magenta, yellow, black = inks
    if black:
        return 16 - 4 * (cyan + magenta + yellow), 0, 0
    return {
        (0, 0, 0): (95, 0, -2),
        (1, 0, 0): (55, -37, -50),
        (0, 1, 0): (48, 74, -3),
        (0, 0, 1): (89, -5, 93),
        (1, 1, 0): (24, 22, -46),
        (1, 0, 1): (50, -65, 27),
        (0, 1, 1): (47, 68, 48),
        (1, 1, 1): (23, 0, 0),
    }[cyan, magenta, yellow]


def test_cmyk_is_converted_by_its_profile(render: Render, tmp_path: Path) -> None:
    profile, picture = cmyk_profile(press), scene(450, 300).convert("CMYK")
    picture.save(tmp_path / "source", "JPEG", quality=95, subsampling=0, icc_profile=profile)
    with Image.open(tmp_path / "source") as source:
        expected = ImageCms.profileToProfile(
            source, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    assert expected is not None
    outputs = render(tmp_path / "source", jpeg("small", 150, 150), jpeg("large", 900, 900, quality=100))
    assert distance(outputs["large"], expected) < 1
    assert distance(outputs["small"], expected.resize((150, 100), Image.Resampling.LANCZOS)) < 1.5
    assert distance(outputs["large"], picture.convert("RGB")) > 5


def adobe_jpeg(picture: Image.Image, transform: int) -> bytes:
    """Write an RGB picture as JPEG of four channels, as Photoshop does: inverted, and as CMYK (0) or YCCK (2)."""
    inks = np.asarray(picture.convert("CMYK")).copy()
    if transform == 2:
        # The decoder takes the first three for YCbCr and makes of them the inverse of what is stored otherwise.
        inks[..., :3] = 255 - np.asarray(Image.fromarray(inks[..., :3], "RGB").convert("YCbCr"))
    buffer = io.BytesIO()
    Image.fromarray(inks, "CMYK").save(buffer, "JPEG", quality=97, subsampling=0)
    content = buffer.getvalue()
    at = content.index(b"Adobe") + 11
    return content[:at] + bytes([transform]) + content[at + 1 :]


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
@pytest.mark.parametrize("transform", [0, 2])
def test_cmyk_without_a_profile_is_not_inverted(render: Render, tmp_path: Path, transform: int) -> None:
    picture = scene(450, 300)
    (tmp_path / "source").write_bytes(adobe_jpeg(picture, transform))
    outputs = render(tmp_path / "source", jpeg("small", 150, 150), PNG)
    assert outputs["small"].mode == "RGB"
    assert distance(outputs["png"], picture) < 2
    assert distance(outputs["small"], picture.resize((150, 100), Image.Resampling.LANCZOS)) < 2


def test_a_broken_or_foreign_profile_is_ignored(render: Render, tmp_path: Path) -> None:
    picture = scene(450, 300)
    good = rgb_profile(ADOBE_RGB, GAMMA)
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB", 5000)).tobytes()
    for number, profile in enumerate((b"nonsense", good[:200], lab, cmyk_profile(press))):
        source = tmp_path / f"source{number}"
        picture.save(source, "PNG", icc_profile=profile)
        assert distance(render(source, PNG)["png"], picture) == 0
        (tmp_path / "outputs").rename(tmp_path / f"outputs{number}")


def test_a_profile_that_is_srgb_changes_nothing(render: Render, tmp_path: Path) -> None:
    picture = scene(450, 300)
    picture.save(tmp_path / "source", "PNG", icc_profile=rgb_profile(SRGB, SRGB_CURVE))
    assert distance(render(tmp_path / "source", PNG)["png"], picture) == 0


def test_alpha_stays_with_the_colours_of_a_profile(render: Render, tmp_path: Path) -> None:
    picture = scene(450, 300).convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    picture.save(tmp_path / "source", "PNG", icc_profile=rgb_profile(ADOBE_RGB, GAMMA))
    output = render(tmp_path / "source", PNG)["png"]
    pixels = from_linear((rgb(picture) / 255) ** 2.19921875 @ ADOBE_TO_SRGB.T) * 255
    opaque = np.asarray(picture)[..., 3] > 128
    assert np.array_equal(np.asarray(output)[..., 3], np.asarray(picture)[..., 3])
    # Colours are multiplied by alpha and divided again, in 8 bits.
    assert np.abs(np.asarray(output)[..., :3] - pixels)[opaque].mean() < 2
