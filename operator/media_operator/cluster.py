"""The composition root of the cluster: the adapters of Kubernetes and S3, the loop, and Kopf to wake it."""

import asyncio
import random
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kopf
import structlog
import yaml

from media_operator import gauges, handlers, jobswatch, metrics, schedule
from media_operator.clustersweep import in_child
from media_operator.followers import Followers
from media_operator.gauges import JobsSeen
from media_operator.kubejobs import KubernetesJobs
from media_operator.loop import Loop, Urgency
from media_operator.manifest import CONTAINER
from media_operator.reconcile import Reconciler
from media_operator.settings import ClusterSettings
from media_operator.sweepsettings import SweepSettings
from media_operator.watched import Watched
from mediaasset.assets import AssetsError, Key
from mediaasset.environment import load
from mediaasset.kube import Api, Json, connect, translated
from mediaasset.kubeassets import KubernetesAssets
from mediaasset.names import ASSET_PLURAL, GROUP, PROFILE_PLURAL, VERSION
from mediaasset.s3 import StoreSettings, open_store
from mediaasset.task import Queue

#: How often to look whether the CustomResourceDefinitions are there, in seconds.
_CRD_PAUSE = 2.0

#: The pause before a watch that gave up begins anew, in seconds, give or take a half.
_WATCH_PAUSE = 2.0

#: How often those who are to end are told so, and how long they may take each time, in seconds.
_STOPS, _STOP_PAUSE = 2, 5.0

#: How long a list of the running Jobs is good for: thousands that wait must not each ask for one.
_JOBS_FRESH_SECONDS = 5.0
#: A reconcile waits for the API server and the store, and one that stops a Job for its pod to end.
_WORKERS = 32

_LOG = structlog.get_logger(__name__)


async def serve(settings: ClusterSettings, bucket: StoreSettings) -> None:
    """Work until SIGINT or SIGTERM.

    Raises OSError, ValueError and MediaError, with a text for people, for a setting that is wrong.
    """
    template = read_template(settings.pod_template)
    store = open_store(bucket)
    metrics.built(settings.version)
    sweeping = load(SweepSettings)
    api = await connect(metrics.requested)
    try:
        stopping = asyncio.Event()
        _take_signals(stopping)
        await _first_of(stopping.wait(), _look_for_kinds(api))
        if stopping.is_set():
            return
        # What it lists is read live: the watch is Kopf's.
        assets = KubernetesAssets(api, settings.namespaces)
        jobs = KubernetesJobs(
            api, settings.work_namespace, template, settings.classes, ttl_seconds=settings.job_ttl_seconds
        )

        # The reconciler wakes the loop, and the loop calls the reconciler: the knot is tied through `urgent`.
        def urgent(namespace: str, name: str) -> None:
            loop.wake(namespace, name, Urgency.MOVES)

        reconciler = Reconciler(
            assets, jobs, store, settings, lambda: datetime.now(UTC), wake=urgent, fresh_seconds=_JOBS_FRESH_SECONDS
        )

        # A bulk import of thousands must not keep an upload from even being looked at.
        def changed(key: Key, version: str, queue: Queue) -> None:
            if not reconciler.wrote(key, version):
                loop.wake(*key, Urgency.SOON if queue is Queue.INTERACTIVE else Urgency.LATER)

        watched = Watched(time.monotonic)
        counted = JobsSeen()

        def seen(body: Json, is_gone: bool) -> None:  # noqa: FBT001 - a callback
            jobs.seen(body, is_gone)
            counted.seen(body, is_gone)

        watches = jobswatch.informers(api, settings.work_namespace, reconciler, seen, settings.namespaces)

        async def unfinished() -> tuple[Key, ...]:
            await followers.check(await assets.profiles())
            return await assets.unfinished()

        loop = Loop(
            reconciler.reconcile,
            watched.checking(unfinished),
            workers=_WORKERS,
            resync_seconds=settings.resync_seconds,
        )
        followers = Followers(loop.wake)
        # Kopf would look the user's name up, and in a container there is none; peering is not used.
        identity: Any = "media-operator"
        await _first_of(
            stopping.wait(),
            loop.run(),
            gauges.follow(loop, reconciler.line, watched, counted),
            schedule.daily(sweeping, lambda: in_child(deletes=sweeping.sweep_deletes)),
            _watching(
                stopping,
                handlers.assets_registry(changed, watched, followers, settings, forget_profiles=assets.forget_profiles),
                settings=handlers.kopf_settings(),
                clusterwide=not settings.namespaces,
                namespaces=settings.namespaces,
                liveness_endpoint=f"http://0.0.0.0:{settings.port}/healthz",
                standalone=True,
                identity=identity,
            ),
            *(watch.run() for watch in watches),
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


class _All(frozenset[Any]):
    """Holds everything."""

    def __contains__(self, _: object) -> bool:
        return True


async def _watching(stopping: asyncio.Event, registry: kopf.OperatorRegistry, **options: Any) -> None:
    """Run a Kopf operator until it is cancelled, and another one when it gives up.

    It does so at whatever else than 410 the API server says on a watch, be it that its store elects a leader, and when
    the kind that it watches is deleted. What happens meanwhile is in the lists with which the next one begins.
    """
    while True:
        try:
            tasks = await kopf.spawn_tasks(registry=registry, **options)
            # In place of Kopf's own, which would end one of the two operators and leave the other.
            _take_signals(stopping)
            # It would take every other task of the process for one that it had left, and wait for it or cancel it.
            await kopf.run_tasks(tasks, ignored=_All())
        except Exception as error:  # noqa: BLE001 - a watch that ends for whatever reason must be followed by another
            _LOG.warning("A watch gave up and begins anew.", error=str(error) or type(error).__name__)
        await asyncio.sleep(_WATCH_PAUSE * random.uniform(0.5, 1.5))  # noqa: S311 - jitter is no secret


def _take_signals(stopping: asyncio.Event) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)


async def _first_of(*coroutines: Any) -> None:
    """Run all until the first ends, then cancel the others; raise what it raised."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        pending = {*tasks}
        # Kopf waits for requests of its own that nobody cancels: it is told once more, and then left behind.
        for _ in range(_STOPS):
            for task in pending:
                task.cancel()
            if pending:
                _, pending = await asyncio.wait(pending, timeout=_STOP_PAUSE)
    for task in done:
        task.result()


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
