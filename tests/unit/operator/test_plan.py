"""Every state an asset can be in leads to one next step, and from its end there is none."""

from datetime import datetime, timedelta

import pytest

from making import NOW, WEB, make_asset, make_failure, make_job, make_result
from media_operator.actions import CopyObject, DeletePrefix, Plan, Release, StopJob, WriteTombstone
from media_operator.observe import Observed, observe
from media_operator.plan import is_settled, plan, queued
from media_operator.settings import Settings
from mediaasset import keys
from mediaasset.jobs import Job, JobPhase
from mediaasset.names import REPROCESS_ANNOTATION
from mediaasset.reasons import Reason
from mediaasset.spec import MediaAsset, MediaProfile
from mediaasset.status import ConditionType, Status
from mediaasset.task import Failure, RenditionState, Result

SETTINGS = Settings.model_validate({"public_base_url": "https://media.example.org/base"})


def see(
    asset: MediaAsset,
    *,
    jobs: tuple[Job, ...] = (),
    profile: MediaProfile | None = WEB,
    left: tuple[Result | Failure, ...] = (),
) -> Observed:
    work = {}
    for number, document in enumerate(left):
        is_result = isinstance(document, Result)
        key = (
            keys.result(document.uid, document.attempt)
            if is_result
            else keys.failure(document.uid, document.attempt, f"p{number}")
        )
        work[key] = document.to_json().encode()
    return observe(asset.metadata.uid, jobs, work, profile)


def decide(asset: MediaAsset, observed: Observed, now: datetime = NOW) -> Plan:
    """Decide twice: the state after a plan, with nothing changed outside, needs no further action."""
    decided = plan(asset, observed, now, SETTINGS)
    if decided.start is None and asset.deleted_at is None and decided.requeue_seconds != 0.0:
        again = plan(after(asset, decided), observed, now, SETTINGS)
        assert again.actions == ()
        assert again.events == ()
        assert again.status == decided.status
    return decided


def after(asset: MediaAsset, decided: Plan, **changes: object) -> MediaAsset:
    """Return the asset as it is once the plan's status is written, with changes to its spec as a new generation."""
    metadata = asset.metadata
    if changes:
        metadata = metadata.model_copy(update={"generation": metadata.generation + 1})
    spec = type(asset.spec).model_validate(asset.spec.to_dict() | changes)
    return asset.model_copy(update={"status": decided.status, "metadata": metadata, "spec": spec})


def annotated(asset: MediaAsset, value: str) -> MediaAsset:
    metadata = asset.metadata.model_copy(update={"annotations": {REPROCESS_ANNOTATION: value}})
    return asset.model_copy(update={"metadata": metadata})


def conditions(status: Status) -> dict[str, tuple[str, str]]:
    return {condition.type.value: (condition.status, condition.reason.value) for condition in status.conditions}


def started(asset: MediaAsset | None = None) -> MediaAsset:
    asset = asset or make_asset()
    return after(asset, decide(asset, see(asset)))


def result_of(asset: MediaAsset, *, public: bool = True) -> Result:
    return make_result(asset, asset.status.attempt, asset.status.inputs_hash or "", public=public)


def job_of(asset: MediaAsset, phase: JobPhase, reason: Reason | None = None) -> Job:
    return make_job(
        asset,
        asset.status.attempt,
        asset.status.inputs_hash or "",
        phase,
        reason=reason,
        name=asset.status.job_name or "",
    )


def finished(asset: MediaAsset | None = None, *, public: bool = True) -> MediaAsset:
    running = started(asset)
    return after(running, decide(running, see(running, left=(result_of(running, public=public),))))


