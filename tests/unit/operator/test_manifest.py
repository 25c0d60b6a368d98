import json
from dataclasses import replace
from typing import Any

import pytest

from media_operator.manifest import (
    CONTAINER,
    asset_of,
    finished,
    hindrance_of,
    hindrance_told,
    is_over,
    job_of,
    manifest,
    template_of,
)
from media_operator.settings import ClassSettings
from mediaasset.jobs import JobPhase
from mediaasset.media import Kind
from mediaasset.names import CLASS_LABEL, QUEUE_LABEL
from mediaasset.reasons import TABLE, Reason, Retry
from mediaasset.task import (
    CPUS_VARIABLE,
    MEMORY_VARIABLE,
    Format,
    MediaClass,
    Queue,
    Rendition,
    Source,
    Task,
    WhatsAppMedia,
)

TASK = Task(
    uid="1c6e6f0e-0000-4000-8000-000000000001",
    namespace="shop",
    name="a1",
    attempt=3,
    inputs_hash="f" * 64,
    source=Source(key="uploads/shop/a1/x"),
    prefix="media/shop/assets/u/",
    document_prefix="private/shop/assets/u/",
    renditions=(Rendition(name="small", kind=Kind.IMAGE, format=Format.JPEG, width=32, height=32),),
    deadline_seconds=77,
)
TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"team": "media"}, "annotations": {"sidecar": "no"}},
    "spec": {
        "restartPolicy": "Always",
        "containers": [{"name": CONTAINER, "image": "t:1", "env": [{"name": "MEDIA_STORE_URL", "value": "s3://b"}]}],
    },
}


def made(task: Task = TASK) -> dict[str, Any]:
    return manifest("media-x", "work", task, TEMPLATE, ttl_seconds=3600)


