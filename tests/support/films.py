"""Films made by ffmpeg, what the transcoder makes of them, and what lies in that: streams, frames and colours."""

import contextlib
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from media_transcoder import probe, verify, video
from media_transcoder.media import Media, Workplace
from media_transcoder.messages import Rendered
from mediaasset.media import SNIFF_BYTES, Kind, sniff
from mediaasset.reasons import MediaError
from mediaasset.task import Format, Limits, Rendition

MP4 = Rendition(name="mp4", kind=Kind.VIDEO, format=Format.MP4, width=1920, height=1080, crf=23, preset="superfast")
HLS = Rendition(name="hls", kind=Kind.VIDEO, format=Format.HLS, width=1920, height=1080, preset="superfast")
POSTER = Rendition(name="poster", kind=Kind.VIDEO, format=Format.JPEG, width=640, height=640, quality=95)
STORYBOARD = Rendition(name="storyboard", kind=Kind.VIDEO, format=Format.STORYBOARD)


def ffmpeg(*arguments: str | Path) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True)


def clip(path: Path, *options: str, picture: str = "testsrc2=s=320x180:r=25:d=1", sound: str = "sine=d=1") -> Path:
    """Make a film; `sound` may be empty."""
    inputs = ["-f", "lavfi", "-i", picture, *(["-f", "lavfi", "-i", sound] if sound else [])]
    ffmpeg(*inputs, *options, path)
    return path


def ffprobe(path: Path, *options: str) -> dict[str, Any]:
    command = ["ffprobe", "-v", "error", "-show_format", "-show_streams", *options, "-of", "json", str(path)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


def times(path: Path, stream: str = "v:0") -> list[float]:
    """Return when each picture is shown, in seconds."""
    found = ffprobe(path, "-select_streams", stream, "-show_entries", "packet=pts_time")
    return sorted(float(packet["pts_time"]) for packet in found["packets"])


def keys(path: Path) -> list[float]:
    found = ffprobe(path, "-select_streams", "v:0", "-show_entries", "packet=pts_time,flags")
    return [float(packet["pts_time"]) for packet in found["packets"] if packet["flags"].startswith("K")]


def frames(path: Path) -> npt.NDArray[np.uint8]:
    """Decode all frames, or the picture that a JPEG is: number, row, column, RGB."""
    with contextlib.suppress(UnidentifiedImageError), Image.open(path) as still:
        return np.asarray(still.convert("RGB"))[None]
    picture = next(stream for stream in ffprobe(path)["streams"] if stream["codec_type"] == "video")
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-fps_mode", "passthrough", "-vf",
               "scale=in_color_matrix=bt709", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]  # fmt: skip
    content = subprocess.run(command, check=True, capture_output=True).stdout
    return np.frombuffer(content, np.uint8).reshape(-1, picture["height"], picture["width"], 3)


@dataclass(frozen=True)
class Made:
    """What came of a film; a rendition has an error instead of a file."""

    media: Media
    directory: Path
    rendered: dict[str, Rendered | MediaError]

    def __getitem__(self, name: str) -> Path:
        found = self.rendered[name]
        if isinstance(found, MediaError):
            raise found
        return self.directory / (found.file or "")


def probed(source: Path) -> Media:
    recognised = sniff(source.read_bytes()[:SNIFF_BYTES])
    assert recognised is not None
    return probe.probe(source, recognised, Limits())


def make(source: Path, *renditions: Rendition, limits: Limits | None = None) -> Made:
    """Render and verify as the child does; raises MediaError only for what all renditions share."""
    media = probed(source)
    probe.check(media, limits or Limits(), source.stat().st_size)
    directory = source.parent / f"{source.name}.scratch" / "outputs"
    directory.mkdir(parents=True)
    place = Workplace(source=source, directory=directory, limits=limits or Limits(), report=lambda *_, **__: None)
    rendered: dict[str, Rendered | MediaError] = {}
    for rendition, run in video.render(media, renditions, place):
        try:
            made = run()
            verify.verify(media, rendition, made, directory / (made.file or ""))
        except MediaError as error:
            rendered[rendition.name] = error
        else:
            rendered[rendition.name] = made
    return Made(media, directory, rendered)
