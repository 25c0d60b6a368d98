"""Plays the node of a cluster without nodes: takes the pods of Jobs, does their work, and says how it ended.

The Jobs are real, and so are the objects: a Result lies in the store before its pod ends, as a transcoder leaves it.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from botocore.exceptions import ClientError

from kubeclient import Json, KubeClient
from mediaasset import keys
from mediaasset.media import Kind
from mediaasset.names import MANAGER, MANAGER_LABEL
from mediaasset.reasons import TABLE, Reason
from mediaasset.task import Failure, RenditionResult, RenditionState, Result, SourceInfo, Task
from s3server import S3Server

#: Does the work of a pod, and returns its exit code; None while it still works.
Work = Callable[[Task, str], int | None]
_LOOK_SECONDS = 0.1


@dataclass
class Bucket:
    """A place in a bucket."""

    server: S3Server
    bucket: str
    prefix: str
    client: Any = field(init=False)

    def __post_init__(self) -> None:
        self.client = self.server.client()

    def put(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}", Body=body)

    def create(self, key: str, body: bytes) -> None:
        """Write an object unless it exists."""
        try:
            self.client.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}", Body=body, IfNoneMatch="*")
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 412:
                raise

    def read(self, key: str) -> bytes | None:
        try:
            body: bytes = self.client.get_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}")["Body"].read()
        except self.client.exceptions.NoSuchKey:
            return None
        return body

    def keys(self, prefix: str = "") -> list[str]:
        """Return the keys below a prefix."""
        whole = f"{self.prefix}/{prefix}"
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=whole)
        return sorted(
            item["Key"].removeprefix(f"{self.prefix}/") for page in pages for item in page.get("Contents", ())
        )

    def environment(self, endpoint: str | None = None) -> dict[str, str]:
        """Return the variables by which our programs find it, perhaps at another address."""
        told = self.server.environment(self.bucket, prefix=self.prefix)
        return told | {"AWS_ENDPOINT": endpoint or told["AWS_ENDPOINT"]}


class Kubelet:
    """Runs the pods of a work namespace from a thread of its own; `work` may be exchanged at any time."""

    def __init__(self, kube: KubeClient, namespace: str, bucket: Bucket) -> None:
        self._kube, self._pods = kube, f"/api/v1/namespaces/{namespace}/pods"
        self._bucket = bucket
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._error: BaseException | None = None
        self.work: Work = self.render
        #: No node takes a pod: they stay Pending.
        self.away = False
        #: (asset, attempt, Job) of every pod that ever was.
        self.seen: set[tuple[str, int, str]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        assert self._error is None, repr(self._error)

    def _run(self) -> None:
        try:
            while not self._stop.wait(_LOOK_SECONDS):
                for pod in [] if self.away else self._kube.list(self._pods, f"{MANAGER_LABEL}={MANAGER}"):
                    self._look_after(pod)
        except BaseException as error:  # noqa: BLE001 - it belongs to the test, which asks for it at the end
            self._error = error

    def _look_after(self, pod: Json) -> None:
        (container,) = pod["spec"]["containers"]
        task = Task.from_json(next(each["value"] for each in container["env"] if each["name"] == "MEDIA_TASK"))
        metadata = pod["metadata"]
        self.seen.add((task.uid, task.attempt, metadata["labels"]["batch.kubernetes.io/job-name"]))
        phase = pod.get("status", {}).get("phase")
        if phase in {"Succeeded", "Failed"} or metadata.get("deletionTimestamp"):
            return
        code = self.work(task, metadata["name"])
        if code is None:
            if phase != "Running":
                self._say(metadata["name"], {"phase": "Running"})
            return
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ended = {"exitCode": code, "startedAt": now, "finishedAt": now}
        status = {
            "name": "transcoder",
            "image": "",
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "state": {"terminated": ended},
        }
        self._say(metadata["name"], {"phase": "Failed" if code else "Succeeded", "containerStatuses": [status]})

    def _say(self, pod: str, status: Json) -> None:
        # A pod may go while it is being looked after.
        self._kube.call("PATCH", f"{self._pods}/{pod}/status", {"status": status}, accepted={404, 409})

    # What pods do

    def render(self, task: Task, pod: str) -> int:
        """Publish renditions whose bytes are what was asked for, and the Result."""
        source = self._bucket.read(task.source.key or "")
        if source is None:
            return self.fail(Reason.SOURCE_NOT_FOUND)(task, pod)
        made = [
            self._rendition(task, each.name, repr(each).encode()) for each in task.renditions if each.kind == "Image"
        ]
        digest = hashlib.sha256(source).hexdigest()
        info = SourceInfo(type=Kind.IMAGE, mime_type="image/jpeg", size_bytes=len(source), sha256=digest)
        result = Result(
            uid=task.uid,
            attempt=task.attempt,
            inputs_hash=task.inputs_hash,
            source_info=info,
            renditions=tuple(made),
        )
        self._bucket.create(keys.result(task.uid, task.attempt), result.to_json().encode())
        return 0

    def _rendition(self, task: Task, name: str, body: bytes) -> RenditionResult:
        digest = hashlib.sha256(body).hexdigest()
        key = keys.rendition(task.prefix, name, digest, "jpg")
        self._bucket.put(key, body)
        return RenditionResult(
            name=name,
            state=RenditionState.READY,
            mime_type="image/jpeg",
            size_bytes=len(body),
            width=64,
            height=48,
            key=key,
            sha256=digest,
        )

    def fail(self, reason: Reason) -> Callable[[Task, str], int]:
        """Return the work of a pod that fails for a reason."""

        def work(task: Task, pod: str) -> int:
            failure = Failure(
                uid=task.uid, attempt=task.attempt, inputs_hash=task.inputs_hash, reason=reason, message=f"{reason}."
            )
            self._bucket.create(keys.failure(task.uid, task.attempt, pod), failure.to_json().encode())
            code = TABLE[reason].exit_code
            assert code
            return code

        return work

    def once(self, work: Work) -> Work:
        """Return what does this work for the next pod, and renders for all others."""
        pods: list[str] = []

        def first(task: Task, pod: str) -> int | None:
            pods.append(pod)
            return (work if pod == pods[0] else self.render)(task, pod)

        return first

    def transcode(self, task: Task, pod: str) -> int:
        """Run the transcoder."""
        with tempfile.TemporaryDirectory() as scratch:
            environment = {
                **self._bucket.environment(),
                "PATH": os.environ["PATH"],
                "TMPDIR": scratch,
                "MEDIA_TASK": task.to_json(),
                "MEDIA_POD_NAME": pod,
                "MEDIA_TERMINATION_LOG": str(Path(scratch) / "termination"),
            }
            command = [sys.executable, "-P", "-m", "media_transcoder"]
            return subprocess.run(command, env=environment, cwd=scratch, capture_output=True, check=False).returncode

    @staticmethod
    def waiting(_task: Task, _pod: str) -> None:
        """Go on working."""
