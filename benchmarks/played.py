"""What a benchmark with thousands of assets does and sees: it fills a cluster, and plays the transcoders in it."""

import asyncio
import itertools
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import psutil
from aiohttp import ClientError

from apiserver import kubectl
from controlplane import WORK
from media_operator.manifest import asset_of, finished
from mediaasset import keys
from mediaasset.assets import Key
from mediaasset.informer import Informer
from mediaasset.kube import Api, Json, KubeError, connect, resource
from mediaasset.media import Kind
from mediaasset.names import API_VERSION, ASSET_KIND, ASSET_PLURAL, FINALIZER
from mediaasset.s3 import StoreSettings, open_store
from mediaasset.spec import Visibility
from mediaasset.task import TASK_VARIABLE, RenditionResult, RenditionState, Result, SourceInfo, Task
from outside import Operator
from uploads import granted

JOBS = resource("batch/v1", "jobs", namespace=WORK)
ASSETS = resource(API_VERSION, ASSET_PLURAL)
#: Requests at once of what fills the cluster.
PARALLEL = 32
#: No phase may take longer, in seconds: what is lost would be waited for for ever.
_PATIENCE = 3600
_TOLD_SECONDS = 15
#: How often a request is sent that gets no answer: the machine may be busy for longer than one may take.
_TRIES = 5
#: An operator that used less of a CPU over so many seconds has nothing to do.
QUIET_SECONDS, _QUIET_SHARE = 3, 0.1


class JobsSeen:
    """Implements `Mirror` for Jobs: who began when, by time.monotonic, and how many ran at a time."""

    def __init__(self, play: Callable[[Json], None]) -> None:
        """Take what is called with each new Job of an asset."""
        self._play = play
        self.begun: dict[Key, dict[str, float]] = defaultdict(dict)
        self.bare: set[str] = set()
        self.active: set[str] = set()
        self.most_active = 0
        #: When each of the assets' Jobs said that it was over, and how long it took from its creation until then.
        self.over: dict[str, float] = {}
        #: When its status was written, all in all.
        self.updates: dict[str, list[float]] = defaultdict(list)
        self.seconds: dict[str, float] = {}

    async def replace(self, pages: AsyncIterator[Json]) -> str:
        """Take a whole list."""
        return await _taken(pages, self.put)

    def put(self, item: Json) -> None:
        """Take a Job; one that is no asset's is a bare one."""
        name, key, is_over = item["metadata"]["name"], asset_of(item), finished(item) is not None
        if key is None:
            if is_over:
                self.bare.add(name)
            return
        if name not in self.begun[key]:
            self.begun[key][name] = time.monotonic()
            self._play(item)
        else:
            self.updates[name].append(time.monotonic())
        if is_over:
            self.active.discard(name)
            self.over.setdefault(name, time.monotonic())
            self.seconds.setdefault(name, self.over[name] - self.begun[key][name])
        else:
            self.active.add(name)
            self.most_active = max(self.most_active, len(self.active))

    def drop(self, item: Json) -> None:
        """Take a Job that is gone."""
        self.active.discard(item["metadata"]["name"])

    def advance(self, version: str) -> None:
        """Need not know."""

    def waited(self, key: Key, since: float) -> float:
        """Return the seconds from a moment to the first Job of an asset."""
        return min(self.begun[key].values()) - since


class AssetsSeen:
    """Implements `Mirror` for assets: which became Ready when, by time.monotonic."""

    def __init__(self) -> None:
        """Begin empty."""
        self.ready: dict[Key, float] = {}

    async def replace(self, pages: AsyncIterator[Json]) -> str:
        """Take a whole list."""
        return await _taken(pages, self.put)

    def put(self, item: Json) -> None:
        """Take an asset."""
        key = (item["metadata"]["namespace"], item["metadata"]["name"])
        conditions = item.get("status", {}).get("conditions", ())
        if key not in self.ready and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
            self.ready[key] = time.monotonic()

    def drop(self, item: Json) -> None:
        """None goes."""

    def advance(self, version: str) -> None:
        """Need not know."""


