"""Documents: kept as they came."""

import os
from collections.abc import Iterator, Sequence
from functools import partial

from media_transcoder.media import Media, Work, Workplace
from media_transcoder.messages import Rendered
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Format, Rendition


def render(media: Media, renditions: Sequence[Rendition], place: Workplace) -> Iterator[Work]:
    """Yield each rendition and what makes it. Raises MediaError: InvalidRendition, LimitExceeded."""
    for rendition in renditions:
        if rendition.format is not Format.COPY:
            raise MediaError(
                Reason.INVALID_RENDITION, f"{rendition.name}: {rendition.format} cannot be made of a document."
            )
        yield rendition, partial(_copy, media, rendition, place)


def _copy(media: Media, rendition: Rendition, place: Workplace) -> Rendered:
    size = place.source.stat().st_size
    if rendition.max_bytes is not None and size > rendition.max_bytes:
        raise MediaError(
            Reason.LIMIT_EXCEEDED,
            f"{rendition.name}: the document has {size} bytes, and {rendition.max_bytes} are allowed.",
        )
    # A second name for the same bytes: nothing is written twice.
    os.link(place.source, place.directory / rendition.name)
    return Rendered(name=rendition.name, file=rendition.name, mime_type=media.mime_type)