def test_a_new_asset_starts_attempt_one_with_all_that_the_transcoder_needs() -> None:
    asset = make_asset(originalFileName="../a.jpg")
    decided = decide(asset, see(asset))
    assert decided.start is not None
    task = decided.start.task
    assert (task.attempt, task.uid, task.source.key) == (1, "u1", "uploads/shop/a1/x")
    assert task.prefix == "media/shop/assets/u1/"
    assert task.document_prefix == "private/shop/assets/u1/"
    assert [rendition.name for rendition in task.renditions] == ["thumbnail", "medium", "mp3", "original"]
    assert {kind.value: limits.max_bytes for kind, limits in task.limits.items()}["Image"] == 1000
    status = decided.status
    assert conditions(status) == {
        "Ready": ("False", "Transcoding"),
        "Published": ("False", "Pending"),
        "Reconciling": ("True", "Transcoding"),
    }
    assert (status.attempt, status.job_name, status.observed_generation) == (1, decided.start.name, 1)
    assert [(r.name, r.state) for r in status.renditions] == [
        ("thumbnail", RenditionState.PENDING),
        ("medium", RenditionState.PENDING),
    ]


def test_a_running_job_is_waited_for() -> None:
    asset = started()
    decided = decide(asset, see(asset, jobs=(job_of(asset, JobPhase.RUNNING),)))
    assert decided.actions == ()
    assert decided.status == asset.status


def test_a_result_makes_it_ready_also_before_the_job_says_so() -> None:
    asset = started()
    decided = decide(asset, see(asset, jobs=(job_of(asset, JobPhase.RUNNING),), left=(result_of(asset),)))
    status = decided.status
    assert conditions(status) == {"Ready": ("True", "Ready"), "Published": ("True", "Ready")}
    assert status.url == "https://media.example.org/base/media/shop/assets/u1/medium-0123456789abcdef.jpg"
    assert status.thumbnail_url == "https://media.example.org/base/media/shop/assets/u1/thumbnail-0123456789abcdef.jpg"
    assert status.source_info is not None
    assert status.source_info.width == 4000
    assert [event.reason for event in decided.events] == [Reason.READY]
    assert is_settled(after(asset, decided), SETTINGS)


def test_a_result_outweighs_a_failed_job() -> None:
    asset = started()
    failed = job_of(asset, JobPhase.FAILED, Reason.INTERNAL)
    assert decide(asset, see(asset, jobs=(failed,), left=(result_of(asset),))).status.is_true(ConditionType.READY)


def test_a_result_of_other_inputs_is_ignored() -> None:
    asset = started()
    other = make_result(asset, asset.status.attempt, "other")
    running = job_of(asset, JobPhase.RUNNING)
    assert not decide(asset, see(asset, jobs=(running,), left=(other,))).status.is_true(ConditionType.READY)


def test_a_result_that_names_a_foreign_object_is_ignored() -> None:
    asset = started()
    foreign = make_result(make_asset(uid="u2"), asset.status.attempt, asset.status.inputs_hash or "")
    stolen = Result.from_json(foreign.to_json().replace('"uid":"u2"', '"uid":"u1"'))
    running = job_of(asset, JobPhase.RUNNING)
    assert not decide(asset, see(asset, jobs=(running,), left=(stolen,))).status.is_true(ConditionType.READY)


@pytest.mark.parametrize("reason", [Reason.UNDECODABLE, Reason.TYPE_MISMATCH, Reason.SOURCE_TOO_LARGE])
def test_what_cannot_get_better_ends_at_once(reason: Reason) -> None:
    asset = started()
    failure = make_failure(asset, 1, asset.status.inputs_hash or "", reason)
    decided = decide(asset, see(asset, jobs=(job_of(asset, JobPhase.FAILED, reason),), left=(failure,)))
    assert conditions(decided.status) == {
        "Ready": ("False", reason.value),
        "Published": ("False", "Pending"),
        "Stalled": ("True", reason.value),
    }
    stalled = decided.status.condition(ConditionType.STALLED)
    assert stalled is not None
    assert stalled.message == f"It was {reason}."
    assert [event.warning for event in decided.events] == [True]
    assert is_settled(after(asset, decided), SETTINGS)


