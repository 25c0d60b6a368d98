"""Starting an attempt: whether, and with what. Pure."""

from dataclasses import replace

from media_operator.actions import Plan, StartJob, StopJob
from media_operator.case import Case
from media_operator.classes import first_class
from media_operator.ending import is_stalled, publish, stall
from media_operator.renditions import Choice, choose, marked, merged
from media_operator.tasks import renditions_of, task_of
from mediaasset import keys
from mediaasset.names import job_name
from mediaasset.reasons import TABLE, Reason
from mediaasset.spec import MediaProfile, digest
from mediaasset.status import ConditionType, RenditionStatus, Status
from mediaasset.task import MediaClass, RenditionState, Task

#: How long until an asset whose profile does not exist is looked at again, in seconds.
PROFILE_RECHECK_SECONDS = 60.0


def start(case: Case) -> Plan | None:
    """Start an attempt if one is asked for or due, or say why it cannot be started."""
    if not (case.asks_anew or _is_due(case) or _is_forgotten(case) or _has_other_profile(case)):
        return None
    return begin(case)


def begin(case: Case) -> Plan:
    """Start an attempt, or say why it cannot be started."""
    profile = case.observed.profile
    if profile is None:
        text = f"There is no MediaProfile {case.spec.profile_name or '(default)'}."
        return _refuse(case, Reason.PROFILE_NOT_FOUND, text, PROFILE_RECHECK_SECONDS)
    obstacle = _obstacle(case)
    if obstacle:
        return _refuse(case, *obstacle)
    return _suspend(case) if case.spec.suspend else _begin(case, profile)


def _is_due(case: Case) -> bool:
    """Tell whether the pause after a failed attempt is over, and its Result did not turn up after all."""
    retry_time = case.status.retry_time
    return retry_time is not None and retry_time <= case.now and case.result is None


def _is_forgotten(case: Case) -> bool:
    """Tell whether the work of now failed and the failure is not shown any more, for something else came in between.

    That was asked and taken back before it began: a change of the spec, or a profile that was missing.
    """
    if case.status.completion_time is None or is_stalled(case.status):
        return False
    return case.status.failed_attempts > 0 or case.status.source_info is None


def _has_other_profile(case: Case) -> bool:
    """Tell whether the content of the profile changed, and means something to what is done or has failed."""
    profile, status = case.observed.profile, case.status
    if profile is None or status.completion_time is None or not case.asset.awaits_profile:
        return False
    return status.profile_hash != digest(profile.spec)


def _refuse(case: Case, reason: Reason, text: str, requeue: float | None = None) -> Plan:
    """Stall what cannot be started, and stop what still works on an earlier request."""
    # They have ended when what else there is to do is done.
    stalled = stall(case.stopped(), reason, text, case.status, requeue)
    return replace(stalled, actions=(*_stale(case), *stalled.actions))


def _obstacle(case: Case) -> tuple[Reason, str] | None:
    source, namespace = case.spec.source, case.asset.key[0]
    key = source.object.key if source.object else None
    if key and not keys.may_read_source(key, namespace, case.settings.foreign_prefixes):
        return Reason.SOURCE_FORBIDDEN, f"The key lies outside {keys.UPLOADS}/{namespace}/."
    sent = source.whatsapp
    if sent and sent.failure:
        return Reason.SOURCE_NOT_FOUND, f"WhatsApp sent the message without its media: {sent.failure}"
    return None


def _suspend(case: Case) -> Plan:
    waiting = case.conditions.unready(Reason.SUSPENDED, TABLE[Reason.SUSPENDED].text)
    return Plan(status=case.seen(case.status.with_conditions(waiting, absent=[ConditionType.STALLED])))


def _begin(case: Case, profile: MediaProfile) -> Plan:
    choice = choose(case.asset, profile)
    if not choice.make and not choice.is_whole:
        return _keep(case, profile)
    observed, status = case.observed, case.status
    inputs_hash = choice.inputs_hash(case.asset)
    # The attempt after the recorded one may be ours already, started just before a crash: then it is that one.
    attempt = status.attempt + 1
    is_started = bool(observed.job(attempt, inputs_hash) or observed.result(attempt, inputs_hash))
    if not is_started:
        attempt = max(observed.attempts | {status.attempt}) + 1
    task = task_of(
        case.asset,
        profile,
        case.settings,
        attempt=attempt,
        inputs_hash=inputs_hash,
        renditions=choice.make,
        class_name=_class_of(case, choice),
    )
    if choice.kept and status.source_info:
        # What is kept was made from these bytes, and a URL may give others by now.
        task = replace(task, source=replace(task.source, sha256=status.source_info.sha256))
    name = job_name(task.uid, inputs_hash, attempt)
    begin = () if is_started else (StartJob(name, task),)
    return Plan(
        actions=(*_stale(case, name), *begin),
        status=_started(case, task, name, profile),
        # A Job that gets no pod says so nowhere that is watched.
        requeue_seconds=case.settings.start_patience_seconds,
    )


def _keep(case: Case, profile: MediaProfile) -> Plan:
    """End without a Job: all that is asked for is there."""
    is_ready = case.status.is_true(ConditionType.READY)
    status = case.status.model_copy(
        update={
            **case.handled(),
            "profile_hash": digest(profile.spec),
            "failed_attempts": 0,
            "retry_time": None,
            "completion_time": case.status.completion_time if is_ready else case.now,
            "renditions": merged(case),
        }
    )
    ended = publish(case.stopped(), status)
    return replace(ended, actions=(*_stale(case), *ended.actions))


def _stale(case: Case, name: str = "") -> tuple[StopJob, ...]:
    """Return what ends the Jobs that work on an earlier request; `name` is that of the one that is wanted."""
    return tuple(StopJob(job.name) for job in case.observed.jobs if job.is_active and job.name != name)


def _class_of(case: Case, choice: Choice) -> MediaClass | None:
    """Return the class of the next attempt: as of the last one, or what its failure asked for, unless asked anew."""
    kept = case.status.class_name if case.settings.classes and not case.is_fresh else None
    return kept or first_class(case.asset, choice.make, case.settings)


def _started(case: Case, task: Task, name: str, profile: MediaProfile) -> Status:
    status = case.status.model_copy(
        update={
            **case.handled(),
            "inputs_hash": task.inputs_hash,
            "profile_hash": digest(profile.spec),
            "attempt": task.attempt,
            "failed_attempts": 0 if case.is_fresh else case.status.failed_attempts,
            "job_name": name,
            "class_name": task.class_name,
            "start_time": case.now,
            "completion_time": None,
            "retry_time": None,
            "renditions": marked(case.asset) or _pending(case, profile),
        }
    )
    running = case.conditions.unready(Reason.TRANSCODING, f"Attempt {task.attempt}.")
    return case.seen(status.with_conditions(running, absent=[ConditionType.STALLED]))


def _pending(case: Case, profile: MediaProfile) -> tuple[RenditionStatus, ...]:
    wanted = renditions_of(case.asset, profile)
    kind = case.spec.type
    return tuple(RenditionStatus(name=r.name, state=RenditionState.PENDING) for r in wanted if r.for_ is kind)
