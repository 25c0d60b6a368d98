"""Only what changed is made again, and nothing else is touched."""

from dataclasses import replace
from typing import Any

import pytest

from making import DIGEST, NOW, WEB, make_asset, make_failure
from media_operator.actions import Plan, StopJob
from media_operator.plan import is_settled, plan
from mediaasset import keys
from mediaasset.jobs import JobPhase
from mediaasset.names import REPROCESS_ANNOTATION, REPROCESS_RENDITIONS_ANNOTATION
from mediaasset.reasons import Reason
from mediaasset.spec import MediaAsset, MediaProfile, MediaProfileSpec, Rendition
from mediaasset.status import ConditionType
from mediaasset.task import Result
from planning import SETTINGS, after, conditions, decide, finished, job_of, moves, result_of, see, started

THUMBNAIL, MEDIUM, *REST = WEB.spec.renditions


def profile(*renditions: Rendition, **spec: Any) -> MediaProfile:
    body = {"renditions": renditions, "limits": WEB.spec.limits, **spec}
    return WEB.model_copy(update={"spec": MediaProfileSpec.model_validate(body)})


#: The profile with another size of one rendition, without it, with one more, and with a limit that was raised.
WIDER = profile(THUMBNAIL, MEDIUM.model_copy(update={"width": 800}), *REST)
FEWER = profile(THUMBNAIL, *REST)
MORE = profile(THUMBNAIL, MEDIUM, MEDIUM.model_copy(update={"name": "large", "width": 1080}), *REST)
RAISED = profile(*WEB.spec.renditions, limits={"Image": {"maxBytes": 2000}})


def follower(**changes: Any) -> MediaAsset:
    return finished(make_asset(profileUpdatePolicy="Follow", **changes))


def asked(asset: MediaAsset, value: str, renditions: str = "") -> MediaAsset:
    annotations = {REPROCESS_ANNOTATION: value, REPROCESS_RENDITIONS_ANNOTATION: renditions}
    return asset.model_copy(update={"metadata": asset.metadata.model_copy(update={"annotations": annotations})})


def names(decided: Plan) -> list[str]:
    assert decided.start is not None
    return [rendition.name for rendition in decided.start.task.renditions]


def only(asset: MediaAsset, *wanted: str, digest: str = "f" * 64) -> Result:
    """Return the Result of a transcoder that makes these renditions, with another content than before."""
    whole = result_of(asset)
    prefix = keys.asset_prefix(public=True, tenant="shop", public_path="assets", uid="u1")
    made = tuple(
        replace(whole.renditions[0], name=name, key=keys.rendition(prefix, name, digest, "jpg"), sha256=digest)
        for name in wanted
    )
    return replace(whole, renditions=made)


def digests(asset: MediaAsset) -> dict[str, str | None]:
    return {r.name: r.sha256 for r in asset.status.renditions}


def test_a_changed_profile_leaves_a_finished_asset_alone() -> None:
    asset = finished()
    assert decide(asset, see(asset, profile=WIDER)) == Plan(status=asset.status)


def test_an_asset_that_follows_its_profile_makes_only_what_changed_and_keeps_the_rest() -> None:
    asset = follower()
    decided = decide(asset, see(asset, profile=WIDER))
    assert names(decided) == ["medium"]
    assert decided.start is not None
    # What is kept was made of these very bytes.
    assert decided.start.task.source.sha256 == DIGEST
    assert decided.status.url == asset.status.url
    running = after(asset, decided)
    ended = decide(running, see(running, profile=WIDER, left=(only(running, "medium"),)))
    done = after(running, ended)
    assert digests(done) == {"thumbnail": DIGEST, "medium": "f" * 64}
    assert done.status.renditions[0].key == asset.status.renditions[0].key
    assert conditions(done.status)["Ready"] == ("True", "Ready")
    assert is_settled(done, SETTINGS, NOW)
    assert decide(done, see(done, profile=WIDER)).actions == ()


@pytest.mark.parametrize(("changed", "left"), [(FEWER, ["thumbnail"]), (RAISED, ["thumbnail", "medium"])])
def test_a_change_for_which_nothing_is_to_be_made_runs_no_job(changed: MediaProfile, left: list[str]) -> None:
    asset = follower()
    decided = decide(asset, see(asset, profile=changed))
    assert (moves(decided), decided.events) == ((), ())
    assert [r.name for r in decided.status.renditions] == left
    assert conditions(decided.status)["Ready"] == ("True", "Ready")
    assert decided.status.completion_time == asset.status.completion_time


