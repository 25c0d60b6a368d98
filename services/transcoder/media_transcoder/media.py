"""What the probe found, and what a renderer gives back: the words that the steps of the child share."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from media_transcoder.messages import Rendered
from mediaasset.media import Kind
from mediaasset.task import Limits, Rendition


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Moving pictures as they are stored, in ffprobe's words, None or empty where the file does not say.

    Sizes in pixels before they are turned and made square; rotation in degrees, time_base in seconds per tick;
    peak_rate is the rate that would hold all of the frames' times.
    """

    codec: str
    profile: str = ""
    level: int = 0
    width: int
    height: int
    pixel_format: str = ""
    has_square_pixels: bool = True
    rotation: int = 0
    field_order: str = ""
    transfer: str = ""
    primaries: str = ""
    matrix: str = ""
    is_full_range: bool = False
    peak_rate: float | None = None
    duration_seconds: float | None = None
    time_base: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """The sound of moving pictures as it is stored; sample_rate in hertz."""

    codec: str
    profile: str = ""
    sample_rate: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """A source. Sizes in pixels as displayed, rates per second; the streams are those that we use, by ffmpeg's index.

    `demuxers` are those of ffmpeg that may open the file;
    has_exact_duration is False where the container does not state a duration and ffprobe estimates it; start_seconds is
    where the clock of the container begins.
    """

    kind: Kind
    mime_type: str
    width: int | None = None
    height: int | None = None
    frames: int = 1
    duration_seconds: float | None = None
    has_exact_duration: bool = True
    start_seconds: float = 0.0
    bits_per_second: int | None = None
    codecs: tuple[str, ...] = ()
    streams: int = 0
    demuxers: str = ""
    video_stream: int | None = None
    audio_stream: int | None = None
    frame_rate: float | None = None
    channels: int | None = None
    picture: Picture | None = None
    sound: Sound | None = None


class Report(Protocol):
    """Tells how far the current rendition is: percent of it, and an encoder's speed in seconds of media per second."""

    def __call__(self, percent: float, speed: float | None = None) -> None:
        """Be cheap: it is called as often as there is news."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """Where and within what limits a renderer works, and how it tells how far it is."""

    source: Path
    directory: Path
    limits: Limits
    report: Report


#: One rendition, and what makes it when called. The calls are made in the order in which they come, each before the
#: next is asked for: a cascade of sizes relies on it.
Work = tuple[Rendition, Callable[[], Rendered]]
