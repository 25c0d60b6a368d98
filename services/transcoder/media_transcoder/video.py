"""Moving pictures: MP4, HLS, a storyboard, and still pictures of them."""

import dataclasses
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path

from media_transcoder import verify
from media_transcoder.films import conform, ladder, mp4, poster, storyboard
from media_transcoder.films.conform import Packets
from media_transcoder.films.filters import Shape, shape_of
from media_transcoder.films.ladder import Rung
from media_transcoder.films.mp4 import Encode
from media_transcoder.media import Media, Work, Workplace
from media_transcoder.messages import Rendered
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import INDEX, Codec, Fit, Format, Rendition

_FORMATS = (Format.MP4, Format.HLS, Format.STORYBOARD, Format.JPEG, Format.WEBP)


def render(media: Media, renditions: Sequence[Rendition], place: Workplace) -> Iterator[Work]:
    """Yield each rendition and what makes it. Raises MediaError: InvalidRendition, Undecodable, LimitExceeded."""
    for rendition in renditions:
        _check(rendition)
    film = Film(media, renditions, place)
    for rendition in renditions:
        if rendition.format is Format.MP4:
            yield rendition, partial(film.mp4, rendition)
        elif rendition.format is Format.HLS:
            yield rendition, partial(film.hls, rendition)
        elif rendition.format is Format.STORYBOARD:
            yield rendition, partial(storyboard.make, media, rendition, place)
        else:
            yield rendition, partial(poster.make, media, rendition, place)


