"""Pods are lost in the middle of their work: it is done again, once, or shown."""

import json
import os
import signal
from collections.abc import Callable

import psutil
import pytest

from cluster import Json
from installed import WORK, Installed
from media_operator.manifest import BACKOFF_LIMIT
from service import wait_for


def pods(media: Installed, uid: str) -> list[Json]:
    return media.cluster.find("pods", WORK, f"media-operator.io/asset-uid={uid}")


def transcoder(pod: str) -> psutil.Process | None:
    """Return the first process of a pod, as the node sees it."""
    for process in psutil.process_iter():
        try:
            is_parent = "media_transcoder" in process.cmdline() and process.environ().get("MEDIA_POD_NAME") == pod
        except psutil.Error:
            continue
        if is_parent:
            return process
    return None


def delete(media: Installed, pod: str) -> None:
    media.cluster.kubectl("delete", "pod", pod, "-n", WORK, "--wait=false")


def kill(_: Installed, pod: str) -> None:
    process = wait_for(lambda: transcoder(pod), what="the transcoder's process")
    os.kill(process.pid, signal.SIGKILL)


def evict(media: Installed, pod: str) -> None:
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": WORK}}
    path = f"/api/v1/namespaces/{WORK}/pods/{pod}/eviction"
    media.cluster.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))


def running(media: Installed, uid: str) -> str | None:
    found = [pod for pod in pods(media, uid) if pod["status"]["phase"] == "Running"]
    return found[0]["metadata"]["name"] if found else None


def test_disruptions_count_as_no_failure_however_many(media: Installed, long_clip: bytes) -> None:
    name = media.apply(long_clip, type="Video")
    uid = media.asset(name)["metadata"]["uid"]
    evicted = set[str]()
    # One more than the failures that a Job may have.
    for _ in range(BACKOFF_LIMIT + 1):
        pod = wait_for(lambda: (found := running(media, uid)) and found not in evicted and found, what="another pod")
        evict(media, str(pod))
        evicted.add(str(pod))
    asset = media.ready(name)
    assert (asset["status"]["attempt"], asset["status"]["failedAttempts"]) == (1, 0)
    assert len(media.jobs(uid)) == 1


@pytest.mark.parametrize("loss", [delete, kill, evict])
def test_lost_pod_is_replaced_within_its_attempt(
    media: Installed, long_clip: bytes, loss: Callable[[Installed, str], None]
) -> None:
    name = media.apply(long_clip, type="Video")
    uid = media.asset(name)["metadata"]["uid"]
    first = wait_for(lambda: running(media, uid), what="a running pod")
    wait_for(lambda: "render" in media.cluster.kubectl("logs", "-n", WORK, first), what="the rendering")
    loss(media, first)
    asset = media.ready(name)
    assert asset["status"]["attempt"] == 1
    assert len(media.jobs(uid)) == 1
    assert {each["state"] for each in asset["status"]["renditions"]} == {"Ready"}
    assert media.objects(f"media/shop/assets/{uid}/") == sorted(each["key"] for each in asset["status"]["renditions"])
