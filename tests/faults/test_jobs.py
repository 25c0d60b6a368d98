"""Jobs, namespaces and whole kinds that somebody deletes: no work is lost, none is done twice, and media stay."""

import threading

import pytest

import apiserver
from kubelet import Work
from mediaasset import keys
from mediaasset.names import API_VERSION
from mediaasset.reasons import Reason
from mediaasset.task import Task
from scene import JOBS, PODS, RENDITIONS, Scene, Servers, is_over, make_namespace, until

KIND = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/mediaassets.media-operator.io"
BACKGROUND = {"propagationPolicy": "Background"}


def holding(scene: Scene, stages: int) -> tuple[Work, threading.Event]:
    """Return the work of pods that go only so far until they may go on: 0 nowhere, 1 to their Result."""
    go = threading.Event()

    def work(task: Task, pod: str) -> int | None:
        if go.is_set():
            return scene.kubelet.render(task, pod)
        if stages:
            scene.kubelet.render(task, pod)
        return None

    return work, go


def remove_job(scene: Scene, name: str) -> None:
    """Delete the Job of an asset by hand, and its pods with it."""
    (job,) = scene.until(lambda: scene.jobs(name))
    scene.kube.call("DELETE", f"{JOBS}/{job['metadata']['name']}", BACKGROUND)
    uid = job["metadata"]["uid"]

    def is_gone() -> bool:
        # A pod that is still there may do its work yet.
        owners = [ref for pod in scene.kube.list(PODS) for ref in pod["metadata"].get("ownerReferences", ())]
        return uid not in {each["metadata"]["uid"] for each in scene.jobs(name)} | {ref["uid"] for ref in owners}

    scene.until(is_gone)


@pytest.mark.parametrize("phase", [pytest.param("Pending", marks=pytest.mark.long), "Running"])
def test_a_job_deleted_before_its_result_is_followed_by_another_attempt(scene: Scene, phase: str) -> None:
    scene.kubelet.work, go = holding(scene, 0)
    scene.kubelet.away = phase == "Pending"
    scene.operator.start()
    scene.create("photo")
    scene.until(lambda: [pod for pod in scene.kube.list(PODS) if pod["status"].get("phase") == phase])
    scene.until(lambda: scene.state("photo").get("Ready=False") == "Transcoding")
    remove_job(scene, "photo")
    scene.kubelet.away = False
    go.set()
    assert scene.ready("photo")["status"]["attempt"] == 2


def test_a_job_deleted_after_its_result_was_written_is_not_missed(scene: Scene) -> None:
    scene.kubelet.work, _ = holding(scene, 1)
    scene.operator.start()
    scene.create("photo")
    scene.until(lambda: scene.bucket.keys(keys.work_prefix(scene.uids["photo"])))
    remove_job(scene, "photo")
    assert scene.ready("photo")["status"]["attempt"] == 1


@pytest.mark.long
def test_a_job_deleted_after_it_failed_keeps_its_retry(scene: Scene) -> None:
    scene.kubelet.work = scene.kubelet.once(scene.kubelet.fail(Reason.SOURCE_UNAVAILABLE))
    scene.operator.start(MEDIA_OPERATOR_BACKOFF_SECONDS="4")
    scene.create("photo")
    scene.until(lambda: scene.state("photo").get("Ready=False") == "SourceUnavailable")
    remove_job(scene, "photo")
    assert scene.ready("photo")["status"]["attempt"] == 2


@pytest.mark.long
def test_a_job_deleted_once_its_asset_is_ready_changes_nothing(scene: Scene) -> None:
    scene.operator.start()
    scene.create("photo")
    before = scene.ready("photo")
    remove_job(scene, "photo")
    scene.operator.kill()
    scene.operator.start()
    scene.create("other")
    scene.ready("other")
    assert scene.asset("photo") == before


