"""The transcoders of a cluster: batch/v1 Jobs in the work namespace."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from media_operator.manifest import Json, finished, hindrance_of, hindrance_told, job_of, manifest, template_of
from media_operator.settings import ClassSettings
from mediaasset.jobs import Hindrance, Job, JobsError, NameTakenError
from mediaasset.kube import Api, KubeError, resource, translated
from mediaasset.names import ASSET_UID_LABEL, INPUTS_HASH_ANNOTATION, MANAGER, MANAGER_LABEL
from mediaasset.task import MediaClass, Task

#: How long `stop` waits for the pods of a Job: twice the 30 s that Kubernetes gives a pod to end.
STOP_SECONDS = 60.0
_LOOK_SECONDS = 0.2
_NOT_SUCCEEDED = "status.successful=0"
#: How old a Job is before anybody asks why it has no pod that runs, in seconds: most are done by then.
_SLOW_SECONDS = 5.0
_NOTHING: Mapping[str, Hindrance | None] = MappingProxyType({})


class KubernetesJobs:
    """Implements the port `Jobs`.

    It keeps the names of the Jobs that have not succeeded, and reads those of an asset live: the server would look
    through all Jobs of the namespace for them. A name that is kept for nothing costs one request; one that is missing
    is that of a Job which somebody else made a moment ago, and is met when a Job of that name is to be created.
    """

    def __init__(
        self,
        api: Api,
        namespace: str,
        template: Mapping[str, Any],
        classes: Mapping[MediaClass, ClassSettings] | None = None,
        *,
        ttl_seconds: int = 3600,
    ) -> None:
        """Take the API, the work namespace, the metadata and spec that every pod begins with, and its classes."""
        self._api, self._namespace, self._template, self._ttl_seconds = api, namespace, template, ttl_seconds
        self._templates = {name: template_of(template, own) for name, own in (classes or {}).items()}
        self._names: dict[str, tuple[str, ...]] = {}
        self._is_listed = False
        self._listing = asyncio.Lock()

    def seen(self, body: Mapping[str, Any], is_gone: bool = False) -> None:  # noqa: FBT001, FBT002 - a callback
        """Take note of a Job that a watch tells of."""
        uid, name = (body["metadata"].get("labels") or {}).get(ASSET_UID_LABEL, ""), body["metadata"]["name"]
        if is_gone:
            self._forget(uid, name)
        else:
            self._know(uid, name)

    async def create(self, name: str, task: Task) -> None:
        """Create a Job, or accept the one that is there."""
        template = self._template if task.class_name is None else self._templates.get(task.class_name, self._template)
        body = manifest(name, self._namespace, task, template, ttl_seconds=self._ttl_seconds)
        # Whether or not an answer comes.
        self._know(task.uid, name)
        with translated(JobsError):
            try:
                await self._api.call("POST", self._path(), body)
            except KubeError as error:
                if error.reason != "AlreadyExists":
                    raise
                await self._accept(name, task)

    async def of_asset(self, uid: str, named: str | None = None) -> tuple[Job, ...]:
        """Return the Jobs of an asset."""
        selector = f"{MANAGER_LABEL}={MANAGER},{ASSET_UID_LABEL}={uid}"
        with translated(JobsError):
            if named is None:
                bodies = await self._list(selector)
            else:
                await self._list_once()
                names = {*self._names.get(uid, ()), named} - {""}
                bodies = [body for name in names if (body := await self._find(uid, name)) is not None]
            # Only a failure, and a wait that is longer than usual, need to be explained.
            pods = await self._list(selector, "v1", "pods") if any(map(_is_odd, bodies)) else []
            waiting = {_name(body): await self._hindrance(body, pods) for body in bodies if _is_slow(body)}
        return _jobs(bodies, pods, waiting)

    async def active(self) -> tuple[Job, ...]:
        """Return the Jobs that are not finished."""
        with translated(JobsError):
            # The server leaves out those that succeeded, which are most of what is there.
            bodies = await self._list(f"{MANAGER_LABEL}={MANAGER}", fieldSelector=_NOT_SUCCEEDED)
        return _jobs(body for body in bodies if finished(body) is None)

    async def stop(self, uid: str, name: str) -> None:
        """Delete a Job and wait until its pods are gone; JobsError when they do not go."""
        with translated(JobsError):
            try:
                found = await self._api.call("GET", self._path(name))
                if (found["metadata"].get("labels") or {}).get(ASSET_UID_LABEL) != uid:
                    return
                since = found["metadata"].get("deletionTimestamp")
                if since and _age(since) > STOP_SECONDS:
                    # A worker that waited once more would only be missing elsewhere: their node is gone, most often.
                    message = f"the pods of the Job {name} do not end"
                    raise JobsError(message)
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

    async def _hindrance(self, job: Json, pods: Iterable[Json]) -> Hindrance | None:
        """Return what keeps a Job from beginning: its pod says it, or the events of the pod, or those of the Job."""
        own = [pod for pod in _of_job(job, pods) if pod["status"].get("phase") in {"Pending", "Running"}]
        if any(pod["status"]["phase"] == "Running" for pod in own):
            return None
        found = next((told for pod in own if (told := hindrance_of(pod))), None)
        subject = own[0] if own else job
        if found is not None:
            return found
        of = f"involvedObject.uid={subject['metadata']['uid']},type=Warning"
        return hindrance_told(subject, await self._list("", "v1", "events", fieldSelector=of))

    async def _find(self, uid: str, name: str) -> Json | None:
        """Return a Job of an asset, read live; None when there is none of this name."""
        try:
            body = await self._api.call("GET", self._path(name))
        except KubeError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            self._forget(uid, name)
            return None
        return body if (body["metadata"].get("labels") or {}).get(ASSET_UID_LABEL) == uid else None

    async def _list_once(self) -> None:
        """Learn the names of the Jobs that were there before us."""
        if self._is_listed:
            return
        async with self._listing:
            if not self._is_listed:
                for body in await self._list(f"{MANAGER_LABEL}={MANAGER}", fieldSelector=_NOT_SUCCEEDED):
                    self.seen(body)
                self._is_listed = True

    def _know(self, uid: str, name: str) -> None:
        names = self._names.get(uid, ())
        if name not in names:
            self._names[uid] = (*names, name)

    def _forget(self, uid: str, name: str) -> None:
        left = tuple(each for each in self._names.get(uid, ()) if each != name)
        if left:
            self._names[uid] = left
        else:
            self._names.pop(uid, None)

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


def _is_odd(body: Json) -> bool:
    over = finished(body)
    return _is_slow(body) if over is None else over["type"] == "Failed"


def _is_slow(body: Json) -> bool:
    """Tell whether a Job should have a pod that runs by now, and has none."""
    if finished(body) or body.get("status", {}).get("ready"):
        return False
    return _age(body["metadata"]["creationTimestamp"]) > _SLOW_SECONDS


def _age(since: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds()


def _name(body: Json) -> str:
    name: str = body["metadata"]["name"]
    return name


def _of_job(body: Json, pods: Iterable[Json]) -> list[Json]:
    label = "batch.kubernetes.io/job-name"
    return [pod for pod in pods if (pod["metadata"].get("labels") or {}).get(label) == _name(body)]


def _jobs(
    bodies: Iterable[Json], pods: Sequence[Json] = (), waiting: Mapping[str, Hindrance | None] = _NOTHING
) -> tuple[Job, ...]:
    found = (job_of(body, _of_job(body, pods), waiting.get(_name(body))) for body in bodies)
    return tuple(sorted((job for job in found if job is not None), key=lambda job: (job.attempt, job.name)))