def test_what_may_get_better_is_tried_again_after_a_pause_that_doubles_until_it_is_enough() -> None:
    asset, now, pauses = started(), NOW, []
    for attempt in range(1, SETTINGS.max_attempts + 1):
        assert asset.status.attempt == attempt
        failed = job_of(asset, JobPhase.FAILED, Reason.SOURCE_UNAVAILABLE)
        decided = decide(asset, see(asset, jobs=(failed,)), now)
        asset = after(asset, decided)
        if decided.requeue_seconds is None:
            break
        pauses.append(decided.requeue_seconds)
        assert decided.status.condition(ConditionType.STALLED) is None
        too_early = plan(asset, see(asset, jobs=(failed,)), now + timedelta(seconds=pauses[-1] - 1), SETTINGS)
        assert (too_early.actions, too_early.requeue_seconds) == ((), 1.0)
        now += timedelta(seconds=pauses[-1])
        asset = after(asset, plan(asset, see(asset, jobs=(failed,)), now, SETTINGS))
    assert pauses == [30.0, 60.0, 120.0, 240.0]
    assert conditions(asset.status)["Stalled"] == ("True", "SourceUnavailable")
    assert asset.status.attempt == SETTINGS.max_attempts


def test_a_result_that_turns_up_during_the_pause_is_taken() -> None:
    asset = started()
    asset = after(asset, decide(asset, see(asset, jobs=(job_of(asset, JobPhase.FAILED, Reason.INTERNAL),))))
    late = see(asset, left=(result_of(asset),))
    for now in (NOW, NOW + timedelta(hours=1)):
        decided = decide(asset, late, now)
        assert decided.status.is_true(ConditionType.READY)
        assert decided.status.attempt == 1


@pytest.mark.parametrize("jobs", [False, True])
def test_a_job_that_is_gone_or_ended_without_a_result_is_a_failed_attempt(jobs: bool) -> None:  # noqa: FBT001 - pytest passes it by name
    asset = started()
    seen = (job_of(asset, JobPhase.SUCCEEDED),) if jobs else ()
    decided = decide(asset, see(asset, jobs=seen))
    assert conditions(decided.status)["Ready"] == ("False", "JobLost")
    assert decided.requeue_seconds == 30.0


def test_what_the_platform_saw_outweighs_what_an_earlier_pod_wrote() -> None:
    asset = started()
    earlier = make_failure(asset, 1, asset.status.inputs_hash or "", Reason.STORE_UNAVAILABLE)
    killed = job_of(asset, JobPhase.FAILED, Reason.OUT_OF_MEMORY)
    assert conditions(decide(asset, see(asset, jobs=(killed,), left=(earlier,))).status)["Ready"][1] == "OutOfMemory"


def test_display_fields_never_start_a_job() -> None:
    asset = after(finished(), decide(finished(), see(finished())), altText="a bird", order=3, caption="x")
    decided = decide(asset, see(asset))
    assert decided.actions == ()
    assert decided.status.is_true(ConditionType.READY)
    assert decided.status.observed_generation == 2


def test_a_changed_profile_leaves_a_finished_asset_alone_also_when_a_display_field_changes() -> None:
    asset = finished()
    fewer = WEB.model_copy(update={"spec": WEB.spec.model_copy(update={"renditions": WEB.spec.renditions[:1]})})
    edited = asset.model_copy(update={"metadata": asset.metadata.model_copy(update={"generation": 2})})
    assert decide(edited, see(edited, profile=fewer)).actions == ()


def test_other_renditions_start_a_new_attempt_while_the_old_ones_stay_published() -> None:
    done = finished()
    asset = after(
        done, decide(done, see(done)), renditions=[{"name": "big", "for": "Image", "format": "PNG", "width": 9}]
    )
    decided = decide(asset, see(asset))
    assert decided.start is not None
    assert decided.start.task.attempt == 2
    assert [rendition.name for rendition in decided.start.task.renditions] == ["big"]
    assert conditions(decided.status)["Published"] == ("True", "Ready")
    assert decided.status.url == done.status.url


def test_a_changed_request_stops_the_job_of_the_old_one() -> None:
    running = started()
    old = job_of(running, JobPhase.RUNNING)
    asset = after(running, decide(running, see(running, jobs=(old,))), type="Audio")
    decided = decide(asset, see(asset, jobs=(old,)))
    assert decided.actions[0] == StopJob(old.name)
    assert decided.start is not None
    assert decided.start.task.attempt == 2


