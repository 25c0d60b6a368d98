"""Sound: an MP3 for each rendition, without tags and pictures."""

from collections.abc import Iterator, Sequence
from functools import partial

import ffmpeg

from media_transcoder.command import input_options
from media_transcoder.encode import CLEAN, MP3_SAMPLE_RATE, bounded, encode
from media_transcoder.media import Media, Work, Workplace
from media_transcoder.messages import Rendered
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Format, Rendition

_BITRATE = 128_000
#: What MPEG-1 Layer III can be (ISO 11172-3, 2.4.2.3), in bits per second.
_BITRATES = range(32_000, 320_001)
_CHANNELS = 2


def render(media: Media, renditions: Sequence[Rendition], place: Workplace) -> Iterator[Work]:
    """Yield each rendition and what makes it. Raises MediaError: InvalidRendition, Undecodable, LimitExceeded."""
    for rendition in renditions:
        if rendition.format is not Format.MP3:
            raise MediaError(Reason.INVALID_RENDITION, f"{rendition.name}: {rendition.format} cannot be made of sound.")
        if (rendition.bitrate or _BITRATE) not in _BITRATES:
            raise MediaError(Reason.INVALID_RENDITION, f"{rendition.name}: an MP3 has 32 to 320 kbit/s.")
        yield rendition, partial(_mp3, media, rendition, place)


def arguments(media: Media, rendition: Rendition, place: Workplace) -> list[str]:
    """Compose ffmpeg's command line for an MP3."""
    source = ffmpeg.input(str(place.source), **input_options(media.demuxers))
    output = ffmpeg.output(
        source[str(media.audio_stream)],
        str(place.directory / rendition.name),
        f="mp3",
        acodec="libmp3lame",
        audio_bitrate=rendition.bitrate or _BITRATE,
        ar=MP3_SAMPLE_RATE,
        ac=min(media.channels or _CHANNELS, _CHANNELS),
        id3v2_version=0,
        **CLEAN,
        **bounded(place.limits),
    )
    compiled: list[str] = output.compile(overwrite_output=True)
    return compiled


def _mp3(media: Media, rendition: Rendition, place: Workplace) -> Rendered:
    encode(arguments(media, rendition, place), media, place)
    return Rendered(name=rendition.name, file=rendition.name, mime_type="audio/mpeg")
