"""How work on an asset ends: Ready, or Stalled. Pure."""

from dataclasses import replace

from media_operator.actions import DeletePrefix, Plan
from media_operator.case import Case
from media_operator.leaving import removal, replacement, replacing
from media_operator.moving import is_public, misplaced, move, other_prefix
from media_operator.report import is_moving
from mediaasset.assets import Event
from mediaasset.reasons import TABLE, Reason
from mediaasset.status import ConditionType, Status
from mediaasset.task import RenditionState


def stall(case: Case, reason: Reason, text: str, status: Status, requeue: float | None = None) -> Plan:
    """End work without success: only a change helps, and requeue_seconds is when to look whether there was one."""
    before = case.status.condition(ConditionType.STALLED)
    is_news = before is None or (before.reason, before.message) != (reason, text)
    completed = case.now if is_news else case.status.completion_time
    end = {**case.handled(), "completion_time": completed, "retry_time": None}
    # A profile may appear without a change to the asset, so its absence leaves the request unhandled, and that of
    # before as it is.
    stalled = status if reason is Reason.PROFILE_NOT_FOUND else status.model_copy(update=end)
    conditions = [
        case.conditions.of(ConditionType.READY, status=False, reason=reason, message=text),
        case.conditions.of(ConditionType.STALLED, status=True, reason=reason, message=text),
        *case.conditions.first_published(),
    ]
    stalled = stalled.with_conditions(conditions, absent=[ConditionType.RECONCILING])
    ended = _end(case, stalled, Event(reason, text, warning=True) if is_news else None)
    # A move that is to be finished comes first.
    return replace(ended, requeue_seconds=requeue if ended.requeue_seconds is None else ended.requeue_seconds)


def is_stalled(status: Status) -> bool:
    """Tell whether the work that is recorded failed for good; the absence of a profile is said before there is any."""
    stalled = status.condition(ConditionType.STALLED)
    return stalled is not None and stalled.reason is not Reason.PROFILE_NOT_FOUND


def stay(case: Case) -> Plan | None:
    """Leave what is Stalled as it is."""
    if not is_stalled(case.status):
        return None
    return Plan(status=case.seen(case.status.with_conditions([], absent=[ConditionType.RECONCILING])))


def publish(case: Case, status: Status) -> Plan:
    """Serve what is finished."""
    newer = replacement(case.asset, case.observed)
    if newer is not None:
        text = f"{newer.metadata.name} is newer: {TABLE[Reason.REPLACED].text}"
        return removal(case.asset, Reason.REPLACED, text)
    text = f"{sum(r.state is RenditionState.READY for r in status.renditions)} renditions are published."
    ready = status.with_conditions(
        [
            case.conditions.of(ConditionType.READY, status=True, reason=Reason.READY, message=text),
            case.conditions.published(),
        ],
        absent=[ConditionType.RECONCILING, ConditionType.STALLED],
    )
    is_news = not case.status.is_true(ConditionType.READY)
    ended = _end(case, ready, Event(Reason.READY, text) if is_news else None)
    return replacing(ended, case.asset, case.observed, case.now)


def _end(case: Case, status: Status, news: Event | None) -> Plan:
    """End an attempt, well or not: with every object where the visibility wants it, and none elsewhere.

    A run that ends after the asset was made private leaves what was public before it, and a run that fails leaves
    what it had published until then.
    """
    events = (news,) if news else ()
    moves = misplaced(case, status)
    if moves or (case.is_running and is_moving(case.status)):
        # What fails is said now; what is ready is said when it is, after the move.
        return replace(move(case, status, moves), events=events if status.is_true(ConditionType.STALLED) else ())
    ends_urls = news is not None and not is_public(case, status) and not is_moving(case.status)
    old = (DeletePrefix(other_prefix(case, status)),) if ends_urls else ()
    return Plan(actions=old, status=case.seen(status), events=events)
