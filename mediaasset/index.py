"""What the API server was last heard to hold of the assets of one scope, in an order that lists can be cut from.

Made for 50,000 assets: each is kept as compressed JSON, about a kilobyte, and read again when a list shows it.
"""

import asyncio
import json
import zlib
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

import structlog
from pydantic import ValidationError

from mediaasset.assets import Key, Page
from mediaasset.invalid import problems
from mediaasset.kube import Json
from mediaasset.spec import MediaAsset

_LOG = structlog.get_logger(__name__)


class _Entry(NamedTuple):
    uid: str
    version: int
    #: Creation time and name: the order of lists. The time has whole seconds; the name makes it the same everywhere.
    place: tuple[float, str]
    user_id: str | None
    is_listed: bool
    is_final: bool
    body: bytes


class Index:
    """Implements `Mirror`. It also takes what our own writes gave, so that a reader sees them before the watch does.

    Versions are compared as the numbers that they are in every API server (KEP-5504), to tell which news is older.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self._entries: dict[Key, _Entry] = {}
        self._order: defaultdict[tuple[str, str | None], list[tuple[float, str]]] = defaultdict(list)
        self._unfinished: dict[Key, None] = {}
        self._told = 0
        #: uids of assets that we know are gone although the watch has not said so yet.
        self._gone: set[str] = set()

    async def replace(self, pages: AsyncIterator[Json]) -> str:
        """Take a whole list. What we wrote after it stays; the watch will tell what became of that."""
        entries: dict[Key, _Entry] = {}
        version = "0"
        async for page in pages:
            version = page["metadata"]["resourceVersion"]
            entries |= await asyncio.to_thread(_entries, page["items"])
        # Versions only go back when the server's own store was put back: then nothing of before counts.
        is_restored = int(version) < self._told
        self._told = int(version)
        for key, entry in list(self._entries.items()):
            if is_restored or (key not in entries and entry.version <= self._told):
                self._remove(key)
        self._gone.clear()
        for key, entry in entries.items():
            self._insert(key, entry)
        return version

    def put(self, item: Json) -> None:
        """Take an object that was added or changed."""
        key = _key(item)
        entry = _entry(item)
        if entry is None:
            self._remove(key)
        elif entry.uid not in self._gone:
            self._insert(key, entry)

    def drop(self, item: Json) -> None:
        """Take an object that is there no longer."""
        key = _key(item)
        self._gone.discard(item["metadata"]["uid"])
        if key in self._entries and self._entries[key].version <= int(item["metadata"]["resourceVersion"]):
            self._remove(key)

    def advance(self, version: str) -> None:
        """Take note of how far the watch is."""
        self._told = int(version)

    def wrote(self, item: Json) -> None:
        """Take what the server answered to a write of our own."""
        # What the watch has passed already may have been followed by a deletion, which this would undo.
        if int(item["metadata"]["resourceVersion"]) > self._told:
            self.put(item)

    def released(self, key: Key, uid: str) -> None:
        """Take note that an asset is gone by our own doing."""
        entry = self._entries.get(key)
        if entry is not None and entry.uid == uid:
            self._gone.add(uid)
            self._remove(key)

    def page(self, namespace: str, user_id: str | None, limit: int, offset: int) -> Page:
        """Return a page of the assets of a namespace, newest first, and how many there are."""
        order: Sequence[tuple[float, str]] = self._order.get((namespace, user_id), ())
        end = max(len(order) - offset, 0)
        places = order[max(end - limit, 0) : end]
        items = tuple(_read(self._entries[namespace, name]) for _, name in reversed(places))
        return Page(items, len(order))

    def unfinished(self) -> tuple[Key, ...]:
        """Return the assets that need looking after."""
        return tuple(self._unfinished)

    def _insert(self, key: Key, entry: _Entry) -> None:
        known = self._entries.get(key)
        if known is not None:
            if known.version >= entry.version:
                return
            self._remove(key)
        self._entries[key] = entry
        if not entry.is_final:
            self._unfinished[key] = None
        if entry.is_listed:
            for order in self._orders(key, entry):
                insort(order, entry.place)

    def _remove(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self._unfinished.pop(key, None)
        if entry.is_listed:
            for order in self._orders(key, entry):
                del order[bisect_left(order, entry.place)]

    def _orders(self, key: Key, entry: _Entry) -> list[list[tuple[float, str]]]:
        users = (None,) if entry.user_id is None else (None, entry.user_id)
        return [self._order[key[0], user] for user in users]


def _key(item: Json) -> Key:
    return item["metadata"]["namespace"], item["metadata"]["name"]


def _entries(items: list[Json]) -> dict[Key, _Entry]:
    found = {_key(item): _entry(item) for item in items}
    return {key: entry for key, entry in found.items() if entry is not None}


def _entry(item: Json) -> _Entry | None:
    # Lists leave out kind and version of their items, and who set which field is of no use here.
    item["metadata"].pop("managedFields", None)
    try:
        asset = MediaAsset.model_validate(item)
    except ValidationError as error:
        # Made by a newer version, perhaps: it must not take the others with it.
        # Only what is wrong, not what was given: a URL may carry a signature.
        _LOG.warning("left out an asset that cannot be read", asset="/".join(_key(item)), errors=problems(error))
        return None
    created = asset.metadata.creation_timestamp
    return _Entry(
        uid=asset.metadata.uid,
        version=int(asset.metadata.resource_version),
        place=(created.timestamp() if created else 0.0, asset.metadata.name),
        user_id=asset.spec.user_id,
        is_listed=asset.deleted_at is None,
        is_final=asset.is_final,
        body=zlib.compress(json.dumps(item, separators=(",", ":")).encode(), level=1),
    )


def _read(entry: _Entry) -> MediaAsset:
    return MediaAsset.model_validate_json(zlib.decompress(entry.body))
