"""Before an uninstall: stop who holds assets, and take our finalizer off every one.

Assets, objects and URLs stay, or only the latter two where the definitions are to go. Without this, a namespace with
assets in it could never be deleted once nobody is left to let them go; a later installation adopts them, and holds them
again.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import structlog

from media_operator.settings import ReleaseSettings
from mediaasset.kube import Api, Json, KubeError, connect, resource, translated
from mediaasset.names import API_VERSION, ASSET_PLURAL, FINALIZER

_LOOK_SECONDS = 1.0
#: Assets that are released at once.
_PARALLEL = 16
_LOG = structlog.get_logger(__name__)


async def release(settings: ReleaseSettings) -> None:
    """Do it all. Raises OSError, with a text for people, when the API server cannot be reached or refuses."""
    api = await connect()
    try:
        with translated(OSError):
            for deployment in settings.deployments:
                await _stop(api, *deployment.split("/", 1))
            # Without the definition there is no asset. Somebody deleted it, or the attempt before this one did.
            with _suppressed(HTTPStatus.NOT_FOUND):
                for namespace in settings.namespaces or ("",):
                    # Until nothing is left: what was being created meanwhile is found by the next pass.
                    while await _release_all(api, namespace):
                        pass
            for definition in settings.definitions:
                await _delete(api, definition)
    finally:
        await api.close()


async def _stop(api: Api, namespace: str, name: str) -> None:
    """Scale a Deployment to none and wait until its last pod is gone; it would hold assets again."""
    path = resource("apps/v1", "deployments", namespace=namespace, name=name)
    try:
        await api.call("PATCH", path, {"spec": {"replicas": 0}})
        labels = (await api.call("GET", path))["spec"]["selector"]["matchLabels"]
    except KubeError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        return
    # One that was evicted stays for people to look at, and does nothing.
    query = {
        "labelSelector": ",".join(f"{label}={value}" for label, value in labels.items()),
        "fieldSelector": "status.phase!=Failed,status.phase!=Succeeded",
    }
    pods = resource("v1", "pods", namespace=namespace)
    while (await api.call("GET", pods, query=query))["items"]:  # noqa: ASYNC110 - it happens elsewhere
        await asyncio.sleep(_LOOK_SECONDS)
    _LOG.info("Stopped.", deployment=f"{namespace}/{name}")


@contextmanager
def _suppressed(status: HTTPStatus) -> Iterator[None]:
    """Go on after the block where the API server answers so."""
    try:
        yield
    except KubeError as error:
        if error.status != status:
            raise


async def _delete(api: Api, definition: str) -> None:
    """Delete a definition; the API server then deletes all that is of its kind."""
    with _suppressed(HTTPStatus.NOT_FOUND):
        await api.call("DELETE", resource("apiextensions.k8s.io/v1", "customresourcedefinitions", name=definition))
        _LOG.info("Deleted, with all that is of its kind; media stay.", definition=definition)


async def _release_all(api: Api, namespace: str) -> int:
    """Take the finalizer off the assets of a namespace, or of all; return how many there were."""
    free = asyncio.Semaphore(_PARALLEL)
    released = 0

    async def one(asset: Json) -> bool:
        async with free:
            return await _release(api, asset)

    async for page in api.pages(resource(API_VERSION, ASSET_PLURAL, namespace=namespace)):
        held = [asset for asset in page["items"] if FINALIZER in asset["metadata"].get("finalizers", ())]
        released += sum(await asyncio.gather(*map(one, held)))
    if released:
        _LOG.info("Assets are no longer held; their media stay.", namespace=namespace or "all", assets=released)
    return released


async def _release(api: Api, asset: Json) -> bool:
    metadata = asset["metadata"]
    if FINALIZER not in metadata.get("finalizers", ()):
        return False
    name = f"{metadata['namespace']}/{metadata['name']}"
    if "deletionTimestamp" in metadata:
        _LOG.warning("An asset was being deleted: it goes, and its media stay.", asset=name, uid=metadata["uid"])
    # The version guards against a finalizer that someone else changes meanwhile.
    left = [each for each in metadata["finalizers"] if each != FINALIZER]
    path = resource(API_VERSION, ASSET_PLURAL, namespace=metadata["namespace"], name=metadata["name"])
    change = {"metadata": {"finalizers": left, "resourceVersion": metadata["resourceVersion"]}}
    try:
        await api.call("PATCH", path, change)
    except KubeError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return False
        if error.status != HTTPStatus.CONFLICT:
            raise
        # The next pass reads it anew.
    return True