@pytest.mark.parametrize("reason", [None, Reason.UNDECODABLE], ids=["succeeded", "failed"])
def test_a_job_collected_while_the_operator_is_down_has_left_its_outcome(scene: Scene, reason: Reason | None) -> None:
    scene.kubelet.work, go = holding(scene, 0)
    scene.operator.start()
    scene.create("photo")
    scene.until(lambda: scene.state("photo").get("Ready=False") == "Transcoding")
    scene.operator.kill()
    if reason:
        scene.kubelet.work = scene.kubelet.fail(reason)
    go.set()
    (job,) = scene.jobs("photo")
    path = f"{JOBS}/{job['metadata']['name']}"
    # Not `scene.until`, which would start the operator again.
    until(lambda: is_over(scene.kube.find(path) or {}), scene.report)
    scene.kube.call("DELETE", path, BACKGROUND)
    scene.operator.start()
    if reason:
        assert scene.stalled("photo") == reason
    else:
        scene.ready("photo")
    assert (scene.asset("photo") or {})["status"]["attempt"] == 1


@pytest.mark.long
def test_a_pod_that_fails_after_a_good_result_takes_nothing_back(scene: Scene) -> None:
    def late(task: Task, pod: str) -> int:
        scene.kubelet.render(task, pod)
        return scene.kubelet.fail(Reason.INTERNAL)(task, pod)

    scene.kubelet.work = late
    scene.operator.start()
    scene.create("photo")
    before = scene.ready("photo")
    assert {is_over(job) for job in scene.jobs("photo")} == {True}
    assert before["status"]["attempt"] == 1
    scene.operator.kill()
    scene.operator.start()
    scene.create("other")
    scene.kubelet.work = scene.kubelet.render
    scene.ready("other")
    assert scene.asset("photo") == before


def test_a_namespace_deleted_in_the_middle_of_a_job_goes_with_all_its_media(servers: Servers, scene: Scene) -> None:
    make_namespace(servers.kube, "closing")
    scene.kubelet.work, _ = holding(scene, 1)
    scene.operator.start()
    assets = f"/apis/{API_VERSION}/namespaces/closing/mediaassets"
    for name in ("one", "two"):
        scene.bucket.put(f"uploads/closing/{name}/source", b"source")
        spec = {"source": {"object": {"key": f"uploads/closing/{name}/source"}}, "renditions": RENDITIONS}
        body = {"apiVersion": API_VERSION, "kind": "MediaAsset", "metadata": {"name": name}, "spec": spec}
        scene.uids[name] = servers.kube.call("POST", assets, body)["metadata"]["uid"]
    scene.until(lambda: all(scene.bucket.keys(keys.work_prefix(scene.uids[name])) for name in ("one", "two")))
    servers.kube.call("DELETE", "/api/v1/namespaces/closing")
    scene.until(lambda: servers.kube.find("/api/v1/namespaces/closing") is None, seconds=90)
    assert scene.bucket.keys() == ["tombstones/closing/one.json", "tombstones/closing/two.json"]
    assert not scene.jobs("one") + scene.jobs("two")


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_kind_that_is_deleted_and_made_again_keeps_what_is_to_be_retained(
    request: pytest.FixtureRequest, servers: Servers, scene: Scene
) -> None:
    scene.operator.start()
    scene.create("kept", deletionPolicy="Retain")
    scene.create("lost")
    for name in ("kept", "lost"):
        scene.ready(name)
    kept = scene.bucket.keys(f"media/shop/assets/{scene.uids['kept']}/")
    assert len(kept) == len(RENDITIONS)
    # The test after this one would miss it.
    request.addfinalizer(lambda: apiserver.install(servers.kubeconfig))
    servers.kube.call("DELETE", KIND)
    scene.until(lambda: servers.kube.find(KIND) is None, seconds=90)
    assert scene.bucket.keys(f"media/shop/assets/{scene.uids['kept']}/") == kept
    assert scene.bucket.keys("uploads/shop/kept/")
    assert not scene.bucket.keys(f"media/shop/assets/{scene.uids['lost']}/")
    apiserver.install(servers.kubeconfig)
    scene.create("new")
    scene.ready("new", seconds=120)
    scene.until(lambda: scene.operator.health() == 200)
    assert not scene.kube.list(PODS, f"media-operator.io/asset-uid={scene.uids['lost']}")
