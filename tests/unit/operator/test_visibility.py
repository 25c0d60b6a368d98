"""What is made private is private, whatever the asset was doing; and back."""

import pytest

from making import DIGEST, NOW, WEB, make_asset
from media_operator.actions import CopyObject, CopyTree, DeletePrefix, Plan, StopJob
from media_operator.plan import is_settled, plan
from mediaasset.jobs import JobPhase
from mediaasset.reasons import Reason
from mediaasset.spec import MediaAsset, MediaProfile
from mediaasset.status import ConditionType
from planning import SETTINGS, after, annotated, conditions, decide, finished, job_of, moves, result_of, see, started


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
    assert [type(action) for action in moves(first)] == [CopyObject, CopyObject]
    assert all(key.key and key.key.startswith(f"{target}/") for key in first.status.renditions)
    assert (first.status.url is None) == (then == "Private")
    assert first.requeue_seconds == 0.0
    moving = after(asset, first)
    assert not is_settled(moving, SETTINGS, NOW)
    second = decide_move(moving)
    assert moves(second) == (DeletePrefix(f"{source}/shop/assets/u1/"),)
    assert second.status.is_true(ConditionType.READY)
    assert second.status.attempt == 1
    assert is_settled(after(moving, second), SETTINGS, NOW)


def test_a_rendition_that_is_a_directory_moves_whole() -> None:
    done = finished(make_asset(visibility="Public"), tree=True)
    first = decide(after(done, decide(done, see(done)), visibility="Private"), see(done))
    name = f"shop/assets/u1/storyboard-{DIGEST[:16]}/"
    assert CopyTree(f"media/{name}", f"private/{name}", "index.vtt") in moves(first)
    assert [type(action) for action in moves(first)] == [CopyObject, CopyObject, CopyTree]
    assert first.status.renditions[-1].key == f"private/{name}index.vtt"


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
    assert DeletePrefix("media/shop/assets/u1/") in moves(second)
    assert second.status.url is None


def test_move_waits_for_the_job_whose_result_is_there_already() -> None:
    # The end of a pod is seen, and its Result is read, a second or two before its Job says that it is complete.
    running = started()
    ready = after(running, decide(running, see(running, left=(result_of(running),))))
    job, result = job_of(ready, JobPhase.RUNNING), result_of(ready)
    hidden = after(ready, decide(ready, see(ready, jobs=(job,), left=(result,))), visibility="Private")
    for _ in range(2):
        waiting = plan(hidden, see(hidden, jobs=(job,), left=(result,)), NOW, SETTINGS)
        assert moves(waiting) == ()
        assert waiting.requeue_seconds is not None
        assert waiting.requeue_seconds > 0
        hidden = after(hidden, waiting)
        assert conditions(hidden.status)["Ready"] == ("False", "MovingObjects")
        assert not is_settled(hidden, SETTINGS, NOW)
    over = job_of(ready, JobPhase.SUCCEEDED)
    copying = plan(hidden, see(hidden, jobs=(over,), left=(result,)), NOW, SETTINGS)
    assert [type(action) for action in moves(copying)] == [CopyObject, CopyObject]
    deleting = plan(after(hidden, copying), see(hidden, jobs=(over,), left=(result,)), NOW, SETTINGS)
    assert moves(deleting) == (DeletePrefix("media/shop/assets/u1/"),)
    assert deleting.status.is_true(ConditionType.READY)


def test_result_of_a_public_run_that_was_made_private_is_published_after_its_job() -> None:
    running = started()
    hidden = after(running, Plan(status=running.status), visibility="Private")
    job, result = job_of(running, JobPhase.RUNNING), result_of(running)
    waiting = plan(hidden, see(hidden, jobs=(job,), left=(result,)), NOW, SETTINGS)
    assert moves(waiting) == ()
    moving = after(hidden, waiting)
    over = job_of(running, JobPhase.SUCCEEDED)
    copied = after(moving, plan(moving, see(moving, jobs=(over,), left=(result,)), NOW, SETTINGS))
    assert moves(plan(copied, see(copied, jobs=(over,), left=(result,)), NOW, SETTINGS)) == (
        DeletePrefix("media/shop/assets/u1/"),
    )


