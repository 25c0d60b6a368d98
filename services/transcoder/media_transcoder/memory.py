"""How much memory a source takes before it is decoded: what cannot fit is refused instead of being killed.

The figures are the least that was measured (Pillow 12, ffmpeg 5.1, peak resident size, synthetic media): what is said
to need more than there is never fits. A source that takes more than its kind must (a progressive JPEG, sixteen frames
of reference) is still killed, which is OutOfMemory.
"""

import re
from collections.abc import Sequence

from media_transcoder.confine import MIB, cpu_count, memory_bytes
from media_transcoder.media import Media
from media_transcoder.pictures.geometry import scale_of
from mediaasset.media import Kind
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Codec, Format, Rendition

#: The parent with its client of the store, and the child with its decoders.
_PYTHON_BYTES = 70 * MIB
#: ffmpeg with its libraries, before the first frame.
_FFMPEG_BYTES = 55 * MIB

#: Bytes per pixel of an image of 24 megapixels: the decoded pixels, and what the format's decoder holds beside them.
_IMAGE = {
    "image/jpeg": 4.8,
    "image/png": 4.8,
    "image/bmp": 4.8,
    "image/gif": 5.0,
    "image/avif": 9.0,
    "image/heic": 9.0,
    "image/webp": 16.0,
}
#: A JPEG of which only small renditions are made is decoded at a half of its sides or less.
_REDUCED_JPEG = 0.6
_REDUCED_FROM = 0.5

#: 4:2:0 in 8 bits; what has more takes two bytes for each sample.
_BYTES_PER_PIXEL = 1.5
_DEEP = re.compile("p0?1[02]")
#: Frames that a decoder of H.264 and HEVC holds with one thread, and with each further one.
_DECODER_FRAMES = 6.5
_DECODER_FRAMES_PER_THREAD = 1.3
#: Frames of its own size that x264 holds at each preset, mostly its lookahead (10 frames at veryfast, 50 at slow).
_ENCODER_FRAMES = {
    "ultrafast": 11,
    "superfast": 31,
    "veryfast": 49,
    "faster": 66,
    "fast": 86,
    "medium": 110,
    "slow": 136,
}
_ENCODER_FRAMES_PER_THREAD = 5
#: SVT-AV1 at the presets that stand for x264's.
_AV1_FRAMES = 130


def check(media: Media, renditions: Sequence[Rendition]) -> None:
    """Raise MediaError (NeedsLargerClass) if a source cannot be rendered in the memory of this container."""
    available = memory_bytes()
    if available is None:
        return
    needed = needed_bytes(media, [rendition for rendition in renditions if not rendition.optional])
    if needed > available:
        raise MediaError(
            Reason.NEEDS_LARGER_CLASS,
            f"It needs at least {needed // MIB} MiB of memory, and the transcoder may use {available // MIB} MiB.",
        )


def needed_bytes(media: Media, renditions: Sequence[Rendition]) -> int:
    """Return the least memory in bytes that all processes of an attempt together take for these renditions."""
    area = (media.width or 0) * (media.height or 0)
    if not renditions or not area:
        return _PYTHON_BYTES
    if media.kind is Kind.IMAGE:
        return _PYTHON_BYTES + round(area * _image(media, renditions))
    if media.kind is Kind.VIDEO:
        return _PYTHON_BYTES + _FFMPEG_BYTES + round(_BYTES_PER_PIXEL * _film(media, renditions, area))
    return _PYTHON_BYTES


def _image(media: Media, renditions: Sequence[Rendition]) -> float:
    size = (media.width or 1, media.height or 1)
    is_reduced = all(scale_of(rendition, size) <= _REDUCED_FROM for rendition in renditions)
    if media.mime_type == "image/jpeg" and is_reduced:
        return _REDUCED_JPEG
    return _IMAGE.get(media.mime_type, 0.0)


def _film(media: Media, renditions: Sequence[Rendition], area: int) -> float:
    """Return how many pixels the frames hold that lie in memory at once: all sizes are encoded by one process."""
    # What finds out about films costs time to import, and is needed by whatever renders them.
    from media_transcoder.films import conform, ladder  # noqa: PLC0415
    from media_transcoder.films.filters import shape_of  # noqa: PLC0415

    encoded: dict[tuple[int, int], int] = {}
    for rendition in renditions:
        if rendition.format is Format.HLS:
            # The largest size may be a copy.
            sizes = [shape.size for shape in list(ladder.shapes(media, rendition).values())[1:]]
        elif rendition.format is Format.MP4 and not conform.could_be_copied(media, rendition):
            sizes = [shape_of(rendition, media).size]
        else:
            continue
        frames = _encoder_frames(rendition)
        encoded |= {size: max(frames, encoded.get(size, 0)) for size in sizes}
    depth = 2 if media.picture is not None and _DEEP.search(media.picture.pixel_format) else 1
    decoded = depth * area * (_DECODER_FRAMES + _DECODER_FRAMES_PER_THREAD * (cpu_count() - 1))
    return decoded + sum(width * height * frames for (width, height), frames in encoded.items())


def _encoder_frames(rendition: Rendition) -> int:
    if rendition.codec is Codec.AV1:
        return _AV1_FRAMES
    return _ENCODER_FRAMES.get(rendition.preset or "veryfast", 0) + _ENCODER_FRAMES_PER_THREAD * (cpu_count() - 1)
