"""The Job of an attempt as Kubernetes is told of it, and what it says of itself afterwards. Pure: dicts in and out."""

import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from datetime import datetime
from typing import Any

from media_operator.settings import ClassSettings
from mediaasset.assets import Key
from mediaasset.jobs import Hindrance, Job, JobPhase
from mediaasset.names import (
    ASSET_NAME_ANNOTATION,
    ASSET_NAMESPACE_ANNOTATION,
    ASSET_UID_LABEL,
    ATTEMPT_LABEL,
    CLASS_LABEL,
    INPUTS_HASH_ANNOTATION,
    MANAGER,
    MANAGER_LABEL,
    QUEUE_LABEL,
    whatsapp_secret,
)
from mediaasset.reasons import TABLE, Reason, Retry, from_exit_code
from mediaasset.task import (
    CPUS_VARIABLE,
    MEMORY_VARIABLE,
    POD_VARIABLE,
    TASK_VARIABLE,
    WHATSAPP_VARIABLE,
    Queue,
    Task,
)

Json = dict[str, Any]

#: The container whose exit code is one of the table.
CONTAINER = "transcoder"
#: The volume whose size is that of the class.
SCRATCH = "scratch"
#: How often a Job replaces a pod that failed for a reason of the kind `pod`.
BACKOFF_LIMIT = 2

#: The deadline of the Job, which counts from before the pod is scheduled, comes so much after that of its transcoder:
#: who is ended by the platform cannot say any more how far it was.
_START_SECONDS = 60

#: Why a container waits that is not merely on its way (ContainerCreating, PodInitializing): its image, or itself.
_IMAGE = {
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
}
_CONTAINER = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
#: Events of pods and Jobs that say why there is nothing to run yet: a volume, a network, a quota, a policy.
_EVENTS = {"FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox", "FailedCreate"}
#: What Kubernetes says is cut here, so that what to do about it still fits into a condition.
_MESSAGE_LENGTH = 700

#: What a kubelet puts before the error of the last pull while it waits for the next one, and the port of our end of a
#: connection that broke: without them it says the same of every try.
_BETWEEN_PULLS = re.compile(r'^Back-off pulling image "[^"]*"(: \w+(?=: ))?(: )?|(?<=:)\d+(?=->)')
_POD_NAME = re.compile(r'"(media-[a-z2-7]{26})-[a-z0-9]{5}"')

_TERMINATION_LOG = "/dev/termination-log"
_WHATSAPP_DIRECTORY = "/var/run/media-operator/whatsapp"
#: podFailurePolicy takes no more exit codes than these; the table has fewer.
_FINAL_CODES = sorted(
    rule.exit_code for rule in TABLE.values() if rule.exit_code is not None and rule.retry is not Retry.POD
)


def manifest(name: str, namespace: str, task: Task, template: Mapping[str, Any], *, ttl_seconds: int) -> Json:
    """Return the Job for a Task.

    template is the metadata and spec of a pod, with the container `transcoder`; what is said here goes first.
    """
    labels = {
        MANAGER_LABEL: MANAGER,
        ASSET_UID_LABEL: task.uid,
        ATTEMPT_LABEL: str(task.attempt),
        QUEUE_LABEL: task.queue.value,
        **({CLASS_LABEL: task.class_name.value} if task.class_name else {}),
    }
    annotations = {
        ASSET_NAMESPACE_ANNOTATION: task.namespace,
        ASSET_NAME_ANNOTATION: task.name,
        INPUTS_HASH_ANNOTATION: task.inputs_hash,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace, "labels": labels, "annotations": annotations},
        "spec": {
            "backoffLimit": BACKOFF_LIMIT,
            "activeDeadlineSeconds": task.deadline_seconds + _START_SECONDS,
            "ttlSecondsAfterFinished": ttl_seconds,
            # Never two pods of one Job at a time while both can be helped.
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": _failure_rules()},
            "template": _pod(task, template, labels, annotations),
        },
    }


def template_of(template: Mapping[str, Any], own: ClassSettings) -> Json:
    """Return what the pods of a class begin with: the template, with what the class says in its place.

    A node selector and tolerations are added to those of the template, all else replaces it.
    """
    made = deepcopy(dict(template))
    spec = made["spec"]
    container = next(each for each in spec["containers"] if each["name"] == CONTAINER)
    if own.resources is not None:
        container["resources"] = deepcopy(own.resources)
    if own.scratch_size_limit is not None:
        for volume in spec.get("volumes", []):
            if volume["name"] == SCRATCH:
                volume["emptyDir"] = {**volume["emptyDir"], "sizeLimit": own.scratch_size_limit}
    if own.priority_class_name:
        spec["priorityClassName"] = own.priority_class_name
    if own.node_selector:
        spec["nodeSelector"] = {**spec.get("nodeSelector", {}), **own.node_selector}
    if own.tolerations:
        spec["tolerations"] = [*spec.get("tolerations", []), *own.tolerations]
    return made


