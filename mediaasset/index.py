"""What the API server was last heard to hold of the assets of one scope, in an order that lists can be cut from.

Made for 50,000 assets: each is kept as compressed JSON, about a kilobyte, and read again when a list shows it.
"""

import asyncio
import json
import zlib
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import datetime
from itertools import product
from operator import attrgetter
from typing import Any, NamedTuple

import structlog
from pydantic import ValidationError

from mediaasset.assets import Key, Page
from mediaasset.catalogue import Facts, Ordering, Query, State, Stats, facts_of
from mediaasset.changes import Changes
from mediaasset.invalid import problems
from mediaasset.kube import Json
from mediaasset.media import Kind
from mediaasset.spec import MediaAsset

_LOG = structlog.get_logger(__name__)


class _Entry(NamedTuple):
    uid: str
    version: int
    facts: Facts
    is_listed: bool
    is_final: bool
    #: When it is to be deleted although nothing changes, in seconds since 1970.
    expires: float | None
    body: bytes


_Group = tuple[Kind | None, State]

#: What lists are cut from: (namespace, one of _SINGLE, its value), or (namespace, values of _GROUPED, None for any).
_Shelf = tuple[str, str, str] | tuple[str, str | None, Kind | None, State | None]
_SINGLE = ("collection", "message_id")
_GROUPED = ("user_id", "type", "state")
_COMPARED = (*_SINGLE, *_GROUPED, "is_public")

#: The order on a shelf. Two may have been created at the same time; the name makes the order the same everywhere.
_PLACE = attrgetter("created", "name")
_CREATED = attrgetter("created")


def _order(facts: Facts) -> tuple[bool, int, float, str]:
    return facts.order is None, facts.order or 0, facts.created, facts.name


_SORTED: dict[Ordering, Callable[[Facts], Any]] = {
    Ordering.ORDER: _order,
    Ordering.SMALLEST: attrgetter("size_bytes", "created", "name"),
    Ordering.NAME: attrgetter("file_name", "created", "name"),
}


