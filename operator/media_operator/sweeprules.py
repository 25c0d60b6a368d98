"""What a sweep may delete. Pure: the names of objects and the assets in, what is to go out.

Only keys of the very form that we write are ever looked at: what else lies in the bucket is somebody else's.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from media_operator.sweepreport import GUARDED, Kind, Row
from media_operator.sweepsettings import SweepSettings
from mediaasset import keys, pointers
from mediaasset.assets import Key
from mediaasset.spec import MediaAsset, Visibility
from mediaasset.status import ConditionType
from mediaasset.store import ObjectInfo

#: The prefixes that are swept. Tombstones come last: they hold the marks of what is to stay.
PREFIXES = (keys.UPLOADS, keys.WHATSAPP, keys.PUBLIC, keys.PRIVATE, keys.WORK, keys.TOMBSTONES)

#: How reports call what lies under media/ and is no media: the pointers of stable names.
POINTERS = "names"

#: So few may go whatever their share is: a percentage of little means nothing.
FEW = 10

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_IS_UUID = re.compile(_UUID)
#: The forms of keys that we write, by prefix; the group is what goes together: a prefix with a slash, or a key.
_FORMS = {
    keys.UPLOADS: re.compile(
        r"(uploads/[^/]+/[^/]+/)(?:[0-9a-f]{32}(?:\.tail-\d+)?|upload\.json)|(?P<sent>uploads/[^/]+/\.sent/[^/]+/)[a-z]+\.json"
    ),
    keys.WHATSAPP: re.compile(
        r"(whatsapp-media/[^/]+/\d{4}-\d\d-\d\d/[a-z]+/[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[0-9a-f-]{17}\.[a-z0-9]+)"
    ),
    keys.WORK: re.compile(rf"(work/{_UUID}/\d+/)[^/]+"),
    keys.TOMBSTONES: re.compile(r"(tombstones/[^/]+/[^/]+\.json|tombstones/[^/]+/_retained/[^/]+/[^/]+\.json)"),
}
_RENDITION = re.compile(
    rf"((?:media|private)/(?:.+/)?{_UUID}/[a-z][a-z0-9-]{{0,31}}-[0-9a-f]{{{keys.DIGEST_DIGITS}}}(?:/|\.[a-z0-9]+\Z)).*"
)


@dataclass(slots=True)
class Unit:
    """Objects that go together; youngest is when the last of them was written, in seconds since 1970."""

    objects: int = 0
    size_bytes: int = 0
    youngest: float = 0.0


@dataclass(frozen=True, slots=True)
class Finding:
    """A unit that is to go. asset is whose existence decides on it: it is looked at once more before."""

    unit: str
    kind: Kind
    objects: int
    size_bytes: int
    asset: Key | None = None


@dataclass(frozen=True, slots=True)
class _Living:
    key: Key
    is_final: bool
    is_public: bool
    attempt: int


def unit_of(key: str) -> str | None:
    """Return what an object goes together with: a prefix that ends in a slash, or its key. None if it is not ours."""
    form = _FORMS.get(key.partition("/")[0], _RENDITION)
    if pointers.is_pointer(key):
        return key
    match = form.fullmatch(key)
    return match[match.lastindex or 1] if match else None


def failed_since(asset: MediaAsset) -> datetime | None:
    """Return since when an asset counts as failed for good; None if it does not, or says itself how long it stays.

    One whose earlier renditions are still served is not: only its last run failed.
    """
    stalled = asset.status.condition(ConditionType.STALLED)
    is_current = asset.status.observed_generation == asset.metadata.generation and not asset.wants_reprocess
    if stalled is None or not is_current or asset.deleted_at or asset.spec.expire_seconds_after_failure is not None:
        return None
    return None if asset.status.is_true(ConditionType.PUBLISHED) else stalled.last_transition_time


def is_overdue(asset: MediaAsset, now: datetime, settings: SweepSettings) -> bool:
    """Tell whether an asset failed so long ago that it is to go."""
    since = failed_since(asset)
    if since is None or not settings.sweep_failed_seconds:
        return False
    return (now - since).total_seconds() >= settings.sweep_failed_seconds


class Inventory:
    """All objects, from which every asset then takes what is its own; what is left is judged.

    The objects must be all listed before the first asset is read: of an asset that is new since then nothing is here.
    """

    def __init__(self, settings: SweepSettings, now: datetime) -> None:
        """Take the settings and the time."""
        self._settings, self._now = settings, now.timestamp()
        self._units: dict[str, Unit] = {}
        self._owners: dict[str, Key | None] = {}
        self._living: dict[str, _Living] = {}
        self._names: set[Key] = set()
        self._whatsapp: set[str] = set()
        self._retained: set[str] = set()
        self._failed: list[Finding] = []
        #: How many objects, and assets, there are of each prefix.
        self.totals: dict[str, int] = dict.fromkeys((*PREFIXES, POINTERS, "assets"), 0)

    def object(self, item: ObjectInfo) -> None:
        """Take an object."""
        unit_name = unit_of(item.key)
        if unit_name is None or not self._is_ours(unit_name):
            return
        self.totals[_top(item.key)] += 1
        if mark := keys.retained(item.key):
            namespace, name, uid = mark
            self._names.add((namespace, name))
            self._retained.add(uid)
            self._whatsapp.add(keys.whatsapp_name(uid))
            return
        unit = self._units.setdefault(unit_name, Unit())
        unit.objects += 1
        unit.size_bytes += item.size_bytes
        unit.youngest = max(unit.youngest, item.modified.timestamp())

    def asset(self, asset: MediaAsset) -> None:
        """Take an asset, and what it names off the list of objects."""
        uid, spec, status = asset.metadata.uid, asset.spec, asset.status
        is_public = spec.visibility is Visibility.PUBLIC
        self._living[uid] = _Living(asset.key, asset.is_final, is_public, status.attempt)
        self._names.add(asset.key)
        self._whatsapp.add(keys.whatsapp_name(uid))
        for unit in (*units_named_by(asset), *self._pointers_of(asset)):
            self._units.pop(unit, None)
        self.totals["assets"] += 1
        if is_overdue(asset, datetime.fromtimestamp(self._now, tz=UTC), self._settings):
            self._failed.append(Finding(uid, Kind.FAILED, 1, 0, asset.key))

    def unknown(self) -> list[str]:
        """Return the pointers that are none of the assets'; whose they are stands in them."""
        return [name for name in self._units if pointers.is_pointer(name)]

    def pointer(self, key: str, owner: Key | None) -> None:
        """Take whose one of those is."""
        self._owners[key] = owner

    def findings(self) -> Iterator[Finding]:
        """Yield what is to go, assets first."""
        yield from self._failed
        for name in sorted(self._units, key=lambda name: (PREFIXES.index(name.partition("/")[0]), name)):
            unit = self._units[name]
            kind, asset = self._judge(name, self._now - unit.youngest)
            if kind is not None:
                yield Finding(name, kind, unit.objects, unit.size_bytes, asset)

    def _judge(self, unit: str, age: float) -> tuple[Kind | None, Key | None]:
        top, *rest = unit.split("/")
        if top == keys.TOMBSTONES:
            return (Kind.EXPIRED if age >= self._settings.sweep_tombstone_seconds else None), None
        if age < self._settings.sweep_age_seconds:
            return None, None
        if keys.is_sent(unit):
            return Kind.EXPIRED, None
        if top == keys.UPLOADS:
            name = (rest[0], rest[1])
            is_old = age >= self._settings.upload_lifetime_seconds
            return (Kind.ORPHAN if is_old and name not in self._names else None), name
        if top == keys.WHATSAPP:
            is_orphan = rest[-1].partition(".")[0] not in self._whatsapp and self._may_judge(unit)
            return (Kind.ORPHAN if is_orphan else None), None
        return self._judge_pointer(unit) if pointers.is_pointer(unit) else self._judge_by_uid(unit)

    def _judge_pointer(self, unit: str) -> tuple[Kind | None, Key | None]:
        # One of which nobody could read whose it is stays.
        owner = self._owners.get(unit)
        is_orphan = owner is not None and owner not in self._names and self._settings.may_judge(owner[0])
        return (Kind.ORPHAN if is_orphan else None), owner

    def _judge_by_uid(self, unit: str) -> tuple[Kind | None, Key | None]:
        """Judge a unit whose path holds the uid of its asset; a path of a user's may hold others, which count too."""
        top = unit.partition("/")[0]
        uids = _IS_UUID.findall(unit)
        living = next((self._living[uid] for uid in uids if uid in self._living), None)
        if living is None:
            is_kept = top != keys.WORK and not self._retained.isdisjoint(uids)
            return (Kind.ORPHAN if not is_kept and self._may_judge(unit) else None), None
        if not living.is_final:
            return None, living.key
        if top == keys.WORK:
            # The last attempt's Result stays: it is small, and a cluster that is put back to before it needs it.
            return (Kind.ATTEMPT if _attempt(unit) < living.attempt else None), living.key
        # A public URL that was given out once works as long as its asset is public.
        return (None if top == keys.PUBLIC and living.is_public else Kind.UNREFERENCED), living.key

    def _pointers_of(self, asset: MediaAsset) -> Iterator[str]:
        tenant, spec = "" if self._settings.single_tenant else asset.key[0], asset.spec
        yield pointers.name_key(pointers.by_name(tenant, spec.public_path, asset.metadata.name))
        if spec.stable_path:
            yield pointers.path_key(pointers.by_path(tenant, spec.stable_path))

    def _is_ours(self, unit: str) -> bool:
        namespace = self._namespace(unit)
        return namespace is None or self._settings.may_judge(namespace)

    def _may_judge(self, unit: str) -> bool:
        """Tell whether no asset means that there is none: in another namespace there could be one."""
        return self._settings.may_judge(self._namespace(unit))

    def _namespace(self, unit: str) -> str | None:
        top, first, *_ = unit.split("/")
        is_named = top in (keys.UPLOADS, keys.TOMBSTONES)
        is_named |= top in (keys.PUBLIC, keys.PRIVATE) and not self._settings.single_tenant
        is_named &= not pointers.is_pointer(unit)
        return first if is_named else None


