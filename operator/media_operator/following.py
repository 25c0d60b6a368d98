"""Following a Job to its end: success, another attempt, or a failure that stays. Pure."""

from datetime import timedelta

from media_operator.actions import Plan
from media_operator.case import Case
from media_operator.classes import larger_class
from media_operator.ending import publish, stall
from media_operator.renditions import is_outdated, is_partial, merged, unmarked
from media_operator.starting import begin
from mediaasset.assets import Event
from mediaasset.jobs import Job, JobPhase
from mediaasset.reasons import TABLE, Reason, Retry
from mediaasset.status import ConditionType, SourceInfo, Status
from mediaasset.task import Result, encode
from mediaasset.task import SourceInfo as ProbedSource

#: How long until a Job that something keeps from beginning is looked at again, in seconds: that ends without an event.
HINDERED_RECHECK_SECONDS = 10.0


def follow(case: Case) -> Plan | None:
    """Look how far the current attempt is; None when it has ended and its end is recorded."""
    status = case.status
    if status.completion_time is not None:
        return None
    result, job = case.result, case.job
    if result is not None:
        return _succeed(case, result)
    if status.retry_time is not None:
        pause = (status.retry_time - case.now).total_seconds()
        # Said anew, for a move may have taken the place of the condition.
        text = f"Attempt {status.attempt} failed; the next one follows."
        waiting = case.conditions.of(ConditionType.RECONCILING, status=True, reason=Reason.RETRYING, message=text)
        return Plan(status=case.seen(status.with_conditions([waiting])), requeue_seconds=max(pause, 0.0))
    if job is not None and job.is_active:
        return _wait(case, job)
    return _fail_of(case, job)


def _wait(case: Case, job: Job) -> Plan:
    """Let a Job go on; what keeps it from beginning is said once that takes longer than it may."""
    settings, hindrance = case.settings, job.waiting
    reason, text = Reason.TRANSCODING, f"Attempt {case.status.attempt}."
    events: tuple[Event, ...] = ()
    again = settings.start_patience_seconds if job.phase is JobPhase.PENDING else None
    if hindrance is not None:
        is_of_pod = hindrance.reason in (Reason.IMAGE_PULL, Reason.CANNOT_START)
        patience = settings.start_patience_seconds if is_of_pod else settings.schedule_patience_seconds
        again = patience - (case.now - hindrance.since).total_seconds()
        if again <= 0:
            reason, again = hindrance.reason, HINDERED_RECHECK_SECONDS
            text = TABLE[reason].text
            if hindrance.message:
                text = f"{hindrance.message.rstrip('. ')}. {text}"
            before = case.status.condition(ConditionType.READY)
            if before is None or before.reason is not reason:
                events = (Event(reason, text, warning=True),)
            elif not hindrance.message:
                # Between two tries an image says no cause, and that of the last one still holds.
                text = before.message
    status = case.status.with_conditions(case.conditions.unready(reason, text))
    return Plan(status=case.seen(status), events=events, requeue_seconds=again)


def _fail_of(case: Case, job: Job | None) -> Plan:
    if job is None:
        # One that was collected, while nobody looked, may have left why it failed.
        said = case.observed.failure(case.status.attempt, case.status.inputs_hash, None)
        return _fail(case, said.reason, said.message, said.source_info) if said else _fail(case, Reason.JOB_LOST)
    if job.phase is JobPhase.SUCCEEDED:
        return _fail(case, Reason.JOB_LOST, "The Job says that it succeeded, but there is no Result.")
    ready = case.status.condition(ConditionType.READY)
    if job.reason is Reason.DEADLINE_EXCEEDED and ready and TABLE[ready.reason].retry is Retry.PLATFORM:
        # No transcoder has begun: the time went by while it could not.
        return _fail(case, ready.reason, ready.message)
    failure = case.observed.failure(case.status.attempt, case.status.inputs_hash, job.reason)
    # What the platform saw from outside (a kill for memory, a deadline) is later than what a pod could write.
    if job.reason in (Reason.OUT_OF_MEMORY, Reason.DEADLINE_EXCEEDED) or failure is None:
        return _fail(case, job.reason or Reason.INTERNAL)
    return _fail(case, failure.reason, failure.message, failure.source_info)


def _succeed(case: Case, result: Result) -> Plan:
    if is_outdated(case, result):
        return begin(case)
    status = case.status.model_copy(
        update={
            "source_info": SourceInfo.model_validate(encode(result.source_info)),
            "renditions": merged(case, result),
            # A film's is made of its poster, which another attempt may have made.
            "thumb_hash": result.thumb_hash or (case.status.thumb_hash if is_partial(case) else None),
            "completion_time": case.now,
            "failed_attempts": 0,
            "retry_time": None,
        }
    )
    return publish(case, status)


def _fail(case: Case, reason: Reason, message: str = "", probed: ProbedSource | None = None) -> Plan:
    text = message or TABLE[reason].text
    retry, settings = TABLE[reason].retry, case.settings
    failed = case.status.failed_attempts + (retry is not Retry.PLATFORM)
    info = SourceInfo.model_validate(encode(probed)) if probed else case.status.source_info
    status = case.status.model_copy(update={"failed_attempts": failed, "source_info": info})
    pause = settings.backoff_seconds * 2 ** max(failed - 1, 0)
    if retry is Retry.PLATFORM:
        return _retry(case, reason, text, status, pause)
    if reason is Reason.SOURCE_MISMATCH and is_partial(case):
        # The URL gives other bytes than those of which the other renditions were made: all are made again.
        status = status.model_copy(update={"renditions": unmarked(status)})
        return _retry(case, reason, text, status, 0.0)
    if retry is Retry.NEVER or failed >= settings.max_attempts:
        return stall(case, reason, text, status)
    if retry is not Retry.LARGER:
        return _retry(case, reason, text, status, pause)
    larger = larger_class(status.class_name, settings)
    if larger is None:
        return stall(case, reason, text, status)
    # What is too small is so at once: there is nothing to wait for.
    return _retry(case, reason, text, status.model_copy(update={"class_name": larger}), 0.0)


def _retry(case: Case, reason: Reason, text: str, status: Status, pause: float) -> Plan:
    note = f"Attempt {status.attempt} failed; the next one follows."
    failing = [
        case.conditions.of(ConditionType.READY, status=False, reason=reason, message=text),
        case.conditions.of(ConditionType.RECONCILING, status=True, reason=Reason.RETRYING, message=note),
    ]
    retry_time = case.now + timedelta(seconds=pause)
    waiting = status.with_conditions(failing).model_copy(update={"retry_time": retry_time})
    event = Event(reason, f"{note} {text}", warning=True)
    return Plan(status=case.seen(waiting), events=(event,), requeue_seconds=pause)
