"""From the pictures of a source to those of an output: frames, colours, and sizes, as parts of ffmpeg's graph."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from media_transcoder.command import knows
from media_transcoder.faults import present
from media_transcoder.media import Media, Picture
from media_transcoder.pictures.geometry import Size, even_size_of, size_of
from mediaasset.task import Fit, Rendition

#: Faster sources are thinned out: no screen that we write for shows more.
MAX_FRAME_RATE = 60
#: Times are rounded to milliseconds in many containers.
_ROUNDING_SECONDS = 0.001

#: BT.2100: PQ and HLG.
_HDR_TRANSFERS = ("smpte2084", "arib-std-b67")
#: Gamuts that a screen of BT.709 does not have.
_WIDE_PRIMARIES = ("bt2020", "smpte431", "smpte432")
#: The luminance of white in graphics (BT.2408, 3.1) and the usual peak of mastering and of HLG (BT.2100), in nits.
_REFERENCE_WHITE, _PEAK = 203, 1000
#: Up to here, as a share of the reference white, the tones stay as they are: skin and the middle grey lie below.
_UNTOUCHED_TONES = 0.3
#: The matrices of ffprobe by the names of ffmpeg's scaler.
_MATRICES = {
    "bt709": "bt709",
    "smpte170m": "bt601",
    "bt470bg": "bt601",
    "fcc": "fcc",
    "smpte240m": "smpte240m",
    "bt2020nc": "bt2020",
    "bt2020c": "bt2020",
}
#: What does not say its matrix is taken for standard definition below this size, as by players.
_HIGH_DEFINITION = (1280, 720)
BT709 = {"colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709", "range": "tv"}


@dataclass(frozen=True)
class Shape:
    """How the picture of an output comes about: scaled in proportion, then cut or put on black to size; sides even."""

    scaled: Size
    size: Size


def shape_of(rendition: Rendition, media: Media) -> Shape:
    """Return the shape of a video rendition; 4:2:0 needs even sides, and at least 2."""
    displayed = (media.width or 2, media.height or 2)
    scaled = even_size_of(rendition, displayed)
    if rendition.fit is Fit.INSIDE:
        return Shape(scaled, scaled)
    width, height = (max(2, side // 2 * 2) for side in size_of(rendition, displayed))
    if rendition.fit is Fit.COVER:
        return Shape(scaled, (min(width, scaled[0]), min(height, scaled[1])))
    return Shape((min(width, scaled[0]), min(height, scaled[1])), (width, height))


def shaped(source: Any, media: Media, shapes: Iterable[Shape]) -> dict[Shape, list[Any]]:
    """Return a stream of ffmpeg-python for each of the shapes, in lists where one is asked for more than once.

    Each size is scaled from the next larger one: that costs half as much as scaling each from the source.
    """
    wanted = sorted(shapes, key=lambda shape: shape.scaled[0] * shape.scaled[1], reverse=True)
    sizes = list(dict.fromkeys(shape.scaled for shape in wanted))
    current, made = prepared(source, media, sizes[0]), dict[Shape, list[Any]]()
    for number, size in enumerate(sizes):
        if number:
            # The scaler turns what it rounds into pixels that are not quite square.
            current = current.filter("scale", *size, flags="bicubic").filter("setsar", 1)
        here = [shape for shape in wanted if shape.scaled == size]
        is_last = number == len(sizes) - 1
        branches = len(here) + (not is_last)
        split = current.filter_multi_output("split", branches) if branches > 1 else [current]
        for branch, shape in enumerate(here):
            made.setdefault(shape, []).append(_cut_or_padded(split[branch], shape))
        if not is_last:
            current = split[len(here)]
    return made


def prepared(source: Any, media: Media, size: Size) -> Any:
    """Return the pictures of a source progressive, with square pixels, at most 60 a second, in 8 bits of BT.709.

    ffmpeg turns them upright before the first filter.
    """
    picture = present(media.picture)
    stream = _deinterlaced(source[str(media.video_stream)], picture)
    if picture.peak_rate and picture.peak_rate > MAX_FRAME_RATE + 0.5:
        # Unlike `fps`, this never doubles a frame to fill a gap.
        gap = 1 / MAX_FRAME_RATE - _ROUNDING_SECONDS
        stream = stream.filter("select", f"isnan(prev_selected_t)+gte(t-prev_selected_t,{gap:.6f})")
    if needs_mapping(picture):
        # How bright the mastering display was is no more true of what is mapped, and encoders would write it.
        stream = stream.filter("sidedata", mode="delete")
    if not needs_mapping(picture):
        matrix = _matrix(picture)
        # Another matrix leads over RGB, where the quick way darkens by a hundredth.
        flags = "bicubic" if matrix == "bt709" else "bicubic+accurate_rnd+full_chroma_int"
        stream = stream.filter(
            "scale", *size, flags=flags, in_color_matrix=matrix, out_color_matrix="bt709", out_range="tv"
        )
    elif has_zscale():
        stream = _mapped(stream, picture, size)
    else:
        # A player that knows these colours still shows them, if with fewer steps; one that does not, shows them pale.
        sys.stderr.write("This ffmpeg has no zscale: the colours of the source are kept.\n")
        stream = stream.filter("scale", *size, flags="bicubic", out_range="tv")
        return stream.filter("format", "yuv420p").filter("setsar", 1)
    return stream.filter("format", "yuv420p").filter("setsar", 1).filter("setparams", **BT709)


def needs_mapping(picture: Picture) -> bool:
    """Tell whether the colours are more than those of BT.709."""
    return picture.transfer in _HDR_TRANSFERS or picture.primaries in _WIDE_PRIMARIES


@cache
def has_zscale() -> bool:
    """Tell whether this ffmpeg can convert colours in linear light."""
    return knows("filter", "zscale")


def _deinterlaced(stream: Any, picture: Picture) -> Any:
    """Make one whole frame of each two fields."""
    # ffprobe names the field that is stored first, then the one that is shown first.
    if picture.field_order in ("tt", "bt"):
        return stream.filter("bwdif", mode="send_frame", parity="tff", deint="all")
    if picture.field_order in ("bb", "tb"):
        return stream.filter("bwdif", mode="send_frame", parity="bff", deint="all")
    return stream


def _mapped(stream: Any, picture: Picture, size: Size) -> Any:
    """Bring HDR and wide gamuts to BT.709. What is scaled first costs least in linear light."""
    is_hdr = picture.transfer in _HDR_TRANSFERS
    # What the file leaves unsaid, zscale would refuse to guess.
    said = {
        "color_trc": picture.transfer if is_hdr else "bt709",
        "color_primaries": picture.primaries if picture.primaries in _WIDE_PRIMARIES else "bt2020",
        "colorspace": "bt709" if picture.matrix == "bt709" else "bt2020nc",
        "range": "pc" if picture.is_full_range else "tv",
    }
    target = {"t": "709", "p": "709", "m": "709", "r": "limited"}
    scaled = stream.filter("scale", *size, flags="bicubic").filter("setparams", **said)
    if not is_hdr:
        return scaled.filter("zscale", **target)
    return (
        scaled.filter("zscale", t="linear", npl=_REFERENCE_WHITE)
        .filter("format", "gbrpf32le")
        .filter("zscale", p="709")
        .filter("tonemap", "mobius", param=_UNTOUCHED_TONES, peak=round(_PEAK / _REFERENCE_WHITE, 3), desat=0)
        .filter("zscale", **target)
    )


def _matrix(picture: Picture) -> str:
    known = _MATRICES.get(picture.matrix)
    width, height = _HIGH_DEFINITION
    return known or ("bt709" if picture.width >= width or picture.height >= height else "bt601")


def _cut_or_padded(stream: Any, shape: Shape) -> Any:
    if shape.size == shape.scaled:
        return stream
    if shape.size[0] <= shape.scaled[0] and shape.size[1] <= shape.scaled[1]:
        return stream.filter("crop", *shape.size)
    return stream.filter("pad", *shape.size, "(ow-iw)/2", "(oh-ih)/2", "black")