async def _taken(pages: AsyncIterator[Json], put: Callable[[Json], None]) -> str:
    version = "0"
    async for page in pages:
        version = page["metadata"]["resourceVersion"]
        for item in page["items"]:
            put(item)
    return version


@dataclass
class Bench:
    """The cluster, and what this program does in it."""

    api: Api
    kubeconfig: Path
    operator: Operator
    jobs: JobsSeen
    assets: AssetsSeen
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    async def ask(self, method: str, path: str, body: Json) -> Json:
        """Write until there is an answer; what was written although its answer was lost is not written twice."""
        tries = 1
        while True:
            try:
                return await self.api.call(method, path, body)
            except KubeError as error:
                if tries == 1 or error.reason not in {"AlreadyExists", "Conflict"}:
                    raise
                return await self.api.call("GET", f"{path}/{body['metadata']['name']}" if method == "POST" else path)
            except (ClientError, OSError):
                if tries == _TRIES:
                    raise
            tries += 1
            await asyncio.sleep(1)

    async def make(
        self, count: int, *, rate: float = 0, namespace: str = "shop", queue: str = "Interactive"
    ) -> list[Key]:
        """Create assets as ingest does, so many a second, or as fast as the server takes them; return their keys."""
        free = asyncio.Semaphore(PARALLEL)
        made: list[Key] = []

        async def create(key: Key) -> None:
            spec = {"source": {"object": {"key": f"uploads/{key[0]}/{key[1]}/x", "sizeBytes": 1000}}, "type": "Image"}
            metadata = {"name": key[1], "namespace": key[0], "finalizers": [FINALIZER]}
            body = {"apiVersion": API_VERSION, "kind": ASSET_KIND, "metadata": metadata}
            async with free:
                path = resource(API_VERSION, ASSET_PLURAL, namespace=key[0])
                await self.ask("POST", path, {**body, "spec": {**spec, "queue": queue, "visibility": "Public"}})
            made.append(key)

        await paced(count, rate, lambda: create((namespace, f"a{next(self._numbers)}")))
        return made

    async def seed(self, count: int, like: Key) -> None:
        """Write private assets, which have no names, that are finished as another one is, while no operator runs."""
        path = resource(API_VERSION, ASSET_PLURAL, namespace=like[0])
        pattern = await self.api.call("GET", f"{path}/{like[1]}")
        spec = pattern["spec"] | {"visibility": Visibility.PRIVATE.value}
        free = asyncio.Semaphore(PARALLEL)

        async def write(name: str) -> None:
            metadata = {"name": name, "namespace": like[0], "finalizers": [FINALIZER]}
            body = {"apiVersion": API_VERSION, "kind": ASSET_KIND, "metadata": metadata, "spec": spec}
            async with free:
                made = await self.ask("POST", path, body)
                # The keys hold the uid.
                text = json.dumps(pattern["status"]).replace(pattern["metadata"]["uid"], made["metadata"]["uid"])
                status = json.loads(text.replace(f'"{keys.PUBLIC}/', f'"{keys.PRIVATE}/'))
                for each in (status, *status["renditions"]):
                    for public in ("url", "thumbnailURL", "stableURL", "namesHash"):
                        each.pop(public, None)
                await self.ask("PUT", f"{path}/{name}/status", {**made, "status": status})

        await paced(count, 0, lambda: write(f"s{next(self._numbers)}"))

    async def all_ready(self, wanted: list[Key]) -> None:
        """Wait until these assets are Ready."""
        await reached(lambda: all(key in self.assets.ready for key in wanted), self._say(wanted))

    def ready(self, wanted: list[Key]) -> int:
        """Return how many of these assets are Ready."""
        return sum(key in self.assets.ready for key in wanted)

    def _say(self, wanted: list[Key]) -> Callable[[], str]:
        return lambda: f"{self.ready(wanted)} of {len(wanted)} are Ready"

    def memory(self) -> float:
        """Return the resident memory of the operator in MiB."""
        return float(psutil.Process(self.operator.pid).memory_info().rss / 2**20)

    def cpu(self) -> float:
        """Return the CPU seconds that the operator has used."""
        times = psutil.Process(self.operator.pid).cpu_times()
        return float(times.user + times.system)

    def writes(self) -> Counter[str]:
        """Return the writes that the API server has granted."""
        return granted(kubectl(self.kubeconfig, "get", "--raw", "/metrics"))

    async def versions(self) -> dict[str, str]:
        """Return the version of each asset, by its uid."""
        items = [item["metadata"] async for page in self.api.pages(ASSETS) for item in page["items"]]
        return {each["uid"]: each["resourceVersion"] for each in items}

    async def quiet(self) -> None:
        """Wait until the operator has had next to nothing to do for some seconds."""
        before, since = self.cpu(), time.monotonic()
        while time.monotonic() - since < QUIET_SECONDS:
            await asyncio.sleep(0.5)
            if self.cpu() - before > QUIET_SECONDS * _QUIET_SHARE:
                before, since = self.cpu(), time.monotonic()


