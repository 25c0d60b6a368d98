"""Which renditions an attempt makes, and which are kept as they are. Pure.

The status is all that is remembered of it: a rendition that carries the hash of what is asked now is kept. One that is
to be made again as it was loses its hash when the attempt begins, though it is served until then. So every further
attempt at the same request makes the same ones, whoever died in between.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from media_operator.case import Case
from media_operator.tasks import renditions_of
from mediaasset.media import Kind
from mediaasset.reasons import Reason
from mediaasset.spec import MediaAsset, MediaProfile, Rendition, digest
from mediaasset.status import ConditionType, RenditionStatus, SourceInfo, Status
from mediaasset.task import RenditionState, Result, encode

_DONE = (RenditionState.READY, RenditionState.SKIPPED)


@dataclass(frozen=True, slots=True)
class Choice:
    """What an attempt makes, and the names of what is kept; `is_whole` when nothing of before counts."""

    make: tuple[Rendition, ...]
    kept: frozenset[str]
    is_whole: bool

    def inputs_hash(self, asset: MediaAsset) -> str:
        """Return what stands for the attempt."""
        return digest(asset.spec.source, asset.spec.type, *self.make)


def choose(asset: MediaAsset, profile: MediaProfile) -> Choice:
    """Return what an attempt has to make now."""
    asked = renditions_of(asset, profile)
    again = asset.reprocess_renditions if asset.wants_reprocess else frozenset()
    found = _kind_found(asset)
    if found is None or (asset.wants_reprocess and not again):
        return Choice(asked, frozenset(), is_whole=True)
    applicable = [rendition for rendition in asked if rendition.for_ is found]
    made = {r.name: r.inputs_hash for r in asset.status.renditions if r.state in _DONE}
    kept = frozenset(r.name for r in applicable if made.get(r.name) == hash_of(r) and r.name not in again)
    if applicable and not kept:
        return Choice(asked, frozenset(), is_whole=True)
    return Choice(tuple(r for r in applicable if r.name not in kept), kept, is_whole=False)


def is_partial(case: Case) -> bool:
    """Tell whether the current attempt keeps anything of what an earlier one made."""
    choice = _choice(case)
    return choice is not None and bool(choice.kept)


def is_outdated(case: Case, result: Result) -> bool:
    """Tell whether a Result may lack what is not kept: the profile changed since its attempt began with only a part."""
    had_some = any(r.inputs_hash for r in case.status.renditions)
    return had_some and not _is_of(_choice(case), case.asset, result)


def hash_of(rendition: Rendition) -> str:
    """Return what stands for a rendition: that it is optional changes nothing of what is made."""
    return digest(rendition.model_copy(update={"optional": False}))


def marked(asset: MediaAsset) -> tuple[RenditionStatus, ...]:
    """Return the renditions as they are while an attempt runs: what was asked for once more has no hash."""
    if not asset.wants_reprocess:
        return asset.status.renditions
    return unmarked(asset.status, asset.reprocess_renditions)


def unmarked(status: Status, names: frozenset[str] = frozenset()) -> tuple[RenditionStatus, ...]:
    """Return the renditions, those of these names, or all of them, without their hashes."""
    return tuple(
        r.model_copy(update={"inputs_hash": None}) if not names or r.name in names else r for r in status.renditions
    )


def merged(case: Case, result: Result | None = None) -> tuple[RenditionStatus, ...]:
    """Return what there is at the end of an attempt: what its Result names, and what was kept.

    What was made gets its hash only if the profile is the same as when the attempt began: else nobody knows as what.
    """
    asset, profile, choice = case.asset, case.observed.profile, _choice(case)
    asked = renditions_of(asset, profile) if profile else asset.spec.renditions
    source_info = result.source_info if result else asset.status.source_info
    found = source_info.type if source_info else None
    hashes, kept = {}, {}
    if choice and (result is None or _is_of(choice, asset, result)):
        hashes = {r.name: hash_of(r) for r in choice.make if r.for_ is found}
        kept = {r.name: r for r in asset.status.renditions if r.name in choice.kept}
    made = {
        r.name: RenditionStatus.model_validate(encode(r) | {"inputsHash": hashes.get(r.name)})
        for r in (result.renditions if result else ())
    }
    present = kept | made
    names = [r.name for r in asked if r.for_ is found and r.name in present]
    ordered = [present.pop(name) for name in names]
    return (*ordered, *present.values(), *_inapplicable(asset, found, {*made, *kept}))


def _choice(case: Case) -> Choice | None:
    profile = case.observed.profile
    return choose(case.asset, profile) if profile else None


def _is_of(choice: Choice | None, asset: MediaAsset, result: Result) -> bool:
    """Tell whether a Result is that of an attempt which would be the same now."""
    return choice is not None and choice.inputs_hash(asset) == result.inputs_hash


def _kind_found(asset: MediaAsset) -> Kind | None:
    """Return what the source is, if there are renditions of it that could be kept."""
    info: SourceInfo | None = asset.status.source_info
    if info is None or not asset.status.is_true(ConditionType.PUBLISHED) or asset.spec.type not in (None, info.type):
        return None
    return info.type


def _inapplicable(asset: MediaAsset, found: Kind | None, there: set[str]) -> Iterator[RenditionStatus]:
    """Yield what the asset itself asks for, but of another type than its source turned out to be.

    A profile names renditions of all types, and saying so of each asset would be noise.
    """
    for rendition in asset.spec.renditions:
        if rendition.for_ is not found and rendition.name not in there:
            there.add(rendition.name)
            text = f"It is for {rendition.for_}, and the source is {found}."
            yield RenditionStatus(
                name=rendition.name, state=RenditionState.SKIPPED, reason=Reason.NOT_APPLICABLE, message=text
            )
