"""Images: one reduced decode, a cascade of sizes, no metadata.

The recipe is the fastest at equal quality with a stock Pillow: the JPEG decoder scales by 1/2, 1/4 or 1/8 while it
decodes (draft mode), the largest size is made from that, and each smaller one from the one before it.
"""

import io
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

# Importing the plugins by name keeps Pillow from importing all of its forty, of which one starts Ghostscript.
from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from media_transcoder.confine import DEFAULT_MAX_PIXELS
from media_transcoder.faults import blaming
from media_transcoder.geometry import Size, centre, scale_of, scaled, size_of
from media_transcoder.media import Media, Work, Workplace
from media_transcoder.messages import Rendered
from mediaasset.media import Kind
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Fit, Format, Limits, Rendition

FORMATS = tuple(
    plugin.format
    for plugin in (
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        WebPImagePlugin.WebPImageFile,
        GifImagePlugin.GifImageFile,
        BmpImagePlugin.BmpImageFile,
    )
)
# MPO is a JPEG with further pictures behind it, as phones write them; only the first counts.
_MIME_TYPES = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
}

#: How much larger than the largest still image an animation may be in all its frames together. Only the first is
#: decoded, but the others are walked over.
_ANIMATION_FACTOR = 10
#: How far reducing by whole factors may go before LANCZOS takes over: less than 2 costs 0.0003 of SSIM and gains 16 %.
_REDUCING_GAP = 1.5
_JPEG_QUALITY = 85
_WEBP_QUALITY = 80
_ORIGINAL_QUALITY = 92
#: The longest side of a WebP (RFC 9649, 14 bits) and of a JPEG (16 bits, libjpeg stops before).
_LONGEST_SIDE = {"WEBP": 16_383, "JPEG": 65_500}

_ORIENTATION = 0x0112
#: What brings an image of each EXIF orientation upright (EXIF 2.32, tag 274).
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
#: From here on width and height change places.
_FIRST_TURNED = 5