def pod(**state: Any) -> dict[str, Any]:
    statuses = [{"name": "sidecar", "state": {"running": {}}}, {"name": CONTAINER, "state": state}]
    return {"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}, "status": {"containerStatuses": statuses}}


def failed(code: int, why: str = "Error", **changes: Any) -> dict[str, Any]:
    body = pod(terminated={"exitCode": code, "reason": why})
    body["metadata"] |= changes.pop("metadata", {})
    body["status"] |= {"phase": "Failed", **changes}
    return body


def over(kind: str, reason: str = "", **changes: Any) -> dict[str, Any]:
    condition = {"type": kind, "status": "True", "reason": reason, "lastTransitionTime": "2026-01-02T03:04:05Z"}
    return made() | {"status": {"conditions": [condition | changes]}}


def test_job_carries_the_task_beside_what_the_template_says() -> None:
    job = made()
    (container,) = job["spec"]["template"]["spec"]["containers"]
    variables = {each["name"]: each for each in container["env"]}
    assert variables["MEDIA_STORE_URL"]["value"] == "s3://b"
    assert Task.from_json(variables["MEDIA_TASK"]["value"]) == TASK
    assert variables["MEDIA_POD_NAME"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    assert container["image"] == "t:1"
    assert job["spec"]["template"]["metadata"]["labels"]["team"] == "media"
    assert job["spec"]["template"]["metadata"]["annotations"]["sidecar"] == "no"
    assert job["spec"]["activeDeadlineSeconds"] > 77
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_template_is_not_changed() -> None:
    before = json.dumps(TEMPLATE)
    made()
    assert json.dumps(TEMPLATE) == before


def test_job_and_its_pods_name_the_asset() -> None:
    job = made()
    assert asset_of(job) == asset_of(job["spec"]["template"]) == ("shop", "a1")
    assert asset_of({"metadata": {}}) is None


def test_labels_are_short_enough_for_kubernetes() -> None:
    assert all(len(value) <= 63 for value in made()["metadata"]["labels"].values())


def test_job_is_read_as_it_was_made() -> None:
    job = job_of(made())
    assert job is not None
    assert (job.name, job.namespace, job.uid, job.attempt, job.inputs_hash) == (
        "media-x",
        TASK.namespace,
        TASK.uid,
        TASK.attempt,
        TASK.inputs_hash,
    )
    assert job.phase is JobPhase.PENDING


def test_job_of_others_is_none_of_ours() -> None:
    assert job_of({"metadata": {"name": "x"}, "status": {}}) is None


def test_disruption_is_looked_at_before_the_exit_code() -> None:
    ignore, fail = made()["spec"]["podFailurePolicy"]["rules"]
    assert (ignore["action"], ignore["onPodConditions"]) == ("Ignore", [{"type": "DisruptionTarget", "status": "True"}])
    assert fail["action"] == "FailJob"


def test_job_ends_at_once_for_every_reason_that_another_pod_cannot_help() -> None:
    rule = made()["spec"]["podFailurePolicy"]["rules"][1]["onExitCodes"]
    final = {r.exit_code for r in TABLE.values() if r.retry is not Retry.POD} - {None}
    assert set(rule["values"]) == final
    assert 137 not in rule["values"]
    assert rule["values"] == sorted(rule["values"])


@pytest.mark.parametrize("kind", ["SuccessCriteriaMet", "FailureTarget", "Suspended"])
def test_interim_conditions_do_not_end_a_job(kind: str) -> None:
    assert finished(over(kind)) is None
    job = job_of(over(kind))
    assert job is not None
    assert job.is_active


def test_condition_that_is_false_does_not_end_a_job() -> None:
    assert finished(over("Failed", status="False")) is None


def test_complete_job_succeeded() -> None:
    job = job_of(over("Complete"))
    assert job is not None
    assert (job.phase, job.reason) == (JobPhase.SUCCEEDED, None)
    assert str(job.finished_at) == "2026-01-02 03:04:05+00:00"


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        ([failed(12)], Reason.SOURCE_FORBIDDEN),
        ([failed(137)], Reason.INTERRUPTED),
        ([failed(137, "OOMKilled")], Reason.OUT_OF_MEMORY),
        # cgroup v1: a child was killed, and the parent knows better.
        ([failed(31, "OOMKilled")], Reason.OUT_OF_MEMORY),
        ([failed(18, "OOMKilled")], Reason.UNDECODABLE),
        ([failed(1)], Reason.INTERNAL),
        ([failed(137, reason="Evicted", message="ephemeral local storage usage exceeds")], Reason.DISK_FULL),
        ([failed(137, reason="Evicted", message="The node was low on resource: memory.")], Reason.INTERRUPTED),
        ([], Reason.INTERRUPTED),
        (
            [failed(12, metadata={"creationTimestamp": "2026-01-01T00:00:09Z"}), failed(38)],
            Reason.SOURCE_FORBIDDEN,
        ),
    ],
)
def test_reason_of_a_failed_job_is_that_of_its_last_pod(pods: list[dict[str, Any]], expected: Reason) -> None:
    job = job_of(over("Failed", "BackoffLimitExceeded"), pods)
    assert job is not None
    assert job.reason is expected


def test_deadline_is_known_from_the_job_alone() -> None:
    job = job_of(over("Failed", "DeadlineExceeded"), [failed(36)])
    assert job is not None
    assert job.reason is Reason.DEADLINE_EXCEEDED


def test_pod_is_over_once_its_transcoder_is() -> None:
    assert is_over(pod(terminated={"exitCode": 0}))
    assert not is_over(pod(running={}))
    assert not is_over({"metadata": {}, "status": {}})
    assert is_over({"metadata": {}, "status": {"phase": "Failed", "reason": "Evicted"}})


def test_two_attempts_differ_in_their_labels() -> None:
    assert made()["metadata"]["labels"] != made(replace(TASK, attempt=4))["metadata"]["labels"]


def test_pod_of_a_chat_message_mounts_the_secret_of_its_account_and_no_other_pod_any() -> None:
    media = WhatsAppMedia(account_name="support", media_id="1", original_key="whatsapp-media/support/x")
    pod = made(replace(TASK, source=Source(whatsapp=media)))["spec"]["template"]["spec"]
    (volume,) = pod["volumes"]
    (container,) = pod["containers"]
    (mount,) = container["volumeMounts"]
    assert volume["secret"]["secretName"] == "whatsapp-support"
    # A pod that waits for it could not say that it is missing.
    assert volume["secret"]["optional"] is True
    assert [item["key"] for item in volume["secret"]["items"]] == ["token", "namespace"]
    assert (mount["name"], mount["readOnly"]) == (volume["name"], True)
    variables = {each["name"]: each.get("value") for each in container["env"]}
    assert mount["mountPath"] == f"{variables['MEDIA_WHATSAPP_DIRECTORY']}/support"
    plain = json.dumps(made())
    assert "whatsapp" not in plain
    assert "WHATSAPP" not in plain


