"""Bringing objects to where the visibility wants them: copy, record, then delete. Pure."""

from dataclasses import replace

from media_operator.actions import CopyObject, CopyTree, DeletePrefix, Plan
from media_operator.case import Case
from media_operator.report import is_moving
from media_operator.tasks import prefix_of
from mediaasset import keys
from mediaasset.media import Kind
from mediaasset.reasons import TABLE, Reason
from mediaasset.spec import Visibility
from mediaasset.status import ConditionType, Status

#: How long until an asset is looked at again whose move waits for a Job to end, if nothing wakes it, in seconds.
RUNNING_RECHECK_SECONDS = 5.0


def begin(case: Case) -> Plan | None:
    """Move what lies in the wrong place, unless a transcoder may still be writing there."""
    moves = misplaced(case, case.status)
    return move(case, case.status, moves) if moves and not case.is_running else None


def finish(case: Case, decided: Plan) -> Plan:
    """Add to what was decided the end of a move that is recorded: what was copied is deleted."""
    if case.is_running or not is_moving(case.status):
        return decided
    old = DeletePrefix(other_prefix(case, case.status))
    return replace(decided, actions=(old, *decided.actions))


def misplaced(case: Case, status: Status) -> dict[str, str]:
    """Return the keys that lie where the visibility does not want them, and those that they are to have."""
    source = other_prefix(case, status)
    target = prefix_of(case.asset, case.settings, public=is_public(case, status))
    found = [r.key for r in status.renditions if r.key is not None and r.key.startswith(source)]
    return {key: keys.move(key, source=source, target=target) for key in found}


def move(case: Case, status: Status, moves: dict[str, str]) -> Plan:
    """Copy; the plan that follows the record of it deletes what was copied.

    A Job is active for a second or two after its Result is there: then the move is only announced.
    """
    if case.is_running:
        moves = {}
    renditions = tuple(r.model_copy(update={"key": moves[r.key]}) if r.key in moves else r for r in status.renditions)
    text = TABLE[Reason.MOVING].text
    conditions = [case.conditions.of(ConditionType.RECONCILING, status=True, reason=Reason.MOVING, message=text)]
    if status.completion_time is not None and not status.is_true(ConditionType.STALLED):
        conditions += [
            case.conditions.of(ConditionType.READY, status=False, reason=Reason.MOVING, message=text),
            case.conditions.published(),
        ]
    moved = status.model_copy(update={"renditions": renditions}).with_conditions(conditions)
    copies = tuple(_copy(source, target) for source, target in moves.items())
    again = RUNNING_RECHECK_SECONDS if case.is_running else 0.0
    return Plan(actions=copies, status=case.seen(moved), requeue_seconds=again)


def other_prefix(case: Case, status: Status) -> str:
    """Return the prefix at which nothing of the asset is to lie."""
    return prefix_of(case.asset, case.settings, public=not is_public(case, status))


def is_public(case: Case, status: Status) -> bool:
    """Tell whether anyone may load the renditions; documents stay private unless their profile publishes them."""
    if case.spec.visibility is Visibility.PRIVATE:
        return False
    is_document = status.source_info is not None and status.source_info.type is Kind.DOCUMENT
    profile = case.observed.profile
    return not is_document or (profile is not None and profile.spec.public_documents)


def _copy(source: str, target: str) -> CopyObject | CopyTree:
    """Return what copies a rendition, given the key that it has and the one that it is to have."""
    tree, other = keys.tree_of(source), keys.tree_of(target)
    if tree is None or other is None:
        return CopyObject(source, target)
    return CopyTree(tree, other, source.removeprefix(tree))
