"""Stable names: which pointers an asset is to have, and what is done until it has them. Pure.

They follow from the keys of the renditions that anyone may load, so they are written with every change of these, after
the objects are there and before the status says so. The status remembers what was written as one hash: an asset of
which nothing changed costs no request.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from media_operator.actions import Action, CopyObject, CopyTree, DeleteAsset, DeletePrefix, Plan, Point, Unpoint
from media_operator.case import Case
from media_operator.leaving import is_older
from media_operator.report import Conditions, name_of, path_of, with_names
from media_operator.settings import Settings
from media_operator.tasks import prefix_of
from mediaasset import keys, pointers
from mediaasset.assets import Event
from mediaasset.media import by_file_name, served_mime
from mediaasset.reasons import TABLE, Reason
from mediaasset.spec import CollectionPolicy, MediaAsset, digest
from mediaasset.status import DISPLAY_ORDER, ConditionType, RenditionStatus, Status
from mediaasset.task import RenditionState

#: How long until it is looked again whether a name is free whose asset is being deleted, in seconds.
LEAVING_RECHECK_SECONDS = 5.0


def wanted(asset: MediaAsset, status: Status, settings: Settings) -> dict[str, bytes]:
    """Return the pointers that an asset is to have, their contents by their keys."""
    prefix = prefix_of(asset, settings, public=True)
    ready = [r for r in status.renditions if r.state is RenditionState.READY and r.key and r.key.startswith(prefix)]
    if not settings.stable_names or not ready:
        return {}
    name = pointers.name_key(name_of(asset, settings))
    found = {name: pointers.body(asset.key, {r.name: r.key or "" for r in ready})}
    path, main = path_of(asset, settings), _main(asset.spec.stable_path, ready)
    if path and main:
        found[pointers.path_key(path)] = pointers.body(asset.key, {main.name: main.key or ""})
    return found


def is_current(asset: MediaAsset, settings: Settings) -> bool:
    """Tell whether the status of an asset says that it has the pointers that it is to have."""
    return asset.status.names_hash == _hash(wanted(asset, asset.status, settings))


def follow(case: Case, decided: Plan) -> Plan:
    """Add to what was decided what brings the pointers to where the renditions then are."""
    asset, status, own = case.asset, decided.status, case.asset.metadata.uid
    is_leaving = any(isinstance(each, DeleteAsset) and each.uid == own for each in decided.actions)
    if asset.deleted_at is not None or is_leaving:
        return decided
    bodies = wanted(asset, status, case.settings)
    names_hash = _hash(bodies)
    is_same = status.names_hash == names_hash
    held = _held(asset, status, case.settings) if is_same and not _took_over(case) else frozenset[str]()
    actions: list[Action] = []
    # Whoever died between a pointer and its record left one that the status does not tell of: where public objects go,
    # it is looked for.
    is_hiding = not bodies and any(isinstance(each, CopyObject | CopyTree | DeletePrefix) for each in decided.actions)
    if not is_same or is_hiding:
        actions += [Unpoint(key, asset.key) for key in keys_of(asset, case.settings) if key not in bodies]
    owners = frozenset({asset.key, *_heirs_of(case)})
    actions += [Point(key, body, owners) for key, body in bodies.items() if key not in held]
    if not actions:
        return decided
    status = status.model_copy(update={"names_hash": names_hash}).with_conditions([], absent=[ConditionType.NAME_TAKEN])
    named = with_names(asset, status, case.settings, held=bodies.keys())
    return replace(decided, actions=(*decided.actions, *actions), status=named)


def taken(
    asset: MediaAsset, decided: Plan, owners: Mapping[str, MediaAsset], now: datetime, settings: Settings
) -> Plan:
    """Return the Plan of an asset some names of which others have: each of them by the key of the pointer."""
    held = wanted(asset, decided.status, settings).keys() - owners.keys()
    shown = zip(keys_of(asset, settings), (name_of(asset, settings), path_of(asset, settings)), strict=False)
    found = [f"/media/{name} is that of the asset {'/'.join(owners[key].key)}." for key, name in shown if key in owners]
    text = " ".join((*found, TABLE[Reason.NAME_TAKEN].text))
    condition = Conditions(asset, now).of(ConditionType.NAME_TAKEN, status=True, reason=Reason.NAME_TAKEN, message=text)
    before = asset.status.condition(ConditionType.NAME_TAKEN)
    if before:
        condition = condition.model_copy(update={"last_transition_time": before.last_transition_time})
    status = with_names(asset, decided.status, settings, held=held).with_conditions([condition])
    is_news = before is None or before.message != condition.message
    news = (Event(Reason.NAME_TAKEN, text, warning=True),) if is_news else ()
    decided = replace(decided, status=status, events=(*decided.events, *news))
    is_soon_free = any(owner.deleted_at for owner in owners.values())
    return replace(decided, requeue_seconds=LEAVING_RECHECK_SECONDS) if is_soon_free else decided


def keys_of(asset: MediaAsset, settings: Settings) -> tuple[str, ...]:
    """Return the keys of all pointers that an asset may have."""
    path = path_of(asset, settings)
    return (pointers.name_key(name_of(asset, settings)), *([pointers.path_key(path)] if path else []))


def _hash(bodies: Mapping[str, bytes]) -> str | None:
    return digest({key: body.decode() for key, body in bodies.items()}) if bodies else None


def _held(asset: MediaAsset, status: Status, settings: Settings) -> frozenset[str]:
    """Return the keys of the pointers that the status says to be this asset's."""
    known = dict(zip(keys_of(asset, settings), (status.stable_url, status.stable_path_url), strict=False))
    return frozenset(key for key, url in known.items() if url)


def _took_over(case: Case) -> bool:
    """Tell whether it may have taken its path over from an older asset that was being changed or deleted meanwhile."""
    reconciling = case.status.condition(ConditionType.RECONCILING)
    return case.spec.stable_path is not None and bool(reconciling and reconciling.reason is Reason.REPLACING)


def _heirs_of(case: Case) -> list[tuple[str, str]]:
    """Return the older assets that this one replaces: their path is one that always shows the latest."""
    if case.spec.collection_policy is not CollectionPolicy.KEEP_LATEST:
        return []
    return [each.key for each in case.observed.siblings if is_older(each, case.asset)]


def _main(path: str | None, ready: list[RenditionStatus]) -> RenditionStatus | None:
    """Return what answers at an old path: best of the type that it says, best `original`, else what people are shown.

    A directory of files is nothing that one address could stand for.
    """
    media = by_file_name(path or "")
    single = [r for r in ready if keys.tree_of(r.key or "") is None]

    def rank(rendition: RenditionStatus) -> tuple[bool, bool, int, int]:
        fits = media is not None and served_mime(rendition.key or "") == media.mime
        shown = DISPLAY_ORDER.index(rendition.name) if rendition.name in DISPLAY_ORDER else len(DISPLAY_ORDER)
        size = (rendition.width or 0) * (rendition.height or 0)
        return not fits, rendition.name != "original", -size if fits else 0, shown

    return min(single, key=rank, default=None)
