"""The way that most programs make image renditions: everything anew for each of them. The measure for our own."""

from pathlib import Path

from PIL import Image, ImageOps

from mediaasset.task import Fit, Format, Rendition


def render(source: Path, renditions: tuple[Rendition, ...], directory: Path) -> None:
    """Write each rendition by opening, fully decoding, transposing and resizing the source once more."""
    for rendition in renditions:
        box = (rendition.width or 1, rendition.height or 1)
        with Image.open(source) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
        if rendition.fit is Fit.COVER:
            small = ImageOps.fit(upright, box, Image.Resampling.LANCZOS)
        else:
            small = ImageOps.contain(upright, box, Image.Resampling.LANCZOS)
        form = "WEBP" if rendition.format is Format.WEBP else "JPEG"
        small.save(directory / rendition.name, form, quality=rendition.quality)