async def paced(count: int, rate: float, call: Callable[[], Awaitable[None]]) -> None:
    """Call so often, so many times a second or as fast as can be, and wait until all have ended."""
    started, tasks = time.monotonic(), []
    for number in range(count):
        if rate:
            await asyncio.sleep(max(started + number / rate - time.monotonic(), 0))
        tasks.append(asyncio.ensure_future(call()))
    await asyncio.gather(*tasks)


async def reached(check: Callable[[], bool], say: Callable[[], str]) -> None:
    """Wait until something is the case, and tell how far it is."""
    started = told = time.monotonic()
    while not check():
        await asyncio.sleep(0.05)
        if time.monotonic() - told > _TOLD_SECONDS:
            told = time.monotonic()
            print(f"  {say()} after {told - started:.0f} s", file=sys.stderr)
        if time.monotonic() - started > _PATIENCE:
            sys.exit(f"given up: {say()}")


@asynccontextmanager
async def opened(kubeconfig: Path, operator: Operator) -> AsyncIterator[Bench]:
    """Follow Jobs and assets, and write for each Job what its transcoder would: a Result that names its renditions."""
    api, store = await connect(), open_store(StoreSettings())

    async def write(task: Task) -> None:
        await store.create(keys.result(task.uid, task.attempt), result_of(task).to_json().encode())

    try:
        async with asyncio.TaskGroup() as group:

            def play(job: Json) -> None:
                group.create_task(write(task_of(job)))

            jobs, assets = JobsSeen(play), AssetsSeen()
            mirrors = ((JOBS, jobs), (ASSETS, assets))
            watches = [group.create_task(Informer(api, path, seen).run()) for path, seen in mirrors]
            try:
                yield Bench(api, kubeconfig, operator, jobs, assets)
            finally:
                for watch in watches:
                    watch.cancel()
    finally:
        await api.close()


def task_of(job: Json) -> Task:
    """Return what the transcoder of a Job is told."""
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return Task.from_json(next(each["value"] for each in container["env"] if each["name"] == TASK_VARIABLE))


def result_of(task: Task) -> Result:
    """Return what a transcoder would say of a picture."""
    digest = sha256(task.uid.encode()).hexdigest()
    made = tuple(
        RenditionResult(
            name=rendition.name,
            state=RenditionState.READY,
            mime_type="image/jpeg",
            size_bytes=1000,
            width=64,
            height=48,
            key=keys.rendition(task.prefix, rendition.name, digest, "jpg"),
            sha256=digest,
        )
        for rendition in task.renditions
        if rendition.kind is Kind.IMAGE
    )
    info = SourceInfo(type=Kind.IMAGE, mime_type="image/jpeg", size_bytes=1000, sha256=digest, width=64, height=48)
    return Result(uid=task.uid, attempt=task.attempt, inputs_hash=task.inputs_hash, source_info=info, renditions=made)
