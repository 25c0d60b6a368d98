"""Every output is opened again and held to what was asked, before anything of it is published."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from media_transcoder import channels
from media_transcoder.command import DEMUXERS, ffprobe
from media_transcoder.encode import MP3_SAMPLE_RATE, OPUS_SAMPLE_RATE, tolerance
from media_transcoder.films.filters import has_zscale, needs_mapping, shape_of
from media_transcoder.media import Media
from media_transcoder.messages import Rendered
from media_transcoder.pictures.geometry import size_of
from media_transcoder.pictures.imagefile import mime_of, open_image
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Codec, Format, Rendition

#: What Pillow keeps in `info` of metadata that a rendition must not have.
_METADATA = ("exif", "icc_profile", "xmp", "XML:com.adobe.xmp", "comment", "photoshop")
#: What opens a sound that we wrote, its codec, its rate, and how many channels it has at most.
_SOUNDS = {Format.MP3: ("mp3", "mp3", MP3_SAMPLE_RATE, 2), Format.OPUS: ("ogg", "opus", OPUS_SAMPLE_RATE, 1)}
#: What ffprobe calls tags of an MP4 and is its structure.
_STRUCTURAL_TAGS = {
    "major_brand",
    "minor_version",
    "compatible_brands",
    "language",
    "handler_name",
    "vendor_id",
    "encoder",
}
#: What an encoder writes of no sound at all is a header, which nothing opens.
_HEADER_BYTES = 1024
#: Boxes of an MP4 that are looked at in search of the index; ours has four.
_MAX_BOXES = 16


def verify(media: Media, rendition: Rendition, rendered: Rendered, path: Path) -> None:
    """Check one output.

    Raises MediaError: InvalidOutput with what is wrong, Undecodable when the output is clearly shorter or longer than
    its source states or lacks one of its streams, since the source is damaged then, ChannelRule when the channel would
    refuse it.
    """
    try:
        _CHECKS[rendition.format](media, rendition, rendered, path)
    except MemoryError:
        raise
    except _SourceError as error:
        raise MediaError(Reason.UNDECODABLE, str(error)) from error
    except Exception as error:
        text = str(error) if isinstance(error, (_WrongError, MediaError)) else type(error).__name__
        raise MediaError(Reason.INVALID_OUTPUT, f"{rendition.name}: {text}.") from error
    if rendition.channel is not None:
        channels.check(rendition, rendered, path)


class _WrongError(Exception):
    """What is wrong with an output."""


class _SourceError(Exception):
    """The output is sound, but its source is not: it ends too early, or is longer than it says."""


def _require(name: str, found: object, expected: object) -> None:
    if found != expected:
        message = f"{name} is {found}, not {expected}"
        raise _WrongError(message)


def _image(media: Media, rendition: Rendition, rendered: Rendered, path: Path) -> None:
    size = size_of(rendition, (media.width or 1, media.height or 1))
    _bytes(rendition, path)
    with open_image(path) as found:
        _require("type", mime_of(found), rendered.mime_type)
        _require("size", found.size, size)
        _require("announced size", (rendered.width, rendered.height), size)
        _require("metadata", [name for name in _METADATA if name in found.info] + list(found.getexif()), [])
        frames = int(getattr(found, "n_frames", 1))
        # The encoder joins frames that are alike.
        _require("number of frames", frames, min(frames, media.frames) if rendition.animated else 1)
        # Reduced to an eighth, all of the data are still read, at a fraction of the cost.
        found.draft("L", (max(1, size[0] // 8), max(1, size[1] // 8)))
        for frame in range(frames):
            found.seek(frame)
            found.load()


def _video(media: Media, rendition: Rendition, rendered: Rendered, path: Path) -> None:
    size = shape_of(rendition, media).size
    found = ffprobe(path, DEMUXERS["video/mp4"])
    kinds = ["video", "audio"] if media.audio_stream is not None else ["video"]
    streams = [stream["codec_type"] for stream in found["streams"]]
    if len(streams) < len(kinds):
        message = f"Its {' and '.join(kind for kind in kinds if kind not in streams)} could not be decoded."
        raise _SourceError(message)
    _require("list of streams", streams, kinds)
    _picture(media, found["streams"][0], "av1" if rendition.codec is Codec.AV1 else "h264", size)
    _require("announced size", (rendered.width, rendered.height), size)
    _require("list of tags", sorted(_tags(found) - _STRUCTURAL_TAGS), [])
    _bytes(rendition, path)
    for sound in found["streams"][1:]:
        _require("codec of the sound", (sound["codec_name"], sound["profile"]), ("aac", "LC"))
    _duration(media, found)
    boxes = _boxes(path)
    _require("index before the data", boxes.index("moov") < boxes.index("mdat"), True)  # noqa: FBT003


def _picture(media: Media, stream: dict[str, Any], codec: str, size: tuple[int, int]) -> None:
    _require("codec", (stream["codec_name"], stream["pix_fmt"]), (codec, "yuv420p"))
    _require("size", (stream["width"], stream["height"]), size)
    _require("shape of pixels", stream.get("sample_aspect_ratio", "1:1"), "1:1")
    _require("order of fields", stream.get("field_order", "progressive") in ("progressive", "unknown"), True)  # noqa: FBT003
    _require("list of transformations", stream.get("side_data_list", []), [])
    if media.picture and needs_mapping(media.picture) and has_zscale():
        colours = tuple(stream.get(f"color_{name}") for name in ("space", "primaries", "transfer"))
        _require("colours", colours, ("bt709",) * 3)


def _tags(found: dict[str, Any]) -> set[str]:
    return {name for part in (found["format"], *found["streams"]) for name in part.get("tags", {})}


def _hls(media: Media, rendition: Rendition, rendered: Rendered, path: Path) -> None:
    # Both have ffmpeg-python behind them, which an image need not wait for.
    from media_transcoder.films import ladder, playlist  # noqa: PLC0415

    shapes = ladder.shapes(media, rendition)
    names = [*shapes, *(["audio"] if media.audio_stream is not None else [])]
    files = sorted(["index.m3u8", *(f"{name}.{kind}" for name in names for kind in ("m3u8", "mp4"))])
    _require("list of files", sorted(each.name for each in path.iterdir()), files)
    master = [line for line in (path / "index.m3u8").read_text().splitlines() if line and not line.startswith("#")]
    _require("list of sizes", master, [f"{name}.m3u8" for name in shapes])
    _require("announced size", (rendered.width, rendered.height), next(iter(shapes.values())).size)
    found = {name: playlist.read(path / f"{name}.m3u8") for name in names}
    for name, each in found.items():
        # The ranges follow each other from the header to the end of the file.
        ends = [each.header_bytes, *(segment.offset + segment.length for segment in each.segments)]
        starts = [*(segment.offset for segment in each.segments), each.file.stat().st_size]
        _require(f"list of ranges of {name}", ends, starts)
        (stream,) = ffprobe(each.file, DEMUXERS["video/mp4"])["streams"]
        if name in shapes:
            _picture(media, stream, "h264", shapes[name].size)
        else:
            _require("codec of the sound", (stream["codec_name"], stream["profile"]), ("aac", "LC"))
    top, *others = (found[name] for name in shapes)
    for other in others:
        _require("number of segments", len(other.segments), len(top.segments))
        apart = max(abs(one - another) for one, another in zip(top.starts, other.starts, strict=True))
        _require("distance of cuts in seconds", round(apart, 1), 0)
    _duration(media, {"format": {"duration": max(each.seconds for each in found.values())}})


def _storyboard(media: Media, rendition: Rendition, _: Rendered, path: Path) -> None:
    from media_transcoder.films import storyboard  # noqa: PLC0415 - as above

    _require("list of files", sorted(each.name for each in path.iterdir()), ["index.vtt", "sprite.jpg"])
    width, height = storyboard.tile_size(media, rendition)
    text = (path / "index.vtt").read_text()
    tiles = [tuple(map(int, found)) for found in re.findall(r"#xywh=(\d+),(\d+),(\d+),(\d+)", text)]
    _require("emptiness", bool(tiles), True)  # noqa: FBT003
    _require("set of sizes", {tile[2:] for tile in tiles}, {(width, height)})
    with open_image(path / "sprite.jpg", storyboard.MAX_PIXELS) as sheet:
        _require("type", mime_of(sheet), "image/jpeg")
        extent = (max(tile[0] for tile in tiles) + width, max(tile[1] for tile in tiles) + height)
        _require("size", sheet.size, extent)
        sheet.load()


def _audio(media: Media, rendition: Rendition, _: Rendered, path: Path) -> None:
    demuxer, codec, rate, most = _SOUNDS[rendition.format]
    try:
        found = ffprobe(path, demuxer)
    except MediaError as error:
        if error.reason is not Reason.UNDECODABLE or path.stat().st_size > _HEADER_BYTES:
            raise
        message = "Nothing of its sound could be decoded."
        raise _SourceError(message) from error
    _require("list of streams", [stream["codec_name"] for stream in found["streams"]], [codec])
    (sound,) = found["streams"]
    _require("sample rate", int(sound["sample_rate"]), rate)
    _require("number of channels", sound["channels"], min(media.channels or most, most))
    # An encoder writes its name; nothing else comes through.
    tags = {**found["format"].get("tags", {}), **sound.get("tags", {})}
    _require("tags", [name for name in tags if name.lower() != "encoder"], [])
    _bytes(rendition, path)
    _duration(media, found)


def _document(_: Media, rendition: Rendition, __: Rendered, path: Path) -> None:
    _require("emptiness", path.stat().st_size == 0, False)  # noqa: FBT003
    _bytes(rendition, path)


def _bytes(rendition: Rendition, path: Path) -> None:
    size = path.stat().st_size
    if rendition.max_bytes is not None and size > rendition.max_bytes:
        _require("size in bytes", size, f"at most {rendition.max_bytes}")


def _duration(media: Media, found: dict[str, Any]) -> None:
    seconds, stated = float(found["format"]["duration"]), media.duration_seconds
    if not stated or not media.has_exact_duration:
        return
    if seconds < stated - tolerance(stated):
        message = f"The file ends after {seconds:.1f} of {stated:.1f} seconds."
        raise _SourceError(message)
    if seconds > stated + tolerance(stated):
        message = f"The file states {stated:.1f} seconds, but lasts {seconds:.1f}."
        raise _SourceError(message)


def _boxes(path: Path) -> list[str]:
    """Return the types of an ISO media file's outermost boxes (ISO 14496-12, 4.2)."""
    found: list[str] = []
    with path.open("rb") as file:
        while len(found) < _MAX_BOXES and len(head := file.read(16)) >= 8:  # noqa: PLR2004 - size and type
            size = int.from_bytes(head[:4], "big")
            found.append(head[4:8].decode("latin-1"))
            # 1: the size follows in 64 bits; 0: up to the end of the file.
            size = int.from_bytes(head[8:16], "big") if size == 1 else size
            if size == 0:
                break
            file.seek(size - len(head), 1)
    return found


_CHECKS: dict[Format, Callable[[Media, Rendition, Rendered, Path], None]] = {
    Format.JPEG: _image,
    Format.PNG: _image,
    Format.WEBP: _image,
    Format.AVIF: _image,
    Format.ORIGINAL: _image,
    Format.MP4: _video,
    Format.HLS: _hls,
    Format.STORYBOARD: _storyboard,
    Format.MP3: _audio,
    Format.OPUS: _audio,
    Format.COPY: _document,
}
