"""A still picture of moving ones."""

import dataclasses
from pathlib import Path

import ffmpeg

from media_transcoder import command, image
from media_transcoder.films.filters import BT709, prepared
from media_transcoder.media import Media, Workplace
from media_transcoder.messages import Rendered
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Limits, Rendition

#: Where the still picture is taken, in seconds: past the black that films begin with.
_SECONDS = 1.0
#: Where the frame for the still pictures lies, outside the outputs. It is not compressed: that takes longest.
_FRAME = "frame.bmp"


def make(media: Media, rendition: Rendition, place: Workplace) -> Rendered:
    """Make one still picture; all of an asset share the frame. Raises MediaError, Undecodable if there is none."""
    frame = place.directory.parent / _FRAME
    if not frame.exists():
        _grab(media, place, frame)
    still = image.probe(frame, Limits())
    (_, save), *_ = image.render(still, [rendition], dataclasses.replace(place, source=frame, limits=Limits()))
    return save()


def _grab(media: Media, place: Workplace, frame: Path) -> None:
    duration = media.duration_seconds or 0.0
    wanted = _SECONDS if duration > _SECONDS else duration / 2
    # The pictures may end before the container does, or not be found by time; then the first one is taken.
    for seek in ({"ss": f"{wanted:.3f}"}, {}):
        # Seeking before the input jumps to the key frame; after it, ffmpeg would decode all that lies before.
        source = ffmpeg.input(str(place.source), **seek, **command.input_options(media.demuxers))
        picture = prepared(source, media, (media.width or 1, media.height or 1)).filter(
            "scale", in_color_matrix=BT709["colorspace"], in_range="tv", flags="accurate_rnd+full_chroma_int"
        )
        output = ffmpeg.output(picture, str(frame), f="image2", update=1, vframes=1, vcodec="bmp", pix_fmt="bgr24")
        command.ffmpeg(output.compile(overwrite_output=True), lambda *_: None)
        if frame.exists() and frame.stat().st_size:
            return
    raise MediaError(Reason.UNDECODABLE, "No picture could be decoded.")
