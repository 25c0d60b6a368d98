"""Collections: the assets that share a path, in their order."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import URL

from media_ingest.auth import Token
from media_ingest.errors import from_validation, invalid
from media_ingest.listing import visible_user
from media_ingest.service import Service
from mediaasset.assets import NotFoundError
from mediaasset.catalogue import Ordering, Query, type_of
from mediaasset.media import Kind
from mediaasset.spec import CollectionPolicy, MediaAsset
from mediaasset.status import ConditionType

#: The most that one page shows and one order arranges.
MAX_ITEMS = 1000
#: How many items get their place at once: the API server has others to serve.
_WRITERS = 8

#: What an item shows of the answer for its asset.
_SHOWN = ("alt_text", "caption", "order", "status", "file_type", "thumbnail_url", "urls", "created_at")


class Order(BaseModel):
    """The ids of items in the order that they are to have."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ids: Annotated[tuple[Annotated[str, Field(max_length=253)], ...], Field(max_length=MAX_ITEMS)]

    @classmethod
    def of(cls, body: dict[str, Any]) -> Self:
        """Read a JSON object. Raises Problem invalid-field."""
        try:
            order = cls.model_validate(body)
        except ValidationError as error:
            raise from_validation(error, {}) from error
        twice = sorted({name for name in order.ids if order.ids.count(name) > 1})
        if twice:
            raise invalid({"ids": f"names more than once: {', '.join(twice)}"})
        return order


class Paging(BaseModel):
    """Which items of a collection are shown."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    # The upper bound keeps the offset within what a database counts to.
    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    page_size: Annotated[int, Field(ge=1, le=MAX_ITEMS)] = MAX_ITEMS

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Self:
        """Read query parameters. Raises Problem invalid-field."""
        try:
            return cls.model_validate(dict(parameters))
        except ValidationError as error:
            raise from_validation(error, {}) from error


FIRST_PAGE = Paging()


async def show(service: Service, token: Token, path: str, url: URL, paging: Paging = FIRST_PAGE) -> dict[str, Any]:
    """Return the JSON answer for a page of a collection, as the token sees it; without items it is empty, not missing.

    url is that of the collection, for the link to the next page.
    """
    found, total = await _members(service, token, path, paging)
    shown = _current(found)
    items = [await item(service, asset) for asset in shown]
    # The main image is that of the whole collection, whichever page is shown.
    first = _current((await _members(service, token, path))[0])
    is_last = paging.page * paging.page_size >= total
    return {
        "path": path,
        "count": total - (len(found) - len(shown)),
        "main_image_url": await _main_image(service, first),
        "items": items,
        "next": None if is_last else str(url.include_query_params(page=paging.page + 1, page_size=paging.page_size)),
    }


async def _main_image(service: Service, assets: Sequence[MediaAsset]) -> str | None:
    for asset in assets:
        if type_of(asset) is Kind.IMAGE:
            url: str | None = (await item(service, asset))["image_url"]
            if url:
                return url
    return None


async def item(service: Service, asset: MediaAsset) -> dict[str, Any]:
    """Return the JSON for one item. `image` is the same as `image_url`: clients know it by either name."""
    whole = await service.answer(asset)
    url = whole["display_url"] if whole["file_type"] == "image" else whole["thumbnail_url"]
    return {"id": whole["id"], "image": url, "image_url": url, **{name: whole[name] for name in _SHOWN}}


async def arrange(service: Service, token: Token, path: str, order: Order) -> None:
    """Give the items named their places, from 0 on, and those not named the places after, in the order they have.

    The same order again changes nothing. Raises Problem invalid-field for ids that are not in the collection, and for
    a collection too large to be arranged at once.
    """
    found, total = await _members(service, token, path)
    by_name = {asset.metadata.name: asset for asset in found}
    unknown = [name for name in order.ids if name not in by_name]
    if unknown:
        raise invalid({"ids": f"are not in the collection {path}: {', '.join(unknown)}"})
    if total > MAX_ITEMS:
        raise invalid({"ids": f"can arrange {MAX_ITEMS:,} items, and the collection has {total:,}"})
    named = [by_name.pop(name) for name in order.ids]
    room = asyncio.Semaphore(_WRITERS)

    async def put(asset: MediaAsset, place: int) -> None:
        # One that was deleted meanwhile needs no place.
        async with room:
            with suppress(NotFoundError):
                await service.assets.change(*asset.key, {"order": place})

    async with asyncio.TaskGroup() as group:
        for place, asset in enumerate([*named, *by_name.values()]):
            if asset.spec.order != place:
                group.create_task(put(asset, place))


async def _members(
    service: Service, token: Token, path: str, paging: Paging = FIRST_PAGE
) -> tuple[Sequence[MediaAsset], int]:
    query = Query(user_id=visible_user(token), collection=path, ordering=Ordering.ORDER)
    size = paging.page_size
    page = await service.assets.list(token.namespace, query, limit=size, offset=(paging.page - 1) * size)
    return page.items, page.total


def _current(found: Sequence[MediaAsset]) -> list[MediaAsset]:
    """Leave out what is replaced already, where only the latest is kept: it is being deleted this very moment."""
    latest: dict[str | None, tuple[float, str]] = {}
    for each in found:
        if _keeps_latest(each) and each.status.is_true(ConditionType.READY):
            user = each.spec.user_id
            latest[user] = max(latest.get(user, _age(each)), _age(each))
    return [each for each in found if not _keeps_latest(each) or _age(each) >= latest.get(each.spec.user_id, _OLDEST)]


_OLDEST = (0.0, "")


def _keeps_latest(asset: MediaAsset) -> bool:
    return asset.spec.collection_policy is CollectionPolicy.KEEP_LATEST


def _age(asset: MediaAsset) -> tuple[float, str]:
    created = asset.created_at
    return created.timestamp() if created else 0.0, asset.metadata.name