def _failure_rules() -> list[Json]:
    codes = {"containerName": CONTAINER, "operator": "In", "values": _FINAL_CODES}
    return [
        # An evicted or preempted pod did nothing wrong: it is replaced, and does not count.
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        # Another pod would fail as this one did: what follows is for the operator to decide.
        {"action": "FailJob", "onExitCodes": codes},
    ]


def _pod(task: Task, template: Mapping[str, Any], labels: Json, annotations: Json) -> Json:
    metadata = template.get("metadata") or {}
    spec = deepcopy(dict(template["spec"]))
    container = next(each for each in spec["containers"] if each["name"] == CONTAINER)
    container["env"] = [
        *container.get("env", []),
        {"name": TASK_VARIABLE, "value": task.to_json()},
        {"name": POD_VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "MEDIA_TERMINATION_LOG", "value": _TERMINATION_LOG},
        # What a container without limits gets is what the node can give. CPUs are rounded up to whole ones.
        _limit(CPUS_VARIABLE, "limits.cpu"),
        _limit(MEMORY_VARIABLE, "limits.memory"),
    ]
    if task.source.whatsapp:
        _add_account(task.source.whatsapp.account_name, spec, container)
    return {
        "metadata": {
            "labels": {**metadata.get("labels", {}), **labels},
            "annotations": {**metadata.get("annotations", {}), **annotations},
        },
        # podFailurePolicy asks for Never.
        "spec": {**spec, "restartPolicy": "Never"},
    }


def _limit(variable: str, resource: str) -> Json:
    reference = {"containerName": CONTAINER, "resource": resource, "divisor": "1"}
    return {"name": variable, "valueFrom": {"resourceFieldRef": reference}}


def _add_account(account: str, spec: Json, container: Json) -> None:
    """Mount the token of one WhatsApp account; which namespace may use it, the transcoder finds beside it."""
    secret = {
        "secretName": whatsapp_secret(account),
        # A pod that waits for a Secret says nothing to anybody: the transcoder says that it is missing.
        "optional": True,
        "items": [{"key": key, "path": key} for key in ("token", "namespace")],
        "defaultMode": 0o440,
    }
    mount = {"name": "whatsapp", "mountPath": f"{_WHATSAPP_DIRECTORY}/{account}", "readOnly": True}
    spec["volumes"] = [*spec.get("volumes", []), {"name": "whatsapp", "secret": secret}]
    container["volumeMounts"] = [*container.get("volumeMounts", []), mount]
    container["env"].append({"name": WHATSAPP_VARIABLE, "value": _WHATSAPP_DIRECTORY})


def asset_of(body: Mapping[str, Any]) -> Key | None:
    """Return (namespace, name) of the asset that a Job or a pod works for, None when it is none of ours."""
    annotations = body["metadata"].get("annotations") or {}
    namespace, name = annotations.get(ASSET_NAMESPACE_ANNOTATION), annotations.get(ASSET_NAME_ANNOTATION)
    return (namespace, name) if namespace and name else None


def is_over(pod: Mapping[str, Any]) -> bool:
    """Tell whether the transcoder of a pod has ended: it is seen there before the Job, 1 to 2 s later, says so."""
    return _ended(pod) is not None or pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}


def hindrance_of(pod: Mapping[str, Any]) -> Hindrance | None:
    """Return what keeps a pod from starting, as far as it says so itself."""
    status = pod.get("status", {})
    if status.get("phase") != "Pending":
        return None
    scheduled: Json = next((c for c in status.get("conditions") or [] if c["type"] == "PodScheduled"), {})
    since = scheduled.get("lastTransitionTime") or pod["metadata"]["creationTimestamp"]
    if scheduled.get("reason") == "Unschedulable":
        return _hindrance(Reason.UNSCHEDULABLE, scheduled.get("message"), since)
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    for state in (each.get("state", {}).get("waiting") or {} for each in containers):
        if state.get("reason") in _IMAGE | _CONTAINER:
            if state["reason"] in _IMAGE:
                return _hindrance(Reason.IMAGE_PULL, _BETWEEN_PULLS.sub("", state.get("message") or ""), since)
            return _hindrance(Reason.CANNOT_START, state.get("message") or state["reason"], since)
    return None