def test_a_rendition_more_is_made_alone_and_stands_where_the_profile_has_it() -> None:
    asset = follower()
    decided = decide(asset, see(asset, profile=MORE))
    assert names(decided) == ["large"]
    running = after(asset, decided)
    done = after(running, decide(running, see(running, profile=MORE, left=(only(running, "large"),))))
    assert list(digests(done)) == ["thumbnail", "medium", "large"]


def test_that_a_rendition_became_optional_changes_nothing_of_it() -> None:
    asset = follower()
    optional = profile(THUMBNAIL, MEDIUM.model_copy(update={"optional": True}), *REST)
    assert decide(asset, see(asset, profile=optional)).actions == ()


def test_one_rendition_can_be_made_again_alone_and_once() -> None:
    asset = asked(finished(), "1", "medium")
    decided = decide(asset, see(asset))
    assert names(decided) == ["medium"]
    running = after(asset, decided)
    # A retry of it makes the same, though the request is no longer new.
    failed = job_of(running, JobPhase.FAILED, Reason.SOURCE_UNAVAILABLE)
    pausing = after(running, decide(running, see(running, jobs=(failed,))))
    assert pausing.status.retry_time is not None
    again = decide(pausing, see(pausing, jobs=(failed,)), pausing.status.retry_time)
    assert names(again) == ["medium"]
    retried = after(pausing, again)
    done = after(retried, decide(retried, see(retried, left=(only(retried, "medium"),))))
    assert digests(done) == {"thumbnail": DIGEST, "medium": "f" * 64}
    assert is_settled(done, SETTINGS, NOW)


def test_reprocessing_without_names_makes_all_of_it_and_so_do_its_retries() -> None:
    asset = asked(finished(), "1")
    whole = [rendition.name for rendition in WEB.spec.renditions]
    decided = decide(asset, see(asset))
    assert names(decided) == whole
    assert decided.start is not None
    assert decided.start.task.source.sha256 is None
    running = after(asset, decided)
    failed = job_of(running, JobPhase.FAILED, Reason.SOURCE_UNAVAILABLE)
    pausing = after(running, decide(running, see(running, jobs=(failed,))))
    assert pausing.status.retry_time is not None
    assert names(decide(pausing, see(pausing, jobs=(failed,)), pausing.status.retry_time)) == whole


def test_a_name_that_is_none_makes_nothing_again_and_is_handled() -> None:
    asset = asked(finished(), "1", "nothing")
    decided = decide(asset, see(asset))
    assert decided.actions == ()
    assert decided.status.last_handled_reprocess == "1"
    assert conditions(decided.status)["Ready"] == ("True", "Ready")


def test_an_inline_rendition_that_changes_is_made_alone() -> None:
    small = {"name": "small", "for": "Image", "format": "JPEG", "width": 9}
    big = {"name": "big", "for": "Image", "format": "JPEG", "width": 99}
    running = started(make_asset(renditions=[small, big]))
    done = after(running, decide(running, see(running, left=(only(running, "small", "big", digest=DIGEST),))))
    edited = after(done, Plan(status=done.status), renditions=[{**small, "width": 10}, big])
    assert names(decide(edited, see(edited))) == ["small"]


def test_a_url_that_gives_other_bytes_by_now_has_everything_made_again() -> None:
    asset = follower(source={"url": "https://example.org/a.jpg"})
    running = after(asset, decide(asset, see(asset, profile=WIDER)))
    differs = make_failure(running, 2, running.status.inputs_hash or "", Reason.SOURCE_MISMATCH)
    failed = job_of(running, JobPhase.FAILED, Reason.SOURCE_MISMATCH)
    seen = see(running, profile=WIDER, jobs=(failed,), left=(differs,))
    pausing = after(running, plan(running, seen, NOW, SETTINGS))
    decided = plan(pausing, seen, NOW, SETTINGS)
    assert names(decided) == [rendition.name for rendition in WIDER.spec.renditions]
    assert decided.start is not None
    assert decided.start.task.source.sha256 is None


def test_a_profile_that_changes_while_a_part_is_made_has_the_part_of_now_made() -> None:
    asset = follower()
    running = after(asset, decide(asset, see(asset, profile=WIDER)))
    again = profile(THUMBNAIL.model_copy(update={"width": 99}), MEDIUM.model_copy(update={"width": 900}), *REST)
    decided = plan(running, see(running, profile=again, left=(only(running, "medium"),)), NOW, SETTINGS)
    assert decided.start is not None
    assert decided.start.task.attempt == 3
    assert names(decided) == [rendition.name for rendition in again.spec.renditions]


