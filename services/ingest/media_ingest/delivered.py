"""Assets of which a sender may speak again and again: each is made once, and not again after it was deleted."""

import json
from contextlib import suppress
from enum import StrEnum
from typing import Any, NamedTuple

from starlette.requests import Request

from media_ingest.body import content_length
from media_ingest.errors import Problem, Slug
from media_ingest.service import Service
from mediaasset import keys
from mediaasset.assets import AlreadyExistsError, NotFoundError
from mediaasset.spec import MediaAsset


class Outcome(StrEnum):
    """What a delivery found."""

    CREATED = "created"
    KNOWN = "known"
    DELETED = "deleted"


class Delivered(NamedTuple):
    """What a delivery found, and the asset: as it is stored when it was created just now, else as it was asked for."""

    outcome: Outcome
    asset: MediaAsset


async def create_once(service: Service, asset: MediaAsset) -> Delivered:
    """Create an asset of a name that follows from its delivery, unless it exists or existed.

    Raises AssetsError, and MediaError when the store cannot say whether it existed: the sender then delivers again.
    """
    tombstone = keys.tombstone(*asset.key)
    # A deleted asset keeps its name until its tombstone is written, so one of the two always speaks of it.
    if await service.store.stat(tombstone) is not None:
        return Delivered(Outcome.DELETED, asset)
    try:
        created = await service.assets.create(asset)
    except AlreadyExistsError:
        return Delivered(Outcome.KNOWN, asset)
    # An earlier one may have left between the two questions. Its tombstone was written before its name was free, so it
    # is seen now, and what was made just now goes as well: this very one, by its uid.
    if await service.store.stat(tombstone) is None:
        return Delivered(Outcome.CREATED, created)
    with suppress(NotFoundError):
        await service.assets.delete(*created.key, uid=created.metadata.uid)
    return Delivered(Outcome.DELETED, created)


async def read_payload(request: Request, limit: int) -> bytes:
    """Return the body of a request; raises Problem payload-too-large, early when it is announced."""
    received, pieces = content_length(request), []
    if received <= limit:
        received = 0
        async for chunk in request.stream():
            received += len(chunk)
            if received > limit:
                break
            pieces.append(chunk)
    if received > limit:
        raise Problem(Slug.PAYLOAD_TOO_LARGE, f"A payload may have {limit:,} bytes.", limit=limit, received=received)
    return b"".join(pieces)


def parse(payload: bytes) -> Any:
    """Return the JSON value of a payload; raises Problem malformed-request."""
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):
        raise Problem(Slug.MALFORMED_REQUEST, "The payload is no JSON.") from None
