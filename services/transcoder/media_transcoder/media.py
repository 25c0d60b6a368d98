"""What the probe found, and what a renderer gives back: the words that the steps of the child share."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from media_transcoder.messages import Rendered
from mediaasset.media import Kind
from mediaasset.task import Limits, Rendition


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """A source. Sizes in pixels as displayed, rates per second; the streams are those that we use, by ffmpeg's index.

    `demuxers` are those of ffmpeg that may open the file;
    has_exact_duration is False where the container does not state a duration and ffprobe estimates it.
    """

    kind: Kind
    mime_type: str
    width: int | None = None
    height: int | None = None
    frames: int = 1
    duration_seconds: float | None = None
    has_exact_duration: bool = True
    bits_per_second: int | None = None
    codecs: tuple[str, ...] = ()
    streams: int = 0
    demuxers: str = ""
    video_stream: int | None = None
    audio_stream: int | None = None
    frame_rate: float | None = None
    channels: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """Where and within what limits a renderer works; `report` takes percent of the current rendition."""

    source: Path
    directory: Path
    limits: Limits
    report: Callable[[float], None]


#: One rendition, and what makes it when called. The calls are made in the order in which they come, each before the
#: next is asked for: a cascade of sizes relies on it.
Work = tuple[Rendition, Callable[[], Rendered]]
