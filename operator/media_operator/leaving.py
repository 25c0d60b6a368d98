"""Assets that go by themselves: those whose time is over, and those that a newer one replaces. Pure.

Of a collection that keeps the latest, nobody deletes the newest asset that is Ready: there is always one to load,
whoever dies at whatever point.
"""

from dataclasses import replace
from datetime import UTC, datetime

from media_operator.actions import DeleteAsset, Plan
from media_operator.observe import Observed
from media_operator.report import Conditions
from mediaasset.assets import Event
from mediaasset.reasons import TABLE, Reason
from mediaasset.spec import MediaAsset
from mediaasset.status import ConditionType


def removal(asset: MediaAsset, reason: Reason, text: str) -> Plan:
    """Return the Plan that marks an asset as deleted; the plan of a deleted one does the rest."""
    mark = DeleteAsset(*asset.key, asset.metadata.uid)
    return Plan(actions=(mark,), status=asset.status, events=(Event(reason, text),))


def replacement(asset: MediaAsset, observed: Observed) -> MediaAsset | None:
    """Return a newer sibling that is Ready, so that this asset is not wanted any more; None while there is none."""
    return next(
        (each for each in observed.siblings if is_older(asset, each) and each.status.is_true(ConditionType.READY)),
        None,
    )


def replacing(decided: Plan, asset: MediaAsset, observed: Observed, now: datetime) -> Plan:
    """Add to the Plan of an asset that becomes Ready what ends its older siblings.

    Ready is written first, as a status that is not final; the plan that follows it deletes. What a list did not show
    yet, or could not hold, is found by the plan after that one: the status is final once there is no older sibling.
    """
    older = [each for each in observed.siblings if is_older(each, asset)]
    if not older or not decided.status.is_true(ConditionType.READY):
        return decided
    text = TABLE[Reason.REPLACING].text
    waiting = Conditions(asset, now).of(ConditionType.RECONCILING, status=True, reason=Reason.REPLACING, message=text)
    decided = replace(decided, status=decided.status.with_conditions([waiting]), requeue_seconds=0.0)
    if not asset.status.is_true(ConditionType.READY):
        return decided
    deletions = tuple(DeleteAsset(*each.key, each.metadata.uid) for each in older)
    news = Event(Reason.REPLACING, f"It replaces {', '.join(each.metadata.name for each in older)}.")
    return replace(decided, actions=(*decided.actions, *deletions), events=(*decided.events, news))


def is_older(asset: MediaAsset, other: MediaAsset) -> bool:
    """Tell whether an asset is older than another; by name where both were created at the same time."""
    first, second = ((each.created_at or _NEVER, each.metadata.name) for each in (asset, other))
    return first < second


_NEVER = datetime.min.replace(tzinfo=UTC)
