"""The transcoders of a cluster: batch/v1 Jobs in the work namespace."""

import asyncio
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from media_operator.manifest import Json, finished, job_of, manifest
from mediaasset.jobs import Job, JobsError, NameTakenError
from mediaasset.kube import Api, KubeError, resource, translated
from mediaasset.names import ASSET_UID_LABEL, INPUTS_HASH_ANNOTATION, MANAGER, MANAGER_LABEL
from mediaasset.task import Task

#: How long `stop` waits for the pods of a Job: twice the 30 s that Kubernetes gives a pod to end.
STOP_SECONDS = 60.0
_LOOK_SECONDS = 0.2


class KubernetesJobs:
    """Implements the port `Jobs`."""

    def __init__(self, api: Api, namespace: str, template: Mapping[str, Any], *, ttl_seconds: int = 3600) -> None:
        """Take the API, the work namespace, and the metadata and spec that every pod begins with."""
        self._api, self._namespace, self._template, self._ttl_seconds = api, namespace, template, ttl_seconds

    async def create(self, name: str, task: Task) -> None:
        """Create a Job, or accept the one that is there."""
        body = manifest(name, self._namespace, task, self._template, ttl_seconds=self._ttl_seconds)
        with translated(JobsError):
            try:
                await self._api.call("POST", self._path(), body)
            except KubeError as error:
                if error.reason != "AlreadyExists":
                    raise
                await self._accept(name, task)

    async def of_asset(self, uid: str) -> tuple[Job, ...]:
        """Return the Jobs of an asset."""
        selector = f"{MANAGER_LABEL}={MANAGER},{ASSET_UID_LABEL}={uid}"
        with translated(JobsError):
            bodies = await self._list(selector)
            # Only a failure needs to be explained.
            pods = await self._list(selector, "v1", "pods") if any(map(_has_failed, bodies)) else []
        return _jobs(bodies, pods)

    async def active(self) -> tuple[Job, ...]:
        """Return the Jobs that are not finished."""
        with translated(JobsError):
            # The server leaves out those that succeeded, which are most of what is there.
            bodies = await self._list(f"{MANAGER_LABEL}={MANAGER}", fieldSelector="status.successful=0")
        return _jobs(body for body in bodies if finished(body) is None)

    async def stop(self, uid: str, name: str) -> None:
        """Delete a Job and wait until its pods are gone; JobsError when they do not go."""
        with translated(JobsError):
            try:
                found = await self._api.call("GET", self._path(name))
                if (found["metadata"].get("labels") or {}).get(ASSET_UID_LABEL) != uid:
                    return
                # Foreground: the Job stays until its last pod is gone.
                precondition = {"uid": found["metadata"]["uid"]}
                options = {"propagationPolicy": "Foreground", "preconditions": precondition}
                await self._api.call("DELETE", self._path(name), options)
                async with asyncio.timeout(STOP_SECONDS):
                    while await self._uid_of(name) == precondition["uid"]:  # noqa: ASYNC110 - it happens elsewhere
                        await asyncio.sleep(_LOOK_SECONDS)
            except KubeError as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise

    async def _accept(self, name: str, task: Task) -> None:
        """Take a Job that exists for ours if it is. Raises NameTakenError."""
        metadata = (await self._api.call("GET", self._path(name)))["metadata"]
        uid = (metadata.get("labels") or {}).get(ASSET_UID_LABEL)
        inputs_hash = (metadata.get("annotations") or {}).get(INPUTS_HASH_ANNOTATION)
        if (uid, inputs_hash) != (task.uid, task.inputs_hash):
            message = f"the Job {name} works on something else"
            raise NameTakenError(message)
        if metadata.get("deletionTimestamp"):
            message = f"the Job {name} is being deleted"
            raise JobsError(message)

    async def _list(
        self, selector: str, group_version: str = "batch/v1", plural: str = "jobs", **query: str
    ) -> list[Json]:
        path = resource(group_version, plural, namespace=self._namespace)
        pages = self._api.pages(path, {"labelSelector": selector, **query})
        return [item async for page in pages for item in page["items"]]

    async def _uid_of(self, name: str) -> str:
        uid: str = (await self._api.call("GET", self._path(name)))["metadata"]["uid"]
        return uid

    def _path(self, name: str = "") -> str:
        return resource("batch/v1", "jobs", namespace=self._namespace, name=name)


def _has_failed(body: Json) -> bool:
    over = finished(body)
    return over is not None and over["type"] == "Failed"


def _jobs(bodies: Iterable[Json], pods: Iterable[Json] = ()) -> tuple[Job, ...]:
    by_job: dict[str, list[Json]] = {}
    for pod in pods:
        by_job.setdefault(pod["metadata"].get("labels", {}).get("batch.kubernetes.io/job-name", ""), []).append(pod)
    found = (job_of(body, by_job.get(body["metadata"]["name"], ())) for body in bodies)
    return tuple(sorted((job for job in found if job is not None), key=lambda job: (job.attempt, job.name)))
