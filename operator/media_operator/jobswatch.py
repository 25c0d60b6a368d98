"""What a watch tells of the Jobs of the work namespace and of their pods: each is a reason to look at an asset."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from media_operator.manifest import asset_of, finished, hindrance_of, is_over
from mediaasset.assets import Key
from mediaasset.informer import Informer
from mediaasset.kube import Api, Json, resource
from mediaasset.names import MANAGER, MANAGER_LABEL

_JOB_NAME_LABEL = "batch.kubernetes.io/job-name"
#: What stays known of an object, so that its asset is found when it is gone.
_KEPT = ("name", "labels", "annotations")

#: Told of an object, and whether it is gone.
Tell = Callable[[Json, bool], None]


class Telling:
    """Implements `Mirror`: tells of each object as it comes and goes, and of those that a new list misses."""

    def __init__(self, tell: Tell) -> None:
        """Take who is told."""
        self._tell = tell
        self._known: dict[str, Json] = {}

    async def replace(self, pages: AsyncIterator[Json]) -> str:
        """Tell of a whole list: what is not in it is gone."""
        version, listed = "", dict[str, Json]()
        async for page in pages:
            version = page["metadata"]["resourceVersion"]
            listed |= {item["metadata"]["name"]: item for item in page["items"]}
        for name in self._known.keys() - listed:
            self.drop(self._known[name])
        for item in listed.values():
            self.put(item)
        return version

    def put(self, item: Json) -> None:
        """Tell of an object that was added or changed."""
        metadata = item["metadata"]
        self._known[metadata["name"]] = {"metadata": {each: metadata[each] for each in _KEPT if each in metadata}}
        self._tell(item, False)  # noqa: FBT003 - a callback

    def drop(self, item: Json) -> None:
        """Tell of an object that is gone, or is none of those that are watched any more."""
        self._known.pop(item["metadata"]["name"], None)
        self._tell(item, True)  # noqa: FBT003 - a callback

    def advance(self, version: str) -> None:
        """Need not know."""


class Heard(Protocol):
    """Who is told of assets and the names of their Jobs."""

    def job_ended(self, key: Key, job_name: str) -> None:
        """Take note that a Job is over, or gone."""

    def pod_changed(self, key: Key, job_name: str) -> None:
        """Take note that a pod of a Job ended, is gone, or cannot begin."""


def informers(
    api: Api, work_namespace: str, heard: Heard, seen: Tell, namespaces: Sequence[str] = ()
) -> tuple[Informer, Informer]:
    """Return what watches Jobs and pods: the end of a pod is seen first, that of the Job is certain.

    `seen` is told of each of our Jobs. Those that work for assets in other than these namespaces are another
    operator's; without any, all are ours. What succeeds leaves what is watched, so that thousands of it are not read
    at a start.
    """

    def job(body: Json, is_gone: bool) -> None:  # noqa: FBT001 - a callback
        if asset := ours(body):
            seen(body, is_gone)
            if is_gone or finished(body):
                heard.job_ended(asset, body["metadata"]["name"])

    def pod(body: Json, is_gone: bool) -> None:  # noqa: FBT001 - a callback
        asset = ours(body)
        if asset and (is_gone or is_over(body) or hindrance_of(body)):
            heard.pod_changed(asset, (body["metadata"].get("labels") or {}).get(_JOB_NAME_LABEL, ""))

    def ours(body: Json) -> Key | None:
        asset = asset_of(body)
        return asset if asset and (not namespaces or asset[0] in namespaces) else None

    def informer(group_version: str, plural: str, tell: Tell, field_selector: str) -> Informer:
        selectors = {"labelSelector": f"{MANAGER_LABEL}={MANAGER}", "fieldSelector": field_selector}
        path = resource(group_version, plural, namespace=work_namespace)
        return Informer(api, path, Telling(tell), selectors=selectors)

    return (
        informer("batch/v1", "jobs", job, "status.successful=0"),
        informer("v1", "pods", pod, "status.phase!=Succeeded"),
    )
