"""How long a sound is: counted packet by packet, since headers are missing, estimated or wrong. Nothing is decoded."""

import dataclasses
import struct
from pathlib import Path
from typing import Any, BinaryIO

from media_transcoder import command
from media_transcoder.encode import tolerance
from media_transcoder.media import Media
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Limits

#: What files are that begin with ID3 and are recognised as MP3 by that, by the demuxer that took them.
_TYPES = {"mp3": "audio/mpeg", "aac": "audio/aac", "flac": "audio/flac"}
#: Containers that place each packet in time: there may be gaps, and encoders say how much at the ends is not played.
_TIMED = ("mov", "matroska")
#: How much of the ends a container may say that is not played: two frames of any codec.
_PADDING_SECONDS = 0.2
#: A day and more of the shortest frames that are in use (20 ms): who counts further works for somebody's fun.
_MAX_PACKETS = 5_000_000
#: Where the Xing header lies within the first frame: behind 4 bytes of header and at most 32 of side information.
_XING_BYTES = 64
_XING_HAS_FRAMES, _XING_HAS_BYTES = 1, 2
#: What programs write as the size of a WAV that they cannot go back to: from 2 GiB less a page upwards.
_UNKNOWN_SIZE = 0x7FFF_F000
_MAX_CHUNKS = 64
#: Opus counts at 48 kHz whatever it was made from (RFC 7845, section 4).
_OPUS_RATE = 48_000


def measured(path: Path, found: dict[str, Any], media: Media, limits: Limits) -> Media:
    """Return a sound with its exact duration and the rate of its stream alone; `found` is what ffprobe said of it.

    Raises MediaError: LimitExceeded when it is longer than the limit, Undecodable when it holds clearly less than its
    own header states.
    """
    demuxer = str(found["format"]["format_name"]).partition(",")[0]
    stream = next(stream for stream in found["streams"] if stream["index"] == media.audio_stream)
    counted = _Count(stream["time_base"], limits.max_duration_seconds)
    command.packets(path, media.demuxers, stream["index"], counted.add)
    if not counted.bytes:
        raise MediaError(Reason.UNDECODABLE, "The file holds no sound.")
    seconds, stated = counted.seconds, media.duration_seconds
    if demuxer in _TIMED:
        _require_all(counted.end, stated)
        span = counted.end - counted.start
        seconds = stated if stated and abs(stated - span) < _PADDING_SECONDS else span
    elif demuxer in ("flac", "avi"):
        _require_all(seconds, stated)
    elif demuxer == "ogg" and len(found["streams"]) == 1:
        # Each further link of a chain begins with headers, which ffmpeg takes for sound.
        seconds = min(seconds, _ogg_seconds(path) or seconds)
    elif (announced := _announced_bytes(path, demuxer)) is not None:
        missing = announced - counted.bytes
        if missing > tolerance(seconds) * counted.bytes / max(seconds, 1):
            raise MediaError(Reason.UNDECODABLE, f"{missing} of {announced} bytes of sound are missing at the end.")
    return dataclasses.replace(
        media,
        mime_type=_TYPES.get(demuxer, media.mime_type),
        duration_seconds=seconds,
        has_exact_duration=True,
        bits_per_second=round(counted.bytes * 8 / seconds) if seconds else media.bits_per_second,
    )


def counted(path: Path, found: dict[str, Any], media: Media) -> Media:
    """Return moving pictures whose container states no duration, as browsers record, with that of their packets.

    Raises MediaError: LimitExceeded when there are too many packets.
    """
    counts = []
    for stream in found["streams"]:
        if stream["index"] in (media.video_stream, media.audio_stream):
            counts.append(_Count(stream["time_base"], None))
            command.packets(path, media.demuxers, stream["index"], counts[-1].add)
    seconds = max(count.end for count in counts) - min(count.start for count in counts)
    if seconds <= 0:
        return media
    rate = media.bits_per_second or round(8 * path.stat().st_size / seconds)
    return dataclasses.replace(media, duration_seconds=seconds, has_exact_duration=False, bits_per_second=rate)


