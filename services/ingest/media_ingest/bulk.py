"""One action on all assets that a filter chooses."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, StrictBool, ValidationError

from media_ingest.auth import Token
from media_ingest.errors import from_validation, invalid
from media_ingest.listing import Filter
from mediaasset.assets import AssetsError, NotFoundError
from mediaasset.catalogue import Ordering
from mediaasset.names import reprocessing
from mediaasset.spec import MediaAsset

if TYPE_CHECKING:
    from media_ingest.service import Service

#: How many assets are read at a time, and how many are written at once.
_PAGE, _AT_ONCE = 500, 8


class Bulk(BaseModel):
    """What is to be done, to which assets, and whether to do it or only to count them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    action: Literal["delete", "reprocess"]
    filter: dict[str, Any]
    dry_run: StrictBool = True

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> tuple[Self, Filter]:
        """Read a JSON object. Raises Problem invalid-field, which names a member of the filter as filter.type."""
        names: dict[str, str] = {}
        try:
            bulk = cls.model_validate(body)
            names = {name: f"filter.{name}" for name in bulk.filter}
            return bulk, Filter.model_validate(bulk.filter)
        except ValidationError as error:
            raise from_validation(error, names) from error


async def run(service: "Service", token: Token, bulk: Bulk, chosen: Filter) -> dict[str, Any]:
    """Do it, and say how many assets were chosen, how many of them it was done to, and to which it was not and why.

    Once more with the same filter goes on where that ended. Raises Problem invalid-field when more are chosen than one
    request may touch.
    """
    most = service.settings.max_bulk
    found: list[MediaAsset] = []
    query = chosen.query(token, Ordering.OLDEST)
    while True:
        # All are read before the first is written, which would move the others up.
        page = await service.assets.list(token.namespace, query, limit=1 if bulk.dry_run else _PAGE, offset=len(found))
        if not bulk.dry_run and page.total > most:
            raise invalid({"filter": f"matches {page.total:,} assets, and one request may touch {most:,}: narrow it"})
        found += page.items
        if bulk.dry_run or not page.items or len(found) >= page.total:
            break
    answer = {"dry_run": bulk.dry_run, "matched": page.total, "done": 0, "failed": []}
    if bulk.dry_run:
        return answer
    failed = await _each(found, _ACTIONS[bulk.action], service)
    return {**answer, "done": len(found) - len(failed), "failed": failed}


async def _each(
    assets: list[MediaAsset], act: "Callable[[Service, MediaAsset], Awaitable[None]]", service: "Service"
) -> list[dict[str, str]]:
    places = asyncio.Semaphore(_AT_ONCE)
    failed: list[dict[str, str]] = []

    async def one(asset: MediaAsset) -> None:
        async with places:
            try:
                await act(service, asset)
            except NotFoundError:
                # Somebody else deleted it meanwhile.
                return
            except AssetsError:
                failed.append({"id": asset.metadata.name, "detail": "The assets could not be reached: try again."})

    async with asyncio.TaskGroup() as group:
        for asset in assets:
            group.create_task(one(asset))
    return failed


async def _delete(service: "Service", asset: MediaAsset) -> None:
    await service.assets.delete(*asset.key, uid=asset.metadata.uid)


async def _reprocess(service: "Service", asset: MediaAsset) -> None:
    # What waits already is not asked for twice.
    if not asset.wants_reprocess:
        await service.assets.annotate(*asset.key, reprocessing(datetime.now(UTC)))


_ACTIONS: "Mapping[str, Callable[[Service, MediaAsset], Awaitable[None]]]" = {
    "delete": _delete,
    "reprocess": _reprocess,
}
