"""An attempt gets the class that its source is likely to need, and a larger one when that was too small."""

from typing import Any

import pytest

from making import NOW, WEB, make_asset, make_job
from media_operator.classes import first_class, larger_class
from media_operator.observe import observe
from media_operator.plan import plan
from media_operator.settings import Settings
from mediaasset.jobs import JobPhase
from mediaasset.reasons import TABLE, Reason, Retry
from mediaasset.spec import MediaAsset, Rendition
from mediaasset.status import ConditionType
from mediaasset.task import Codec, Format, MediaClass
from planning import SETTINGS, after, annotated

CLASSES = {name: {"deadlineSeconds": 100 * number} for number, name in enumerate(MediaClass, 1)}
CLASSED = Settings.model_validate(
    {"public_base_url": "https://media.example.org", "classes": CLASSES, "large_video_bytes": 1000, "max_attempts": 9}
)
FILM = (Rendition.model_validate({"name": "mp4", "for": "Video", "format": "MP4"}),)
INFO = {"mimeType": "x/y", "sha256": "0" * 64}


def film(**changes: Any) -> Rendition:
    return FILM[0].model_copy(update=changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"type": "Image"}, MediaClass.IMAGE),
        ({"type": "Document"}, MediaClass.IMAGE),
        ({"type": "Audio"}, MediaClass.AUDIO),
        ({"type": "Video"}, MediaClass.VIDEO),
        ({"type": "Video", "source": {"object": {"key": "uploads/shop/a1/x", "sizeBytes": 999}}}, MediaClass.VIDEO),
        (
            {"type": "Video", "source": {"object": {"key": "uploads/shop/a1/x", "sizeBytes": 1000}}},
            MediaClass.LARGE_VIDEO,
        ),
        # A large picture is none the larger class is for: its own says so if it is too large.
        ({"type": "Image", "source": {"object": {"key": "uploads/shop/a1/x", "sizeBytes": 5000}}}, MediaClass.IMAGE),
        ({"type": None}, MediaClass.VIDEO),
        # What an attempt found is true, whatever was declared.
        ({"type": None, "status_": {"sourceInfo": {"type": "Audio", "sizeBytes": 1, **INFO}}}, MediaClass.AUDIO),
        (
            {"type": "Video", "status_": {"sourceInfo": {"type": "Video", "sizeBytes": 5000, **INFO}}},
            MediaClass.LARGE_VIDEO,
        ),
    ],
)
def test_class_follows_from_what_is_known(changes: dict[str, Any], expected: MediaClass) -> None:
    asset = make_asset(**changes)
    assert first_class(asset, WEB.spec.renditions, CLASSED) is expected
    assert first_class(asset, WEB.spec.renditions, SETTINGS) is None


@pytest.mark.parametrize("heavy", [{"format": Format.HLS}, {"codec": Codec.AV1}])
def test_what_is_encoded_several_times_or_slowly_is_large(heavy: dict[str, Any]) -> None:
    asset = make_asset(type="Video")
    assert first_class(asset, FILM, CLASSED) is MediaClass.VIDEO
    assert first_class(asset, (film(**heavy), *FILM), CLASSED) is MediaClass.LARGE_VIDEO
    assert first_class(make_asset(type="Image"), (film(**heavy),), CLASSED) is MediaClass.IMAGE


def test_profile_of_one_type_tells_the_type() -> None:
    assert first_class(make_asset(type=None), WEB.spec.renditions[:2], CLASSED) is MediaClass.IMAGE
    assert first_class(make_asset(type=None), (), CLASSED) is CLASSED.default_class


def test_every_class_leads_to_the_largest() -> None:
    for each in MediaClass:
        steps = [each]
        while (larger := larger_class(steps[-1], CLASSED)) is not None:
            steps.append(larger)
        assert steps[-1] is MediaClass.LARGE_VIDEO
        assert len(set(steps)) == len(steps)
    # What began before there were classes was like the default one.
    assert larger_class(None, CLASSED) is MediaClass.LARGE_VIDEO
    assert larger_class(None, SETTINGS) is None


def test_some_classes_are_not_enough() -> None:
    with pytest.raises(ValueError, match="LargeVideo missing"):
        Settings.model_validate(
            {"public_base_url": "https://a", "classes": {name: {} for name in MediaClass if name != "LargeVideo"}}
        )


def failed(asset: MediaAsset, reason: Reason, settings: Settings) -> MediaAsset:
    """Let the attempt of an asset fail, and return the asset after it."""
    status = asset.status
    job = make_job(asset, status.attempt, status.inputs_hash or "", JobPhase.FAILED, reason=reason)
    return after(asset, plan(asset, observe(asset.metadata.uid, [job], {}, WEB), NOW, settings))


def started(asset: MediaAsset, settings: Settings) -> MediaAsset:
    """Start the attempt that is due, and return the asset after it."""
    decided = plan(asset, observe(asset.metadata.uid, (), {}, WEB), NOW, settings)
    assert decided.start is not None
    task = decided.start.task
    assert task.class_name is decided.status.class_name
    if task.class_name is not None:
        assert task.deadline_seconds == settings.classes[task.class_name].deadline_seconds
    return after(asset, decided)


LARGER = [reason for reason, rule in TABLE.items() if rule.retry is Retry.LARGER]


@pytest.mark.parametrize("reason", LARGER)
def test_what_is_too_small_gets_the_next_larger_class_at_once_and_stalls_in_the_largest(reason: Reason) -> None:
    asset, seen = make_asset(), []
    while not asset.status.is_true(ConditionType.STALLED):
        asset = started(asset, CLASSED)
        seen.append(asset.status.class_name)
        asset = failed(asset, reason, CLASSED)
    assert seen == [MediaClass.IMAGE, MediaClass.VIDEO, MediaClass.LARGE_VIDEO]
    stalled = asset.status.condition(ConditionType.STALLED)
    assert stalled is not None
    assert stalled.reason is reason
    assert asset.status.class_name is MediaClass.LARGE_VIDEO
    assert asset.status.attempt == 3


@pytest.mark.parametrize("reason", LARGER)
def test_where_there_is_one_class_it_stalls_at_once(reason: Reason) -> None:
    asset = failed(started(make_asset(), SETTINGS), reason, SETTINGS)
    assert asset.status.is_true(ConditionType.STALLED)
    assert (asset.status.attempt, asset.status.class_name) == (1, None)


def test_other_failures_keep_the_class_and_the_pause() -> None:
    asset = failed(failed_once := started(make_asset(), CLASSED), Reason.OUT_OF_MEMORY, CLASSED)
    asset = failed(started(asset, CLASSED), Reason.INTERRUPTED, CLASSED)
    assert failed_once.status.class_name is MediaClass.IMAGE
    assert asset.status.class_name is MediaClass.VIDEO
    assert asset.status.retry_time is not None
    assert asset.status.retry_time > NOW


def test_who_asks_anew_begins_with_the_first_class_again() -> None:
    asset = failed(started(make_asset(), CLASSED), Reason.OUT_OF_MEMORY, CLASSED)
    assert asset.status.class_name is MediaClass.VIDEO
    assert started(annotated(asset, "now"), CLASSED).status.class_name is MediaClass.IMAGE
