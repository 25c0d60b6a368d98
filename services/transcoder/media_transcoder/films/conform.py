"""Which sources are published as they are compressed: only their container is written anew.

After Mux's "standard input": what every browser plays, and no larger than an encoder would make it. A rendition's crf,
preset and bitrate say how to encode and forbid none of it; another codec, a smaller box and max_bytes do, and so does a
channel, since its rules are stricter than those of browsers.
"""

import math
from pathlib import Path

from media_transcoder.command import packets
from media_transcoder.encode import tolerance
from media_transcoder.faults import present
from media_transcoder.films.filters import MAX_FRAME_RATE, needs_mapping, shape_of
from media_transcoder.media import Media
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Codec, Rendition

_PROFILES = ("Constrained Baseline", "Main", "High")
#: Level 5.1, times ten: encoders write more than they need, decoders look at the size.
_HIGHEST_LEVEL = 51
_SOUND_RATES = range(8_000, 48_001)
_MAX_CHANNELS = 2
#: Mux takes 8 Mbit/s for 1920 x 1080; the bits that a picture needs grow more slowly than its pixels.
_BITS_PER_SECOND, _PIXELS = 8_000_000, 1920 * 1080
_GROWTH = 0.75
#: Below this, there is nothing to save.
_SMALL_BITS_PER_SECOND = 1_000_000
#: The longest distance of key frames with which one can still jump to and fro; Mux's.
_KEY_SECONDS = 20
#: More pictures than in a day at 60 a second are no film.
_MAX_PACKETS = 5_184_000


class Packets:
    """What the packets of a stream say of its pictures, without decoding; times in seconds, starting at the first."""

    def __init__(self, path: Path, media: Media) -> None:
        """Read all of a file. Raises MediaError: Undecodable, LimitExceeded."""
        self._tick, self._zero = present(media.picture).time_base, media.start_seconds
        self.count = 0
        self.is_regular = True
        self.keys: list[float] = []
        self._start: float | None = None
        self._end = 0.0
        packets(path, media.demuxers, media.video_stream or 0, self._add, ("pts", "flags"))
        self.is_regular = self.is_regular and bool(self.keys)

    def _add(self, packet: list[bytes]) -> None:
        self.count += 1
        if self.count > _MAX_PACKETS:
            raise MediaError(Reason.LIMIT_EXCEEDED, f"It has more than {_MAX_PACKETS} pictures.")
        pts, flags = packet
        if not pts.lstrip(b"-").isdigit():
            self.is_regular = False
            return
        time, is_key = int(pts) * self._tick, flags.startswith(b"K")
        if self._start is None:
            self._start = time
            self.is_regular = self.is_regular and is_key
        time -= self._start
        # D: an edit list hides it. Before its key frame: what is shown depends on the pictures before that (open GOP).
        if b"D" in flags or b"C" in flags or (self.keys and time < self.keys[-1]):
            self.is_regular = False
        if is_key:
            self.keys.append(time)
        self._end = max(self._end, time)

    @property
    def last_seconds(self) -> float:
        """When the last picture begins."""
        return self._end

    @property
    def delay(self) -> float:
        """How much later than the container, thus than its sound, the pictures begin."""
        return (self._start or 0.0) - self._zero

    @property
    def rate(self) -> float:
        """How many pictures there are per second."""
        return (self.count - 1) / self._end if self._end else 0.0

    @property
    def key_seconds(self) -> float:
        """The longest time from one key frame to the next, or to the end."""
        return max(after - before for before, after in zip(self.keys, [*self.keys[1:], self._end], strict=True))


def could_be_copied(media: Media, rendition: Rendition) -> bool:
    """Tell by the headers alone whether a source may be remuxed for a rendition."""
    picture, sound = present(media.picture), media.sound
    size, shape = (picture.width, picture.height), shape_of(rendition, media)
    rate = media.bits_per_second
    return (
        rendition.codec in (None, Codec.H264)
        and rendition.channel is None
        and picture.codec == "h264"
        and picture.profile in _PROFILES
        and picture.level <= _HIGHEST_LEVEL
        and picture.pixel_format == "yuv420p"
        and picture.field_order == "progressive"
        and not picture.is_full_range
        and not needs_mapping(picture)
        and picture.has_square_pixels
        and picture.rotation == 0
        and size == shape.size == shape.scaled
        and (sound is None or _is_plain(media))
        and rate is not None
        and rate <= _most_bits(rendition, size)
        and (rendition.max_bytes is None or rate * (media.duration_seconds or 0.0) / 8 <= rendition.max_bytes)
    )


def has_plain_packets(media: Media, found: Packets) -> bool:
    """Tell by the packets whether a source may be remuxed."""
    length = media.duration_seconds or 0.0
    return (
        found.is_regular
        and found.rate <= MAX_FRAME_RATE + 0.5
        and found.key_seconds <= _KEY_SECONDS
        # A still picture is held to the end by encoding only, if it ends much before the source does.
        and (media.sound is not None or found.last_seconds > length - tolerance(length))
    )


def _is_plain(media: Media) -> bool:
    sound = present(media.sound)
    is_lc = sound.codec == "aac" and sound.profile == "LC"
    return is_lc and sound.sample_rate in _SOUND_RATES and (media.channels or 0) in range(1, _MAX_CHANNELS + 1)


def _most_bits(rendition: Rendition, size: tuple[int, int]) -> float:
    pixels = (rendition.width or size[0]) * (rendition.height or size[1])
    return max(float(_SMALL_BITS_PER_SECOND), _BITS_PER_SECOND * math.pow(pixels / _PIXELS, _GROWTH))
