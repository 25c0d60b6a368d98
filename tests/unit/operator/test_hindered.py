"""What keeps a transcoder from beginning is said after a while, in the words of the platform, until its cause goes."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from making import NOW
from media_operator.actions import StartJob
from media_operator.following import HINDERED_RECHECK_SECONDS
from media_operator.plan import plan
from mediaasset.jobs import Hindrance, Job, JobPhase
from mediaasset.reasons import TABLE, Reason, Retry
from mediaasset.spec import MediaAsset
from mediaasset.status import ConditionType
from planning import SETTINGS, after, conditions, decide, job_of, see, started

OF_PLATFORM = [reason for reason, rule in TABLE.items() if rule.retry is Retry.PLATFORM]
SAID = "0/3 nodes are available"


def hindered(asset: MediaAsset, reason: Reason, since: datetime = NOW) -> Job:
    waiting = Hindrance(reason=reason, message=SAID, since=since)
    return replace(job_of(asset, JobPhase.PENDING), waiting=waiting)


def patience(reason: Reason) -> float:
    is_of_pod = reason in (Reason.IMAGE_PULL, Reason.CANNOT_START)
    return SETTINGS.start_patience_seconds if is_of_pod else SETTINGS.schedule_patience_seconds


@pytest.mark.parametrize("reason", OF_PLATFORM)
def test_it_is_said_once_after_its_time_and_heals(reason: Reason) -> None:
    asset = started()
    job = hindered(asset, reason)
    early = decide(asset, see(asset, jobs=(job,)), NOW + timedelta(seconds=1))
    assert conditions(early.status)["Ready"] == ("False", "Transcoding")
    assert early.requeue_seconds == patience(reason) - 1
    now = NOW + timedelta(seconds=patience(reason))
    late = decide(after(asset, early), see(asset, jobs=(job,)), now)
    assert conditions(late.status) == {
        "Ready": ("False", reason.value),
        "Published": ("False", "Pending"),
        "Reconciling": ("True", reason.value),
    }
    ready = late.status.condition(ConditionType.READY)
    assert ready is not None
    assert ready.message == f"{SAID}. {TABLE[reason].text}"
    assert [(event.reason, event.warning) for event in late.events] == [(reason, True)]
    assert late.requeue_seconds == HINDERED_RECHECK_SECONDS
    shown = after(asset, late)
    runs = decide(shown, see(shown, jobs=(job_of(asset, JobPhase.RUNNING),)), now)
    assert conditions(runs.status)["Ready"] == ("False", "Transcoding")
    assert (runs.events, runs.requeue_seconds) == ((), None)


def test_between_two_pulls_the_cause_that_was_said_stays() -> None:
    asset = started()
    job, now = hindered(asset, Reason.IMAGE_PULL), NOW + timedelta(hours=1)
    said = decide(asset, see(asset, jobs=(job,)), now)
    silent = replace(job, waiting=Hindrance(reason=Reason.IMAGE_PULL, message="", since=NOW))
    again = decide(after(asset, said), see(asset, jobs=(silent,)), now)
    assert (again.status, again.events) == (said.status, ())
    # Nothing is made up where no cause was said.
    first = decide(asset, see(asset, jobs=(silent,)), now).status.condition(ConditionType.READY)
    assert first is not None
    assert first.message == TABLE[Reason.IMAGE_PULL].text


def test_a_job_that_says_nothing_yet_is_asked_again_before_anybody_would_wonder() -> None:
    asset = started()
    decided = decide(asset, see(asset, jobs=(job_of(asset, JobPhase.PENDING),)))
    assert decided.requeue_seconds == SETTINGS.start_patience_seconds
    assert conditions(decided.status)["Ready"] == ("False", "Transcoding")


@pytest.mark.parametrize("reason", OF_PLATFORM)
def test_time_that_no_transcoder_had_counts_as_no_failure_however_often(reason: Reason) -> None:
    asset, now = started(), NOW
    for attempt in range(1, SETTINGS.max_attempts + 3):
        now += timedelta(hours=1)
        asset = after(asset, plan(asset, see(asset, jobs=(hindered(asset, reason),)), now, SETTINGS))
        over = job_of(asset, JobPhase.FAILED, Reason.DEADLINE_EXCEEDED)
        failed = plan(asset, see(asset, jobs=(over,)), now, SETTINGS)
        assert conditions(failed.status)["Ready"] == ("False", reason.value)
        assert failed.status.failed_attempts == 0
        assert failed.status.condition(ConditionType.STALLED) is None
        asset, now = after(asset, failed), now + timedelta(hours=1)
        begun = plan(asset, see(asset, jobs=(over,)), now, SETTINGS)
        assert [type(action) for action in begun.actions] == [StartJob]
        assert begun.status.attempt == attempt + 1
        asset = after(asset, begun)


def test_a_transcoder_that_began_after_all_and_took_too_long_is_a_failure() -> None:
    asset = started()
    job = hindered(asset, Reason.UNSCHEDULABLE)
    asset = after(asset, plan(asset, see(asset, jobs=(job,)), NOW + timedelta(hours=1), SETTINGS))
    asset = after(asset, plan(asset, see(asset, jobs=(job_of(asset, JobPhase.RUNNING),)), NOW, SETTINGS))
    over = job_of(asset, JobPhase.FAILED, Reason.DEADLINE_EXCEEDED)
    decided = plan(asset, see(asset, jobs=(over,)), NOW, SETTINGS)
    assert conditions(decided.status)["Ready"][1] == "DeadlineExceeded"
    assert decided.status.failed_attempts == 1
