"""The way that most programs make image renditions: everything anew for each of them. The measure for our own."""

from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from mediaasset.task import Fit, Format, Rendition


def render(source: Path, renditions: tuple[Rendition, ...], directory: Path) -> None:
    """Write each rendition by opening, fully decoding, transposing and resizing the source once more."""
    for rendition in renditions:
        with Image.open(source) as image:
            resized(ImageOps.exif_transpose(image), rendition).save(directory / rendition.name, **_options(rendition))


def resized(image: Image.Image, rendition: Rendition) -> Image.Image:
    """Return the pixels of a rendition, straight from full size: also what the quality of all outputs is held to."""
    cut = ImageOps.fit if rendition.fit is Fit.COVER else ImageOps.contain
    return cut(image, (rendition.width or image.width, rendition.height or image.height), Image.Resampling.LANCZOS)


def _options(rendition: Rendition) -> dict[str, Any]:
    if rendition.format is Format.WEBP:
        return {"format": "WEBP", "quality": rendition.quality, "method": 4}
    return {"format": "JPEG", "quality": rendition.quality, "subsampling": "4:2:0"}


def copy(source: Path, path: Path) -> None:
    """Decode an image once and encode it once, at full size and with the settings of an Original."""
    with Image.open(source) as image:
        if image.format == "JPEG":
            image.save(path, "JPEG", quality=92, subsampling="4:2:0")
        else:
            image.save(path, "PNG")
