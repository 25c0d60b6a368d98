"""What encoding moving pictures and sound have in common."""

from collections.abc import Sequence
from typing import Any

from media_transcoder.command import ffmpeg
from media_transcoder.media import Media, Workplace
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Limits

#: No metadata, chapters, or names of programs and versions; bitexact keeps the muxer from adding its own.
CLEAN: dict[str, Any] = {"map_metadata": -1, "map_chapters": -1, "fflags": "+bitexact"}

#: In hertz: what every player of MP3 plays.
MP3_SAMPLE_RATE = 44_100
#: Opus is made at this rate, whatever it came from (RFC 7845, 5.1).
OPUS_SAMPLE_RATE = 48_000

#: ffmpeg knows how the speakers stand for so many channels without being told (libavutil's default layouts).
_MAX_PLACED_CHANNELS = 8

#: How far the length of an output may be off: containers round, and encoders add a frame before and after.
_TOLERANCE_SECONDS = 1.0
_TOLERANCE_SHARE = 0.05


def tolerance(seconds: float) -> float:
    """Return by how many seconds something of this length may be off."""
    return max(_TOLERANCE_SECONDS, _TOLERANCE_SHARE * seconds)


def panning(channels: int | None) -> str:
    """Return ffmpeg's arguments of `pan` for more channels than it knows the places of, empty for what it can place.

    Nobody says where they stand: they go to the left and the right in turn, none louder than another.
    """
    if channels is None or channels <= _MAX_PLACED_CHANNELS:
        return ""
    sides = ("+".join(f"c{channel}" for channel in range(side, channels, 2)) for side in (0, 1))
    return "stereo|" + "|".join(f"c{at}<{side}" for at, side in enumerate(sides))


def bounded(limits: Limits) -> dict[str, int]:
    """Return the output option that ends the work a second beyond the limit, whatever the headers promised."""
    return {"t": limits.max_duration_seconds + 1} if limits.max_duration_seconds is not None else {}


def encode(arguments: Sequence[str], media: Media, place: Workplace) -> None:
    """Run ffmpeg for one output.

    Raises MediaError: Undecodable when ffmpeg refuses the source, LimitExceeded when it does not end within the limit.
    Whether the output is as long as its source is for `verify` to say: ffmpeg's progress tells when the last frame
    begins, and a slide lasts long after that.
    """
    stated = media.duration_seconds
    seconds = ffmpeg(arguments, lambda done, speed: place.report(100 * done / stated, speed) if stated else None)
    longest = place.limits.max_duration_seconds
    if longest is not None and seconds > longest + 0.5:
        raise MediaError(Reason.LIMIT_EXCEEDED, f"It lasts longer than {longest} seconds.")
