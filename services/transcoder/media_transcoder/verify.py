"""Every output is opened again and held to what was asked, before anything of it is published."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from media_transcoder import image
from media_transcoder.command import DEMUXERS, ffprobe
from media_transcoder.encode import MP3_SAMPLE_RATE, tolerance
from media_transcoder.geometry import even_size_of, size_of
from media_transcoder.media import Media
from media_transcoder.messages import Rendered
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Format, Rendition

_FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}
#: What Pillow keeps in `info` of metadata that a rendition must not have.
_METADATA = ("exif", "icc_profile", "xmp", "XML:com.adobe.xmp", "comment", "photoshop")
#: Boxes of an MP4 that are looked at in search of the index; ours has four.
_MAX_BOXES = 16


def verify(media: Media, rendition: Rendition, rendered: Rendered, path: Path) -> None:
    """Check one output.

    Raises MediaError: InvalidOutput with what is wrong, Undecodable when the output is clearly shorter than its source
    states, since the source then ends before its time.
    """
    try:
        _CHECKS[rendition.format](media, rendition, rendered, path)
    except MemoryError:
        raise
    except _ShortError as error:
        raise MediaError(Reason.UNDECODABLE, str(error)) from error
    except Exception as error:
        text = str(error) if isinstance(error, (_WrongError, MediaError)) else type(error).__name__
        raise MediaError(Reason.INVALID_OUTPUT, f"{rendition.name}: {text}.") from error


class _WrongError(Exception):
    """What is wrong with an output."""


class _ShortError(Exception):
    """The output is sound, but its source ended too early."""


def _require(name: str, found: object, expected: object) -> None:
    if found != expected:
        message = f"{name} is {found}, not {expected}"
        raise _WrongError(message)


def _image(media: Media, rendition: Rendition, rendered: Rendered, path: Path) -> None:
    size = size_of(rendition, (media.width or 1, media.height or 1))
    with Image.open(path, formats=image.FORMATS) as found:
        _require("format", found.format, _FORMATS[rendered.mime_type or ""])
        _require("size", found.size, size)
        _require("announced size", (rendered.width, rendered.height), size)
        _require("metadata", [name for name in _METADATA if name in found.info] + list(found.getexif()), [])
        # Reduced to an eighth, all of the data are still read, at a fraction of the cost.
        found.draft("L", (max(1, size[0] // 8), max(1, size[1] // 8)))
        found.load()


def _video(media: Media, rendition: Rendition, rendered: Rendered, path: Path) -> None:
    size = even_size_of(rendition, (media.width or 2, media.height or 2))
    found = ffprobe(path, DEMUXERS["video/mp4"])
    streams = {stream["codec_type"]: stream for stream in found["streams"]}
    kinds = ["video", "audio"] if media.audio_stream is not None else ["video"]
    _require("list of streams", [stream["codec_type"] for stream in found["streams"]], kinds)
    picture = streams["video"]
    _require("codec", (picture["codec_name"], picture["pix_fmt"]), ("h264", "yuv420p"))
    _require("size", (picture["width"], picture["height"]), size)
    _require("announced size", (rendered.width, rendered.height), size)
    if "audio" in streams:
        _require("codec of the sound", streams["audio"]["codec_name"], "aac")
    _duration(media, found)
    boxes = _boxes(path)
    _require("index before the data", boxes.index("moov") < boxes.index("mdat"), True)  # noqa: FBT003


def _audio(media: Media, _: Rendition, __: Rendered, path: Path) -> None:
    found = ffprobe(path, "mp3")
    _require("list of streams", [stream["codec_name"] for stream in found["streams"]], ["mp3"])
    _require("sample rate", int(found["streams"][0]["sample_rate"]), MP3_SAMPLE_RATE)
    _require("tags", found["format"].get("tags", {}), {})
    _duration(media, found)


def _document(_: Media, __: Rendition, ___: Rendered, path: Path) -> None:
    _require("emptiness", path.stat().st_size == 0, False)  # noqa: FBT003


def _duration(media: Media, found: dict[str, Any]) -> None:
    seconds, stated = float(found["format"]["duration"]), media.duration_seconds
    if not stated or not media.has_exact_duration:
        return
    if seconds < stated - tolerance(stated):
        message = f"The file ends after {seconds:.1f} of {stated:.1f} seconds."
        raise _ShortError(message)
    if seconds > stated + tolerance(stated):
        _require("duration", seconds, stated)


def _boxes(path: Path) -> list[str]:
    """Return the types of an ISO media file's outermost boxes (ISO 14496-12, 4.2)."""
    found: list[str] = []
    with path.open("rb") as file:
        while len(found) < _MAX_BOXES and len(head := file.read(16)) >= 8:  # noqa: PLR2004 - size and type
            size = int.from_bytes(head[:4], "big")
            found.append(head[4:8].decode("latin-1"))
            # 1: the size follows in 64 bits; 0: up to the end of the file.
            size = int.from_bytes(head[8:16], "big") if size == 1 else size
            if size == 0:
                break
            file.seek(size - len(head), 1)
    return found


_CHECKS: dict[Format, Callable[[Media, Rendition, Rendered, Path], None]] = {
    Format.JPEG: _image,
    Format.PNG: _image,
    Format.WEBP: _image,
    Format.ORIGINAL: _image,
    Format.MP4: _video,
    Format.MP3: _audio,
    Format.COPY: _document,
}