def test_reprocess_runs_exactly_one_more_attempt() -> None:
    asset = annotated(finished(), "2026-01-02")
    assert not is_settled(asset, SETTINGS)
    decided = decide(asset, see(asset))
    assert decided.start is not None
    assert decided.start.task.attempt == 2
    assert decided.status.last_handled_reprocess == "2026-01-02"
    assert conditions(decided.status)["Published"] == ("True", "Ready")
    running = after(asset, decided)
    done = after(running, decide(running, see(running, left=(result_of(running),))))
    assert is_settled(done, SETTINGS)


def test_reprocess_gets_a_stalled_asset_moving_with_a_fresh_count() -> None:
    asset = started()
    failed = job_of(asset, JobPhase.FAILED, Reason.UNDECODABLE)
    stalled = annotated(after(asset, decide(asset, see(asset, jobs=(failed,)))), "again")
    decided = decide(stalled, see(stalled, jobs=(failed,)))
    assert decided.start is not None
    assert decided.status.failed_attempts == 0
    assert "Stalled" not in conditions(decided.status)


def test_a_crash_between_job_and_status_finds_its_job_again() -> None:
    asset = make_asset()
    decided = decide(asset, see(asset))
    running = after(asset, decided)
    again = decide(asset, see(asset, jobs=(job_of(running, JobPhase.RUNNING),)))
    assert again.actions == ()
    assert again.status == decided.status


def test_a_crash_is_survived_also_when_only_the_result_is_left() -> None:
    asset = make_asset()
    running = started(asset)
    recorded = after(asset, plan(asset, see(asset, left=(result_of(running),)), NOW, SETTINGS))
    assert recorded.status.attempt == 1
    assert decide(recorded, see(recorded, left=(result_of(running),))).status.is_true(ConditionType.READY)


def test_a_crash_and_then_another_request_do_not_share_an_attempt() -> None:
    running = started()
    old = job_of(running, JobPhase.RUNNING)
    edited = make_asset(type="Audio")
    decided = decide(edited, see(edited, jobs=(old,)))
    assert decided.start is not None
    assert decided.start.task.attempt == 2
    assert decided.actions[0] == StopJob(old.name)


def test_suspend_starts_nothing_and_lets_what_runs_finish() -> None:
    waiting = make_asset(suspend=True)
    decided = decide(waiting, see(waiting))
    assert decided.actions == ()
    assert conditions(decided.status)["Ready"] == ("False", "Suspended")
    resumed = after(waiting, decided, suspend=False)
    assert decide(resumed, see(resumed)).start is not None
    running = started()
    suspended = after(running, decide(running, see(running, jobs=(job_of(running, JobPhase.RUNNING),))), suspend=True)
    assert decide(suspended, see(suspended, left=(result_of(suspended),))).status.is_true(ConditionType.READY)


def test_a_missing_profile_is_said_and_heals_when_it_appears() -> None:
    asset = make_asset(profileName="none")
    decided = decide(asset, see(asset, profile=None))
    assert conditions(decided.status)["Stalled"] == ("True", "ProfileNotFound")
    assert decided.requeue_seconds == 60.0
    stalled = after(asset, decided)
    assert not is_settled(stalled, SETTINGS)
    assert decide(stalled, see(stalled)).start is not None


def test_a_source_of_another_namespace_is_forbidden_without_a_job() -> None:
    asset = make_asset(source={"object": {"key": "uploads/other/a1/x"}})
    decided = decide(asset, see(asset))
    assert decided.actions == ()
    assert conditions(decided.status)["Stalled"] == ("True", "SourceForbidden")


def test_waiting_for_a_slot_is_shown_and_changes_nothing_else() -> None:
    asset = make_asset()
    waiting = queued(asset, NOW)
    assert conditions(waiting.status)["Ready"] == ("False", "Queued")
    assert waiting.status.attempt == 0
    assert decide(after(asset, waiting), see(asset)).start is not None


def test_private_renditions_have_no_url_in_the_status() -> None:
    asset = finished(make_asset(visibility="Private"), public=False)
    assert asset.status.is_true(ConditionType.READY)
    assert asset.status.url is None
    assert all(r.url is None for r in asset.status.renditions)


