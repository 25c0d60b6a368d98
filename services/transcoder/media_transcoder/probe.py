"""What a source is, by its content and never by its name."""

import math
from pathlib import Path
from typing import Any

from media_transcoder import image, office
from media_transcoder.command import DEMUXERS, ffprobe
from media_transcoder.confine import DEFAULT_MAX_PIXELS
from media_transcoder.faults import blaming
from media_transcoder.media import Media
from mediaasset.media import SNIFF_BYTES, Kind, MediaType, by_file_name, sniff
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Limits, Task

#: More streams than this are in no film that a person made for us, and each costs memory.
MAX_STREAMS = 32
#: H.264's highest level (6.2) holds 139,264 macroblocks of 256 pixels: what cannot be encoded need not be decoded.
MAX_VIDEO_PIXELS = 139_264 * 256

#: What a container of moving pictures is called when there are none in it, and the other way round.
_WITHOUT_VIDEO = {
    "video/mp4": "audio/mp4",
    "video/quicktime": "audio/mp4",
    "video/3gpp": "audio/3gpp",
    "video/webm": "audio/webm",
    "video/x-matroska": "audio/x-matroska",
    "video/x-msvideo": "audio/x-msvideo",
}
_WITH_VIDEO = {"audio/mp4": "video/mp4"}
#: These state no duration: ffprobe multiplies the size by the rate of the first frames.
_ESTIMATED = {"audio/aac", "audio/mpeg", "audio/amr"}

#: As what sniffing gives zip and OLE files, and what tells them apart.
_CONTAINERS = {"docx": office.recognise_zip, "doc": office.recognise_ole}


def recognise(task: Task, path: Path) -> MediaType:
    """Tell the type of a file by its first bytes; office documents are only known as such until `probe`.

    Raises MediaError (UnsupportedType).
    """
    with path.open("rb") as file:
        head = file.read(SNIFF_BYTES)
    named = by_file_name(task.file_name) if task.file_name else None
    declared_text = task.type is Kind.DOCUMENT or (named is not None and named.mime == "text/plain")
    found = sniff(head, declared_text=declared_text)
    if found is None:
        raise _unrecognised(task, named)
    return found


def _unrecognised(task: Task, named: MediaType | None) -> MediaError:
    # Whoever says that it is a picture is better told that it is none.
    declared = task.type or (named.kind if named else None)
    if declared is not None and declared is not Kind.DOCUMENT:
        return MediaError(Reason.UNSUPPORTED_TYPE, f"The content is no {declared.lower()} of a supported format.")
    return MediaError(Reason.UNSUPPORTED_TYPE)


def compare(task: Task, recognised: MediaType, media: Media) -> None:
    """Hold the declared type and the extension of the file name to what was found.

    A container may be declared as either of audio and video when it holds only one of them. Raises MediaError
    (TypeMismatch).
    """
    found = {recognised.kind, media.kind}
    if task.type is not None and task.type not in found:
        raise MediaError(Reason.TYPE_MISMATCH, f"Declared is {task.type}, found was {media.mime_type}.")
    named = by_file_name(task.file_name) if task.file_name else None
    if named is not None and named.kind not in found:
        raise MediaError(
            Reason.TYPE_MISMATCH, f"The file name says {named.kind}, but the content is {media.mime_type}."
        )


def probe(path: Path, recognised: MediaType, limits: Limits) -> Media:
    """Read the headers of a source. Raises MediaError: Undecodable, LimitExceeded, UnsupportedType."""
    if recognised.kind is Kind.DOCUMENT:
        return Media(kind=Kind.DOCUMENT, mime_type=_document(path, recognised).mime)
    if recognised.kind is Kind.IMAGE:
        return image.probe(path, limits)
    found = ffprobe(path, DEMUXERS[recognised.mime])
    with blaming(Reason.UNDECODABLE):
        return _streams(found, recognised)


