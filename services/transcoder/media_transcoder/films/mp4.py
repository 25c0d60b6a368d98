"""MP4 files of moving pictures: all of an asset encoded by one process, or remuxed; held and fitted where need be."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ffmpeg

from media_transcoder import command
from media_transcoder.confine import cpu_count
from media_transcoder.encode import CLEAN, bounded, encode, panning
from media_transcoder.films.conform import Packets
from media_transcoder.films.filters import Shape, shaped
from media_transcoder.films.whole import is_whole
from media_transcoder.media import Media, Workplace
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Channel, Codec, Rendition

#: x264's presets, and those of SVT-AV1 that take about as long for what they gain.
PRESETS = {
    "ultrafast": 12,
    "superfast": 11,
    "veryfast": 10,
    "faster": 9,
    "fast": 8,
    "medium": 7,
    "slow": 6,
}
_PRESET = "veryfast"
_CRFS = {Codec.H264: 23, Codec.AV1: 35}
#: x264's range without 0, which is lossless and no profile that browsers play.
CRF_RANGE = range(1, 52)
_AV1_ENCODER = "libsvtav1"
#: Frames between key frames where nothing else asks for them.
_KEY_FRAMES = 250
_AUDIO_BITRATE = 128_000
#: Less than this is noise rather than sound.
_LOWEST_AUDIO_BITRATE = 24_000
_AUDIO_CHANNELS = 2
_AUDIO_SAMPLE_RATE = 48_000
#: Ticks per second in which all usual frame rates are whole: 23.976 and 29.97 as well as 24, 25, 30, 50 and 60. The
#: times of a varying rate are kept to 8 microseconds.
_TIMESCALE = 120_000
#: What the container and the encoder's swings may take of a file that must not be larger than so much.
_HEADROOM = 0.95
_LOWEST_BITRATE = 10_000
#: What level 4.1 of the Main profile allows (H.264, A.3.1). A short film of many bytes would be of a level that phones
#: do not decode, or of a rate that no encoder takes.
_HIGHEST_BITRATE = 50_000_000
#: An output that ends so much before its source is looked at for a last frame that stays.
_HELD_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Encode:
    """One file to encode. keys says when key frames must come, in ffmpeg's words, None where it does not matter.

    bytes is what the file is made for, which is max_bytes at first and less when that did not do.
    """

    path: Path
    rendition: Rendition
    shape: Shape
    has_sound: bool = True
    keys: str | None = None
    bytes: int | None = None


def check_encoder(rendition: Rendition) -> None:
    """Raise MediaError (InvalidRendition) if this ffmpeg has no encoder for a rendition."""
    if rendition.codec is Codec.AV1 and not command.knows("encoder", _AV1_ENCODER):
        raise MediaError(Reason.INVALID_RENDITION, f"{rendition.name}: this ffmpeg has no {_AV1_ENCODER}.")


def quality_of(rendition: Rendition) -> tuple[int, str]:
    """Return the constant rate factor and the preset that a rendition is encoded with."""
    return rendition.crf or _CRFS[rendition.codec or Codec.H264], rendition.preset or _PRESET


def make(media: Media, encodes: Sequence[Encode], place: Workplace) -> None:
    """Encode all in one process. Raises MediaError: Undecodable, LimitExceeded."""
    encode(arguments(media, encodes, place), media, place)
    _hold(media, encodes, place)


def fit(media: Media, each: Encode, place: Workplace) -> None:
    """Encode once more what is larger than it may be. Raises MediaError (LimitExceeded) when that does not do."""
    most, size = each.rendition.max_bytes, each.path.stat().st_size
    if most is None or size <= most:
        return
    aim = int((each.bytes or most) * most / size * _HEADROOM)
    make(media, [dataclasses.replace(each, bytes=aim)], place)
    size = each.path.stat().st_size
    if size > most:
        raise MediaError(
            Reason.LIMIT_EXCEEDED, f"{each.rendition.name}: {size} bytes are more than {most} even at low quality."
        )


def arguments(media: Media, encodes: Sequence[Encode], place: Workplace) -> list[str]:
    """Compose ffmpeg's command line: of the first moving pictures and the first sound, and nothing else."""
    source = ffmpeg.input(str(place.source), **command.input_options(media.demuxers))
    pictures = shaped(source, media, [each.shape for each in encodes])
    outputs = []
    for each in encodes:
        streams = [pictures[each.shape].pop()]
        options = {
            "f": "mp4",
            **_picture_options(media, each),
            # Phones record at a varying rate: frames keep their times, and none is doubled to fill gaps.
            "fps_mode": "vfr",
            "enc_time_base": f"1:{_TIMESCALE}",
            "video_track_timescale": _TIMESCALE,
            "movflags": "+faststart",
            **CLEAN,
            **bounded(place.limits),
        }
        if media.audio_stream is not None and each.has_sound:
            streams.append(source[str(media.audio_stream)])
            options |= _sound_options(media, each)
        outputs.append(ffmpeg.output(*streams, str(each.path), **options))
    if media.audio_stream is not None and not any(each.has_sound for each in encodes):
        # The clock of a transport stream begins with the first stream in use: let it be that of files with sound.
        outputs.append(ffmpeg.output(source[str(media.audio_stream)], "-", f="null", c="copy"))
    compiled: list[str] = ffmpeg.merge_outputs(*outputs).compile(overwrite_output=True)
    return compiled