@pytest.mark.parametrize(("before", "then"), [("Public", "Private"), ("Private", "Public")])
def test_a_change_of_visibility_copies_records_and_then_deletes(before: str, then: str) -> None:
    done = finished(make_asset(visibility=before), public=before == "Public")
    asset = after(done, decide(done, see(done)), visibility=then)
    first = decide(asset, see(asset))
    source, target = ("media", "private") if then == "Private" else ("private", "media")
    assert [type(action) for action in first.actions] == [CopyObject, CopyObject]
    assert all(key.key and key.key.startswith(f"{target}/") for key in first.status.renditions)
    assert (first.status.url is None) == (then == "Private")
    assert first.requeue_seconds == 0.0
    moving = after(asset, first)
    assert not is_settled(moving, SETTINGS)
    second = decide_move(moving)
    assert second.actions == (DeletePrefix(f"{source}/shop/assets/u1/"),)
    assert second.status.is_true(ConditionType.READY)
    assert second.status.attempt == 1
    assert is_settled(after(moving, second), SETTINGS)


def decide_move(asset: MediaAsset) -> Plan:
    return plan(asset, see(asset), NOW, SETTINGS)


def test_an_asset_made_private_while_it_ran_ends_the_public_urls_of_before() -> None:
    done = annotated(finished(), "again")
    running = after(done, decide(done, see(done)))
    hidden = after(
        running, decide(running, see(running, jobs=(job_of(running, JobPhase.RUNNING),))), visibility="Private"
    )
    first = plan(hidden, see(hidden, left=(result_of(hidden),)), NOW, SETTINGS)
    second = plan(after(hidden, first), see(hidden, left=(result_of(hidden),)), NOW, SETTINGS)
    assert DeletePrefix("media/shop/assets/u1/") in second.actions
    assert second.status.url is None


def test_a_moved_base_url_heals_the_urls_without_a_job() -> None:
    asset = finished()
    elsewhere = Settings.model_validate({"public_base_url": "https://cdn.example.org"})
    assert not is_settled(asset, elsewhere)
    decided = plan(asset, see(asset), NOW, elsewhere)
    assert decided.actions == ()
    assert decided.status.url == "https://cdn.example.org/media/shop/assets/u1/medium-0123456789abcdef.jpg"


def test_delete_ends_the_jobs_first_and_releases_last() -> None:
    done = finished()
    gone = done.model_copy(update={"metadata": done.metadata.model_copy(update={"deletion_timestamp": NOW})})
    job = job_of(gone, JobPhase.RUNNING)
    actions = plan(gone, see(gone, jobs=(job,)), NOW, SETTINGS).actions
    assert actions[0] == StopJob(job.name)
    assert isinstance(actions[1], WriteTombstone)
    assert actions[-1] == Release()
    assert {action.prefix for action in actions if isinstance(action, DeletePrefix)} == {
        "media/shop/assets/u1/",
        "private/shop/assets/u1/",
        "work/u1/",
        "uploads/shop/a1/",
    }


def test_retain_keeps_the_media() -> None:
    gone = make_asset(deletionPolicy="Retain", metadata_={"deletionTimestamp": NOW})
    actions = plan(gone, see(gone), NOW, SETTINGS).actions
    assert [action.prefix for action in actions if isinstance(action, DeletePrefix)] == ["work/u1/"]
    assert actions[-1] == Release()


def test_an_asset_made_private_and_run_again_at_once_ends_the_public_urls_of_before() -> None:
    done = finished()
    asked = annotated(after(done, decide(done, see(done)), visibility="Private"), "again")
    running = after(asked, decide(asked, see(asked)))
    first = plan(running, see(running, left=(result_of(running, public=False),)), NOW, SETTINGS)
    assert DeletePrefix("media/shop/assets/u1/") in first.actions


def test_a_move_is_finished_before_anything_else_is_started() -> None:
    done = finished()
    hidden = after(done, decide(done, see(done)), visibility="Private")
    moving = annotated(after(hidden, decide(hidden, see(hidden))), "again")
    ended = plan(moving, see(moving), NOW, SETTINGS)
    assert ended.actions[0] == DeletePrefix("media/shop/assets/u1/")
    assert ended.start is not None


PHASES = ["retrying", "suspended", "profile", "stalled", "ready"]