class Index:
    """Implements `Mirror`. It also takes what our own writes gave, so that a reader sees them before the watch does.

    Versions are compared as the numbers that they are in every API server (KEP-5504), to tell which news is older.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self._entries: dict[Key, _Entry] = {}
        self._shelves: defaultdict[_Shelf, list[Facts]] = defaultdict(list)
        #: By namespace and user, None for all of them: how many assets of each type and state, and their bytes.
        self._counts: defaultdict[tuple[str, str | None], dict[_Group, tuple[int, int]]] = defaultdict(dict)
        self.changes = Changes()
        self._unfinished: dict[Key, None] = {}
        self._expiring: dict[Key, float] = {}
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
        # In the order of the shelves, so that each is put at their ends.
        for key, entry in sorted(entries.items(), key=lambda item: _PLACE(item[1].facts)):
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

    def page(self, namespace: str, query: Query, limit: int, offset: int) -> Page:
        """Return a page of the assets of a namespace, and how many there are."""
        found = self._found(namespace, query)
        forward = Ordering(query.ordering.removeprefix("-"))
        if forward in _SORTED:
            found = sorted(found, key=_SORTED[forward])
        if query.ordering is forward:
            cut = found[offset : offset + limit]
        else:
            end = max(len(found) - offset, 0)
            cut = found[max(end - limit, 0) : end][::-1]
        return Page(tuple(_read(self._entries[namespace, facts.name]) for facts in cut), len(found))

    def stats(self, namespace: str, user_id: str | None) -> Stats:
        """Count the assets of a namespace, of one user or of all."""
        groups = self._counts.get((namespace, user_id), {})
        return Stats.of((kind, state, *sums) for (kind, state), sums in groups.items())

    def unfinished(self) -> tuple[Key, ...]:
        """Return the assets that are not finished."""
        return tuple(self._unfinished)

    def expired(self, now: float) -> tuple[Key, ...]:
        """Return the finished assets whose time is over; now is in seconds since 1970."""
        return tuple(key for key, expires in self._expiring.items() if expires <= now)

    def _insert(self, key: Key, entry: _Entry) -> None:
        known = self._entries.get(key)
        if known is not None:
            if known.version >= entry.version:
                return
            self._remove(key)
        self._entries[key] = entry
        if not entry.is_final:
            self._unfinished[key] = None
        elif entry.expires is not None:
            self._expiring[key] = entry.expires
        if entry.is_listed:
            for shelf in _shelves(key[0], entry.facts):
                insort(self._shelves[shelf], entry.facts, key=_PLACE)
            self._count(key[0], entry.facts, 1)
        self.changes.tell(key)

    def _remove(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self._unfinished.pop(key, None)
        self._expiring.pop(key, None)
        if entry.is_listed:
            for shelf in _shelves(key[0], entry.facts):
                items = self._shelves[shelf]
                del items[bisect_left(items, _PLACE(entry.facts), key=_PLACE)]
                if not items:
                    del self._shelves[shelf]
            self._count(key[0], entry.facts, -1)
        self.changes.tell(key)

    def _count(self, namespace: str, facts: Facts, sign: int) -> None:
        for user in {None, facts.user_id}:
            groups, group = self._counts[namespace, user], (facts.type, facts.state)
            count, size = groups.pop(group, (0, 0))
            if count + sign:
                groups[group] = count + sign, size + sign * facts.size_bytes
            if not groups:
                del self._counts[namespace, user]

    def _found(self, namespace: str, query: Query) -> Sequence[Facts]:
        """Return what is asked for, oldest first; a shelf of which all is asked for is not looked through."""
        asked = {name: value for name in _COMPARED if (value := getattr(query, name)) is not None}
        shelves: dict[tuple[str, ...], _Shelf] = {_GROUPED: (namespace, query.user_id, query.type, query.state)}
        shelves |= {(name,): (namespace, name, asked[name]) for name in _SINGLE if name in asked}
        sizes = {settled: len(self._shelves.get(shelf, ())) for settled, shelf in shelves.items()}
        settled = min(sizes, key=sizes.__getitem__)
        found: Sequence[Facts] = self._shelves.get(shelves[settled], ())
        asked = {name: value for name, value in asked.items() if name not in settled}
        if query.created_before is not None:
            found = found[: bisect_left(found, query.created_before.timestamp(), key=_CREATED)]
        if query.created_after is not None:
            found = found[bisect_right(found, query.created_after.timestamp(), key=_CREATED) :]
        if asked:
            # The name is always the same as itself; with it there are two or more, and so always tuples.
            read = attrgetter("name", *asked)
            found = [facts for facts in found if read(facts)[1:] == tuple(asked.values())]
        if query.search is not None:
            text = query.search.casefold()
            found = [facts for facts in found if text in facts.text]
        return found


def _shelves(namespace: str, facts: Facts) -> Iterator[_Shelf]:
    for user, kind, state in product({None, facts.user_id}, {None, facts.type}, (None, facts.state)):
        yield namespace, user, kind, state
    yield namespace, "collection", facts.collection
    if facts.message_id is not None:
        yield namespace, "message_id", facts.message_id


def _key(item: Json) -> Key:
    return item["metadata"]["namespace"], item["metadata"]["name"]


def _entries(items: list[Json]) -> dict[Key, _Entry]:
    found = {_key(item): _entry(item) for item in items}
    return {key: entry for key, entry in found.items() if entry is not None}


def unfinished_of(items: list[Json], now: datetime) -> list[Key]:
    """Return those of the listed assets that are not finished, or whose time is over."""
    assets = filter(None, map(_asset, items))
    return [asset.key for asset in assets if not asset.is_final or asset.is_expired(now)]


def _asset(item: Json) -> MediaAsset | None:
    try:
        return MediaAsset.model_validate(item)
    except ValidationError as error:
        # Made by a newer version, perhaps: it must not take the others with it.
        # Only what is wrong, not what was given: a URL may carry a signature.
        _LOG.warning("left out an asset that cannot be read", asset="/".join(_key(item)), errors=problems(error))
        return None


def _entry(item: Json) -> _Entry | None:
    # Lists leave out kind and version of their items, and who set which field is of no use here.
    item["metadata"].pop("managedFields", None)
    asset = _asset(item)
    if asset is None:
        return None
    return _Entry(
        uid=asset.metadata.uid,
        version=int(asset.metadata.resource_version),
        facts=facts_of(asset),
        is_listed=asset.deleted_at is None,
        is_final=asset.is_final,
        expires=asset.expires_at.timestamp() if asset.expires_at else None,
        body=zlib.compress(json.dumps(item, separators=(",", ":")).encode(), level=1),
    )


def _read(entry: _Entry) -> MediaAsset:
    return MediaAsset.model_validate_json(zlib.decompress(entry.body))
