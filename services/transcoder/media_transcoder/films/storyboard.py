"""Small pictures of all of a film on one sheet, and a WebVTT file that says which is shown when."""

from pathlib import Path

import ffmpeg
from PIL import Image

from media_transcoder import command
from media_transcoder.films.filters import BT709, prepared
from media_transcoder.films.ladder import moves
from media_transcoder.media import Media, Workplace
from media_transcoder.messages import Rendered
from media_transcoder.pictures.geometry import Size
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import INDEX, Format, Rendition

_TILE_WIDTH = 160
_MAX_TILES = 100
_COLUMNS = 10
#: More pictures than this per second help nobody to find a place.
_MIN_SECONDS = 1.0
#: The largest sheet: of tiles as wide as a film.
MAX_PIXELS = 100_000_000
_QUALITY = 75
_SHEET = "sprite.jpg"
#: Frames are written one by one, named by their time in these.
_TICKS_PER_SECOND = 1000


def make(media: Media, rendition: Rendition, place: Workplace) -> Rendered:
    """Make the directory of a storyboard, of key frames only: they need no others to be decoded.

    Raises MediaError: NotApplicable when nothing moves, Undecodable when there is no picture.
    """
    if not moves(media):
        raise MediaError(Reason.NOT_APPLICABLE, f"{rendition.name}: a single picture needs no storyboard.")
    frames = place.directory.parent / f"{rendition.name}.frames"
    frames.mkdir()
    size = tile_size(media, rendition)
    # Where a film was trimmed, its one key frame may lie before what is shown: then all frames are decoded.
    for skipped in ("nokey", "default"):
        _grab(media, size, place, frames, skipped)
        if found := sorted((int(path.stem), path) for path in frames.iterdir())[:_MAX_TILES]:
            break
    else:
        raise MediaError(Reason.UNDECODABLE, "No picture could be decoded.")
    directory = place.directory / rendition.name
    directory.mkdir()
    _sheet([path for _, path in found], size).save(directory / _SHEET, "JPEG", quality=rendition.quality or _QUALITY)
    starts = [0.0, *(ticks / _TICKS_PER_SECOND for ticks, _ in found[1:])]
    end = max(media.duration_seconds or 0.0, starts[-1] + 1 / _TICKS_PER_SECOND)
    (directory / INDEX[Format.STORYBOARD]).write_text(_cues(starts, end, size))
    return Rendered(name=rendition.name, file=rendition.name, mime_type="text/vtt", width=size[0], height=size[1])


def tile_size(media: Media, rendition: Rendition) -> Size:
    """Return the size of one small picture: as wide as the rendition says, and never enlarged."""
    width, height = media.width or 1, media.height or 1
    scale = min(1.0, (rendition.width or _TILE_WIDTH) / width, (rendition.height or height) / height)
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


def _grab(media: Media, size: Size, place: Workplace, frames: Path, skipped: str) -> None:
    seconds = max((media.duration_seconds or 0.0) / _MAX_TILES, _MIN_SECONDS)
    source = ffmpeg.input(str(place.source), skip_frame=skipped, **command.input_options(media.demuxers))
    picture = (
        prepared(source, media, size)
        .filter("scale", in_color_matrix=BT709["colorspace"], in_range="tv", flags="accurate_rnd+full_chroma_int")
        # The clock starts with the first picture.
        .filter("setpts", "PTS-STARTPTS")
        .filter("select", f"isnan(prev_selected_t)+gte(t-prev_selected_t,{seconds:.6f})")
    )
    output = ffmpeg.output(
        picture,
        str(frames / "%09d.bmp"),
        f="image2",
        frame_pts=1,
        vcodec="bmp",
        pix_fmt="bgr24",
        vframes=_MAX_TILES,
        fps_mode="passthrough",
        enc_time_base=f"1:{_TICKS_PER_SECOND}",
    )
    command.ffmpeg(output.compile(overwrite_output=True), lambda *_: None)


def _sheet(paths: list[Path], size: Size) -> Image.Image:
    columns, rows = min(len(paths), _COLUMNS), -(-len(paths) // _COLUMNS)
    sheet = Image.new("RGB", (columns * size[0], rows * size[1]))
    for number, path in enumerate(paths):
        with Image.open(path, formats=("BMP",)) as tile:
            sheet.paste(tile, _corner(number, size))
    return sheet


def _corner(number: int, size: Size) -> Size:
    return number % _COLUMNS * size[0], number // _COLUMNS * size[1]


def _cues(starts: list[float], end: float, size: Size) -> str:
    """Write a cue for each picture, from its time to that of the next; the spatial fragments are of W3C media-frags."""
    lines = ["WEBVTT", ""]
    for number, (start, stop) in enumerate(zip(starts, [*starts[1:], end], strict=True)):
        left, top = _corner(number, size)
        lines += [f"{_time(start)} --> {_time(stop)}", f"{_SHEET}#xywh={left},{top},{size[0]},{size[1]}", ""]
    return "\n".join(lines)


def _time(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"
