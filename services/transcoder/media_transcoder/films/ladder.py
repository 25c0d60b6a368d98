"""HLS: the sizes of a film as fragmented MP4 (CMAF), cut at the same times, and the sound once beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import ffmpeg

from media_transcoder import command
from media_transcoder.encode import CLEAN
from media_transcoder.films import playlist
from media_transcoder.films.conform import Packets
from media_transcoder.films.filters import Shape, shape_of
from media_transcoder.media import Media
from media_transcoder.pictures.geometry import Size
from mediaasset.task import INDEX, Format, Rendition

SEGMENT_SECONDS = 4
#: Copied pictures are cut at the key frames that they have. Longer segments than this make seeking and switching slow.
_LONGEST_SEGMENT_SECONDS = 8
#: The shorter sides of the ladder, in pixels.
_SIDES = (1080, 720, 480)
#: A rung of nearly the size of the one above it gains nothing.
_SMALLEST_STEP = 0.85
#: When key frames must come, for ffmpeg.
REGULAR_KEYS = f"expr:gte(t,n_forced*{SEGMENT_SECONDS})"
#: A key frame is asked for so much before its time, since times are rounded.
_EARLY_SECONDS = 0.002
#: Where the clock of all files begins, so that neither the sound's encoder delay nor decoding before showing lies
#: before zero: muxers would move each file by another amount, and the sound would be late.
_CLOCK_SECONDS = 1
_SOUND = "audio"


@dataclass(frozen=True)
class Rung:
    """One size, the MP4 that it is copied from, and its name, which is its shorter side."""

    name: str
    path: Path


def moves(media: Media) -> bool:
    """Tell whether a film is longer than one of its frames."""
    seconds, rate = media.duration_seconds, media.frame_rate
    return bool(seconds) and (rate is None or (seconds or 0) * rate > 1.5)  # noqa: PLR2004 - between one frame and two


def shapes(media: Media, rendition: Rendition) -> dict[str, Shape]:
    """Return the sizes of the ladder by name, the largest first: within the source and the rendition's box."""
    box = shape_of(rendition, media).size
    top = min(*box, _SIDES[0])
    sides = [top]
    for side in _SIDES:
        if side < _SMALLEST_STEP * sides[-1]:
            sides.append(side)
    return {str(side): Shape(size, size) for side in sides for size in (_scaled(box, side),)}


def _scaled(size: Size, side: int) -> Size:
    if side == min(size):
        return size
    width, height = (max(2, round(each * side / min(size) / 2) * 2) for each in size)
    return width, height


def keys_of(found: Packets) -> str | None:
    """Return when the other sizes need key frames if a source is copied, None if its own do not allow it.

    ffmpeg's muxer ends segment n at the first key frame at or after n times the length of a segment.
    """
    cuts = [0.0]
    for key in found.keys[1:]:
        if key >= len(cuts) * SEGMENT_SECONDS:
            cuts.append(key)
    longest = max(after - before for before, after in pairwise([*cuts, found.last_seconds, found.last_seconds]))
    if longest > _LONGEST_SEGMENT_SECONDS:
        return None
    return ",".join(f"{max(0.0, found.delay + cut - _EARLY_SECONDS):.6f}" for cut in cuts)


def package(rungs: Sequence[Rung], directory: Path, *, has_sound: bool) -> None:
    """Write the directory of a ladder, the sound from the first rung. Raises MediaError."""
    directory.mkdir()
    inputs = [ffmpeg.input(str(rung.path)) for rung in rungs]
    outputs = [_output(source["v:0"], directory, rung.name) for source, rung in zip(inputs, rungs, strict=True)]
    if has_sound:
        outputs.append(_output(inputs[0]["a:0"], directory, _SOUND))
    # The clock of each file would begin with its own first picture: too early, where the sound begins before it.
    merged = ffmpeg.merge_outputs(*outputs).global_args("-copyts")
    command.ffmpeg(merged.compile(overwrite_output=True), lambda *_: None)
    (directory / INDEX[Format.HLS]).write_text(_master([rung.name for rung in rungs], directory, has_sound=has_sound))


def _output(stream: Any, directory: Path, name: str) -> Any:
    return ffmpeg.output(
        stream,
        str(directory / f"{name}.m3u8"),
        f="hls",
        c="copy",
        hls_time=SEGMENT_SECONDS,
        hls_list_size=0,
        hls_playlist_type="vod",
        hls_segment_type="fmp4",
        hls_flags="single_file+independent_segments",
        hls_segment_filename=str(directory / f"{name}.mp4"),
        # The pictures' decoding times begin with the pictures, as CMAF wants it, and nothing is left to edit lists.
        hls_segment_options="movflags=+negative_cts_offsets+frag_discont:use_editlist=0",
        output_ts_offset=_CLOCK_SECONDS,
        **CLEAN,
    )


def _master(names: Sequence[str], directory: Path, *, has_sound: bool) -> str:
    """Write the playlist over all (RFC 8216, 4.3.4): what each size needs of the line and of the player."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-INDEPENDENT-SEGMENTS"]
    sound = playlist.read(directory / f"{_SOUND}.m3u8") if has_sound else None
    if sound:
        (stream,) = command.ffprobe(sound.file, "mov")["streams"]
        lines.append(
            f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="{_SOUND}",NAME="{_SOUND}",DEFAULT=YES,AUTOSELECT=YES,'
            f'CHANNELS="{stream["channels"]}",URI="{_SOUND}.m3u8"'
        )
    for name in names:
        picture = playlist.read(directory / f"{name}.m3u8")
        (stream,) = command.ffprobe(picture.file, "mov")["streams"]
        frames, seconds = map(int, stream["avg_frame_rate"].split("/"))
        attributes = [
            f"BANDWIDTH={picture.peak + (sound.peak if sound else 0)}",
            f"AVERAGE-BANDWIDTH={picture.average + (sound.average if sound else 0)}",
            f'CODECS="{avc_codec(picture)}{",mp4a.40.2" if sound else ""}"',
            f"RESOLUTION={stream['width']}x{stream['height']}",
            *([f"FRAME-RATE={frames / seconds:.3f}"] if frames and seconds else []),
            *([f'AUDIO="{_SOUND}"'] if sound else []),
        ]
        lines += [f"#EXT-X-STREAM-INF:{','.join(attributes)}", f"{name}.m3u8"]
    return "\n".join([*lines, ""])


def avc_codec(found: playlist.Playlist) -> str:
    """Return what RFC 6381 calls the pictures: profile, constraints and level, from the box avcC (ISO 14496-15)."""
    with found.file.open("rb") as file:
        header = file.read(found.header_bytes)
    at = header.index(b"avcC") + 5
    return f"avc1.{header[at : at + 3].hex()}"
