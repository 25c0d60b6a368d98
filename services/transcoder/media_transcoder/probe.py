"""What a source is, by its content and never by its name."""

import importlib
import math
from pathlib import Path
from typing import Any

from media_transcoder import image, length
from media_transcoder.command import DEMUXERS, ffprobe
from media_transcoder.confine import DEFAULT_MAX_PIXELS
from media_transcoder.faults import blaming
from media_transcoder.films.whole import is_whole
from media_transcoder.media import Media, Picture, Sound
from mediaasset.media import SNIFF_BYTES, Kind, MediaType, by_file_name, sniff
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Limits, Task

#: More streams than this are in no film that a person made for us, and each costs memory.
MAX_STREAMS = 32
#: H.264's highest level (6.2) holds 139,264 macroblocks of 256 pixels: what cannot be encoded need not be decoded.
MAX_VIDEO_PIXELS = 139_264 * 256
#: In hertz. Below and above, nobody records; a resampler would make gigabytes of one packet, or as large a filter.
SAMPLE_RATES = range(4_000, 768_001)

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
#: These state no duration: ffprobe multiplies the size by the rate of the first frames. Of a transport stream it reads
#: the last times, which is exact unless the clock was set anew on the way, as where streams were joined.
_ESTIMATED = {"audio/aac", "audio/mpeg", "audio/amr", "video/mp2t"}

#: As what sniffing gives zip and OLE files, and what tells them apart.
_CONTAINERS = {"docx": "recognise_zip", "doc": "recognise_ole"}
#: How every file of OpenDocument begins (ODF 1.3, part 2, 3.3): a zip whose first part is its type, not compressed.
_OPEN_DOCUMENT = b"mimetypeapplication/vnd.oasis.opendocument."


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
        raise _unrecognised(task, named, head)
    return found


def _unrecognised(task: Task, named: MediaType | None, head: bytes) -> MediaError:
    if head.startswith(_OPEN_DOCUMENT, 30):
        return MediaError(
            Reason.UNSUPPORTED_TYPE, "OpenDocument is not taken: save it as PDF, or as .docx, .xlsx or .pptx."
        )
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
        media = _streams(found, recognised)
        if media.kind is Kind.AUDIO:
            return length.measured(path, found, media, limits)
        if media.streams > MAX_STREAMS:
            return media  # `check` refuses it; nothing of it need be counted.
        # A header that promises more than there is must not be believed, but held against what is made of the file.
        if media.duration_seconds and (_is_all_used(media, found) or not is_whole(path, media.demuxers)):
            return media
        return length.counted(path, found, media)


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
    name = _CONTAINERS.get(recognised.extensions[0])
    # Only where it is needed: its libraries cost as much as Pillow.
    found = getattr(importlib.import_module("media_transcoder.office"), name)(path) if name else recognised
    if found is None:
        raise MediaError(Reason.UNSUPPORTED_TYPE, "The content is an archive that is no office document.")
    return found


def _streams(found: dict[str, Any], recognised: MediaType) -> Media:
    streams: list[dict[str, Any]] = found.get("streams", [])
    video = next((s for s in streams if s.get("codec_type") == "video" and not _is_picture(s)), None)
    sounds = [s for s in streams if s.get("codec_type") == "audio"]
    # What is only announced, or is of a codec that nobody knows, gives way to what can be heard.
    audio = next((s for s in sounds if _is_heard(s)), sounds[0] if sounds else None)
    if video is None and audio is None:
        raise MediaError(Reason.UNDECODABLE, "The file holds neither moving pictures nor sound.")
    if video is not None and int(video["width"]) * int(video["height"]) > MAX_VIDEO_PIXELS:
        raise MediaError(Reason.LIMIT_EXCEEDED, f"A frame has more than {MAX_VIDEO_PIXELS} pixels.")
    sound = _sound(audio) if audio else None
    if sound and sound.sample_rate and sound.sample_rate not in SAMPLE_RATES:
        raise MediaError(Reason.LIMIT_EXCEEDED, f"No sound is taken that has {sound.sample_rate} samples per second.")
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
        duration_seconds=_number(found.get("format", {}).get("duration")),
        has_exact_duration=recognised.mime not in _ESTIMATED,
        start_seconds=_seconds(found.get("format", {}).get("start_time")) or 0.0,
        bits_per_second=int(_number(found.get("format", {}).get("bit_rate")) or 0) or None,
        codecs=tuple(str(s["codec_name"]) for s in (video, audio) if s and "codec_name" in s),
        streams=len(streams),
        demuxers=DEMUXERS[recognised.mime],
        video_stream=int(video["index"]) if video else None,
        audio_stream=int(audio["index"]) if audio else None,
        frame_rate=_ratio(video.get("avg_frame_rate")) if video else None,
        channels=int(audio.get("channels", 0)) or None if audio else None,
        picture=_picture(video) if video else None,
        sound=sound,
    )


