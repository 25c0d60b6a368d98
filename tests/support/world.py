"""A world for the reconcile: assets in SQLite, objects in memory, pods that the test plays, and death at any write."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from obstore.store import MemoryStore

from making import NOW, make_result
from media_operator.reconcile import Reconciler
from media_operator.settings import Settings
from media_standalone.assets import SqliteAssets
from media_standalone.database import Database
from media_standalone.directory import Signer
from mediaasset import keys
from mediaasset.assets import NotFoundError
from mediaasset.jobs import Job, JobPhase, NameTakenError
from mediaasset.names import REPROCESS_ANNOTATION
from mediaasset.objects import ObjectStore
from mediaasset.reasons import Reason
from mediaasset.spec import MediaAsset, MediaProfile
from mediaasset.task import Task

SETTINGS = Settings.model_validate({"public_base_url": "https://media.example.org", "max_active_jobs": 2})
WRITES = {"create", "write_status", "annotate", "hold", "delete", "release", "stop", "copy"}


class DeathError(BaseException):
    """The operator is gone at this very point."""


@dataclass
class Mortal:
    """Counts down the writes of the operator and kills it before or after one of them."""

    writes_left: int | None = None
    after: bool = False

    def wrap(self, port: Any) -> Any:
        """Return the port as the operator sees it."""
        return _Watched(port, self)

    async def pass_through(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Perform a write, unless this is the one at which the operator dies."""
        if self.writes_left is None:
            return await call()
        self.writes_left -= 1
        if self.writes_left > 0:
            return await call()
        if self.after:
            await call()
        raise DeathError


class _Watched:
    def __init__(self, port: Any, mortal: Mortal) -> None:
        self._port, self._mortal = port, mortal

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if name not in WRITES:
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self._mortal.pass_through(lambda: method(*args, **kwargs))

        return call


@dataclass
class PlayedJobs:
    """Jobs whose pods do what the test says. It remembers every Job ever made."""

    present: dict[str, tuple[Job, Task]] = field(default_factory=dict)
    made: list[tuple[str, Task]] = field(default_factory=list)

    async def create(self, name: str, task: Task) -> None:
        """See the port."""
        if name in self.present:
            job = self.present[name][0]
            if (job.uid, job.inputs_hash) != (task.uid, task.inputs_hash):
                raise NameTakenError(name)
            return
        self.made.append((name, task))
        job = Job(
            name=name,
            namespace=task.namespace,
            uid=task.uid,
            attempt=task.attempt,
            inputs_hash=task.inputs_hash,
            phase=JobPhase.RUNNING,
        )
        self.present[name] = (job, task)

    async def of_asset(self, uid: str) -> tuple[Job, ...]:
        """See the port."""
        return tuple(job for job, _ in self.present.values() if job.uid == uid)

    async def active(self) -> tuple[Job, ...]:
        """See the port."""
        return tuple(job for job, _ in self.present.values() if job.is_active)

    async def stop(self, uid: str, name: str) -> None:
        """See the port."""
        if name in self.present and self.present[name][0].uid == uid:
            del self.present[name]

    def running(self) -> Iterator[tuple[Job, Task]]:
        """Yield what runs, in order of age."""
        yield from [pair for pair in self.present.values() if pair[0].is_active]


class World:
    """Assets, Jobs and objects that outlive the operator, and the operator of the moment."""

    def __init__(self, database: Database, profile: MediaProfile) -> None:
        self.now: datetime = NOW
        self.mortal = Mortal()
        self.woken: list[tuple[str, ...]] = []
        self.jobs = PlayedJobs()
        self.assets = SqliteAssets(database, lambda *_: None, {"": profile, "web": profile}, now=lambda: self.now)
        self.store = ObjectStore(MemoryStore(), Signer(b"k" * 32, "http://localhost"))
        self.restart()

    def restart(self) -> None:
        """Begin a new life of the operator, which remembers nothing."""
        self.mortal.writes_left = None
        wrapped = [self.mortal.wrap(port) for port in (self.assets, self.jobs, self.store)]
        assets, jobs, store = wrapped
        self.operator = Reconciler(
            assets, jobs, store, SETTINGS, lambda: self.now, wake=lambda *key: self.woken.append(key)
        )

    async def add(self, asset: MediaAsset) -> MediaAsset:
        """Upload and create."""
        source = asset.spec.source.object
        if source is not None:
            await self.store.create(source.key, b"bytes")
        return await self.assets.create(asset)

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """Reconcile once; a death begins the next life."""
        try:
            return await self.operator.reconcile(namespace, name)
        except DeathError:
            self.restart()
            return 0.0

    async def play(self, job: Job, task: Task, reason: Reason | None) -> None:
        """Let the pod of a Job end: with its objects and Result, or for a reason."""
        if reason is None:
            asset = await self.assets.get(task.namespace, task.name)
            is_public = task.prefix.startswith("media/")
            result = make_result(asset, task.attempt, task.inputs_hash, public=is_public, tree=True)
            for rendition in result.renditions:
                await self.store.create(rendition.key or "", b"0123456789")
                tree = keys.tree_of(rendition.key or "", task.prefix)
                if tree:
                    await self.store.create(f"{tree}sprite.jpg", b"0123456789")
            await self.store.create(keys.result(task.uid, task.attempt), result.to_json().encode())
        phase = JobPhase.SUCCEEDED if reason is None else JobPhase.FAILED
        if job.name in self.jobs.present:
            self.jobs.present[job.name] = (replace(job, phase=phase, reason=reason, finished_at=self.now), task)

    async def settle(self, known: list[tuple[str, str]], *, rounds: int = 60) -> None:
        """Run everything to its end with pods that succeed; fails when it does not come to rest in bounded rounds."""
        self.mortal.writes_left = None
        for _ in range(rounds):
            before = await self.picture()
            for job, task in list(self.jobs.running()):
                await self.play(job, task, None)
            for namespace, name in known:
                await self.reconcile(namespace, name)
            if await self.picture() == before and not list(self.jobs.running()):
                waiting = [a for a in await self._all(known) if a.status.retry_time]
                if not waiting:
                    return
            self.now += timedelta(minutes=10)
        message = f"still moving: {await self.picture()}"
        raise AssertionError(message)

    async def picture(self) -> object:
        """Return all that lasts, without times."""
        assets = await self._all([*await self.assets.everything()])
        states = sorted((a.key, str(a.status.conditions), a.status.attempt, a.metadata.generation) for a in assets)
        return states, sorted(self.jobs.present), await self.objects()

    async def objects(self) -> list[str]:
        """Return the keys of all objects."""
        return sorted([item.key async for item in self.store.list("")])

    async def touch(self, namespace: str, name: str, value: str) -> None:
        """Ask for reprocessing."""
        with suppress(NotFoundError):
            await self.assets.annotate(namespace, name, {REPROCESS_ANNOTATION: value})

    async def edit(self, namespace: str, name: str, **changes: object) -> None:
        """Change the spec of an asset that is there."""
        with suppress(NotFoundError):
            await self.assets.change(namespace, name, changes)

    async def _all(self, known: list[tuple[str, str]]) -> list[MediaAsset]:
        found = []
        for namespace, name in known:
            with suppress(NotFoundError):
                found.append(await self.assets.get(namespace, name))
        return found
