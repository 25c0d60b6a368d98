"""What people see of the operator beside its assets: metrics, Events, its log, and the sweep of the day."""

import json
import re
from datetime import UTC, datetime, timedelta
from functools import partial

from httpproxy import Refusal
from litter import GONE, rendition
from mediaasset.reasons import Reason
from scene import ASSETS, EVENTS, Scene

AWAY = Refusal("GET|HEAD|PUT|POST|DELETE", "", 403, b"<Error><Code>AccessDenied</Code></Error>")


def events(scene: Scene, name: str) -> list[str]:
    """Return the reasons of the Events of an asset, in their order."""
    found = [each for each in scene.kube.list(EVENTS) if each["involvedObject"].get("uid") == scene.uids[name]]
    return [each["reason"] for each in sorted(found, key=lambda each: int(each["metadata"]["resourceVersion"]))]


def poke(scene: Scene, name: str, value: int) -> None:
    """Have the operator look at an asset: a label means nothing to it."""
    scene.kube.call("PATCH", f"{ASSETS}/{name}", {"metadata": {"labels": {"poked": str(value)}}})


def was_looked_at(scene: Scene, before: float) -> bool:
    return reconciles(scene) > before


def reconciles(scene: Scene) -> float:
    return scene.operator.metrics()["media_operator_reconcile_seconds_count"]


def test_metrics_tell_of_the_work_and_name_no_asset(scene: Scene) -> None:
    scene.operator.start(MEDIA_OPERATOR_VERSION="1.2.3")
    work, scene.kubelet.work = scene.kubelet.work, scene.kubelet.waiting
    scene.create("photo")
    # The played pods have no readiness: to the Job controller they never get as far as to run.
    scene.until(lambda: scene.operator.metrics().get('media_operator_jobs{phase="Pending"}') == 1)
    scene.kubelet.work = work
    scene.ready("photo")
    scene.until(lambda: scene.operator.metrics()['media_operator_jobs{phase="Pending"}'] == 0)
    found = scene.operator.metrics()
    assert found["media_operator_reconcile_seconds_count"] >= 2
    assert found['media_operator_asset_events_total{reason="Ready"}'] == 1
    requests = {
        match[1]: value
        for sample, value in found.items()
        if (match := re.fullmatch(r"media_operator_api_requests_total\{code=\"20\d\",(.*)\}", sample))
    }
    assert requests['resource="jobs",verb="create"'] == 1
    assert requests['resource="events",verb="create"'] == 1
    written = sum("mediaassets/photo" in path and method in {"PUT", "PATCH"} for method, path in scene.journal.writes)
    updates = [
        requests.get(f'resource="{each}"', 0)
        for each in ('mediaassets",verb="patch', 'mediaassets/status",verb="update')
    ]
    assert sum(updates) == written > 0
    for queue in ("reconcile", "Interactive", "Batch"):
        assert found[f'media_operator_queue_assets{{queue="{queue}"}}'] == 0
        assert found[f'media_operator_queue_oldest_seconds{{queue="{queue}"}}'] == 0
    assert found["media_operator_watch_missed_assets"] == 0
    for watched in ("mediaassets", "jobs"):
        assert 0 <= found[f'media_operator_watch_event_age_seconds{{resource="{watched}"}}'] < 60
    assert [sample for sample in found if sample.startswith("media_operator_build_info") and '"1.2.3"' in sample]
    assert not [sample for sample in found if "photo" in sample or scene.uids["photo"] in sample]


def test_those_who_wait_for_a_place_are_counted_by_queue(scene: Scene) -> None:
    scene.kubelet.work = scene.kubelet.waiting
    scene.operator.start(MEDIA_OPERATOR_MAX_ACTIVE_JOBS="1", MEDIA_OPERATOR_INTERACTIVE_RESERVED_JOBS="0")
    for name in ("a", "b", "c"):
        scene.create(name)
    scene.create("d", queue="Batch")

    def waiting() -> bool:
        found = scene.operator.metrics()
        lengths = [found.get(f'media_operator_queue_assets{{queue="{queue}"}}') for queue in ("Interactive", "Batch")]
        return lengths in ([2, 1], [3, 0]) and found['media_operator_queue_oldest_seconds{queue="Interactive"}'] > 0

    scene.until(waiting)


def test_failures_are_counted_by_reason_and_logged_with_their_asset(scene: Scene) -> None:
    scene.operator.start()
    refusal = scene.store.refuse(AWAY)
    scene.create("photo")
    name = 'media_operator_reconcile_errors_total{reason="StoreForbidden"}'
    scene.until(lambda: scene.operator.metrics().get(name, 0) >= 2)
    scene.store.accept(refusal)
    scene.ready("photo")
    lines = [json.loads(line) for line in scene.operator.log.splitlines()]
    failures = [line for line in lines if line["event"].startswith("A reconcile failed")]
    assert len(failures) >= 2
    assert {(line["namespace"], line["asset"]) for line in failures} == {("shop", "photo")}
    # What is logged afterwards is of nobody.
    assert not [line for line in lines if "asset" in line and line["asset"] != "photo"]


def test_a_steady_failure_is_told_once_and_each_transition_once(scene: Scene) -> None:
    scene.kubelet.work = scene.kubelet.fail(Reason.TYPE_MISMATCH)
    scene.operator.start()
    scene.create("broken")
    scene.create("lost", profileName="nowhere", renditions=None)
    assert scene.stalled("broken") == "TypeMismatch"
    assert scene.stalled("lost") == "ProfileNotFound"
    versions = [(scene.asset(name) or {})["status"] for name in ("broken", "lost")]
    for value in range(5):
        before = reconciles(scene)
        for name in ("broken", "lost"):
            poke(scene, name, value)
        scene.until(partial(was_looked_at, scene, before))
    # A restart looks at everything anew.
    scene.operator.kill()
    scene.operator.start()
    scene.until(lambda: reconciles(scene) > 0)
    assert events(scene, "broken").count("TypeMismatch") == 1
    assert events(scene, "lost") == ["ProfileNotFound"]
    assert [(scene.asset(name) or {})["status"] for name in ("broken", "lost")] == versions
    # Asked for again, it fails again: that is news.
    scene.reprocess("broken", "now")
    scene.until(lambda: events(scene, "broken").count("TypeMismatch") == 2)
    scene.kubelet.work = scene.kubelet.render
    scene.reprocess("broken", "then")
    scene.ready("broken")
    assert events(scene, "broken").count("Ready") == 1


def test_the_operator_sweeps_at_the_time_that_is_set(scene: Scene) -> None:
    scene.create("photo")
    scene.bucket.put(rendition(GONE), b"litter")
    begins = datetime.now(UTC) + timedelta(seconds=90)
    scene.operator.start(MEDIA_OPERATOR_SWEEP_TIME=f"{begins:%H:%M}", MEDIA_OPERATOR_SWEEP_JITTER_SECONDS="0")
    scene.ready("photo")
    metrics = scene.until(
        lambda: (m := scene.operator.metrics()).get('media_operator_sweeps_total{result="counted"}') == 1 and m,
        seconds=150,
    )
    assert isinstance(metrics, dict)
    # The litter is too young to be anybody's orphan.
    assert not [sample for sample in metrics if sample.startswith("media_operator_sweep_found{")]
    [line] = [json.loads(line) for line in scene.operator.log.splitlines() if '"event": "sweep"' in line]
    assert (line["assets"], line["result"]) == (1, "counted")
    assert line["objects"] >= 4
    assert scene.bucket.read(rendition(GONE)) == b"litter"