def test_an_asset_made_private_and_run_again_at_once_ends_the_public_urls_of_before() -> None:
    done = finished()
    asked = annotated(after(done, decide(done, see(done)), visibility="Private"), "again")
    running = after(asked, decide(asked, see(asked)))
    first = plan(running, see(running, left=(result_of(running, public=False),)), NOW, SETTINGS)
    assert DeletePrefix("media/shop/assets/u1/") in moves(first)


def test_a_move_is_finished_before_anything_else_is_started() -> None:
    done = finished()
    hidden = after(done, decide(done, see(done)), visibility="Private")
    moving = annotated(after(hidden, decide(hidden, see(hidden))), "again")
    ended = plan(moving, see(moving), NOW, SETTINGS)
    assert moves(ended)[0] == DeletePrefix("media/shop/assets/u1/")
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
        actions += [type(action) for action in moves(decided)]
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
    assert first.requeue_seconds == 0.0
    moving = after(hidden, first)
    assert not is_settled(moving, SETTINGS, NOW)
    second = plan(moving, see(moving, jobs=(failed,)), NOW, SETTINGS)
    assert moves(second)[0] == DeletePrefix("media/shop/assets/u1/")
    ended = after(moving, second)
    assert (ended.status.url, conditions(ended.status)["Stalled"][1]) == (None, "Undecodable")
    assert is_settled(ended, SETTINGS, NOW)


def test_what_a_failed_first_run_of_a_private_asset_published_is_deleted() -> None:
    running = started()
    hidden = after(running, Plan(status=running.status), visibility="Private")
    failed = job_of(hidden, JobPhase.FAILED, Reason.UNDECODABLE)
    assert moves(decide(hidden, see(hidden, jobs=(failed,)))) == (DeletePrefix("media/shop/assets/u1/"),)


def test_a_stalled_asset_that_is_still_served_can_be_hidden() -> None:
    again = annotated(finished(), "again")
    running = after(again, decide(again, see(again)))
    failed = job_of(running, JobPhase.FAILED, Reason.UNDECODABLE)
    stalled = after(running, decide(running, see(running, jobs=(failed,))), visibility="Private")
    assert conditions(stalled.status)["Published"] == ("True", "Ready")
    moving = after(stalled, plan(stalled, see(stalled), NOW, SETTINGS))
    assert not is_settled(moving, SETTINGS, NOW)
    ended = plan(moving, see(moving), NOW, SETTINGS)
    assert moves(ended) == (DeletePrefix("media/shop/assets/u1/"),)
    hidden = after(moving, ended)
    assert conditions(hidden.status) == {
        "Ready": ("False", "Undecodable"),
        "Published": ("True", "Ready"),
        "Stalled": ("True", "Undecodable"),
    }
    assert is_settled(hidden, SETTINGS, NOW)


def test_a_refusal_that_moves_says_so_at_once_and_looks_again_at_once() -> None:
    again = annotated(finished(), "again")
    running = after(again, decide(again, see(again)))
    hidden = after(running, Plan(status=running.status), visibility="Private", profileName="none")
    job = job_of(hidden, JobPhase.RUNNING)
    first = plan(hidden, see(hidden, jobs=(job,), profile=None), NOW, SETTINGS)
    assert [type(action) for action in moves(first)] == [StopJob, CopyObject, CopyObject]
    assert [event.reason for event in first.events] == [Reason.PROFILE_NOT_FOUND]
    assert first.requeue_seconds == 0.0
    second = plan(after(hidden, first), see(hidden, profile=None), NOW, SETTINGS)
    assert moves(second) == (DeletePrefix("media/shop/assets/u1/"),)
    assert second.events == ()
    assert second.requeue_seconds == 60.0