def test_template_keeps_its_own_volumes_beside_that_of_an_account() -> None:
    scratch = {"name": "scratch", "emptyDir": {}}
    template = json.loads(json.dumps(TEMPLATE))
    template["spec"]["volumes"] = [scratch]
    template["spec"]["containers"][0]["volumeMounts"] = [{"name": "scratch", "mountPath": "/scratch"}]
    media = WhatsAppMedia(account_name="support", media_id="1", original_key="whatsapp-media/support/x")
    job = manifest("media-x", "work", replace(TASK, source=Source(whatsapp=media)), template, ttl_seconds=3600)
    pod = job["spec"]["template"]["spec"]
    assert [volume["name"] for volume in pod["volumes"]] == ["scratch", "whatsapp"]
    assert [mount["name"] for mount in pod["containers"][0]["volumeMounts"]] == ["scratch", "whatsapp"]
    assert template["spec"]["volumes"] == [scratch]


def test_a_transcoder_is_told_what_its_container_may_use() -> None:
    (container,) = made()["spec"]["template"]["spec"]["containers"]
    sources = {each["name"]: each.get("valueFrom", {}).get("resourceFieldRef") for each in container["env"]}
    for variable, resource in ((CPUS_VARIABLE, "limits.cpu"), (MEMORY_VARIABLE, "limits.memory")):
        assert sources[variable] == {"containerName": CONTAINER, "resource": resource, "divisor": "1"}