def units_named_by(asset: MediaAsset) -> set[str]:
    """Return the units of the store that an asset's spec or status names."""
    source = asset.spec.source.object
    named = [source.key] if source else []
    named += [rendition.key for rendition in asset.status.renditions if rendition.key]
    return {unit for key in named if (unit := unit_of(key)) is not None}


def rows_of(findings: list[Finding], totals: dict[str, int]) -> list[Row]:
    """Add findings up by prefix and kind."""
    rows: dict[tuple[str, Kind], Row] = {}
    for finding in findings:
        prefix = prefix_of(finding)
        row = rows.get((prefix, finding.kind)) or Row(prefix, finding.kind, 0, totals[prefix], 0)
        found, size = row.found + finding.objects, row.size_bytes + finding.size_bytes
        rows[prefix, finding.kind] = Row(prefix, finding.kind, found, row.of, size)
    return list(rows.values())


def prefix_of(finding: Finding) -> str:
    """Return the prefix of a finding, `assets` for an asset."""
    return "assets" if finding.kind is Kind.FAILED else _top(finding.unit)


def refusal(rows: list[Row], assets: int, max_percent: int) -> str | None:
    """Return why nothing may be deleted: what was found looks like an error of ours; None when it is believed."""
    if not assets:
        return "there is no asset at all: these may be the wrong assets, or the wrong store"
    guarded: dict[str, tuple[int, int]] = {}
    for row in rows:
        if row.kind in GUARDED:
            guarded[row.prefix] = guarded.get(row.prefix, (0, 0))[0] + row.found, row.of
    for prefix, (found, total) in guarded.items():
        if found > max(FEW, total * max_percent / 100):
            return f"{found} of {total} under {prefix} would go, more than {max_percent} %"
    return None


def _top(key: str) -> str:
    return POINTERS if pointers.is_pointer(key) else key.partition("/")[0]


def _attempt(unit: str) -> int:
    return int(unit.split("/")[2])