class Film:
    """What is made of one source: planned over all renditions, and encoded by one process when it is asked for."""

    def __init__(self, media: Media, renditions: Sequence[Rendition], place: Workplace) -> None:
        """Take what is asked for; nothing is made yet."""
        self._media, self._place = media, place
        self._mp4s = [rendition for rendition in renditions if rendition.format is Format.MP4]
        self._ladders = [
            rendition for rendition in renditions if rendition.format is Format.HLS and ladder.moves(media)
        ]
        self._encodes: dict[Path, Encode] = {}
        self._rungs: dict[str, list[Rung]] = {}
        self._outcome: MediaError | bool = False

    def mp4(self, rendition: Rendition) -> Rendered:
        """Make an MP4. Raises MediaError: Undecodable, LimitExceeded."""
        self._make()
        if (encoded := self._encodes.get(self._path(rendition))) is not None:
            mp4.fit(self._media, encoded, self._place)
        return self._rendered(rendition)

    def hls(self, rendition: Rendition) -> Rendered:
        """Make a ladder. Raises MediaError: NotApplicable when nothing moves, Undecodable, LimitExceeded."""
        if rendition not in self._ladders:
            raise MediaError(Reason.NOT_APPLICABLE, f"{rendition.name}: a single picture is no film.")
        self._make()
        has_sound = self._media.audio_stream is not None
        ladder.package(self._rungs[rendition.name], self._path(rendition), has_sound=has_sound)
        width, height = next(iter(ladder.shapes(self._media, rendition).values())).size
        mime = "application/vnd.apple.mpegurl"
        return Rendered(name=rendition.name, file=rendition.name, mime_type=mime, width=width, height=height)

    def _make(self) -> None:
        """Copy what may be copied and encode the rest, once; what failed, fails whoever asks."""
        if isinstance(self._outcome, MediaError):
            raise self._outcome
        if self._outcome:
            return
        try:
            self._plan()
            if self._encodes:
                mp4.make(self._media, list(self._encodes.values()), self._place)
        except MediaError as error:
            self._outcome = error
            raise
        self._outcome = True

    def _plan(self) -> None:
        keys = ladder.REGULAR_KEYS if self._ladders else None
        for rendition in self._mp4s:
            path = self._path(rendition)
            if not self._copied(rendition, path):
                shape = shape_of(rendition, self._media)
                self._encode(Encode(path=path, rendition=rendition, shape=shape, keys=keys, bytes=rendition.max_bytes))
        for rendition in self._ladders:
            self._plan_ladder(rendition)

    def _plan_ladder(self, rendition: Rendition) -> None:
        (name, shape), *others = ladder.shapes(self._media, rendition).items()
        scratch = self._place.directory.parent
        top, keys = self._top(rendition, shape, scratch / f"{rendition.name}-{name}.mp4")
        rungs = [Rung(name, top)]
        for name, shape in others:
            path = scratch / f"{rendition.name}-{name}.mp4"
            self._encode(Encode(path=path, rendition=rendition, shape=shape, has_sound=False, keys=keys))
            rungs.append(Rung(name, path))
        self._rungs[rendition.name] = rungs

    def _top(self, rendition: Rendition, shape: Shape, path: Path) -> tuple[Path, str]:
        """Return the MP4 that the largest size of a ladder is copied from, with its sound, and its key frames."""
        keys = ladder.keys_of(self._packets) if self._packets else None
        for other in self._mp4s:
            if shape_of(other, self._media) != shape or not _is_alike(other, rendition):
                continue
            if self._path(other) in self._encodes:
                return self._path(other), ladder.REGULAR_KEYS
            if keys is not None:
                return self._path(other), keys
        if keys is not None and shape_of(rendition, self._media) == shape and self._copied(rendition, path):
            return path, keys
        self._encode(Encode(path=path, rendition=rendition, shape=shape, keys=ladder.REGULAR_KEYS))
        return path, ladder.REGULAR_KEYS

    def _encode(self, encode: Encode) -> None:
        self._encodes[encode.path] = encode

    def _copied(self, rendition: Rendition, path: Path) -> bool:
        """Remux the source if it is as it should be; what does not come out well is encoded instead."""
        if not conform.could_be_copied(self._media, rendition) or self._packets is None:
            return False
        try:
            mp4.remux(self._media, path, self._place)
            as_mp4 = dataclasses.replace(rendition, format=Format.MP4)
            verify.verify(self._media, as_mp4, self._rendered(rendition), path)
        except MediaError as error:
            if error.reason not in (Reason.UNDECODABLE, Reason.INVALID_OUTPUT):
                raise
            return False
        return True

    @cached_property
    def _packets(self) -> Packets | None:
        """What the packets of the source say, None if it cannot be copied for their sake."""
        try:
            found = Packets(self._place.source, self._media)
        except MediaError as error:
            if error.reason is not Reason.UNDECODABLE:
                raise
            return None
        return found if conform.has_plain_packets(self._media, found) else None

    def _path(self, rendition: Rendition) -> Path:
        return self._place.directory / rendition.name

    def _rendered(self, rendition: Rendition) -> Rendered:
        width, height = shape_of(rendition, self._media).size
        return Rendered(name=rendition.name, file=rendition.name, mime_type="video/mp4", width=width, height=height)


def _is_alike(other: Rendition, rendition: Rendition) -> bool:
    """Tell whether an MP4 is made as the top of a ladder is."""
    is_plain = other.codec in (None, Codec.H264) and other.max_bytes is None and other.channel is None
    return is_plain and mp4.quality_of(other) == mp4.quality_of(rendition)


def _check(rendition: Rendition) -> None:
    name = rendition.name
    if rendition.format not in _FORMATS:
        raise MediaError(Reason.INVALID_RENDITION, f"{name}: {rendition.format} cannot be made of moving pictures.")
    if rendition.format in (Format.JPEG, Format.WEBP):
        return
    if rendition.format in INDEX and rendition.fit is not Fit.INSIDE:
        raise MediaError(Reason.INVALID_RENDITION, f"{name}: {rendition.format} is fitted inside.")
    if rendition.fit is not Fit.INSIDE and not (rendition.width and rendition.height):
        raise MediaError(Reason.INVALID_RENDITION, f"{name}: {rendition.fit} needs width and height.")
    if rendition.crf is not None and rendition.crf not in mp4.CRF_RANGE:
        raise MediaError(Reason.INVALID_RENDITION, f"{name}: crf is 1 to 51.")
    if rendition.preset is not None and rendition.preset not in mp4.PRESETS:
        raise MediaError(Reason.INVALID_RENDITION, f"{name}: x264 has no preset of this name that we allow.")
    mp4.check_encoder(rendition)
