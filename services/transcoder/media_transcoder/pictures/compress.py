"""Writing images: the settings of each format, and quality given up where a file may not be larger than it may."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from media_transcoder.faults import blaming
from media_transcoder.media import Media
from media_transcoder.messages import Rendered
from media_transcoder.pictures import colour, imagefile
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Format, Rendition

#: Where a rendition states no quality. AVIF's gives the SSIM of JPEG's at two thirds of its bytes.
_QUALITY = {"JPEG": 85, "WEBP": 80, "AVIF": 77}
_ORIGINAL_QUALITY = 92
_SETTINGS: dict[str, dict[str, Any]] = {
    "JPEG": {"subsampling": "4:2:0"},
    "WEBP": {"method": 4},
    # Level 4 of zlib takes half the time of 6; photographs come out as large, graphics 7 % larger.
    "PNG": {"compress_level": 4},
    # Speed 9 takes 0.6 to 1.6 times as long as WebP, speed 8 twice to four times that for 2 % of the bytes.
    "AVIF": {"speed": 9, "max_threads": 1},
}
#: The longest side of a WebP (RFC 9649, 14 bits) and of a JPEG (16 bits, libjpeg stops before).
_LONGEST_SIDE = {"WEBP": 16_383, "JPEG": 65_500}
#: The shares of the quality asked for that are tried, one after the other, to keep max_bytes.
_QUALITY_STEPS = (1.0, 0.9, 0.8, 0.7, 0.6)
#: Photographs come in these: as PNG, one of 12 megapixels would have 20 MB.
_PHOTOGRAPHIC = ("image/jpeg", "image/heic")


def save(image: Image.Image, rendition: Rendition, directory: Path, media: Media) -> Rendered:
    """Encode one rendition from RGB or RGBa.

    Raises MediaError: InvalidRendition where the format cannot hold it, LimitExceeded where it is too large.
    """
    written = _format_of(image, rendition, media)
    image = colour.on_white(image) if written == "JPEG" else image
    image = image.convert("RGBA") if image.mode == "RGBa" else image
    return write(image, rendition, directory, written, {})


def write(
    image: Image.Image, rendition: Rendition, directory: Path, written: str, options: Mapping[str, Any]
) -> Rendered:
    """Encode an image in the mode that it has, as often as max_bytes asks for, with further options of the format.

    Raises MediaError: InvalidRendition where the format cannot hold it, LimitExceeded where it is too large.
    """
    longest = _LONGEST_SIDE.get(written)
    if longest is not None and max(image.size) > longest:
        raise MediaError(
            Reason.INVALID_RENDITION, f"{rendition.name}: a {written} has at most {longest} pixels on a side."
        )
    imagefile.use(written)
    path = directory / rendition.name
    for settings in _attempts(rendition, written):
        with blaming(Reason.INVALID_RENDITION):
            image.save(path, written, **settings, **options)
        if rendition.max_bytes is None or path.stat().st_size <= rendition.max_bytes:
            break
    else:
        raise MediaError(
            Reason.LIMIT_EXCEEDED,
            f"{rendition.name}: {path.stat().st_size} bytes are more than {rendition.max_bytes}.",
        )
    return Rendered(
        name=rendition.name,
        file=rendition.name,
        mime_type=imagefile.MIME_TYPES[written],
        width=image.width,
        height=image.height,
    )


def _attempts(rendition: Rendition, written: str) -> list[dict[str, Any]]:
    """Return the settings to try, the best first."""
    if written not in _QUALITY:
        return [_SETTINGS[written]]
    is_original = rendition.format is Format.ORIGINAL
    asked = rendition.quality or (_ORIGINAL_QUALITY if is_original else _QUALITY[written])
    # An Original of less than its quality would be none.
    steps = _QUALITY_STEPS[:1] if rendition.max_bytes is None or is_original else _QUALITY_STEPS
    return [{"quality": max(1, round(asked * step)), **_SETTINGS[written]} for step in steps]


def _format_of(image: Image.Image, rendition: Rendition, media: Media) -> str:
    if rendition.format is not Format.ORIGINAL:
        return rendition.format.upper()
    return "JPEG" if media.mime_type in _PHOTOGRAPHIC and image.mode == "RGB" else "PNG"
