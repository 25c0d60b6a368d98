"""Playlists of HLS (RFC 8216): reading those of one size or of the sound, as ffmpeg writes them."""

import re
from dataclasses import dataclass
from pathlib import Path

_DURATION = re.compile(r"#EXTINF:([0-9.]+),")
_RANGE = re.compile(r"#EXT-X-BYTERANGE:(\d+)@(\d+)")
_MAP = re.compile(r'#EXT-X-MAP:URI="([^"/]+)",BYTERANGE="(\d+)@(\d+)"')


@dataclass(frozen=True)
class Segment:
    """A stretch of a file: its length in seconds, where it begins and how many bytes it has."""

    seconds: float
    offset: int
    length: int


@dataclass(frozen=True)
class Playlist:
    """One size of a film, or its sound: a file, how long its header is in bytes, and its segments in order."""

    file: Path
    header_bytes: int
    segments: tuple[Segment, ...]

    @property
    def seconds(self) -> float:
        """How long all of it lasts."""
        return sum(segment.seconds for segment in self.segments)

    @property
    def peak(self) -> int:
        """The highest bit rate of a segment (RFC 8216, 4.3.4.2), in bits per second."""
        return max(round(8 * segment.length / max(segment.seconds, 0.001)) for segment in self.segments)

    @property
    def average(self) -> int:
        """The bits of all segments per second."""
        return round(8 * sum(segment.length for segment in self.segments) / max(self.seconds, 0.001))

    @property
    def starts(self) -> list[float]:
        """When each segment begins."""
        return [sum(segment.seconds for segment in self.segments[:number]) for number in range(len(self.segments))]


def read(path: Path) -> Playlist:
    """Read the playlist of a single file in ranges. Raises ValueError for one that is not complete."""
    text = path.read_text()
    header, ranges = _MAP.search(text), _RANGE.findall(text)
    seconds = [float(found) for found in _DURATION.findall(text)]
    if header is None or not seconds or len(ranges) != len(seconds) or not text.endswith("#EXT-X-ENDLIST\n"):
        message = f"{path.name} is no complete playlist"
        raise ValueError(message)
    segments = (Segment(each, int(start), int(length)) for each, (length, start) in zip(seconds, ranges, strict=True))
    return Playlist(path.with_name(header[1]), int(header[2]), tuple(segments))
