"""Images: one reduced decode, a cascade of sizes, no metadata.

The recipe is the fastest at equal quality with a stock Pillow: the JPEG decoder scales by 1/2, 1/4 or 1/8 while it
decodes (draft mode), the largest size is made from that, and each smaller one from the one before it. An Original is
the largest size of all, so that nothing is decoded twice.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from PIL import Image

from media_transcoder.confine import DEFAULT_MAX_PIXELS
from media_transcoder.faults import blaming
from media_transcoder.media import Media, Work, Workplace
from media_transcoder.pictures import animation, compress
from media_transcoder.pictures.geometry import Size, scale_of, scaled
from media_transcoder.pictures.imagefile import (
    REDUCING_GAP,
    fitted,
    frames_of,
    loaded,
    mime_of,
    open_image,
    orientation_of,
    turned,
)
from mediaasset.media import Kind
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Fit, Format, Limits, Rendition

_FORMATS = (Format.JPEG, Format.PNG, Format.WEBP, Format.AVIF, Format.ORIGINAL)
#: How much larger than the largest still image an animation may be in all its frames together. For a still rendition
#: only the first is decoded, but the others are walked over.
_ANIMATION_FACTOR = 10


def probe(path: Path, limits: Limits) -> Media:
    """Read an image's header. Raises MediaError: Undecodable, and LimitExceeded by pixels, frames or their sum."""
    max_pixels = limits.max_pixels or DEFAULT_MAX_PIXELS
    with open_image(path, max_pixels) as image:
        area = image.width * image.height
        if area > max_pixels:
            raise MediaError(
                Reason.LIMIT_EXCEEDED, f"{image.width} x {image.height} are more than {max_pixels} pixels."
            )
        with blaming(Reason.UNDECODABLE):
            frames = frames_of(image, path, limits.max_frames)
        if limits.max_frames is not None and frames > limits.max_frames:
            raise MediaError(Reason.LIMIT_EXCEEDED, f"There are more than {limits.max_frames} frames.")
        if area * frames > max_pixels * _ANIMATION_FACTOR:
            raise MediaError(Reason.LIMIT_EXCEEDED, "All frames together hold too many pixels.")
        width, height = turned(image.size, orientation_of(image, path))
        mime = mime_of(image)
        return Media(
            kind=Kind.IMAGE,
            mime_type=mime,
            width=width,
            height=height,
            frames=frames,
            codecs=(mime.removeprefix("image/"),),
        )


def render(media: Media, renditions: Sequence[Rendition], place: Workplace) -> Iterator[Work]:
    """Yield each rendition and what makes it, the large ones first. Raises MediaError: Undecodable, InvalidRendition.

    What is made of an animation raises NotApplicable for a still image, and LimitExceeded when it is larger than
    max_bytes even at low quality.
    """
    for rendition in renditions:
        _check(rendition)
    size = (media.width or 1, media.height or 1)
    still = [rendition for rendition in renditions if not rendition.animated]
    still.sort(key=lambda rendition: (scale_of(rendition, size), rendition.fit is not Fit.COVER), reverse=True)
    for rendition, image in _cascade(place, size, still) if still else ():
        yield rendition, partial(compress.save, image, rendition, place.directory, media)
    for rendition in renditions:
        if rendition.animated:
            yield rendition, partial(animation.make, media, rendition, place)


def _cascade(place: Workplace, size: Size, renditions: Sequence[Rendition]) -> Iterator[tuple[Rendition, Image.Image]]:
    """Yield the pixels of each rendition, given by falling scale; only the first frame is decoded."""
    current = _load(place, scaled(size, scale_of(renditions[0], size)))
    for rendition in renditions:
        target = scaled(size, scale_of(rendition, size))
        # What is cut off need not be made smaller first, and nothing else is made from it.
        if rendition.fit is not Fit.COVER and current.size != target:
            current = current.resize(target, Image.Resampling.LANCZOS, reducing_gap=REDUCING_GAP)
        yield rendition, fitted(current, rendition, size)


def _load(place: Workplace, target: Size) -> Image.Image:
    with open_image(place.source, place.limits.max_pixels or DEFAULT_MAX_PIXELS) as source, blaming(Reason.UNDECODABLE):
        return loaded(source, target, orientation_of(source, place.source))


def _check(rendition: Rendition) -> None:
    if rendition.format not in _FORMATS or (rendition.animated and rendition.format is not Format.WEBP):
        raise MediaError(Reason.INVALID_RENDITION, f"{rendition.name}: {rendition.format} cannot be made of an image.")
    if rendition.fit is not Fit.INSIDE and not (rendition.width and rendition.height):
        raise MediaError(Reason.INVALID_RENDITION, f"{rendition.name}: {rendition.fit} needs width and height.")
