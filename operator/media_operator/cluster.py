"""The composition root of the cluster: the adapters of Kubernetes and S3, the loop, and Kopf to wake it."""

import asyncio
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kopf
import structlog
import yaml

from media_operator import handlers
from media_operator.kubejobs import KubernetesJobs
from media_operator.loop import Loop
from media_operator.manifest import CONTAINER
from media_operator.reconcile import Reconciler
from media_operator.settings import ClusterSettings
from media_operator.watched import Watched
from mediaasset.assets import AssetsError
from mediaasset.kube import Api, connect, translated
from mediaasset.kubeassets import KubernetesAssets
from mediaasset.names import ASSET_PLURAL, GROUP, PROFILE_PLURAL, VERSION
from mediaasset.s3 import StoreSettings, open_store

#: How often to look whether the CustomResourceDefinitions are there, in seconds.
_CRD_PAUSE = 2.0

#: How long a list of the running Jobs is good for: thousands that wait must not each ask for one.
_JOBS_FRESH_SECONDS = 1.0
#: A reconcile waits for the API server and the store, and one that stops a Job for its pod to end.
_WORKERS = 32

_LOG = structlog.get_logger(__name__)


async def serve(settings: ClusterSettings, bucket: StoreSettings) -> None:
    """Work until SIGINT or SIGTERM.

    Raises OSError, ValueError and MediaError, with a text for people, for a setting that is wrong.
    """
    template = read_template(settings.pod_template)
    store = open_store(bucket)
    api = await connect()
    try:
        if not await _wait_for_kinds(api):
            return
        # What it lists is read live: the watch is Kopf's.
        assets = KubernetesAssets(api, settings.namespaces)
        jobs = KubernetesJobs(api, settings.work_namespace, template, ttl_seconds=settings.job_ttl_seconds)

        # The reconciler wakes the loop, and the loop calls the reconciler: the knot is tied through `urgent`.
        def urgent(namespace: str, name: str) -> None:
            loop.wake(namespace, name, first=True)

        reconciler = Reconciler(
            assets, jobs, store, settings, lambda: datetime.now(UTC), wake=urgent, fresh_seconds=_JOBS_FRESH_SECONDS
        )
        watched = Watched(time.monotonic)
        loop = Loop(
            reconciler.reconcile,
            watched.checking(assets.unfinished),
            workers=_WORKERS,
            resync_seconds=settings.resync_seconds,
        )
        # Kopf would look the user's name up, and in a container there is none; peering is not used.
        identity: Any = "media-operator"
        await _first_of(
            loop.run(),
            kopf.operator(
                registry=handlers.assets_registry(loop.wake, watched, settings),
                settings=handlers.kopf_settings(),
                clusterwide=not settings.namespaces,
                namespaces=settings.namespaces,
                liveness_endpoint=f"http://0.0.0.0:{settings.port}/healthz",
                standalone=True,
                identity=identity,
            ),
            kopf.operator(
                registry=handlers.jobs_registry(urgent, settings.namespaces),
                settings=handlers.jobs_settings(),
                namespaces=[settings.work_namespace],
                standalone=True,
                identity=identity,
            ),
        )
    finally:
        await api.close()


def read_template(path: Path) -> dict[str, Any]:
    """Read the pods' metadata and spec. Raises OSError, and ValueError when it is none."""
    try:
        template = yaml.safe_load(path.read_text(encoding="utf-8"))
        containers = [container["name"] for container in template["spec"]["containers"]]
    except (yaml.YAMLError, TypeError, KeyError) as error:
        message = f"{path} holds no metadata and spec of a pod: {error!r}"
        raise ValueError(message) from error
    if containers != [CONTAINER]:
        message = f"{path} must have one container, {CONTAINER}, and has {containers}"
        raise ValueError(message)
    return dict(template)


async def _first_of(*coroutines: Any) -> None:
    """Run all until the first ends, then cancel the others; raise what it raised."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in done:
        task.result()


async def _wait_for_kinds(api: Api) -> bool:
    """Wait until the CustomResourceDefinitions are served; tell whether they are, for a signal ends the wait."""
    # Kopf takes the signals over once it runs.
    waiting = asyncio.ensure_future(_look_for_kinds(api))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, waiting.cancel)
    await asyncio.wait([waiting])
    if waiting.cancelled():
        return False
    waiting.result()
    return True


async def _look_for_kinds(api: Api) -> None:
    """Return once the kinds are there: an installation may create them after us."""
    wanted = {ASSET_PLURAL, PROFILE_PLURAL}
    while True:
        try:
            with translated(AssetsError):
                found = await api.call("GET", f"/apis/{GROUP}/{VERSION}")
            missing = wanted - {each["name"] for each in found["resources"]}
        except AssetsError as error:
            _LOG.warning("The kinds cannot be looked up; trying again.", group=GROUP, error=str(error))
        else:
            if not missing:
                return
            _LOG.warning("Waiting for CustomResourceDefinitions.", group=GROUP, missing=sorted(missing))
        await asyncio.sleep(_CRD_PAUSE)