def remux(media: Media, path: Path, place: Workplace) -> None:
    """Write the compressed pictures and sound of a source into an MP4 of their own. Raises MediaError (Undecodable)."""
    source = ffmpeg.input(str(place.source), **command.input_options(media.demuxers))
    streams = [source[str(media.video_stream)]]
    options = {
        "f": "mp4",
        "vcodec": "copy",
        # Whatever cameras write between the pictures: positions, serial numbers.
        "bsf:v": "filter_units=remove_types=6",
        "movflags": "+faststart",
        "write_tmcd": 0,
        "map_metadata:s": -1,
        **CLEAN,
        **bounded(place.limits),
    }
    if media.audio_stream is not None:
        streams.append(source[str(media.audio_stream)])
        options |= {"acodec": "copy"} | ({"bsf:a": "aac_adtstoasc"} if media.demuxers == "mpegts" else {})
    output = ffmpeg.output(*streams, str(path), **options)
    encode(output.compile(overwrite_output=True), media, place)


def _picture_options(media: Media, each: Encode) -> dict[str, Any]:
    codec, (crf, preset) = each.rendition.codec or Codec.H264, quality_of(each.rendition)
    options: dict[str, Any] = {"pix_fmt": "yuv420p", "crf": crf, "g": _KEY_FRAMES}
    if codec is Codec.AV1:
        options |= {"vcodec": _AV1_ENCODER, "preset": PRESETS[preset]}
    else:
        options |= {"vcodec": "libx264", "profile:v": "high", "preset": preset, "threads": cpu_count()}
        if each.rendition.channel is Channel.WHATSAPP:
            # Android's clients take no High profile with B-frames (channels.py).
            options |= {"profile:v": "main", "bf": 0}
        if each.keys is not None:
            # A key frame at a cut would lie elsewhere in each size.
            options |= {"force_key_frames": each.keys, "forced-idr": 1, "sc_threshold": 0}
    if media.duration_seconds and media.has_exact_duration:
        # Around a gap, demuxers take the time to the next frame in the file for how long a frame is shown.
        end = f"max(1,{media.duration_seconds:.6f}/TB-PTS)"
        options["bsf:v"] = f"setts=pts=PTS:dts=DTS:duration='min(DURATION,{end})'"
    if (cap := _cap(media, each)) is not None:
        picture = max(_LOWEST_BITRATE, cap - (_sound_bitrate(media, each) if media.audio_stream is not None else 0))
        if codec is Codec.AV1:
            # It keeps to a rate rather than below one.
            del options["crf"]
            options |= {"video_bitrate": picture}
        else:
            options |= {"maxrate": picture, "bufsize": picture}
    return options


def _sound_options(media: Media, each: Encode) -> dict[str, Any]:
    pan = panning(media.channels)
    options: dict[str, Any] = {
        "acodec": "aac",
        "audio_bitrate": _sound_bitrate(media, each),
        "ac": min(media.channels or _AUDIO_CHANNELS, _AUDIO_CHANNELS),
        # Gaps become silence: players count the sound's samples and not its times.
        "filter:a": f"{f'pan={pan},' if pan else ''}aresample=async=1:first_pts=0",
    }
    if media.sound and media.sound.sample_rate > _AUDIO_SAMPLE_RATE:
        options["ar"] = _AUDIO_SAMPLE_RATE
    return options


def _cap(media: Media, each: Encode) -> int | None:
    """Return the bits per second that a file may have over its length, None for as many as it needs."""
    if each.bytes is None or not media.duration_seconds:
        return None
    return min(_HIGHEST_BITRATE, int(each.bytes * 8 * _HEADROOM / media.duration_seconds))


def _sound_bitrate(media: Media, each: Encode) -> int:
    wanted, cap = each.rendition.bitrate or _AUDIO_BITRATE, _cap(media, each)
    return wanted if cap is None else min(wanted, max(_LOWEST_AUDIO_BITRATE, cap // 4))


def _hold(media: Media, encodes: Sequence[Encode], place: Workplace) -> None:
    """Let the last frame stay as long as in a source without sound: encoders forget how long it is shown.

    Only if all pictures of a complete file were decoded: what was cut off or is damaged is not made up for.
    """
    stated = media.duration_seconds
    if media.audio_stream is not None or not stated or not media.has_exact_duration:
        return
    # The first stands for all: they were made of the same frames.
    made = float(command.ffprobe(encodes[0].path, "mov")["format"]["duration"])
    if stated - made < _HELD_SECONDS or not is_whole(place.source, media.demuxers):
        return
    if Packets(place.source, media).last_seconds - made > _HELD_SECONDS:
        return
    for each in encodes:
        held = each.path.with_suffix(".held")
        # Expressions of setts: the packet that none follows is the last one.
        duration = f"if(eq(NEXT_PTS,NOPTS),{stated:.6f}/TB-PTS,DURATION)"
        options = {"f": "mp4", "c": "copy", "bsf:v": f"setts=pts=PTS:dts=DTS:duration='{duration}'"}
        output = ffmpeg.input(str(each.path)).output(
            str(held), **options, movflags="+faststart", video_track_timescale=_TIMESCALE, **CLEAN
        )
        command.ffmpeg(output.compile(overwrite_output=True), lambda *_: None)
        held.replace(each.path)
