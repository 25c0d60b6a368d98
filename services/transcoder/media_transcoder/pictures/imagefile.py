"""A file of an image: opened by one plugin, its header held to the limits, its pixels brought upright and to sRGB."""

import importlib
import io
import mmap
import warnings
from pathlib import Path
from typing import Any

# Importing plugins by name keeps Pillow from importing all of its forty, of which one starts Ghostscript. These three
# are also what most renditions are written with; the others are imported when a file is of their format.
from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from media_transcoder.confine import DEFAULT_MAX_PIXELS
from media_transcoder.faults import blaming
from media_transcoder.pictures import colour
from media_transcoder.pictures.geometry import Size, centre, size_of
from mediaasset.media import SNIFF_BYTES, sniff
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Fit, Rendition

#: The formats of the supported types, as Pillow names them.
FORMATS = {
    "image/jpeg": JpegImagePlugin.JpegImageFile.format,
    "image/png": PngImagePlugin.PngImageFile.format,
    "image/webp": WebPImagePlugin.WebPImageFile.format,
    "image/gif": "GIF",
    "image/bmp": "BMP",
    "image/avif": "AVIF",
    "image/heic": "HEIF",
}
MIME_TYPES = {name: mime for mime, name in FORMATS.items()}

#: How far reducing by whole factors may go before LANCZOS takes over: less than 2 costs 0.0003 of SSIM and gains 16 %.
REDUCING_GAP = 1.5

#: Where the flags of an extended WebP lie, and that of alpha in them.
WEBP_FLAGS, WEBP_ALPHA = 20, 0x10

#: What a compressed chunk of a PNG may hold: an ICC profile with tables, or a drawing that its editor keeps in there.
#: Pillow refuses the whole image beyond 1 MiB, which no browser does; all texts together it holds to 64 MiB.
_PNG_CHUNK_BYTES = 16 * 1024 * 1024

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


def strict_warnings() -> None:
    """Make errors of Pillow's warnings, as they announce a bomb or a damaged file; not those about metadata."""
    warnings.simplefilter("error")
    # The reader of EXIF is that of TIFF. Bad EXIF is common, and is thrown away with the good.
    warnings.filterwarnings("ignore", module=r"PIL\.TiffImagePlugin")
    warnings.filterwarnings("ignore", message="Image appears to be a malformed MPO file")
    # Without a sound announcement of frames a PNG is a still image, to browsers as well.
    warnings.filterwarnings("ignore", message="Invalid APNG")


def use(name: str) -> None:
    """Import the plugin that reads and writes a format, and hold it to one thread: other processors have other work."""
    if name == "HEIF":
        # Thumbnails, depth and auxiliary images are not even looked at.
        heif = importlib.import_module("pi_heif")
        heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
    elif name == "AVIF":
        avif: Any = importlib.import_module("PIL.AvifImagePlugin")
        avif.DEFAULT_MAX_THREADS = 1
    elif name not in Image.OPEN:
        importlib.import_module(f"PIL.{name.capitalize()}ImagePlugin")