def test_class_has_its_own_in_place_of_what_the_template_says() -> None:
    template = json.loads(json.dumps(TEMPLATE))
    template["spec"] |= {"nodeSelector": {"disk": "fast"}, "tolerations": [{"key": "a"}], "priorityClassName": "low"}
    template["spec"]["volumes"] = [{"name": "scratch", "emptyDir": {"medium": "", "sizeLimit": "1Gi"}}]
    template["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "2"}}
    before = json.dumps(template)
    own = ClassSettings.model_validate(
        {
            "deadlineSeconds": 5,
            "resources": {"limits": {"memory": "1Gi"}},
            "scratchSizeLimit": "9Gi",
            "nodeSelector": {"gpu": "no"},
            "tolerations": [{"key": "b"}],
            "priorityClassName": "high",
        }
    )
    spec = template_of(template, own)["spec"]
    assert spec["containers"][0]["resources"] == {"limits": {"memory": "1Gi"}}
    assert spec["containers"][0]["image"] == "t:1"
    assert spec["volumes"] == [{"name": "scratch", "emptyDir": {"medium": "", "sizeLimit": "9Gi"}}]
    assert spec["nodeSelector"] == {"disk": "fast", "gpu": "no"}
    assert spec["tolerations"] == [{"key": "a"}, {"key": "b"}]
    assert spec["priorityClassName"] == "high"
    assert json.dumps(template) == before
    assert template_of(template, ClassSettings()) == template


def test_job_tells_its_queue_and_its_class() -> None:
    labels = made()["metadata"]["labels"]
    assert labels[QUEUE_LABEL] == "Interactive"
    assert CLASS_LABEL not in labels
    job = made(replace(TASK, queue=Queue.BATCH, class_name=MediaClass.LARGE_VIDEO))
    assert job["metadata"]["labels"][CLASS_LABEL] == "LargeVideo"
    assert job["spec"]["template"]["metadata"]["labels"][QUEUE_LABEL] == "Batch"
    for body, expected in ((job, Queue.BATCH), (made(), Queue.INTERACTIVE)):
        read = job_of(body)
        assert read is not None
        assert read.queue is expected
    # Made before there were queues.
    del job["metadata"]["labels"][QUEUE_LABEL]
    old = job_of(job)
    assert old is not None
    assert old.queue is Queue.INTERACTIVE


SCHEDULED = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:07Z"}


def pending(*conditions: dict[str, Any], **state: Any) -> dict[str, Any]:
    body = pod(**state)
    body["status"] |= {"phase": "Pending", "conditions": list(conditions)}
    return body


@pytest.mark.parametrize(
    ("why", "reason"),
    [
        ("ErrImagePull", Reason.IMAGE_PULL),
        ("ImagePullBackOff", Reason.IMAGE_PULL),
        ("InvalidImageName", Reason.IMAGE_PULL),
        ("CreateContainerConfigError", Reason.CANNOT_START),
        ("ContainerCreating", None),
    ],
)
def test_a_container_that_waits_says_why_unless_it_is_merely_on_its_way(why: str, reason: Reason | None) -> None:
    found = hindrance_of(pending(SCHEDULED, waiting={"reason": why, "message": "x" * 5000}))
    assert (found.reason if found else None) == reason
    if found:
        assert found.since.isoformat() == "2026-01-01T00:00:07+00:00"
        assert len(found.message) == 700


PULL = 'failed to pull and unpack image "r.example/t:1": read tcp 10.0.0.7:{}->192.0.2.1:443: connection reset'


def test_an_image_that_cannot_be_pulled_says_the_same_during_a_try_and_between_two() -> None:
    tried = {"reason": "ErrImagePull", "message": PULL.format(40312)}
    between = 'Back-off pulling image "r.example/t:1"'
    waits = {"reason": "ImagePullBackOff", "message": f"{between}: ErrImagePull: {PULL.format(51144)}"}
    (during, after, silent) = (
        hindrance_of(pending(SCHEDULED, waiting=waiting)) for waiting in (tried, waits, {**waits, "message": between})
    )
    assert during
    assert during.message == PULL.replace(":{}", ":")
    assert after == during
    # Older kubelets do not repeat the error.
    assert silent
    assert silent.message == ""


def test_a_pod_that_no_node_takes_says_so_and_one_that_is_held_back_on_purpose_does_not() -> None:
    words = "0/1 nodes are available: 1 Insufficient memory."
    condition = {**SCHEDULED, "status": "False", "reason": "Unschedulable", "message": words}
    found = hindrance_of(pending(condition))
    assert found is not None
    assert (found.reason, found.message) == (Reason.UNSCHEDULABLE, words)
    assert hindrance_of(pending({**condition, "reason": "SchedulingGated"})) is None
    assert hindrance_of(pod(running={})) is None


QUOTA = 'Error creating: pods "media-x" is forbidden: exceeded quota: none, requested: pods=1, limited: pods=0'


@pytest.mark.parametrize(
    ("why", "words", "reason"),
    [
        ("FailedCreate", QUOTA, Reason.QUOTA_EXCEEDED),
        ("FailedCreate", "Error creating: pods is forbidden: violates PodSecurity", Reason.PODS_REFUSED),
        ("FailedMount", 'MountVolume.SetUp failed for volume "ca": configmap "ca" not found', Reason.CANNOT_START),
        ("FailedScheduling", "0/1 nodes are available", None),
    ],
)
def test_events_say_why_there_is_nothing_to_run(why: str, words: str, reason: Reason | None) -> None:
    job = {"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}}
    older = {"reason": "FailedMount", "message": "before", "lastTimestamp": "2026-01-01T00:00:01Z"}
    event = {"reason": why, "message": words, "lastTimestamp": "2026-01-01T00:00:09Z"}
    found = hindrance_told(job, [event, older] if reason else [event])
    assert (found and (found.reason, found.message)) == (reason and (reason, words))


def test_words_that_differ_by_the_name_of_a_pod_are_the_same() -> None:
    job = {"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}}
    name = "media-" + "a2" * 13
    messages = [QUOTA.replace("media-x", f"{name}-{suffix}") for suffix in ("5s94b", "rpfl8")]
    told = [hindrance_told(job, [{"reason": "FailedCreate", "message": each}]) for each in messages]
    assert told[0] == told[1]


def test_a_job_that_runs_waits_for_nothing() -> None:
    found = hindrance_of(pending(SCHEDULED, waiting={"reason": "ErrImagePull"}))
    assert found is not None
    for status, waits in (({"active": 1, "ready": 0}, True), ({"active": 1, "ready": 1}, False)):
        body = {**made(), "status": status}
        job = job_of(body, waiting=found)
        assert job is not None
        assert (job.waiting is not None) == waits
