"""Looking for what uploads left behind: objects under uploads/ without an asset, long after they came."""

import asyncio
import random
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from prometheus_client import Counter

from media_ingest import resumable
from media_ingest.service import Service
from mediaasset import keys
from mediaasset.assets import AssetsError, NotFoundError
from mediaasset.reasons import MediaError

if TYPE_CHECKING:
    from mediaasset.store import ObjectInfo

FOUND = Counter("media_ingest_orphans_found", "Uploads that lie in the store for long without an asset.")
DELETED = Counter("media_ingest_orphans_deleted", "Those of them that were deleted.")

#: uploads/{namespace}/{asset}/{object}
_DEPTH = 4
#: So few are deleted whatever their share is.
_FEW = 10

_LOG = structlog.get_logger("media_ingest.sweep")


class RefusedError(Exception):
    """What was found looks like an error of ours rather than like orphans."""


async def sweep(service: Service, now: datetime, namespaces: Collection[str] = ()) -> int:
    """Find the uploads without an asset that are old enough; delete them if the setting says so. Return how many.

    `namespaces` are those that may be looked at, none for all. Each upload is looked up with the assets themselves, not
    in a list of them, which could be old. Raises RefusedError when they are suspiciously many: then nothing is deleted.
    Raises AssetsError and MediaError. What is remembered of messages that were sent is forgotten at the same age, in
    any case.
    """
    before = now - timedelta(seconds=service.settings.sweep_age_seconds)
    uploads, sent = await _look(service, namespaces)
    await service.store.delete([item.key for item in sent if item.modified < before])
    old = {name: items for name, items in uploads.items() if max(item.modified for item in items) < before}
    orphans = [name for name in old if await _is_orphan(service, *name)]
    FOUND.inc(len(orphans))
    if orphans:
        _LOG.warning(
            "uploads without an asset", found=len(orphans), of=len(uploads), deletes=service.settings.sweep_deletes
        )
    if not service.settings.sweep_deletes:
        return len(orphans)
    if not orphans:
        return 0
    if await _none_has(service, uploads.keys() - set(orphans)):
        message = "no upload has an asset: these may be the wrong assets, or the wrong store"
        raise RefusedError(message)
    if len(orphans) > max(_FEW, len(uploads) * service.settings.sweep_max_percent / 100):
        message = f"{len(orphans)} of {len(uploads)} uploads have no asset: that is too much to believe"
        raise RefusedError(message)
    for namespace, name in orphans:
        if record := await resumable.read(service, namespace, name):
            await resumable.forget(service, namespace, name, record)
        await service.store.delete([item.key for item in old[namespace, name]])
        DELETED.inc()
    return len(orphans)


@asynccontextmanager
async def sweeping(service: Service, namespaces: Collection[str] = ()) -> AsyncIterator[None]:
    """Sweep from time to time for as long as the block runs."""
    if not service.settings.sweep_seconds:
        yield
        return
    task = asyncio.create_task(_for_ever(service, namespaces))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _look(
    service: Service, namespaces: Collection[str]
) -> tuple[dict[tuple[str, str], list["ObjectInfo"]], list["ObjectInfo"]]:
    """Return the objects of uploads by namespace and name, and those that remember what was sent."""
    uploads: dict[tuple[str, str], list[ObjectInfo]] = {}
    sent: list[ObjectInfo] = []
    async for item in service.store.list(f"{keys.UPLOADS}/"):
        parts = item.key.split("/")
        if namespaces and parts[1] not in namespaces:
            continue
        if len(parts) == _DEPTH:
            uploads.setdefault((parts[1], parts[2]), []).append(item)
        elif keys.is_sent(item.key):
            sent.append(item)
    return uploads, sent


async def _for_ever(service: Service, namespaces: Collection[str]) -> None:
    while True:
        # Replicas that began together drift apart.
        await asyncio.sleep(service.settings.sweep_seconds * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
        try:
            await sweep(service, datetime.now(UTC), namespaces)
        except (AssetsError, MediaError, RefusedError) as error:
            _LOG.error("the sweep broke off", error=repr(error))


async def _none_has(service: Service, names: Collection[tuple[str, str]]) -> bool:
    """Tell whether none of these uploads has an asset."""
    for name in names:
        if not await _is_orphan(service, *name):
            return False
    return True


async def _is_orphan(service: Service, namespace: str, name: str) -> bool:
    try:
        await service.assets.get(namespace, name)
    except NotFoundError:
        # What a deleted asset left behind was to be retained.
        return await service.store.stat(keys.tombstone(namespace, name)) is None
    return False
