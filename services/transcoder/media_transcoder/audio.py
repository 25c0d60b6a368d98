"""Sound: an MP3 or a voice message in Opus for each rendition, without tags and pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import ffmpeg

from media_transcoder.command import input_options
from media_transcoder.encode import CLEAN, MP3_SAMPLE_RATE, OPUS_SAMPLE_RATE, bounded, encode, panning
from media_transcoder.media import Media, Work, Workplace
from media_transcoder.messages import Rendered
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Format, Rendition


@dataclass(frozen=True, slots=True, kw_only=True)
class _Codec:
    """How a format is written. Rates are in bits per second: what may be asked for, and for maxBytes given way to.

    lowest is the least for each channel that still sounds like something.
    """

    mime_type: str
    muxer: str
    options: dict[str, str | int]
    channels: int
    bitrate: int
    allowed: range
    rates: tuple[int, ...]
    lowest: int


_CODECS = {
    Format.MP3: _Codec(
        mime_type="audio/mpeg",
        muxer="mp3",
        # In whole numbers: LAME aborts over what is none, and files in floating point may hold it.
        options={"acodec": "libmp3lame", "ar": MP3_SAMPLE_RATE, "sample_fmt": "s32p", "id3v2_version": 0},
        channels=2,
        bitrate=128_000,
        # What MPEG-1 Layer III can be (ISO 11172-3, 2.4.2.3).
        allowed=range(32_000, 320_001),
        rates=(256_000, 192_000, 160_000, 128_000, 112_000, 96_000, 80_000, 64_000, 56_000, 48_000, 40_000, 32_000),
        lowest=32_000,
    ),
    # As the phones of WhatsApp record it: the clients play one channel only (see channels.py).
    Format.OPUS: _Codec(
        mime_type="audio/ogg",
        muxer="ogg",
        options={"acodec": "libopus", "ar": OPUS_SAMPLE_RATE, "application": "voip", "vbr": "constrained"},
        channels=1,
        bitrate=32_000,
        # RFC 6716, 2.1.1: from 6 kbit/s; up to 12 for speech as a telephone has it. One channel makes use of 256.
        allowed=range(6_000, 256_001),
        rates=(192_000, 128_000, 96_000, 64_000, 48_000, 32_000, 24_000, 20_000, 16_000, 12_000),
        lowest=12_000,
    ),
}

#: Containers that place each packet in time: what is missing between two becomes silence.
_TIMED = ("mov", "matroska")


def render(media: Media, renditions: Sequence[Rendition], place: Workplace) -> Iterator[Work]:
    """Yield each rendition and what makes it. Raises MediaError: InvalidRendition, Undecodable, LimitExceeded."""
    for rendition in renditions:
        codec = _CODECS.get(rendition.format)
        if codec is None:
            raise MediaError(Reason.INVALID_RENDITION, f"{rendition.name}: {rendition.format} cannot be made of sound.")
        if (rendition.bitrate or codec.bitrate) not in codec.allowed:
            lowest, highest = codec.allowed[0] // 1000, codec.allowed[-1] // 1000
            raise MediaError(
                Reason.INVALID_RENDITION, f"{rendition.name}: {rendition.format} has {lowest} to {highest} kbit/s."
            )
    for rendition in renditions:
        yield rendition, partial(_make, media, rendition, place)


def arguments(media: Media, rendition: Rendition, place: Workplace, bitrate: int | None = None) -> list[str]:
    """Compose ffmpeg's command line for a rendition, at its own bit rate or another one."""
    codec = _CODECS[rendition.format]
    sound = ffmpeg.input(str(place.source), **input_options(media.demuxers))[str(media.audio_stream)]
    if media.demuxers in _TIMED:
        sound = sound.filter("aresample", **{"async": 1})
    if pan := panning(media.channels):
        sound = sound.filter("pan", pan)
    output = ffmpeg.output(
        sound,
        str(place.directory / rendition.name),
        f=codec.muxer,
        audio_bitrate=bitrate or rendition.bitrate or codec.bitrate,
        ac=_channels(media, rendition),
        **codec.options,
        **CLEAN,
        **bounded(place.limits),
    )
    compiled: list[str] = output.compile(overwrite_output=True)
    return compiled


def _make(media: Media, rendition: Rendition, place: Workplace) -> Rendered:
    codec = _CODECS[rendition.format]
    most, size = rendition.max_bytes, 0
    for bitrate in _bitrates(media, rendition, codec):
        encode(arguments(media, rendition, place, bitrate), media, place)
        size = (place.directory / rendition.name).stat().st_size
        if most is None or size <= most:
            return Rendered(name=rendition.name, file=rendition.name, mime_type=codec.mime_type)
    raise _too_large(rendition, size)


def _bitrates(media: Media, rendition: Rendition, codec: _Codec) -> list[int]:
    """Return the rates to try, from the best: the one that is asked for, or those with which the file may fit."""
    asked = rendition.bitrate or codec.bitrate
    if rendition.max_bytes is None:
        return [asked]
    lowest = codec.lowest * _channels(media, rendition)
    rates = [asked, *(rate for rate in codec.rates if lowest <= rate < asked)]
    seconds = media.duration_seconds or 0.0
    fitting = [rate for rate in rates if rate * seconds / 8 <= rendition.max_bytes]
    if not fitting:
        raise _too_large(rendition, round(rates[-1] * seconds / 8))
    return fitting


def _channels(media: Media, rendition: Rendition) -> int:
    """Return how many channels a rendition has: one stays one, and more become two, or one in a voice message."""
    return min(media.channels or 2, _CODECS[rendition.format].channels)


def _too_large(rendition: Rendition, size: int) -> MediaError:
    return MediaError(
        Reason.LIMIT_EXCEEDED,
        f"{rendition.name}: at the lowest bit rate the sound has {size} bytes, and {rendition.max_bytes} are allowed.",
    )
