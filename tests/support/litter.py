"""Assets whose objects are all there, and litter beside them, for the sweep to tell apart."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from making import DIGEST, make_asset
from media_operator.sweep import sweep
from media_operator.sweepreport import Report
from media_operator.sweepsettings import SweepSettings
from mediaasset import keys
from mediaasset.assets import Assets
from mediaasset.parts import Parts
from mediaasset.reasons import Reason
from mediaasset.spec import MediaAsset, Visibility
from mediaasset.status import Condition, ConditionType, RenditionStatus, Status, condition
from mediaasset.store import Store
from mediaasset.task import RenditionState

DAY = timedelta(days=1)
#: Of an asset that was never there, or is no longer.
GONE = "0b8f6f0e-53a4-4f0c-9d6e-0a4c5a1f7e11"


def rendition(uid: str, name: str = "medium", *, top: str = keys.PUBLIC, namespace: str = "shop") -> str:
    """Return the key of a rendition as a transcoder names it."""
    return f"{top}/{namespace}/assets/{uid}/{name}-{DIGEST[:16]}.jpg"


def tree(uid: str, *, top: str = keys.PUBLIC) -> list[str]:
    """Return the keys of a rendition that is a directory."""
    prefix = keys.rendition_tree(f"{top}/shop/assets/{uid}/", "hls", DIGEST)
    return [f"{prefix}index.m3u8", f"{prefix}720p/0.m4s"]


def finished(asset: MediaAsset, at: datetime, *, failed: bool = False, published: bool = False) -> list[Condition]:
    """Return the conditions of an asset that is finished."""
    of = {ConditionType.READY: not failed, ConditionType.PUBLISHED: published or not failed}
    of |= {ConditionType.STALLED: True} if failed else {}
    reason, generation = Reason.TYPE_MISMATCH if failed else Reason.READY, asset.metadata.generation
    return [
        condition(kind, status=is_true, reason=reason, message="", generation=generation, now=at)
        for kind, is_true in of.items()
    ]


@dataclass
class Place:
    """Where assets and objects are; now is the time that a sweep is told."""

    assets: Assets
    store: Store
    parts: Parts
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    async def put(self, *wanted: str) -> None:
        """Write objects, now."""
        for key in wanted:
            await self.store.create(key, b"litter")

    async def ready(self, name: str = "a", *, top: str = keys.PUBLIC, attempt: int = 1, **spec: Any) -> MediaAsset:
        """Make an asset with all that belongs to it: a source, two renditions, one of them a directory, a Result."""
        source = keys.upload("shop", name)
        visibility = Visibility.PUBLIC if top == keys.PUBLIC else Visibility.PRIVATE
        wanted = make_asset(name=name, **{"source": {"object": {"key": source}}, "visibility": visibility, **spec})
        asset = await self.assets.create(wanted)
        uid = asset.metadata.uid
        files = [rendition(uid, top=top), *tree(uid, top=top)]
        await self.put(source, *files, keys.result(uid, attempt))
        made = tuple(
            RenditionStatus(name=name, state=RenditionState.READY, key=key)
            for name, key in (("medium", files[0]), ("hls", files[1]))
        )
        status = Status(observed_generation=asset.metadata.generation, attempt=attempt, renditions=made)
        return await self.assets.write_status(asset, status.with_conditions(finished(asset, self.now)))

    async def failed(self, name: str, at: datetime, *, published: bool = False, **spec: Any) -> MediaAsset:
        """Make an asset that failed at this time."""
        asset = await self.assets.create(make_asset(name=name, **spec))
        status = Status(observed_generation=asset.metadata.generation, attempt=1)
        return await self.assets.write_status(
            asset, status.with_conditions(finished(asset, at, failed=True, published=published))
        )

    async def sweep(self, after: timedelta = timedelta(0), *, deletes: bool = True, **settings: Any) -> Report:
        """Sweep as if so much time had passed."""
        told = SweepSettings(sweep_deletes_per_second=10_000, **settings)
        return await sweep(self.assets, self.store, self.parts, told, lambda: self.now + after, deletes=deletes)

    async def objects(self) -> set[str]:
        """Return the keys of all objects."""
        found: set[str] = set()
        for top in (keys.UPLOADS, keys.WHATSAPP, keys.PUBLIC, keys.PRIVATE, keys.WORK, keys.TOMBSTONES):
            found |= {item.key async for item in self.store.list(f"{top}/")}
        return found

    async def unfinished(self, key: str) -> str:
        """Begin an object in parts, and leave it; return its handle."""
        handle = await self.parts.begin(key)
        await self.parts.append(key, handle, _content())
        return handle


def random_uid() -> str:
    """Return a uid as the API server makes them."""
    return str(uuid4())


async def _content() -> AsyncIterator[bytes]:
    yield b"half of it"
