"""Moving pictures: MP4, and a still picture of them."""

import dataclasses
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import ffmpeg

from media_transcoder import command, image
from media_transcoder.confine import cpu_count
from media_transcoder.encode import CLEAN, bounded, encode
from media_transcoder.geometry import even_size_of
from media_transcoder.media import Media, Work, Workplace
from media_transcoder.messages import Rendered
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Fit, Format, Limits, Rendition

PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow")
_PRESET = "veryfast"
_CRF = 23
#: x264's range without 0, which is lossless and no profile that browsers play.
_CRFS = range(1, 52)
_AUDIO_BITRATE = 128_000
_AUDIO_CHANNELS = 2
#: Faster sources are thinned out: no screen that we write for shows more.
MAX_FRAME_RATE = 60
#: Where the still picture is taken, in seconds: past the black that films begin with.
_POSTER_SECONDS = 1.0
#: Where the frame for the still pictures lies, outside the outputs.
_FRAME = "frame.png"


def render(media: Media, renditions: Sequence[Rendition], place: Workplace) -> Iterator[Work]:
    """Yield each rendition and what makes it. Raises MediaError: InvalidRendition, Undecodable, LimitExceeded."""
    for rendition in renditions:
        _check(rendition)
    for rendition in renditions:
        if rendition.format is Format.MP4:
            yield rendition, partial(_mp4, media, rendition, place)
        else:
            yield rendition, partial(_poster, media, rendition, place)


def arguments(media: Media, rendition: Rendition, place: Workplace) -> list[str]:
    """Compose ffmpeg's command line for an MP4: the first moving picture and the first sound, nothing else."""
    source = ffmpeg.input(str(place.source), **command.input_options(media.demuxers))
    width, height = even_size_of(rendition, (media.width or 2, media.height or 2))
    # ffmpeg turns the picture upright before the first filter. Phones record the full range of levels, and players
    # expect the limited one.
    picture = source[str(media.video_stream)].filter("scale", width, height, out_range="tv").filter("setsar", 1)
    if media.frame_rate and media.frame_rate > MAX_FRAME_RATE:
        picture = picture.filter("fps", MAX_FRAME_RATE)
    streams = [picture]
    options = {
        "f": "mp4",
        "vcodec": "libx264",
        "profile:v": "high",
        "pix_fmt": "yuv420p",
        "crf": rendition.crf or _CRF,
        "preset": rendition.preset or _PRESET,
        "threads": cpu_count(),
        # Phones record at a varying rate: frames keep their times, and none is doubled to fill gaps.
        "fps_mode": "vfr",
        "movflags": "+faststart",
        **CLEAN,
        **bounded(place.limits),
    }
    if media.audio_stream is not None:
        streams.append(source[str(media.audio_stream)])
        options |= {
            "acodec": "aac",
            "audio_bitrate": rendition.bitrate or _AUDIO_BITRATE,
            "ac": min(media.channels or _AUDIO_CHANNELS, _AUDIO_CHANNELS),
        }
    output = ffmpeg.output(*streams, str(place.directory / rendition.name), **options)
    compiled: list[str] = output.compile(overwrite_output=True)
    return compiled


def _mp4(media: Media, rendition: Rendition, place: Workplace) -> Rendered:
    encode(arguments(media, rendition, place), media, place)
    width, height = even_size_of(rendition, (media.width or 2, media.height or 2))
    return Rendered(name=rendition.name, file=rendition.name, mime_type="video/mp4", width=width, height=height)


def _poster(media: Media, rendition: Rendition, place: Workplace) -> Rendered:
    frame = place.directory.parent / _FRAME
    if not frame.exists():
        _grab(media, place, frame)
    still = image.probe(frame, Limits())
    (_, make), *_ = image.render(still, [rendition], dataclasses.replace(place, source=frame, limits=Limits()))
    return make()


def _grab(media: Media, place: Workplace, frame: Path) -> None:
    """Write one frame, upright and with square pixels, as PNG. Raises MediaError (Undecodable) if there is none."""
    duration = media.duration_seconds or 0.0
    wanted = _POSTER_SECONDS if duration > _POSTER_SECONDS else duration / 2
    # The pictures may end before the container does; then the first one is taken.
    for second in (wanted, 0.0):
        # Seeking before the input jumps to the key frame; after it, ffmpeg would decode all that lies before.
        source = ffmpeg.input(str(place.source), ss=f"{second:.3f}", **command.input_options(media.demuxers))
        picture = source[str(media.video_stream)].filter("scale", media.width, media.height).filter("setsar", 1)
        output = ffmpeg.output(
            picture, str(frame), f="image2", update=1, vframes=1, vcodec="png", pix_fmt="rgb24", compression_level=1
        )
        command.ffmpeg(output.compile(overwrite_output=True), lambda _: None)
        if frame.exists() and frame.stat().st_size:
            return
    raise MediaError(Reason.UNDECODABLE, "No picture could be decoded.")


def _check(rendition: Rendition) -> None:
    name = rendition.name
    if rendition.format not in (Format.MP4, Format.JPEG):
        raise MediaError(Reason.INVALID_RENDITION, f"{name}: {rendition.format} cannot be made of moving pictures.")
    if rendition.format is not Format.MP4:
        return
    if rendition.fit is not Fit.INSIDE:
        raise MediaError(Reason.INVALID_RENDITION, f"{name}: moving pictures are not cut, only fitted inside.")
    if (rendition.crf if rendition.crf is not None else _CRF) not in _CRFS:
        raise MediaError(Reason.INVALID_RENDITION, f"{name}: crf is 1 to 51.")
    if (rendition.preset or _PRESET) not in PRESETS:
        raise MediaError(Reason.INVALID_RENDITION, f"{name}: x264 has no preset of this name that we allow.")