def _is_all_used(media: Media, found: dict[str, Any]) -> bool:
    """Tell whether no other stream could be the longest of the file, and no film as long as we make of it."""
    others = (s for s in found["streams"] if s["index"] not in (media.video_stream, media.audio_stream))
    return all(_is_picture(s) for s in others)


def _picture(stream: dict[str, Any]) -> Picture:
    rates = (_ratio(stream.get(name)) for name in ("r_frame_rate", "avg_frame_rate"))
    return Picture(
        codec=str(stream.get("codec_name", "")),
        profile=str(stream.get("profile", "")),
        level=int(stream.get("level", 0)),
        width=int(stream["width"]),
        height=int(stream["height"]),
        pixel_format=str(stream.get("pix_fmt", "")),
        has_square_pixels=_aspect(stream) == 1,
        rotation=_rotation(stream),
        field_order=str(stream.get("field_order", "")),
        transfer=str(stream.get("color_transfer", "")),
        primaries=str(stream.get("color_primaries", "")),
        matrix=str(stream.get("color_space", "")),
        is_full_range=stream.get("color_range") == "pc" or str(stream.get("pix_fmt", "")).startswith("yuvj"),
        peak_rate=max((rate for rate in rates if rate), default=None),
        duration_seconds=_number(stream.get("duration")),
        time_base=_ratio(stream.get("time_base")) or 1.0,
    )


def _sound(stream: dict[str, Any]) -> Sound:
    return Sound(
        codec=str(stream.get("codec_name", "")),
        profile=str(stream.get("profile", "")),
        sample_rate=int(stream.get("sample_rate", 0)),
    )


def displayed_size(stream: dict[str, Any]) -> tuple[int, int]:
    """Return width and height as a player shows a stream of ffprobe: square pixels, upright. Raises ValueError."""
    width, height = int(stream["width"]), int(stream["height"])
    if width < 1 or height < 1:
        message = "a video without a size"
        raise ValueError(message)
    width = max(1, round(width * _aspect(stream)))
    return (height, width) if _rotation(stream) % 180 == 90 else (width, height)  # noqa: PLR2004 - a quarter turn


def _aspect(stream: dict[str, Any]) -> float:
    """Return how many times as wide as high a pixel is; ffprobe writes 0:1 where the file does not say."""
    return _ratio(str(stream.get("sample_aspect_ratio", "")).replace(":", "/")) or 1.0


def _rotation(stream: dict[str, Any]) -> int:
    return round(float(next((s["rotation"] for s in stream.get("side_data_list", []) if "rotation" in s), 0)))


def _is_picture(stream: dict[str, Any]) -> bool:
    return bool(stream.get("disposition", {}).get("attached_pic"))


def _is_heard(stream: dict[str, Any]) -> bool:
    """Tell whether ffprobe knows the codec of a sound, and found some of it."""
    return "codec_name" in stream and _number(stream.get("sample_rate")) is not None


def _number(text: Any) -> float | None:
    value = _seconds(text)
    return value if value is not None and value > 0 else None


def _seconds(text: Any) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _ratio(text: Any) -> float | None:
    numerator, _, denominator = str(text).partition("/")
    above, below = _number(numerator), _number(denominator)
    return above / below if above and below else None
