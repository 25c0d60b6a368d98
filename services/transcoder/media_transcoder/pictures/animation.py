"""Animations: all frames of a GIF, WebP, PNG or AVIF as one WebP, with no more than one of them in memory."""

from pathlib import Path

from PIL import Image

from media_transcoder.confine import DEFAULT_MAX_PIXELS
from media_transcoder.faults import blaming
from media_transcoder.media import Media, Workplace
from media_transcoder.messages import Rendered
from media_transcoder.pictures import compress
from media_transcoder.pictures.geometry import Size, scale_of, scaled
from media_transcoder.pictures.imagefile import WEBP_ALPHA, WEBP_FLAGS, fitted, loaded, open_image, orientation_of
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Rendition

#: Browsers show frames of at most 10 ms for 100 ms: old GIFs state none, and mean as fast as it goes.
_SHORTEST_MILLISECONDS = 10
_UNSTATED_MILLISECONDS = 100
#: Loops are counted in 16 bits (RFC 9649, 2.7.1.1); 0 is without end.
_MOST_LOOPS = 65_535


def make(media: Media, rendition: Rendition, place: Workplace) -> Rendered:
    """Write all frames as one WebP, each for as long as in the source, and as often.

    Raises MediaError: NotApplicable for a still image, Undecodable, InvalidRendition, LimitExceeded.
    """
    if media.frames == 1:
        raise MediaError(Reason.NOT_APPLICABLE, "The source is a still image.")
    with open_image(place.source, place.limits.max_pixels or DEFAULT_MAX_PIXELS) as source:
        with blaming(Reason.UNDECODABLE):
            frames = _Frames(source, rendition, place, (media.width or 1, media.height or 1))
        options = {
            "save_all": True,
            "duration": frames.milliseconds,
            "loop": min(_loops(source), _MOST_LOOPS),
            "background": (0, 0, 0, 0),
        }
        made = compress.write(frames, rendition, place.directory, "WEBP", options)
    if frames.has_alpha:
        _declare_alpha(place.directory / rendition.name)
    return made


def _declare_alpha(path: Path) -> None:
    """Set the flag of alpha, which the encoder forgets where it cut all transparent parts off the frames."""
    with path.open("r+b") as file:
        head = file.read(WEBP_FLAGS + 1)
        if head[12:16] == b"VP8X":
            file.seek(WEBP_FLAGS)
            file.write(bytes([head[WEBP_FLAGS] | WEBP_ALPHA]))


class _Frames(Image.Image):
    """An animation whose frames are made when Pillow's writer seeks them: a list of images would hold all at once."""

    def __init__(self, source: Image.Image, rendition: Rendition, place: Workplace, size: Size) -> None:
        super().__init__()
        self._source, self._rendition, self._place, self._canvas = source, rendition, place, size
        self._orientation = orientation_of(source, place.source)
        #: A PNG may show another image to whoever cannot show the animation; it comes first, and is no part of it.
        self._first = int(bool(source.info.get("default_image")))
        self.n_frames = int(getattr(source, "n_frames", 1)) - self._first
        #: How long each frame is shown; known when it has been decoded, and not asked for before.
        self.milliseconds = [0] * self.n_frames
        self.has_alpha = False
        self._at = -1
        self.seek(0)

    def tell(self) -> int:
        return self._at

    def seek(self, frame: int) -> None:
        """Become another frame, upright and in its size. Raises MediaError (Undecodable)."""
        if frame == self._at:
            return
        with blaming(Reason.UNDECODABLE):
            self._source.seek(frame + self._first)
            target = scaled(self._canvas, scale_of(self._rendition, self._canvas))
            picture = loaded(self._source, target, self._orientation)
            stated = self._source.info.get("duration", 0)
        picture = fitted(picture, self._rendition, self._canvas)
        if picture.mode == "RGBa":
            picture, self.has_alpha = picture.convert("RGBA"), True
        self.im, self._mode, self._size, self._at = picture.im, picture.mode, picture.size, frame
        self.milliseconds[frame] = round(stated) if stated > _SHORTEST_MILLISECONDS else _UNSTATED_MILLISECONDS
        self._place.report(100 * frame / self.n_frames)


def _loops(source: Image.Image) -> int:
    """Return how often an animation is shown, 0 for without end."""
    if source.format != "GIF":
        return int(source.info.get("loop", 0))
    # A GIF says how often it is repeated, and nothing if it is not.
    repeated = source.info.get("loop")
    return 1 if repeated is None else 0 if repeated == 0 else int(repeated) + 1
