"""What keeps transcoders from beginning, and assets from going: it is said, and heals when its cause is gone."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from apiproxy import Proxy
from cluster import ASSETS, Json
from installed import WORK, Installed
from mediaasset.reasons import TABLE, Reason
from outside import Outside
from service import wait_for
from transcripts import name_of, record

PHOTO = (Path(__file__).parents[1] / "data/photo.jpg").read_bytes()
SMALL = [{"name": "small", "for": "Image", "format": "JPEG", "width": 64, "height": 64}]
#: Jobs that are looked for a pod again by Kubernetes wait up to a minute for it.
HEALED_SECONDS = 150


@contextmanager
def lasting(media: Installed, kind: str, spec: Json) -> Iterator[None]:
    """Have an object in the work namespace for a while."""
    body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "narrow", "namespace": WORK}, "spec": spec}
    media.cluster.apply(body)
    try:
        yield
    finally:
        media.cluster.kubectl("delete", kind, "narrow", "-n", WORK)


@contextmanager
def no_quota(media: Installed) -> Iterator[None]:
    with lasting(media, "ResourceQuota", {"hard": {"pods": "0"}}):
        wait_for(lambda: media.cluster.get("resourcequota", "narrow", WORK)["status"].get("hard"), what="the quota")
        yield


@contextmanager
def narrow_limits(media: Installed) -> Iterator[None]:
    with lasting(media, "LimitRange", {"limits": [{"type": "Container", "max": {"memory": "8Mi"}}]}):
        yield


@contextmanager
def no_node(media: Installed) -> Iterator[None]:
    nodes = [node["metadata"]["name"] for node in media.cluster.find("nodes", "default")]
    media.cluster.kubectl("cordon", *nodes)
    try:
        yield
    finally:
        media.cluster.kubectl("uncordon", *nodes)


@contextmanager
def no_secret(media: Installed) -> Iterator[None]:
    data = media.cluster.get("secret", "s3-transcoder", WORK)["data"]
    media.cluster.kubectl("delete", "secret", "s3-transcoder", "-n", WORK)
    try:
        yield
    finally:
        metadata = {"name": "s3-transcoder", "namespace": WORK}
        media.cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})


CAUSES: dict[Reason, tuple[Callable[[Installed], Any], str]] = {
    Reason.QUOTA_EXCEEDED: (no_quota, "exceeded quota: narrow"),
    Reason.PODS_REFUSED: (narrow_limits, "maximum memory usage per Container is 8Mi"),
    Reason.UNSCHEDULABLE: (no_node, "unschedulable"),
    Reason.CANNOT_START: (no_secret, "s3-transcoder"),
}


def ready_condition(media: Installed, name: str) -> Json:
    conditions = media.asset(name).get("status", {}).get("conditions", [])
    return next((each for each in conditions if each["type"] == "Ready"), {})


def shows(media: Installed, name: str, reason: Reason, word: str, seconds: float = 60) -> Json:
    """Wait until an asset says why it is not Ready; hold what it says to the table."""
    wait_for(
        lambda: ready_condition(media, name).get("reason") == reason, seconds=seconds, what=f"{name} to say {reason}"
    )
    status = media.asset(name)["status"]
    ready = ready_condition(media, name)
    assert ready["status"] == "False"
    assert word in ready["message"]
    assert ready["message"].endswith(TABLE[reason].text)
    assert not [each for each in status["conditions"] if each["type"] == "Stalled"]
    return media.asset(name)


def warnings(media: Installed, name: str, reason: Reason) -> list[Json]:
    selector = f"involvedObject.name={name},reason={reason},type=Warning"
    listed = json.loads(
        media.cluster.kubectl("get", "events", "-n", "shop", "--field-selector", selector, "-o", "json")
    )
    items: list[Json] = listed["items"]
    return items


@pytest.mark.parametrize("reason", CAUSES)
def test_what_keeps_a_transcoder_from_beginning_is_said_and_heals(media: Installed, reason: Reason) -> None:
    cause, word = CAUSES[reason]
    with cause(media):
        name = media.apply(PHOTO, name=name_of(reason), renditions=SMALL)
        shows(media, name, reason, word)
        # Before the event of the record there is one only: the asset was told on once.
        wait_for(lambda: warnings(media, name, reason), what="the event")
        record(media.cluster, reason, name)
    media.cluster.wait(ASSETS, name, "Ready", "shop", HEALED_SECONDS)
    asset = media.asset(name)
    # It is the attempt that waited which went on, and nothing of it counts as a failure.
    assert (asset["status"]["attempt"], asset["status"]["failedAttempts"]) == (1, 0)
    assert len(media.jobs(asset["metadata"]["uid"])) == 1
    assert len(warnings(media, name, reason)) == 1


def without_image(pod: Json) -> None:
    # Nobody listens there: a registry that is down.
    pod["spec"]["containers"][0] |= {"image": "127.0.0.1:9/media-operator/transcoder:dev"}


def test_an_image_that_cannot_be_pulled_is_said_and_others_wait_behind_it(
    alone: Installed, proxy: Proxy, tmp_path: Path
) -> None:
    operator = Outside(alone, proxy, tmp_path, without_image)
    operator.start(MEDIA_OPERATOR_MAX_ACTIVE_JOBS="1", MEDIA_OPERATOR_BACKOFF_SECONDS="600")
    try:
        name = alone.apply(PHOTO, name=name_of(Reason.IMAGE_PULL), renditions=SMALL)
        asset = shows(alone, name, Reason.IMAGE_PULL, "127.0.0.1:9")
        record(alone.cluster, Reason.IMAGE_PULL, name)
        behind = alone.apply(PHOTO, name=name_of(Reason.QUEUED), renditions=SMALL)
        wait_for(lambda: ready_condition(alone, behind).get("reason") == Reason.QUEUED, what="the second to wait")
        record(alone.cluster, Reason.QUEUED, behind)
        alone.cluster.kubectl("delete", ASSETS, behind, "-n", "shop")
        # The image of a pod that runs can be changed: as good as a registry that is back.
        (pod,) = alone.cluster.find("pods", WORK, f"media-operator.io/asset-uid={asset['metadata']['uid']}")
        image = alone.pod_template()["spec"]["containers"][0]["image"]
        alone.cluster.kubectl("set", "image", f"pod/{pod['metadata']['name']}", f"transcoder={image}", "-n", WORK)
        alone.cluster.wait(ASSETS, name, "Ready", "shop", HEALED_SECONDS)
        lost = alone.apply(PHOTO, name=name_of(Reason.JOB_LOST), renditions=SMALL)
        job = wait_for(lambda: alone.jobs(alone.asset(lost)["metadata"]["uid"]), what="its Job")[0]
        alone.cluster.kubectl("delete", "job", job["metadata"]["name"], "-n", WORK)
        shows(alone, lost, Reason.JOB_LOST, "")
        record(alone.cluster, Reason.JOB_LOST, lost)
        alone.cluster.kubectl("delete", ASSETS, lost, "-n", "shop")
        waiting = alone.apply(PHOTO, name=name_of(Reason.SUSPENDED), suspend=True)
        shows(alone, waiting, Reason.SUSPENDED, "")
        record(alone.cluster, Reason.SUSPENDED, waiting)
        alone.cluster.kubectl("delete", ASSETS, waiting, "-n", "shop")
    finally:
        assert operator.stop() == 0, operator.log


def test_a_deletion_that_cannot_finish_says_so_and_is_given_up_in_the_end(
    alone: Installed, proxy: Proxy, tmp_path: Path
) -> None:
    operator = Outside(alone, proxy, tmp_path)
    operator.start()
    name = alone.apply(PHOTO, name=name_of(Reason.DELETING), renditions=SMALL)
    asset = alone.ready(name)
    uid = asset["metadata"]["uid"]
    assert operator.stop() == 0, operator.log
    operator.start(AWS_SECRET_ACCESS_KEY="another", MEDIA_OPERATOR_DELETION_SECONDS="60")
    try:
        alone.cluster.kubectl("delete", ASSETS, name, "-n", "shop", "--wait=false")
        wait_for(lambda: ready_condition(alone, name).get("reason") == Reason.DELETING, what="the failure to be said")
        message = ready_condition(alone, name)["message"]
        assert message.startswith("The deletion fails at ")
        assert message.endswith(TABLE[Reason.STORE_FORBIDDEN].text)
        record(alone.cluster, Reason.DELETING, name)
        alone.cluster.gone(ASSETS, name, "shop", 200)
    finally:
        assert operator.stop() == 0, operator.log
    told = [event["message"] for event in warnings(alone, name, Reason.DELETING)]
    assert any("left behind" in each and f"media/shop/assets/{uid}/" in each for each in told), told
    assert alone.objects(f"media/shop/assets/{uid}/")
