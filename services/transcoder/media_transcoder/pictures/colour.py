"""Colour: whatever a decoder gives, as sRGB in 8 bits, with its alpha.

An embedded ICC profile is applied as browsers do: by littlecms, perceptually, without black point compensation, and
ignored where it is broken or belongs to another kind of image. CMYK without one is converted as browsers do, too.
The chunks gAMA, cHRM and cICP of PNG are ignored.
"""

import io
from functools import lru_cache
from typing import Any

from PIL import Image

#: The levels of red, green and blue between which a profile is compared with sRGB.
_LEVELS = range(0, 256, 51)
#: What a profile changes by no more than this many levels of 255 anywhere, it does not change.
_TOLERANCE = 1
_GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F")
#: What a grey level of a PNG of few bits is multiplied by to have 8, by the decoder's mode.
_GREY_FACTORS = {"L;2": 85, "L;4": 17}


def raw_mode(image: Image.Image) -> str:
    """Return how the pixels are stored in a file that is not decoded yet, as Pillow names it; empty if unknown."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def space_of(image: Image.Image) -> str:
    """Return the colour space of an image as decoded, by the name that ICC profiles have for it."""
    if image.mode in _GREY_MODES:
        return "GRAY"
    return "CMYK" if image.mode == "CMYK" else "RGB"


def plain(image: Image.Image, stored: str) -> Image.Image:
    """Return a decoded image as RGB, RGBa or CMYK: modes that can be resized. Raises what Pillow raises.

    `stored` is its raw_mode, which tells what its transparent colour refers to.
    """
    transparency = image.info.get("transparency")
    if image.mode.startswith("I;16"):
        return _plain_16(image, transparency)
    if image.mode in ("RGB", "CMYK") and not image.has_transparency_data:
        return image
    if not image.has_transparency_data or _is_unset(image):
        return image.convert("RGB")
    # Pillow widens the pixels of a PNG to 8 bits or narrows them, but not its transparent colour.
    if stored in _GREY_FACTORS and isinstance(transparency, int):
        transparency *= _GREY_FACTORS[stored]
    elif stored == "RGB;16B" and isinstance(transparency, tuple):
        transparency = tuple(level >> 8 for level in transparency)
    if transparency != image.info.get("transparency"):
        image = image.copy()
        image.info["transparency"] = transparency
    return _premultiplied(image.convert("RGBA"))


def _is_unset(image: Image.Image) -> bool:
    """Tell whether the alpha of a BMP was never written: it is 0 everywhere, and browsers show the colours."""
    return image.format == "BMP" and image.mode == "RGBA" and not image.getchannel(3).getbbox()


def _plain_16(image: Image.Image, transparency: Any) -> Image.Image:
    """Return an image of 16 bits of grey as RGB or RGBa: Pillow's own conversion clips at 255."""
    wide = image.convert("I")
    grey = wide.point([level >> 8 for level in range(65_536)], "L")
    if not isinstance(transparency, int):
        return grey.convert("RGB")
    alpha = wide.point([0 if level == transparency else 255 for level in range(65_536)], "L")
    return _premultiplied(Image.merge("RGBA", (grey, grey, grey, alpha)))


def _premultiplied(image: Image.Image) -> Image.Image:
    lowest, _ = image.getchannel(3).getextrema()
    return image.convert("RGB") if lowest == 255 else image.convert("RGBa")  # noqa: PLR2004 - opaque in 8 bits


def to_srgb(image: Image.Image, space: str, profile: Any) -> Image.Image:
    """Bring RGB, RGBa or CMYK to sRGB, as RGB or RGBa, by the profile of the file, whose colour space was `space`."""
    if isinstance(profile, bytes) and (transform := _transform(profile, space)):
        alpha = image.getchannel(3) if image.mode == "RGBa" else None
        colours = image.convert("RGBA").convert("RGB") if alpha else image
        converted: Image.Image = transform.apply(colours.convert("L") if space == "GRAY" else colours)
        if alpha is None:
            return converted
        converted.putalpha(alpha)
        return converted.convert("RGBa")
    return image if image.mode in ("RGB", "RGBa") else image.convert("RGB")


# The frames of an animation share one.
@lru_cache(maxsize=1)
def _transform(profile: bytes, space: str) -> Any:
    """Return what converts an image of a colour space by its profile; None where nothing is to be done."""
    # Most images need none, and littlecms costs time to load.
    from PIL import ImageCms  # noqa: PLC0415

    mode = "L" if space == "GRAY" else space
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != space:
            return None
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return None if space == "RGB" and _is_idle(transform) else transform


def _is_idle(transform: Any) -> bool:
    """Tell whether a transform changes no colour visibly, as most do: their profile is sRGB, by any name."""
    levels = bytes(level for red in _LEVELS for green in _LEVELS for blue in _LEVELS for level in (red, green, blue))
    cube = Image.frombytes("RGB", (len(levels) // 3, 1), levels)
    pairs = zip(levels, transform.apply(cube).tobytes(), strict=True)
    return all(abs(before - after) <= _TOLERANCE for before, after in pairs)


def on_white(image: Image.Image) -> Image.Image:
    """Return an RGB or RGBa image without alpha, on white ground."""
    if image.mode == "RGB":
        return image
    white = Image.new("RGB", image.size, "white")
    white.paste(image.convert("RGBA"), mask=image.getchannel(3))
    return white