def test_what_was_made_of_a_profile_that_changed_meanwhile_is_made_again_if_it_is_followed() -> None:
    running = started(make_asset(profileUpdatePolicy="Follow"))
    done = after(running, plan(running, see(running, profile=WIDER, left=(result_of(running),)), NOW, SETTINGS))
    assert done.status.is_true(ConditionType.READY)
    assert {r.inputs_hash for r in done.status.renditions} == {None}
    assert decide(done, see(done, profile=WIDER)).start is not None


BAD = [
    ({"type": "Video"}, Reason.TYPE_MISMATCH),
    ({"renditions": [{"name": "odd", "for": "Image", "format": "PNG"}]}, Reason.INVALID_RENDITION),
    ({"profileName": "none"}, Reason.PROFILE_NOT_FOUND),
    ({"suspend": True, "type": "Image", "renditions": [{"name": "odd", "for": "Image", "format": "PNG"}]}, None),
]


@pytest.mark.parametrize("is_stalled", [False, True])
@pytest.mark.parametrize(("bad", "reason"), BAD)
def test_from_good_to_bad_and_back_is_ready_again(
    bad: dict[str, object],
    reason: Reason | None,
    is_stalled: bool,  # noqa: FBT001 - pytest passes it by name
) -> None:
    good = finished(make_asset(type=None))
    broken = after(good, Plan(status=good.status), **bad)
    there = None if reason is Reason.PROFILE_NOT_FOUND else WEB
    decided = decide(broken, see(broken, profile=there))
    if decided.start and reason and is_stalled:
        running = after(broken, decided)
        failed = job_of(running, JobPhase.FAILED, reason)
        decided = decide(running, see(running, jobs=(failed,)))
        assert conditions(decided.status)["Stalled"] == ("True", reason.value)
    elif decided.start:
        broken = after(broken, decided)
    mended = after(broken, decided, type=None, renditions=[], profileName=None, suspend=False)
    jobs = (job_of(mended, JobPhase.RUNNING),) if mended.status.completion_time is None else ()
    back = decide(mended, see(mended, jobs=jobs))
    # What was asked is there, so it is not made once more; what works on the other request is ended.
    assert back.actions == tuple(StopJob(job.name) for job in jobs)
    assert conditions(back.status) == {"Ready": ("True", "Ready"), "Published": ("True", "Ready")}
    assert digests(after(mended, back)) == digests(good)


def test_a_failure_that_a_taken_back_request_hid_is_not_forgotten_as_success() -> None:
    running = started()
    failed = job_of(running, JobPhase.FAILED, Reason.UNDECODABLE)
    stalled = after(running, decide(running, see(running, jobs=(failed,))))
    waiting = after(stalled, Plan(status=stalled.status), suspend=True, type=None)
    hidden = after(waiting, decide(waiting, see(waiting)), suspend=False, type="Image")
    assert "Stalled" not in conditions(hidden.status)
    assert decide(hidden, see(hidden)).start is not None


@pytest.mark.parametrize("reason", [Reason.SOURCE_TOO_LARGE, Reason.INVALID_RENDITION, Reason.UNDECODABLE])
def test_a_corrected_profile_gets_moving_what_failed_by_it(reason: Reason) -> None:
    running = started()
    failed = job_of(running, JobPhase.FAILED, reason)
    stalled = after(running, decide(running, see(running, jobs=(failed,))))
    assert decide(stalled, see(stalled)).actions == ()
    decided = decide(stalled, see(stalled, profile=RAISED))
    assert (decided.start is not None) == (reason is not Reason.UNDECODABLE)
    if decided.start:
        assert decided.status.failed_attempts == 0


def test_a_result_of_before_there_were_hashes_is_served_and_then_made_whole() -> None:
    old = finished()
    bare = tuple(r.model_copy(update={"inputs_hash": None}) for r in old.status.renditions)
    old = old.model_copy(update={"status": old.status.model_copy(update={"renditions": bare, "profile_hash": None})})
    assert decide(old, see(old)).actions == ()
    followed = after(old, Plan(status=old.status), profileUpdatePolicy="Follow")
    assert names(decide(followed, see(followed))) == [rendition.name for rendition in WEB.spec.renditions]


def test_a_partial_run_of_an_asset_that_was_made_private_moves_all_of_it() -> None:
    asset = follower()
    running = after(asset, decide(asset, see(asset, profile=WIDER)))
    hidden = after(running, Plan(status=running.status), visibility="Private")
    seen = see(hidden, profile=WIDER, left=(only(hidden, "medium"),))
    moving = after(hidden, plan(hidden, seen, NOW, SETTINGS))
    while not is_settled(moving, SETTINGS, NOW):
        moving = after(moving, plan(moving, seen, NOW, SETTINGS))
    assert all(r.key and r.key.startswith("private/") for r in moving.status.renditions)
    assert list(digests(moving)) == ["thumbnail", "medium"]