def hindrance_told(body: Mapping[str, Any], events: Iterable[Mapping[str, Any]]) -> Hindrance | None:
    """Return what keeps a pod from starting, or a Job from having one, by the events of it."""
    told = [event for event in events if event.get("reason") in _EVENTS]
    if not told:
        return None
    latest = max(told, key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")
    # The pod that could not be made has another name each time: the same words are to be the same text.
    message = _POD_NAME.sub(r'"\1"', latest.get("message", ""))
    reason = Reason.CANNOT_START
    if latest["reason"] == "FailedCreate":
        reason = Reason.QUOTA_EXCEEDED if "exceeded quota" in message else Reason.PODS_REFUSED
    return _hindrance(reason, message, body["metadata"]["creationTimestamp"])


def _hindrance(reason: Reason, message: str | None, since: str) -> Hindrance:
    return Hindrance(reason=reason, message=(message or "")[:_MESSAGE_LENGTH], since=datetime.fromisoformat(since))


def finished(job: Mapping[str, Any]) -> Json | None:
    """Return the condition by which a Job is over; interim ones (FailureTarget, SuccessCriteriaMet) do not count."""
    conditions = job.get("status", {}).get("conditions") or []
    return next((c for c in conditions if c["type"] in {"Complete", "Failed"} and c["status"] == "True"), None)


def job_of(
    body: Mapping[str, Any], pods: Iterable[Mapping[str, Any]] = (), waiting: Hindrance | None = None
) -> Job | None:
    """Read a Job, with its pods if it failed, or what keeps it from beginning; None when it is none of ours."""
    metadata, status, asset = body["metadata"], body.get("status", {}), asset_of(body)
    labels = metadata.get("labels") or {}
    if asset is None or not labels.get(ATTEMPT_LABEL, "").isdecimal():
        return None
    over = finished(body)
    phase = JobPhase.RUNNING if status.get("ready") or status.get("terminating") else JobPhase.PENDING
    if over is not None:
        phase = JobPhase.SUCCEEDED if over["type"] == "Complete" else JobPhase.FAILED
    return Job(
        name=metadata["name"],
        namespace=asset[0],
        uid=labels.get(ASSET_UID_LABEL, ""),
        attempt=int(labels[ATTEMPT_LABEL]),
        inputs_hash=metadata["annotations"].get(INPUTS_HASH_ANNOTATION, ""),
        phase=phase,
        reason=_reason(over or {}, pods) if phase is JobPhase.FAILED else None,
        waiting=waiting if phase is JobPhase.PENDING else None,
        finished_at=datetime.fromisoformat(over["lastTransitionTime"]) if over else None,
        # Of a version before there were queues, or after there is another one.
        queue=Queue.BATCH if labels.get(QUEUE_LABEL) == Queue.BATCH else Queue.INTERACTIVE,
    )


def _reason(over: Json, pods: Iterable[Mapping[str, Any]]) -> Reason:
    if over.get("reason") == Reason.DEADLINE_EXCEEDED:
        return Reason.DEADLINE_EXCEEDED
    # The last pod speaks for the Job: the ones before it were tried again.
    failed = sorted(
        (pod for pod in pods if pod.get("status", {}).get("phase") == "Failed"),
        key=lambda pod: pod["metadata"].get("creationTimestamp", ""),
    )
    return _reason_of_pod(failed[-1]) if failed else Reason.INTERRUPTED


def _reason_of_pod(pod: Mapping[str, Any]) -> Reason:
    ended = _ended(pod)
    status = pod["status"]
    if status.get("reason") == "Evicted" and "ephemeral" in status.get("message", ""):
        return Reason.DISK_FULL
    if ended is None:
        return Reason.INTERRUPTED
    reason = from_exit_code(ended["exitCode"])
    # With cgroup v1 the kubelet says so also when only a child was killed, and the parent told another reason of it.
    return Reason.OUT_OF_MEMORY if ended.get("reason") == "OOMKilled" and reason is Reason.INTERRUPTED else reason


def _ended(pod: Mapping[str, Any]) -> Json | None:
    statuses = pod.get("status", {}).get("containerStatuses") or []
    states: list[Json] = [each["state"] for each in statuses if each["name"] == CONTAINER]
    return states[0].get("terminated") if states else None