class _Count:
    """What packets add up to: bytes, seconds of sound, and where in time the first begins and the last ends."""

    def __init__(self, time_base: str, longest: int | None) -> None:
        numerator, denominator = map(int, time_base.split("/"))
        self._tick, self._longest = numerator / denominator, longest
        # What pads the ends must not count: whether the limit is kept to the second is for `probe.check` to say.
        self._most = (longest + 1) / self._tick if longest is not None else None
        self.bytes = 0
        self._packets, self._ticks = 0, 0
        self._start: int | None = None
        self._end = 0

    @property
    def seconds(self) -> float:
        return self._ticks * self._tick

    @property
    def start(self) -> float:
        return (self._start or 0) * self._tick

    @property
    def end(self) -> float:
        return self._end * self._tick

    def add(self, packet: list[bytes]) -> None:
        pts, duration, size = (int(field) if field.lstrip(b"-").isdigit() else 0 for field in packet)
        self.bytes += size
        self._packets += 1
        self._ticks += duration
        self._start = pts if self._start is None else self._start
        self._end = max(self._end, pts + duration)
        if self._most is not None and self._ticks > self._most:
            raise MediaError(Reason.LIMIT_EXCEEDED, f"It lasts longer than {self._longest} seconds.")
        if self._packets > _MAX_PACKETS:
            raise MediaError(Reason.LIMIT_EXCEEDED, f"It has more than {_MAX_PACKETS} frames of sound.")


def _require_all(seconds: float, stated: float | None) -> None:
    if stated is not None and seconds < stated - tolerance(stated):
        raise MediaError(Reason.UNDECODABLE, f"The file ends after {seconds:.1f} of {stated:.1f} seconds.")


def _announced_bytes(path: Path, demuxer: str) -> int | None:
    """Return how many bytes of sound the header of an MP3 or WAV promises, None where it says nothing."""
    with path.open("rb") as file:
        return {"mp3": _xing_bytes, "wav": _wav_bytes}[demuxer](file) if demuxer in ("mp3", "wav") else None


def _xing_bytes(file: BinaryIO) -> int | None:
    """Read the size in the Xing or Info header: "Xing", flags, frames and bytes if the flags say so."""
    head = file.read(10)
    # ID3v2.4, 3.1: the size in four bytes of seven bits each, without the ten bytes of this header.
    size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=False))
    file.seek(10 + size if head.startswith(b"ID3") else 0)
    first = file.read(_XING_BYTES)
    at = max(first.find(b"Xing"), first.find(b"Info"))
    if at < 0 or len(first) < at + 16:
        return None
    flags, *fields = struct.unpack_from(">3I", first, at + 4)
    if not flags & _XING_HAS_BYTES:
        return None
    return int(fields[1 if flags & _XING_HAS_FRAMES else 0])


def _wav_bytes(file: BinaryIO) -> int | None:
    """Read the size of the chunk `data`, None when it is a stand-in."""
    file.seek(12)
    for _ in range(_MAX_CHUNKS):
        name, size = file.read(4), int.from_bytes(file.read(4), "little")
        if name == b"data":
            return size if 0 < size < _UNKNOWN_SIZE else None
        if not name:
            break
        file.seek(size + size % 2, 1)
    return None


def _ogg_seconds(path: Path) -> float | None:
    """Add up the links of a chain of Opus or Vorbis, by the number of the last sample of each (RFC 3533, section 6).

    None where a page is not where the one before it ends, or the first of a link is of another codec.
    """
    total, last, rate, skipped = 0.0, 0, 1, 0
    with path.open("rb") as file:
        while len(head := file.read(27)) == 27:  # noqa: PLR2004 - the fixed part of a page
            if not head.startswith(b"OggS"):
                return None
            lengths = file.read(head[26])
            is_first, granule = head[5] & 2, int.from_bytes(head[6:14], "little", signed=True)
            body = file.read(min(sum(lengths), 16))
            file.seek(sum(lengths) - len(body), 1)
            if is_first:
                total, last = total + max(0, last - skipped) / rate, 0
                if body.startswith(b"OpusHead"):
                    rate, skipped = _OPUS_RATE, int.from_bytes(body[10:12], "little")
                elif body.startswith(b"\x01vorbis"):
                    rate, skipped = int.from_bytes(body[12:16], "little") or 1, 0
                else:
                    return None
            last = max(last, granule)
    return total + max(0, last - skipped) / rate
