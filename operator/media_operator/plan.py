"""What to do next, decided from the asset and what is the case. Pure: state in, actions and the next status out.

The decision is level-based: it never asks what happened, only what is. Whoever dies between two of the actions, or
between the last one and the write of the status, is followed by a plan that names the rest.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from media_operator.actions import (
    Action,
    CopyObject,
    CopyTree,
    DeleteObject,
    DeletePrefix,
    Hold,
    Plan,
    Release,
    StartJob,
    StopJob,
    WriteTombstone,
)
from media_operator.leaving import removal, replacement, replacing
from media_operator.observe import Observed
from media_operator.report import Conditions, is_moving, seen, with_urls
from media_operator.settings import Settings
from media_operator.tasks import original_key_of, prefix_of, renditions_of, task_of
from mediaasset import keys
from mediaasset.assets import Event
from mediaasset.jobs import Job, JobPhase
from mediaasset.media import Kind
from mediaasset.names import REPROCESS_ANNOTATION, job_name
from mediaasset.reasons import TABLE, Reason, Retry
from mediaasset.spec import DeletionPolicy, MediaAsset, MediaProfile, Visibility, digest
from mediaasset.status import ConditionType, RenditionStatus, SourceInfo, Status
from mediaasset.task import RenditionState, Result, encode
from mediaasset.task import SourceInfo as ProbedSource

#: How long until an asset whose profile does not exist is looked at again, in seconds.
PROFILE_RECHECK_SECONDS = 60.0
#: How long until an asset is looked at again whose move waits for a Job to end, if nothing wakes it, in seconds.
RUNNING_RECHECK_SECONDS = 5.0
#: How long until a queued asset is looked at again if nothing wakes it, in seconds: each end of a Job does.
QUEUE_RECHECK_SECONDS = 300.0


def is_settled(asset: MediaAsset, settings: Settings, now: datetime) -> bool:
    """Tell from the asset alone that there is nothing to do, so that a resync of finished assets reads nothing more."""
    is_finished = asset.is_final and asset.is_held and not asset.is_expired(now)
    return is_finished and with_urls(asset, asset.status, settings) == asset.status


def plan(asset: MediaAsset, observed: Observed, now: datetime, settings: Settings) -> Plan:
    """Decide what comes next. Calling it again on the state that its Plan leads to gives a Plan without actions."""
    return _Planner(asset, observed, now, settings).plan()


def without(decided: Plan, lost: Iterable[str]) -> Plan:
    """Return the Plan with those renditions failed whose objects are gone, by the keys that they were to have."""
    gone = frozenset(lost)
    text = "Its object is gone: ask for reprocessing."
    failed = {"state": RenditionState.FAILED, "reason": Reason.INTERNAL, "message": text, "key": None, "url": None}
    renditions = tuple(r.model_copy(update=failed) if r.key in gone else r for r in decided.status.renditions)
    return replace(decided, status=decided.status.model_copy(update={"renditions": renditions}))


def queued(asset: MediaAsset, now: datetime) -> Plan:
    """Return the Plan of an asset whose start was not admitted: nothing but to show that it waits."""
    waiting = Conditions(asset, now).unready(Reason.QUEUED, TABLE[Reason.QUEUED].text)
    status = asset.status.with_conditions(waiting, absent=[ConditionType.STALLED])
    return Plan(status=status, requeue_seconds=QUEUE_RECHECK_SECONDS)


class _Planner:
    def __init__(self, asset: MediaAsset, observed: Observed, now: datetime, settings: Settings) -> None:
        self.asset, self.observed, self.now, self.settings = asset, observed, now, settings
        self.spec, self.status = asset.spec, asset.status
        self.conditions = Conditions(asset, now)

    def plan(self) -> Plan:
        if self.asset.deleted_at is not None:
            return self._delete()
        if not self.asset.is_held:
            return Plan(actions=(Hold(),), status=self.status, requeue_seconds=0.0)
        if self.asset.is_expired(self.now):
            return removal(self.asset, Reason.EXPIRED, TABLE[Reason.EXPIRED].text)
        return self._proceed()

    def _proceed(self) -> Plan:
        if self._is_running():
            return self._next()
        moves = self._moves(self.status)
        if moves:
            return self._move(self.status, moves)
        decided = self._next()
        if is_moving(self.status):
            old = DeletePrefix(self._other_prefix(self.status))
            return replace(decided, actions=(old, *decided.actions))
        return decided

    def _next(self) -> Plan:
        if self._must_start():
            return self._start()
        if self.status.completion_time is None:
            return self._follow()
        if self.status.is_true(ConditionType.STALLED):
            return Plan(status=self._seen(self.status.with_conditions([], absent=[ConditionType.RECONCILING])))
        return self._publish(self.status)

    # Starting

    def _must_start(self) -> bool:
        changed = self.status.request_hash != self.spec.request_hash
        return changed or self.asset.wants_reprocess or self._is_due()

    def _is_due(self) -> bool:
        """Tell whether the pause after a failed attempt is over, and its Result did not turn up after all."""
        retry_time = self.status.retry_time
        return retry_time is not None and retry_time <= self.now and self._valid_result() is None

    def _start(self) -> Plan:
        profile = self.observed.profile
        if profile is None:
            text = f"There is no MediaProfile {self.spec.profile_name or '(default)'}."
            return self._refuse(Reason.PROFILE_NOT_FOUND, text, requeue=PROFILE_RECHECK_SECONDS)
        key = self.spec.source.object.key if self.spec.source.object else None
        if key and not keys.may_read_source(key, self.asset.key[0], self.settings.foreign_prefixes):
            return self._refuse(Reason.SOURCE_FORBIDDEN, f"The key lies outside {keys.UPLOADS}/{self.asset.key[0]}/.")
        sent = self.spec.source.whatsapp
        if sent and sent.failure:
            return self._refuse(Reason.SOURCE_NOT_FOUND, f"WhatsApp sent the message without its media: {sent.failure}")
        if self.spec.suspend:
            return self._suspend()
        inputs_hash = digest(self.spec.source, self.spec.type, *renditions_of(self.asset, profile))
        # The attempt after the recorded one may be ours already, started just before a crash: then it is that one.
        attempt = self.status.attempt + 1
        is_started = bool(self.observed.job(attempt, inputs_hash) or self.observed.result(attempt, inputs_hash))
        if not is_started:
            attempt = max(self.observed.attempts | {self.status.attempt}) + 1
        task = task_of(self.asset, profile, attempt, inputs_hash, self.settings)
        name = job_name(task.uid, inputs_hash, attempt)
        stale = tuple(StopJob(job.name) for job in self.observed.jobs if job.is_active and job.name != name)
        start = () if is_started else (StartJob(name, task),)
        return Plan(actions=(*stale, *start), status=self._started(attempt, inputs_hash, name, profile))

    def _refuse(self, reason: Reason, text: str, requeue: float | None = None) -> Plan:
        """Stall what cannot be started, and stop what still works on an earlier request."""
        stale = tuple(StopJob(job.name) for job in self.observed.jobs if job.is_active)
        # They have ended when what else there is to do is done.
        self.observed = replace(self.observed, jobs=tuple(job for job in self.observed.jobs if not job.is_active))
        stalled = self._stall(reason, text, self.status, requeue)
        return replace(stalled, actions=(*stale, *stalled.actions))

    def _started(self, attempt: int, inputs_hash: str, name: str, profile: MediaProfile) -> Status:
        is_retry = self.status.request_hash == self.spec.request_hash and not self.asset.wants_reprocess
        status = self.status.model_copy(
            update={
                **self._handled(),
                "inputs_hash": inputs_hash,
                "attempt": attempt,
                "failed_attempts": self.status.failed_attempts if is_retry else 0,
                "job_name": name,
                "start_time": self.now,
                "completion_time": None,
                "retry_time": None,
                "renditions": self.status.renditions or self._pending(profile),
            }
        )
        running = self.conditions.unready(Reason.TRANSCODING, f"Attempt {attempt}.")
        return self._seen(status.with_conditions(running, absent=[ConditionType.STALLED]))

    def _handled(self) -> dict[str, str | None]:
        """Return the marks by which the request of now is known as handled."""
        asked = self.asset.metadata.annotations.get(REPROCESS_ANNOTATION)
        return {
            "request_hash": self.spec.request_hash,
            "last_handled_reprocess": asked or self.status.last_handled_reprocess,
        }

    def _pending(self, profile: MediaProfile) -> tuple[RenditionStatus, ...]:
        wanted = renditions_of(self.asset, profile)
        kind = self.spec.type
        return tuple(RenditionStatus(name=r.name, state=RenditionState.PENDING) for r in wanted if r.for_ is kind)

    def _suspend(self) -> Plan:
        waiting = self.conditions.unready(Reason.SUSPENDED, TABLE[Reason.SUSPENDED].text)
        return Plan(status=self._seen(self.status.with_conditions(waiting, absent=[ConditionType.STALLED])))

    # Following a Job to its end

    def _follow(self) -> Plan:
        result = self._valid_result()
        if result is not None:
            return self._succeed(result)
        if self.status.retry_time is not None:
            pause = (self.status.retry_time - self.now).total_seconds()
            # Said anew, for a move may have taken the place of the condition.
            text = f"Attempt {self.status.attempt} failed; the next one follows."
            waiting = self.conditions.of(ConditionType.RECONCILING, status=True, reason=Reason.RETRYING, message=text)
            status = self.status.with_conditions([waiting])
            return Plan(status=self._seen(status), requeue_seconds=max(pause, 0.0))
        job = self.observed.job(self.status.attempt, self.status.inputs_hash)
        if job is not None and job.is_active:
            running = self.conditions.unready(Reason.TRANSCODING, f"Attempt {self.status.attempt}.")
            return Plan(status=self._seen(self.status.with_conditions(running)))
        return self._fail_of(job)

    def _fail_of(self, job: Job | None) -> Plan:
        if job is None:
            return self._fail(Reason.JOB_LOST)
        if job.phase is JobPhase.SUCCEEDED:
            return self._fail(Reason.JOB_LOST, "The Job says that it succeeded, but there is no Result.")
        failure = self.observed.failure(self.status.attempt, self.status.inputs_hash, job.reason)
        # What the platform saw from outside (a kill for memory, a deadline) is later than what a pod could write.
        if job.reason in (Reason.OUT_OF_MEMORY, Reason.DEADLINE_EXCEEDED) or failure is None:
            return self._fail(job.reason or Reason.INTERNAL)
        return self._fail(failure.reason, failure.message, failure.source_info)

    def _valid_result(self) -> Result | None:
        """Return the Result of the current attempt, if all that it names lies where only this asset's objects lie."""
        result = self.observed.result(self.status.attempt, self.status.inputs_hash)
        if result is None:
            return None
        own = [prefix_of(self.asset, self.settings, public=public) for public in (True, False)]
        named = [r for r in result.renditions if r.key is not None or r.state is RenditionState.READY]
        return result if all(r.key is not None and keys.lies_under(r.key, *own) for r in named) else None

    def _succeed(self, result: Result) -> Plan:
        made = (RenditionStatus.model_validate(encode(r)) for r in result.renditions)
        status = self.status.model_copy(
            update={
                "source_info": SourceInfo.model_validate(encode(result.source_info)),
                "renditions": (*made, *self._inapplicable(result)),
                "thumb_hash": result.thumb_hash,
                "completion_time": self.now,
                "failed_attempts": 0,
                "retry_time": None,
            }
        )
        return self._publish(status)

    def _inapplicable(self, result: Result) -> Iterator[RenditionStatus]:
        """Yield what the asset itself asks for, but of another type than its source turned out to be.

        A profile names renditions of all types, and saying so of each asset would be noise.
        """
        made, found = {rendition.name for rendition in result.renditions}, result.source_info.type
        for rendition in self.spec.renditions:
            if rendition.for_ is not found and rendition.name not in made:
                made.add(rendition.name)
                text = f"It is for {rendition.for_}, and the source is {found}."
                yield RenditionStatus(
                    name=rendition.name, state=RenditionState.SKIPPED, reason=Reason.NOT_APPLICABLE, message=text
                )

    def _fail(self, reason: Reason, message: str = "", probed: ProbedSource | None = None) -> Plan:
        text = message or TABLE[reason].text
        failed = self.status.failed_attempts + 1
        info = SourceInfo.model_validate(encode(probed)) if probed else self.status.source_info
        status = self.status.model_copy(update={"failed_attempts": failed, "source_info": info})
        if TABLE[reason].retry is Retry.NEVER or failed >= self.settings.max_attempts:
            return self._stall(reason, text, status)
        return self._retry(reason, text, status)

    def _retry(self, reason: Reason, text: str, status: Status) -> Plan:
        pause = self.settings.backoff_seconds * 2 ** (status.failed_attempts - 1)
        note = f"Attempt {status.attempt} failed; the next one follows."
        failing = [
            self.conditions.of(ConditionType.READY, status=False, reason=reason, message=text),
            self.conditions.of(ConditionType.RECONCILING, status=True, reason=Reason.RETRYING, message=note),
        ]
        waiting = status.with_conditions(failing).model_copy(update={"retry_time": self.now + timedelta(seconds=pause)})
        return Plan(
            status=self._seen(waiting), events=(Event(reason, f"{note} {text}", warning=True),), requeue_seconds=pause
        )

    def _stall(self, reason: Reason, text: str, status: Status, requeue: float | None = None) -> Plan:
        before = self.status.condition(ConditionType.STALLED)
        is_news = before is None or (before.reason, before.message) != (reason, text)
        # A profile may appear without a change to the asset, so its absence leaves the request unhandled.
        handled = {} if reason is Reason.PROFILE_NOT_FOUND else self._handled()
        completed = self.now if is_news else self.status.completion_time
        stalled = status.model_copy(update={**handled, "completion_time": completed, "retry_time": None})
        conditions = [
            self.conditions.of(ConditionType.READY, status=False, reason=reason, message=text),
            self.conditions.of(ConditionType.STALLED, status=True, reason=reason, message=text),
            *self.conditions.first_published(),
        ]
        stalled = stalled.with_conditions(conditions, absent=[ConditionType.RECONCILING])
        ended = self._end(stalled, Event(reason, text, warning=True) if is_news else None)
        # A move that is to be finished comes first.
        return replace(ended, requeue_seconds=requeue if ended.requeue_seconds is None else ended.requeue_seconds)

    # Serving what is finished

    def _publish(self, status: Status) -> Plan:
        newer = replacement(self.asset, self.observed)
        if newer is not None:
            text = f"{newer.metadata.name} is newer: {TABLE[Reason.REPLACED].text}"
            return removal(self.asset, Reason.REPLACED, text)
        text = f"{sum(r.state is RenditionState.READY for r in status.renditions)} renditions are published."
        ready = status.with_conditions(
            [
                self.conditions.of(ConditionType.READY, status=True, reason=Reason.READY, message=text),
                self.conditions.published(),
            ],
            absent=[ConditionType.RECONCILING, ConditionType.STALLED],
        )
        is_news = not self.status.is_true(ConditionType.READY)
        ended = self._end(ready, Event(Reason.READY, text) if is_news else None)
        return replacing(ended, self.asset, self.observed, self.now)

    def _end(self, status: Status, news: Event | None) -> Plan:
        """End an attempt, well or not: with every object where the visibility wants it, and none elsewhere.

        A run that ends after the asset was made private leaves what was public before it, and a run that fails leaves
        what it had published until then.
        """
        events = (news,) if news else ()
        moves = self._moves(status)
        if moves or (self._is_running() and is_moving(self.status)):
            # What fails is said now; what is ready is said when it is, after the move.
            return replace(self._move(status, moves), events=events if status.is_true(ConditionType.STALLED) else ())
        ends_urls = news is not None and not self._is_public(status) and not is_moving(self.status)
        old = (DeletePrefix(self._other_prefix(status)),) if ends_urls else ()
        return Plan(actions=old, status=self._seen(status), events=events)

    def _moves(self, status: Status) -> dict[str, str]:
        """Return the keys that lie where the visibility does not want them, and those that they are to have."""
        source = self._other_prefix(status)
        target = prefix_of(self.asset, self.settings, public=self._is_public(status))
        misplaced = [r.key for r in status.renditions if r.key is not None and r.key.startswith(source)]
        return {key: keys.move(key, source=source, target=target) for key in misplaced}

    def _other_prefix(self, status: Status) -> str:
        return prefix_of(self.asset, self.settings, public=not self._is_public(status))

    def _move(self, status: Status, moves: dict[str, str]) -> Plan:
        """Copy; the plan that follows the record of it deletes what was copied.

        A Job is active for a second or two after its Result is there: then the move is only announced.
        """
        if self._is_running():
            moves = {}
        renditions = tuple(
            r.model_copy(update={"key": moves[r.key]}) if r.key in moves else r for r in status.renditions
        )
        text = TABLE[Reason.MOVING].text
        conditions = [self.conditions.of(ConditionType.RECONCILING, status=True, reason=Reason.MOVING, message=text)]
        if status.completion_time is not None and not status.is_true(ConditionType.STALLED):
            conditions += [
                self.conditions.of(ConditionType.READY, status=False, reason=Reason.MOVING, message=text),
                self.conditions.published(),
            ]
        moved = status.model_copy(update={"renditions": renditions}).with_conditions(conditions)
        copies = tuple(self._copy(source, target) for source, target in moves.items())
        again = RUNNING_RECHECK_SECONDS if self._is_running() else 0.0
        return Plan(actions=copies, status=self._seen(moved), requeue_seconds=again)

    def _copy(self, source: str, target: str) -> CopyObject | CopyTree:
        """Return what copies a rendition, given the key that it has and the one that it is to have."""
        tree, other = (
            keys.tree_of(key, prefix_of(self.asset, self.settings, public=keys.lies_under(key, f"{keys.PUBLIC}/")))
            for key in (source, target)
        )
        if tree is None or other is None:
            return CopyObject(source, target)
        return CopyTree(tree, other, source.removeprefix(tree))

    def _is_running(self) -> bool:
        """Tell whether a transcoder may be writing to a prefix that a move would delete."""
        return any(job.is_active for job in self.observed.jobs)

    def _is_public(self, status: Status) -> bool:
        if self.spec.visibility is Visibility.PRIVATE:
            return False
        is_document = status.source_info is not None and status.source_info.type is Kind.DOCUMENT
        return not is_document or (self.observed.profile is not None and self.observed.profile.spec.public_documents)

    # Deleting

    def _delete(self) -> Plan:
        namespace, name = self.asset.key
        uid = self.asset.metadata.uid
        actions: list[Action] = [StopJob(job.name) for job in self.observed.jobs]
        body = f'{{"uid":"{uid}","deletedAt":"{self.asset.deleted_at:%Y-%m-%dT%H:%M:%SZ}"}}'.encode()
        actions.append(WriteTombstone(keys.tombstone(namespace, name), body))
        actions.append(DeletePrefix(keys.work_prefix(uid)))
        if self.spec.deletion_policy is DeletionPolicy.DELETE:
            actions += [DeletePrefix(prefix_of(self.asset, self.settings, public=public)) for public in (True, False)]
            actions.append(DeletePrefix(keys.uploads_of(namespace, name)))
            original = original_key_of(self.asset)
            actions += [DeleteObject(original)] if original else []
        return Plan(actions=(*actions, Release()), status=self.status)

    def _seen(self, status: Status) -> Status:
        return seen(self.asset, status, self.settings)