@pytest.mark.parametrize("phase", PHASES)
def test_whatever_it_waits_for_an_asset_that_is_made_private_is_private_at_once(phase: str) -> None:
    again = annotated(finished(), "again")
    running = after(again, decide(again, see(again)))
    profile: MediaProfile | None = None if phase == "profile" else WEB
    changes: dict[str, object] = {}
    if phase == "ready":
        asset = finished()
    elif phase in ("suspended", "profile"):
        asset, changes = again, {"suspend": True} if phase == "suspended" else {"profileName": "none"}
    else:
        reason = Reason.UNDECODABLE if phase == "stalled" else Reason.SOURCE_UNAVAILABLE
        failed = job_of(running, JobPhase.FAILED, reason)
        asset = after(running, decide(running, see(running, jobs=(failed,))))
    asset = after(asset, Plan(status=asset.status), visibility="Private", **changes)
    actions = []
    for _ in range(3):
        decided = plan(asset, see(asset, profile=profile), NOW, SETTINGS)
        actions += [type(action) for action in decided.actions]
        asset = after(asset, decided)
    assert actions == [CopyObject, CopyObject, DeletePrefix]
    assert all(r.key and r.key.startswith("private/") for r in asset.status.renditions)
    assert asset.status.url is None
    assert asset.status.is_true(ConditionType.PUBLISHED)
    expected = {"ready": "Ready", "retrying": "SourceUnavailable", "profile": "ProfileNotFound"}
    ready = conditions(asset.status)["Ready"]
    assert ready[1] == (expected | {"suspended": "Suspended", "stalled": "Undecodable"})[phase]
    assert ("Reconciling" in conditions(asset.status)) == (phase in ("retrying", "suspended"))


def test_an_asset_made_private_during_a_run_that_fails_ends_the_public_urls() -> None:
    again = annotated(finished(), "again")
    running = after(again, decide(again, see(again)))
    hidden = after(running, Plan(status=running.status), visibility="Private")
    failed = job_of(hidden, JobPhase.FAILED, Reason.UNDECODABLE)
    first = plan(hidden, see(hidden, jobs=(failed,)), NOW, SETTINGS)
    moving = after(hidden, first)
    assert not is_settled(moving, SETTINGS)
    second = plan(moving, see(moving, jobs=(failed,)), NOW, SETTINGS)
    assert second.actions[0] == DeletePrefix("media/shop/assets/u1/")
    ended = after(moving, second)
    assert (ended.status.url, conditions(ended.status)["Stalled"][1]) == (None, "Undecodable")
    assert is_settled(ended, SETTINGS)


def test_what_a_failed_first_run_of_a_private_asset_published_is_deleted() -> None:
    running = started()
    hidden = after(running, Plan(status=running.status), visibility="Private")
    failed = job_of(hidden, JobPhase.FAILED, Reason.UNDECODABLE)
    assert decide(hidden, see(hidden, jobs=(failed,))).actions == (DeletePrefix("media/shop/assets/u1/"),)


def test_a_request_that_cannot_be_started_stops_what_works_on_the_earlier_one() -> None:
    running = started()
    old = job_of(running, JobPhase.RUNNING)
    edited = after(running, Plan(status=running.status), profileName="none")
    assert plan(edited, see(edited, jobs=(old,), profile=None), NOW, SETTINGS).actions == (StopJob(old.name),)


def test_a_stalled_asset_that_is_still_served_can_be_hidden() -> None:
    again = annotated(finished(), "again")
    running = after(again, decide(again, see(again)))
    failed = job_of(running, JobPhase.FAILED, Reason.UNDECODABLE)
    stalled = after(running, decide(running, see(running, jobs=(failed,))), visibility="Private")
    assert conditions(stalled.status)["Published"] == ("True", "Ready")
    moving = after(stalled, plan(stalled, see(stalled), NOW, SETTINGS))
    assert not is_settled(moving, SETTINGS)
    ended = plan(moving, see(moving), NOW, SETTINGS)
    assert ended.actions == (DeletePrefix("media/shop/assets/u1/"),)
    hidden = after(moving, ended)
    assert conditions(hidden.status) == {
        "Ready": ("False", "Undecodable"),
        "Published": ("True", "Ready"),
        "Stalled": ("True", "Undecodable"),
    }
    assert is_settled(hidden, SETTINGS)
