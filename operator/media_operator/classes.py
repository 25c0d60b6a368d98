"""Which class of transcoder an attempt gets. Pure.

Classes are guessed from what is known before anything is decoded; a guess that was too small costs one attempt, which
the next larger class follows.
"""

from collections.abc import Sequence

from media_operator.settings import Settings
from mediaasset.media import Kind
from mediaasset.spec import MediaAsset, Rendition
from mediaasset.task import Codec, Format, MediaClass

_OF_KIND = {
    Kind.IMAGE: MediaClass.IMAGE,
    Kind.DOCUMENT: MediaClass.IMAGE,
    Kind.AUDIO: MediaClass.AUDIO,
    Kind.VIDEO: MediaClass.VIDEO,
}
_LARGER = {
    MediaClass.IMAGE: MediaClass.VIDEO,
    MediaClass.AUDIO: MediaClass.VIDEO,
    MediaClass.VIDEO: MediaClass.LARGE_VIDEO,
}


def first_class(asset: MediaAsset, renditions: Sequence[Rendition], settings: Settings) -> MediaClass | None:
    """Return the class in which work on an asset begins, None where there is only one.

    What an earlier attempt found in the source counts, then the declared type, then that of all renditions if they are
    for one; else it is the default class.
    """
    if not settings.classes:
        return None
    known, source = asset.status.source_info, asset.spec.source.object
    kind = known.type if known else asset.spec.type
    kinds = {rendition.for_ for rendition in renditions}
    if kind is None and len(kinds) == 1:
        (kind,) = kinds
    if kind is None:
        return settings.default_class
    size = known.size_bytes if known else source.size_bytes if source else None
    if kind is Kind.VIDEO and (_is_heavy(renditions) or (size or 0) >= settings.large_video_bytes):
        return MediaClass.LARGE_VIDEO
    return _OF_KIND[kind]


def larger_class(than: MediaClass | None, settings: Settings) -> MediaClass | None:
    """Return the next larger class, None for the largest and where there is only one."""
    return _LARGER.get(than or settings.default_class) if settings.classes else None


def deadline_of(class_name: MediaClass | None, settings: Settings) -> int:
    """Return how long an attempt of a class may take, in seconds."""
    own = settings.classes[class_name].deadline_seconds if class_name in settings.classes else None
    return own or settings.deadline_seconds


def _is_heavy(renditions: Sequence[Rendition]) -> bool:
    """Tell whether a film is encoded in several sizes, or by an encoder that takes its time."""
    return any(rendition.format is Format.HLS or rendition.codec is Codec.AV1 for rendition in renditions)