def open_image(path: Path, max_pixels: int) -> Image.Image:
    """Open an image of a supported format; only its header is read. Raises MediaError: Undecodable, LimitExceeded."""
    # Pillow's own guard is set to the same limit, for what an image may hold inside.
    Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        with blaming(Reason.UNDECODABLE):
            return Image.open(path, formats=FORMATS)
    except MediaError as error:
        if isinstance(error.__cause__, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
            raise MediaError(Reason.LIMIT_EXCEEDED, f"The image has more than {max_pixels} pixels.") from error
        raise


def strict_warnings() -> None:
    """Make errors of Pillow's warnings, as they announce a bomb or a damaged file; not those about metadata."""
    warnings.simplefilter("error")
    # The reader of EXIF is that of TIFF. Bad EXIF is common, and is thrown away with the good.
    warnings.filterwarnings("ignore", module=r"PIL\.TiffImagePlugin")
    warnings.filterwarnings("ignore", message="Image appears to be a malformed MPO file")


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
            frames = 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))
        if limits.max_frames is not None and frames > limits.max_frames:
            raise MediaError(Reason.LIMIT_EXCEEDED, f"{frames} frames are more than {limits.max_frames}.")
        if area * frames > max_pixels * _ANIMATION_FACTOR:
            raise MediaError(Reason.LIMIT_EXCEEDED, "All frames together hold too many pixels.")
        width, height = _turned(image.size, _orientation(image))
        mime = _MIME_TYPES[image.format or ""]
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

    The source of an Original is decoded a second time if the others were made from a reduced one.
    """
    size = (media.width or 1, media.height or 1)
    for rendition in renditions:
        _check(rendition)
    bounded = [rendition for rendition in renditions if rendition.format is not Format.ORIGINAL]
    bounded.sort(key=lambda rendition: (scale_of(rendition, size), rendition.fit is Fit.INSIDE), reverse=True)
    pixels = _cascade(place, size, bounded) if bounded else ()
    for rendition, image in pixels:
        yield rendition, partial(_save, image, rendition, place.directory, _format_of(rendition, media))
    for rendition in renditions:
        if rendition.format is Format.ORIGINAL:
            full = _load(place, size)
            yield rendition, partial(_save, full, rendition, place.directory, _format_of(rendition, media))


def _cascade(place: Workplace, size: Size, renditions: Sequence[Rendition]) -> Iterator[tuple[Rendition, Image.Image]]:
    """Yield the pixels of each rendition, given by falling scale."""
    current = _load(place, scaled(size, scale_of(renditions[0], size)))
    for rendition in renditions:
        target = size_of(rendition, size)
        if rendition.fit is Fit.COVER:
            box = centre(current.size, target)
            yield rendition, current.resize(target, Image.Resampling.LANCZOS, box=box, reducing_gap=_REDUCING_GAP)
            continue
        if current.size != target:
            current = current.resize(target, Image.Resampling.LANCZOS, reducing_gap=_REDUCING_GAP)
        yield rendition, current


def _load(place: Workplace, target: Size) -> Image.Image:
    """Decode the first frame and bring it, upright, to `target`, which is at most its own size.

    Comes back as RGB or as RGBa, with the colours multiplied by alpha: so sizes can be made from it without a dark
    fringe, and without multiplying again for each. The profile is applied, all metadata are gone.
    """
    with open_image(place.source, place.limits.max_pixels or DEFAULT_MAX_PIXELS) as source, blaming(Reason.UNDECODABLE):
        orientation = _orientation(source)
        turned = _turned(target, orientation)
        source.draft("RGB", turned)
        source.load()
        profile = source.info.get("icc_profile")
        image = _plain(source)
        if image.size != turned:
            image = image.resize(turned, Image.Resampling.LANCZOS, reducing_gap=_REDUCING_GAP)
    # Turning and the profile cost least when the image is small.
    if orientation in _TRANSPOSITIONS:
        image = image.transpose(_TRANSPOSITIONS[orientation])
    image = _to_srgb(image, profile)
    image.info.clear()
    return image


def _plain(image: Image.Image) -> Image.Image:
    """Return an image as RGB, RGBa or CMYK: modes that can be resized. Raises what Pillow raises."""
    if image.mode.startswith("I;16"):
        # Pillow's own conversion clips at 255 instead of scaling down.
        image = image.convert("I").point(lambda value: value / 256).convert("L")
    if image.mode in ("RGB", "CMYK"):
        if not image.has_transparency_data:
            return image
    elif not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    lowest, _ = image.getchannel("A").getextrema()
    return image.convert("RGB") if lowest == 255 else image.convert("RGBa")  # noqa: PLR2004 - opaque in 8 bits


def _to_srgb(image: Image.Image, profile: Any) -> Image.Image:
    """Apply an embedded profile. A broken one is ignored, as browsers do."""
    plain = image.convert("RGBA") if image.mode == "RGBa" else image
    # Nearly all profiles are sRGB itself: their names are ASCII in version 2 and UTF-16 in version 4.
    if isinstance(profile, bytes) and b"sRGB" not in profile and "sRGB".encode("utf-16-be") not in profile:
        # Few images need it, and it costs time to import.
        from PIL import ImageCms  # noqa: PLC0415

        try:
            plain = _applied(ImageCms, plain, profile)
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            pass
        else:
            return plain.convert("RGBa") if plain.mode == "RGBA" else plain
    return image if image.mode in ("RGB", "RGBa") else image.convert("RGB")


def _applied(cms: Any, image: Image.Image, profile: bytes) -> Image.Image:
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    source = cms.ImageCmsProfile(io.BytesIO(profile))
    if source.profile.xcolor_space.strip() == "GRAY":
        image = image.convert("L")
    converted: Image.Image = cms.profileToProfile(image, source, cms.createProfile("sRGB"), outputMode=mode)
    return converted


def _save(image: Image.Image, rendition: Rendition, directory: Path, written: str) -> Rendered:
    """Encode one rendition. Raises MediaError (InvalidRendition) where the format cannot hold it."""
    longest = _LONGEST_SIDE.get(written)
    if longest is not None and max(image.size) > longest:
        raise MediaError(
            Reason.INVALID_RENDITION, f"{rendition.name}: a {written} has at most {longest} pixels on a side."
        )
    if image.mode == "RGBa":
        image = image.convert("RGBA")
    options: dict[str, Any] = {}
    if written == "JPEG":
        image = _on_white(image)
        default = _ORIGINAL_QUALITY if rendition.format is Format.ORIGINAL else _JPEG_QUALITY
        options = {"quality": rendition.quality or default, "subsampling": "4:2:0"}
    elif written == "WEBP":
        options = {"quality": rendition.quality or _WEBP_QUALITY, "method": 4}
    with blaming(Reason.INVALID_RENDITION):
        image.save(directory / rendition.name, written, **options)
    return Rendered(
        name=rendition.name,
        file=rendition.name,
        mime_type=_MIME_TYPES[written],
        width=image.width,
        height=image.height,
    )


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image)
    return white


def _format_of(rendition: Rendition, media: Media) -> str:
    if rendition.format is Format.ORIGINAL:
        return "JPEG" if media.mime_type == "image/jpeg" else "PNG"
    return rendition.format.upper()


def _check(rendition: Rendition) -> None:
    if rendition.format not in (Format.JPEG, Format.PNG, Format.WEBP, Format.ORIGINAL):
        raise MediaError(Reason.INVALID_RENDITION, f"{rendition.name}: {rendition.format} cannot be made of an image.")
    if rendition.fit is Fit.COVER and not (rendition.width and rendition.height):
        raise MediaError(Reason.INVALID_RENDITION, f"{rendition.name}: Cover needs width and height.")


def _orientation(image: Image.Image) -> int:
    # Metadata may be any nonsense; an image without a readable orientation is upright.
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001
        return 1
    return found if isinstance(found, int) else 1


def _turned(size: Size, orientation: int) -> Size:
    """Return a size with its sides swapped where the orientation swaps them, which is so both ways."""
    return (size[1], size[0]) if _FIRST_TURNED <= orientation <= max(_TRANSPOSITIONS) else size
