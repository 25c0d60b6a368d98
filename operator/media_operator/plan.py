"""What to do next, decided from the asset and what is the case. Pure: state in, actions and the next status out.

The decision is level-based: it never asks what happened, only what is. Whoever dies between two of the actions, or
between the last one and the write of the status, is followed by a plan that names the rest.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from media_operator import deleting, ending, following, moving, naming, starting
from media_operator.actions import Hold, Plan
from media_operator.case import Case
from media_operator.leaving import removal
from media_operator.observe import Observed
from media_operator.report import Conditions, with_urls
from media_operator.settings import Settings
from mediaasset.assets import Event
from mediaasset.reasons import TABLE, MediaError, Reason
from mediaasset.spec import MediaAsset
from mediaasset.status import ConditionType
from mediaasset.task import RenditionState

#: What is said of an asset until its attempt ends: any other reason is worth more than that the store is away.
_ON_ITS_WAY = {Reason.PENDING, Reason.QUEUED, Reason.TRANSCODING, Reason.STORE_UNAVAILABLE, Reason.STORE_FORBIDDEN}


def is_settled(asset: MediaAsset, settings: Settings, now: datetime) -> bool:
    """Tell from the asset alone that there is nothing to do, so that a resync of finished assets reads nothing more."""
    is_finished = asset.is_final and asset.is_held and not asset.is_expired(now)
    has_urls = with_urls(asset, asset.status, settings) == asset.status
    return is_finished and has_urls and naming.is_current(asset, settings)


def plan(asset: MediaAsset, observed: Observed, now: datetime, settings: Settings) -> Plan:
    """Decide what comes next. Calling it again on the state that its Plan leads to gives a Plan without actions."""
    case = Case(asset, observed, now, settings)
    return naming.follow(case, next(decided for step in _STEPS if (decided := step(case)) is not None))


def without(decided: Plan, lost: Iterable[str]) -> Plan:
    """Return the Plan with those renditions failed whose objects are gone, by the keys that they were to have."""
    gone = frozenset(lost)
    text = "Its object is gone: ask for reprocessing."
    failed = {"state": RenditionState.FAILED, "reason": Reason.INTERNAL, "message": text, "key": None, "url": None}
    renditions = tuple(r.model_copy(update=failed) if r.key in gone else r for r in decided.status.renditions)
    return replace(decided, status=decided.status.model_copy(update={"renditions": renditions}))


def queued(asset: MediaAsset, now: datetime, before: int) -> Plan:
    """Return the Plan of an asset whose start was not admitted: nothing but to show that it waits.

    before is how many came before it. It is said once: thousands of assets are not written anew with each that goes.
    """
    ready = asset.status.condition(ConditionType.READY)
    if ready is not None and ready.reason is Reason.QUEUED and ready.observed_generation == asset.metadata.generation:
        return Plan(status=asset.status)
    text = f"{before} came before it in the queue {asset.spec.queue}. {TABLE[Reason.QUEUED].text}"
    waiting = Conditions(asset, now).unready(Reason.QUEUED, text)
    return Plan(status=asset.status.with_conditions(waiting, absent=[ConditionType.STALLED]))


def hindered(asset: MediaAsset, error: MediaError, now: datetime) -> Plan:
    """Return the Plan of an asset on its way of which the store lets nothing be seen: nothing but to say so, once."""
    ready = asset.status.condition(ConditionType.READY)
    is_told = ready is not None and (ready.status == "True" or ready.reason not in _ON_ITS_WAY - {error.reason})
    if asset.deleted_at is not None or is_told:
        return Plan(status=asset.status)
    status = asset.status.with_conditions(Conditions(asset, now).unready(error.reason, error.message))
    return Plan(status=status, events=(Event(error.reason, error.message, warning=True),))


def waits_since(asset: MediaAsset) -> datetime | None:
    """Return since when it is known that an asset is to get an attempt, so that a restart does not send it back."""
    ready = asset.status.condition(ConditionType.READY)
    return None if ready is None or ready.status == "True" else ready.last_transition_time


def _hold(case: Case) -> Plan | None:
    return None if case.asset.is_held else Plan(actions=(Hold(),), status=case.status, requeue_seconds=0.0)


def _expire(case: Case) -> Plan | None:
    return removal(case.asset, Reason.EXPIRED, TABLE[Reason.EXPIRED].text) if case.asset.is_expired(case.now) else None


def _work(case: Case) -> Plan:
    decided = starting.start(case) or following.follow(case) or ending.stay(case) or ending.publish(case, case.status)
    return moving.finish(case, decided)


#: The whole of a life, its end first; the first step that has something to say decides.
_STEPS: tuple[Callable[[Case], Plan | None], ...] = (deleting.delete, _hold, _expire, moving.begin, _work)
