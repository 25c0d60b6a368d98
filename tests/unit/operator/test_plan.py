"""Every state an asset can be in leads to one next step, and from its end there is none."""

import re
from datetime import timedelta

import pytest

from making import NOW, WEB, make_asset, make_failure, make_result
from media_operator.actions import DeleteObject, DeletePrefix, Hold, Plan, Release, StopJob, WriteTombstone
from media_operator.plan import is_settled, plan, queued, waits_since
from media_operator.settings import Settings
from media_operator.tasks import original_key_of
from mediaasset.jobs import JobPhase
from mediaasset.reasons import Reason
from mediaasset.status import ConditionType
from mediaasset.task import RenditionState, Result
from planning import SETTINGS, after, annotated, conditions, decide, finished, job_of, result_of, see, started


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


def test_an_asset_made_by_other_means_is_held_before_anything_else() -> None:
    free = make_asset(metadata_={"finalizers": ["of.others/guard"]})
    decided = plan(free, see(free), NOW, SETTINGS)
    assert decided.actions == (Hold(),)
    assert decided.status == free.status
    assert decided.requeue_seconds == 0.0


def test_a_finished_asset_that_nobody_holds_is_not_settled() -> None:
    ready = finished()
    assert is_settled(ready, SETTINGS, NOW)
    free = ready.model_copy(update={"metadata": ready.metadata.model_copy(update={"finalizers": ()})})
    assert not is_settled(free, SETTINGS, NOW)
    assert plan(free, see(free), NOW, SETTINGS).actions == (Hold(),)


def test_a_deleted_asset_is_not_held_anew() -> None:
    gone = make_asset(metadata_={"finalizers": [], "deletionTimestamp": NOW.isoformat()})
    assert Hold() not in plan(gone, see(gone), NOW, SETTINGS).actions


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
    assert is_settled(after(asset, decided), SETTINGS, NOW)


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
    assert is_settled(after(asset, decided), SETTINGS, NOW)


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
    assert not is_settled(asset, SETTINGS, NOW)
    decided = decide(asset, see(asset))
    assert decided.start is not None
    assert decided.start.task.attempt == 2
    assert decided.status.last_handled_reprocess == "2026-01-02"
    assert conditions(decided.status)["Published"] == ("True", "Ready")
    running = after(asset, decided)
    done = after(running, decide(running, see(running, left=(result_of(running),))))
    assert is_settled(done, SETTINGS, NOW)


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
    assert not is_settled(stalled, SETTINGS, NOW)
    assert decide(stalled, see(stalled)).start is not None


def test_a_source_of_another_namespace_is_forbidden_without_a_job() -> None:
    asset = make_asset(source={"object": {"key": "uploads/other/a1/x"}})
    decided = decide(asset, see(asset))
    assert decided.actions == ()
    assert conditions(decided.status)["Stalled"] == ("True", "SourceForbidden")


def test_waiting_for_a_slot_is_shown_and_changes_nothing_else() -> None:
    asset = make_asset()
    waiting = queued(asset, NOW, 7)
    assert conditions(waiting.status)["Ready"] == ("False", "Queued")
    assert waiting.status.attempt == 0
    assert waiting.requeue_seconds is None
    ready = waiting.status.condition(ConditionType.READY)
    assert ready is not None
    assert ready.message.startswith("7 came before it in the queue Interactive.")
    assert decide(after(asset, waiting), see(asset)).start is not None


def test_place_in_the_queue_is_said_once_and_kept_over_a_restart() -> None:
    asset = make_asset()
    waiting = after(asset, queued(asset, NOW, 7))
    later = NOW + timedelta(hours=1)
    assert queued(waiting, later, 3).status == waiting.status
    assert waits_since(waiting) == NOW
    assert waits_since(asset) is None
    assert waits_since(finished()) is None
    changed = after(waiting, queued(waiting, NOW, 7), queue="Batch")
    assert "3 came before it in the queue Batch" in str(queued(changed, later, 3).status.conditions)


def test_a_moved_base_url_heals_the_urls_without_a_job() -> None:
    asset = finished()
    elsewhere = Settings.model_validate({"public_base_url": "https://cdn.example.org"})
    assert not is_settled(asset, elsewhere, NOW)
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


WHATSAPP = {
    "whatsapp": {
        "accountName": "support",
        "mediaID": "1234567890",
        "messageID": "wamid.A",
        "timestamp": "2026-01-01T23:30:00-01:00",
        "mimeType": "audio/ogg; codecs=opus",
        "sha256": "q" * 43 + "=",
    }
}


def test_what_a_chat_announced_reaches_the_transcoder_with_the_place_where_it_is_kept() -> None:
    asset = make_asset(source=WHATSAPP)
    start = plan(asset, see(asset), NOW, SETTINGS).start
    assert start is not None
    sent = start.task.source.whatsapp
    assert sent is not None
    assert (sent.account_name, sent.media_id, sent.sha256) == ("support", "1234567890", "q" * 43 + "=")
    # The day is the message's in UTC, and the name follows from the uid.
    assert re.fullmatch(r"whatsapp-media/support/2026-01-02/audio/[0-9a-f-]{36}\.ogg", sent.original_key)
    assert start.task.source.key is None
    assert start.task.source.url is None


def test_a_message_without_its_media_is_stalled_without_a_job_and_says_why() -> None:
    said = {key: value for key, value in WHATSAPP["whatsapp"].items() if key != "mediaID"}
    asset = make_asset(source={"whatsapp": {**said, "failure": "131051 Message type unknown"}})
    decided = plan(asset, see(asset), NOW, SETTINGS)
    assert decided.start is None
    stalled = decided.status.condition(ConditionType.STALLED)
    assert stalled is not None
    assert (stalled.reason, "131051" in stalled.message) == (Reason.SOURCE_NOT_FOUND, True)
    assert original_key_of(asset) is None


@pytest.mark.parametrize("policy", ["Delete", "Retain"])
def test_what_a_chat_sent_goes_with_the_asset_unless_it_is_to_stay(policy: str) -> None:
    gone = make_asset(source=WHATSAPP, deletionPolicy=policy, metadata_={"deletionTimestamp": NOW})
    actions = plan(gone, see(gone), NOW, SETTINGS).actions
    deleted = [action.key for action in actions if isinstance(action, DeleteObject)]
    assert deleted == ([original_key_of(gone)] if policy == "Delete" else [])


def test_what_the_asset_itself_asks_of_another_type_is_skipped_and_said() -> None:
    asked = [
        {"name": "thumbnail", "for": "Image", "format": "JPEG"},
        {"name": "thumbnail", "for": "Video", "format": "JPEG"},
        {"name": "mp4", "for": "Video", "format": "MP4"},
    ]
    done = finished(make_asset(renditions=asked))
    (skipped,) = [each for each in done.status.renditions if each.state is RenditionState.SKIPPED]
    assert (skipped.name, skipped.reason) == ("mp4", Reason.NOT_APPLICABLE)
    assert skipped.message == "It is for Video, and the source is Image."
    # A profile names renditions of all types, and that is not worth a word.
    assert all(each.state is RenditionState.READY for each in finished().status.renditions)


def test_a_request_that_cannot_be_started_stops_what_works_on_the_earlier_one() -> None:
    running = started()
    old = job_of(running, JobPhase.RUNNING)
    edited = after(running, Plan(status=running.status), profileName="none")
    assert plan(edited, see(edited, jobs=(old,), profile=None), NOW, SETTINGS).actions == (StopJob(old.name),)