def open_image(path: Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> Image.Image:
    """Open an image as what its first bytes say, and as nothing else; only its header is read.

    Raises MediaError: Undecodable, LimitExceeded.
    """
    # Pillow's own guard is set to the same limit, for what an image may hold inside.
    Image.MAX_IMAGE_PIXELS = max_pixels
    PngImagePlugin.MAX_TEXT_CHUNK = _PNG_CHUNK_BYTES
    try:
        with blaming(Reason.UNDECODABLE):
            with path.open("rb") as file:
                head = file.read(SNIFF_BYTES)
            found = sniff(head)
            name = FORMATS[found.mime if found else ""]
            use(name)
            return Image.open(_transparent(path) if _hides_alpha(head) else path, formats=(name,))
    except MediaError as error:
        if isinstance(error.__cause__, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
            raise MediaError(Reason.LIMIT_EXCEEDED, f"The image has more than {max_pixels} pixels.") from error
        raise


def _hides_alpha(head: bytes) -> bool:
    """Tell whether a file is an animated WebP that does not say that it has alpha (RFC 9649, 2.7)."""
    return head[8:16] == b"WEBPVP8X" and len(head) > WEBP_FLAGS and head[WEBP_FLAGS] & 0x12 == 0x02  # noqa: PLR2004


def _transparent(path: Path) -> io.BytesIO:
    # Encoders cut transparent borders off the frames, and then see no alpha. Browsers show what no frame covers as
    # transparent, and Pillow as black unless it is told.
    content = bytearray(path.read_bytes())
    content[WEBP_FLAGS] |= WEBP_ALPHA
    return io.BytesIO(content)


def mime_of(image: Image.Image) -> str:
    """Return the MIME type of an opened image."""
    # MPO is a JPEG with further pictures behind it, as phones write them; only the first counts.
    return MIME_TYPES.get(image.format or "", "image/jpeg")


def frames_of(image: Image.Image, path: Path, limit: int | None) -> int:
    """Return how many frames an opened image shows one after the other, counted to just above the limit.

    Raises what Pillow raises.
    """
    if image.format == "GIF":
        # Pillow needs two seconds for the 700,000 that fit into 10 MB.
        return _gif_frames(path, limit)
    # The further pictures of a JPEG or a HEIC are other views, not moments.
    return 1 if mime_of(image) in ("image/jpeg", "image/heic") else int(getattr(image, "n_frames", 1))


def _gif_frames(path: Path, limit: int | None) -> int:
    """Count the image blocks of a GIF (GIF89a, appendix B) up to one more than the limit."""
    frames = 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at, end = 13 + _table_bytes(data[10]), len(data)
        while at < end and (limit is None or frames <= limit):
            block = data[at]
            if block == ord(";"):
                break
            if block == ord(","):
                if at + 10 > end:
                    break
                frames += 1
                at += 11 + _table_bytes(data[at + 9])
            elif block == ord("!"):
                at += 2
            else:
                at += 1
                continue
            while at < end and data[at]:
                at += data[at] + 1
            at += 1
    return max(1, frames)


def _table_bytes(flags: int) -> int:
    """Return the length of the colour table that the flags of a GIF's screen or image announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def orientation_of(image: Image.Image, path: Path) -> int:
    """Return the EXIF orientation of an opened image, 1 where it has none or a senseless one."""
    # Metadata may be any nonsense; an image without a readable orientation is upright.
    try:
        # Not Pillow's getexif(): it decodes a PNG first, as the chunk may follow the pixels, and where there is none it
        # believes XMP, which no browser does, and which says nothing of an AVIF or HEIC that is turned by its own box.
        exif = Image.Exif()
        exif.load((_png_exif(path) if image.format == "PNG" else image.info.get("exif")) or b"")
        found = exif.get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001
        return 1
    return found if isinstance(found, int) and found in _TRANSPOSITIONS else 1


def _png_exif(path: Path) -> bytes:
    """Return the EXIF of a PNG (chunk eXIf, PNG 3rd edition, 11.3.4.5), empty where it has none."""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:  # noqa: PLR2004 - length and type
            length = int.from_bytes(head[:4], "big")
            if head[4:] == b"eXIf":
                return file.read(length)
            file.seek(length + 4, 1)
    return b""


def turned(size: Size, orientation: int) -> Size:
    """Return a size with its sides swapped where the orientation swaps them, which is so both ways."""
    return (size[1], size[0]) if orientation >= _FIRST_TURNED else size


def loaded(source: Image.Image, target: Size, orientation: int) -> Image.Image:
    """Decode the current frame and bring it, upright, to `target`, which is at most its own size.

    Comes back as RGB or as RGBa, with the colours multiplied by alpha: so sizes can be made from it without a dark
    fringe, and without multiplying again for each. The profile is applied, all metadata are gone. Raises what Pillow
    raises.
    """
    stored = turned(target, orientation)
    source.draft("RGB", stored)
    raw_mode = colour.raw_mode(source)
    source.load()
    space, profile = colour.space_of(source), source.info.get("icc_profile")
    image = colour.plain(source, raw_mode)
    if image.size != stored:
        image = image.resize(stored, Image.Resampling.LANCZOS, reducing_gap=REDUCING_GAP)
    # Turning and the profile cost least when the image is small.
    if orientation in _TRANSPOSITIONS:
        image = image.transpose(_TRANSPOSITIONS[orientation])
    image = colour.to_srgb(image, space, profile)
    if image is source and getattr(source, "is_animated", False):
        # The next frame needs what this one knows.
        image = image.copy()
    image.info = {}
    return image


def fitted(image: Image.Image, rendition: Rendition, size: Size) -> Image.Image:
    """Return a scaled picture of a source of `size` cut to its rendition, or laid on the ground of one: RGB or RGBa."""
    target = size_of(rendition, size)
    if rendition.fit is Fit.COVER:
        box = centre(image.size, target)
        return image.resize(target, Image.Resampling.LANCZOS, box=box, reducing_gap=REDUCING_GAP)
    if rendition.fit is Fit.INSIDE or image.size == target:
        return image
    canvas = Image.new("RGBa", target, (0, 0, 0, 0))
    opaque = image if image.mode == "RGBa" else image.convert("RGBA").convert("RGBa")
    canvas.paste(opaque, ((target[0] - image.width) // 2, (target[1] - image.height) // 2))
    return canvas
