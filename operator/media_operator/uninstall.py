"""Before an uninstall: stop the operator and take our finalizer off every asset.

Assets, objects and URLs stay. Without this, a namespace with assets in it could never be deleted once nobody is left
to let them go; a later installation adopts them, and holds them again.
"""

import asyncio
from http import HTTPStatus

import structlog

from media_operator.settings import ReleaseSettings
from mediaasset.kube import Api, Json, KubeError, connect, resource, translated
from mediaasset.names import API_VERSION, ASSET_PLURAL, FINALIZER

_LOOK_SECONDS = 1.0
_LOG = structlog.get_logger(__name__)


async def release(settings: ReleaseSettings) -> None:
    """Do it all. Raises OSError, with a text for people, when the API server cannot be reached or refuses."""
    api = await connect()
    try:
        with translated(OSError):
            if settings.deployment:
                await _stop(api, *settings.deployment.split("/", 1))
            released = 0
            for namespace in settings.namespaces or ("",):
                async for page in api.pages(resource(API_VERSION, ASSET_PLURAL, namespace=namespace)):
                    for asset in page["items"]:
                        released += await _release(api, asset)
            _LOG.info("Assets are no longer held; their media stay.", assets=released)
    finally:
        await api.close()


async def _stop(api: Api, namespace: str, name: str) -> None:
    """Scale a Deployment to none and wait until its last pod is gone; it would hold the assets again."""
    path = resource("apps/v1", "deployments", namespace=namespace, name=name)
    try:
        await api.call("PATCH", path, {"spec": {"replicas": 0}})
    except KubeError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        return
    labels = (await api.call("GET", path))["spec"]["selector"]["matchLabels"]
    selector = {"labelSelector": ",".join(f"{name}={value}" for name, value in labels.items())}
    pods = resource("v1", "pods", namespace=namespace)
    while (await api.call("GET", pods, query=selector))["items"]:  # noqa: ASYNC110 - it happens elsewhere
        await asyncio.sleep(_LOOK_SECONDS)
    _LOG.info("The operator has stopped.", deployment=f"{namespace}/{name}")


async def _release(api: Api, asset: Json) -> bool:
    metadata = asset["metadata"]
    if FINALIZER not in metadata.get("finalizers", ()):
        return False
    # The version guards the list against a finalizer that someone else changes meanwhile.
    left = [each for each in metadata["finalizers"] if each != FINALIZER]
    path = resource(API_VERSION, ASSET_PLURAL, namespace=metadata["namespace"], name=metadata["name"])
    change = {"metadata": {"finalizers": left, "resourceVersion": metadata["resourceVersion"]}}
    try:
        await api.call("PATCH", path, change)
    except KubeError as error:
        if error.status == HTTPStatus.CONFLICT:
            return await _release(api, await api.call("GET", path))
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        return False
    return True
