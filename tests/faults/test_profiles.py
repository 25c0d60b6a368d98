"""Profiles that change while the operator looks, or does not: who follows is brought to what is asked, nobody else."""

import json
import time
from collections.abc import Iterator

import pytest

from kubeclient import Json
from mediaasset.names import API_VERSION, PROFILE_KIND, REPROCESS_ANNOTATION, REPROCESS_RENDITIONS_ANNOTATION
from mediaasset.reasons import Reason
from scene import ASSETS, EVENTS, Scene

PROFILES = f"/apis/{API_VERSION}/mediaprofiles"
NAME = "changing"


def spec(width: int) -> Json:
    """Return two pictures, of which one is so wide."""
    sides = {"still": 64, "other": width}
    return {"renditions": [{"name": name, "for": "Image", "format": "JPEG", "width": w} for name, w in sides.items()]}


@pytest.fixture(autouse=True)
def profile(scene: Scene) -> Iterator[None]:
    body = {"apiVersion": API_VERSION, "kind": PROFILE_KIND, "metadata": {"name": NAME}, "spec": spec(100)}
    scene.kube.call("POST", PROFILES, body)
    yield
    scene.kube.call("DELETE", f"{PROFILES}/{NAME}")


def change(scene: Scene, width: int) -> None:
    scene.kube.call("PATCH", f"{PROFILES}/{NAME}", {"spec": spec(width)})


def widths(scene: Scene, name: str) -> list[dict[str, int]]:
    """Return the renditions that each attempt was to make, and how wide."""
    environments = [job["spec"]["template"]["spec"]["containers"][0]["env"] for job in scene.jobs(name)]
    tasks = [each["value"] for environment in environments for each in environment if each["name"] == "MEDIA_TASK"]
    return [{each["name"]: each["width"] for each in json.loads(task)["renditions"]} for task in tasks]


def made(scene: Scene, name: str) -> list[list[str]]:
    return [[*each] for each in widths(scene, name)]


@pytest.mark.parametrize("is_down", [pytest.param(False, marks=pytest.mark.long), True])
def test_follower_makes_what_changed_also_while_nobody_looked(scene: Scene, is_down: bool) -> None:  # noqa: FBT001 - pytest passes it by name
    scene.operator.start()
    inline: Json = {"renditions": None, "profileName": NAME}
    follows = scene.create("follows", **inline, profileUpdatePolicy="Follow")
    stays = scene.create("stays", **inline)
    before = {name: scene.ready(name) for name in (follows, stays)}
    if is_down:
        assert scene.operator.stop() == 0
    change(scene, 120)
    if is_down:
        scene.operator.start()
    scene.until(lambda: len(scene.jobs(follows)) == 2)
    after = scene.ready(follows)
    assert made(scene, follows) == [["still", "other"], ["other"]]
    kept, changed = after["status"]["renditions"]
    assert kept == before[follows]["status"]["renditions"][0]
    assert changed["key"] != before[follows]["status"]["renditions"][1]["key"]
    assert scene.asset(stays) == before[stays]


@pytest.mark.long
def test_what_failed_by_its_profile_goes_on_when_that_is_corrected(scene: Scene) -> None:
    scene.kubelet.work = scene.kubelet.once(scene.kubelet.fail(Reason.SOURCE_TOO_LARGE))
    scene.operator.start()
    missing = scene.create("waits", renditions=None, profileName="later")
    assert scene.stalled(missing) == "ProfileNotFound"
    refused = scene.create("large", renditions=None, profileName=NAME)
    assert scene.stalled(refused) == "SourceTooLarge"
    body = {"apiVersion": API_VERSION, "kind": PROFILE_KIND, "metadata": {"name": "later"}, "spec": spec(10)}
    scene.kube.call("POST", PROFILES, body)
    scene.kube.call("PATCH", f"{PROFILES}/{NAME}", {"spec": {"limits": {"Image": {"maxBytes": 10_000_000}}}})
    try:
        # Long before anybody would look without being told.
        assert scene.ready(missing, seconds=30)["status"]["attempt"] == 1
        assert scene.ready(refused, seconds=30)["status"]["attempt"] == 2
    finally:
        scene.kube.call("DELETE", f"{PROFILES}/later")


def test_who_looks_right_after_a_change_of_a_profile_sees_it_as_it_is(scene: Scene) -> None:
    scene.operator.start()
    photo = scene.create("photo", renditions=None, profileName=NAME)
    scene.ready(photo)
    # The operator read the profiles a moment ago.
    change(scene, 120)
    asked = {REPROCESS_ANNOTATION: "1", REPROCESS_RENDITIONS_ANNOTATION: "other"}
    scene.kube.call("PATCH", f"{ASSETS}/{photo}", {"metadata": {"annotations": asked}})
    scene.until(lambda: len(scene.jobs(photo)) == 2)
    assert widths(scene, photo) == [{"still": 64, "other": 100}, {"other": 120}]
    body = {"apiVersion": API_VERSION, "kind": PROFILE_KIND, "metadata": {"name": "new"}, "spec": spec(140)}
    scene.kube.call("POST", PROFILES, body)
    try:
        first = scene.create("first", renditions=None, profileName="new")
        scene.ready(first)
        assert widths(scene, first) == [{"still": 64, "other": 140}]
        told = [each for each in scene.kube.list(EVENTS) if each["involvedObject"]["uid"] == scene.uids[first]]
        assert {each["reason"] for each in told} == {"Ready"}
    finally:
        scene.kube.call("DELETE", f"{PROFILES}/new")


@pytest.mark.long
def test_a_change_of_which_no_watch_told_is_found_by_the_resync(scene: Scene) -> None:
    scene.operator.start()
    name = scene.create("follows", renditions=None, profileName=NAME, profileUpdatePolicy="Follow")
    scene.ready(name)
    scene.api.mute("/mediaprofiles$")
    change(scene, 120)
    scene.until(lambda: len(scene.jobs(name)) == 2)
    scene.ready(name)
    assert widths(scene, name)[1] == {"other": 120}


@pytest.mark.long
def test_a_change_during_the_first_attempt_is_followed_when_that_has_ended(scene: Scene) -> None:
    scene.kubelet.work = scene.kubelet.waiting
    scene.operator.start()
    name = scene.create("follows", renditions=None, profileName=NAME, profileUpdatePolicy="Follow")
    scene.until(lambda: scene.state(name).get("Ready=False") == "Transcoding")
    change(scene, 120)
    # The followers are told of it a second later, and find that it runs.
    told = time.monotonic() + 2
    scene.until(lambda: time.monotonic() > told)
    scene.kubelet.work = scene.kubelet.render
    scene.until(lambda: (scene.asset(name) or {})["status"]["attempt"] == 2)
    # The first one's Job, of which nothing is wanted any more, may be gone.
    assert scene.ready(name)["status"]["attempt"] == 2
    assert widths(scene, name)[-1] == {"still": 64, "other": 120}


def test_one_rendition_is_made_again_alone(scene: Scene) -> None:
    scene.operator.start()
    name = scene.create("photo", renditions=None, profileName=NAME)
    before = scene.ready(name)
    asked = {REPROCESS_ANNOTATION: "1", REPROCESS_RENDITIONS_ANNOTATION: "still"}
    scene.kube.call("PATCH", f"{ASSETS}/{name}", {"metadata": {"annotations": asked}})
    scene.until(lambda: len(scene.jobs(name)) == 2)
    after = scene.ready(name)
    assert made(scene, name) == [["still", "other"], ["still"]]
    assert after["status"]["renditions"] == before["status"]["renditions"]
