"""Profiles that change while the operator looks, or does not: who follows is brought to what is asked, nobody else."""

import json
from collections.abc import Iterator

import pytest

from kubeclient import Json
from mediaasset.names import API_VERSION, PROFILE_KIND, REPROCESS_ANNOTATION, REPROCESS_RENDITIONS_ANNOTATION
from scene import ASSETS, Scene

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


def made(scene: Scene, name: str) -> list[list[str]]:
    """Return the renditions that each attempt was to make."""
    environments = [job["spec"]["template"]["spec"]["containers"][0]["env"] for job in scene.jobs(name)]
    tasks = [each["value"] for environment in environments for each in environment if each["name"] == "MEDIA_TASK"]
    return [[rendition["name"] for rendition in json.loads(task)["renditions"]] for task in tasks]


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
    scene.operator.start()
    name = scene.create("waits", renditions=None, profileName="later")
    assert scene.stalled(name) == "ProfileNotFound"
    body = {"apiVersion": API_VERSION, "kind": PROFILE_KIND, "metadata": {"name": "later"}, "spec": spec(10)}
    scene.kube.call("POST", PROFILES, body)
    try:
        # Long before anybody would look without being told.
        assert scene.ready(name, seconds=30)["status"]["attempt"] == 1
    finally:
        scene.kube.call("DELETE", f"{PROFILES}/later")


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