def check(media: Media, limits: Limits, size_bytes: int) -> None:
    """Hold a source to the limits of its kind. Raises MediaError: SourceTooLarge, LimitExceeded."""
    if limits.max_bytes is not None and size_bytes > limits.max_bytes:
        raise MediaError(Reason.SOURCE_TOO_LARGE, f"{media.kind} sources may have at most {limits.max_bytes} bytes.")
    max_pixels = limits.max_pixels or (MAX_VIDEO_PIXELS if media.kind is Kind.VIDEO else DEFAULT_MAX_PIXELS)
    if media.kind is Kind.VIDEO:
        max_pixels = min(max_pixels, MAX_VIDEO_PIXELS)
    if media.width and media.height and media.width * media.height > max_pixels:
        raise MediaError(Reason.LIMIT_EXCEEDED, f"{media.width} x {media.height} are more than {max_pixels} pixels.")
    if media.streams > MAX_STREAMS:
        raise MediaError(Reason.LIMIT_EXCEEDED, f"{media.streams} streams are more than {MAX_STREAMS}.")
    longest = limits.max_duration_seconds
    if longest is not None and media.duration_seconds is not None and media.duration_seconds > longest:
        raise MediaError(Reason.LIMIT_EXCEEDED, f"It lasts longer than {longest} seconds.")


def _document(path: Path, recognised: MediaType) -> MediaType:
    look_inside = _CONTAINERS.get(recognised.extensions[0])
    found = look_inside(path) if look_inside else recognised
    if found is None:
        raise MediaError(Reason.UNSUPPORTED_TYPE, "The content is an archive that is no office document.")
    return found


def _streams(found: dict[str, Any], recognised: MediaType) -> Media:
    streams: list[dict[str, Any]] = found.get("streams", [])
    video = next((s for s in streams if s.get("codec_type") == "video" and not _is_picture(s)), None)
    audio = next((s for s in streams if s.get("codec_type") == "audio"), None)
    if video is None and audio is None:
        raise MediaError(Reason.UNDECODABLE, "The file holds neither moving pictures nor sound.")
    duration = _number(found.get("format", {}).get("duration"))
    if video is not None and int(video["width"]) * int(video["height"]) > MAX_VIDEO_PIXELS:
        raise MediaError(Reason.LIMIT_EXCEEDED, f"A frame has more than {MAX_VIDEO_PIXELS} pixels.")
    width, height = displayed_size(video) if video else (None, None)
    mime, kind = recognised.mime, recognised.kind
    if video is None:
        mime, kind = _WITHOUT_VIDEO.get(mime, mime), Kind.AUDIO
    elif kind is Kind.AUDIO:
        mime, kind = _WITH_VIDEO.get(mime, mime), Kind.VIDEO
    return Media(
        kind=kind,
        mime_type=mime,
        width=width,
        height=height,
        duration_seconds=duration,
        has_exact_duration=recognised.mime not in _ESTIMATED,
        bits_per_second=int(_number(found.get("format", {}).get("bit_rate")) or 0) or None,
        codecs=tuple(str(s["codec_name"]) for s in (video, audio) if s and "codec_name" in s),
        streams=len(streams),
        demuxers=DEMUXERS[recognised.mime],
        video_stream=int(video["index"]) if video else None,
        audio_stream=int(audio["index"]) if audio else None,
        frame_rate=_ratio(video.get("avg_frame_rate")) if video else None,
        channels=int(audio.get("channels", 0)) or None if audio else None,
    )


def displayed_size(stream: dict[str, Any]) -> tuple[int, int]:
    """Return width and height as a player shows a stream of ffprobe: square pixels, upright. Raises ValueError."""
    width, height = int(stream["width"]), int(stream["height"])
    if width < 1 or height < 1:
        message = "a video without a size"
        raise ValueError(message)
    # ffprobe writes 0:1 where the file does not say.
    aspect = _ratio(str(stream.get("sample_aspect_ratio", "")).replace(":", "/")) or 1.0
    width = max(1, round(width * aspect))
    turned = next((s["rotation"] for s in stream.get("side_data_list", []) if "rotation" in s), 0)
    return (height, width) if round(float(turned)) % 180 == 90 else (width, height)  # noqa: PLR2004 - a quarter turn


def _is_picture(stream: dict[str, Any]) -> bool:
    return bool(stream.get("disposition", {}).get("attached_pic"))


def _number(text: Any) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) and value > 0 else None


def _ratio(text: Any) -> float | None:
    numerator, _, denominator = str(text).partition("/")
    above, below = _number(numerator), _number(denominator)
    return above / below if above and below else None
