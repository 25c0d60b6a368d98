"""A world for the reconcile: assets in SQLite, objects in memory, pods that the test plays, and death at any write."""

import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
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
from media_standalone.directory import signed_by
from mediaasset import keys
from mediaasset.assets import NotFoundError
from mediaasset.jobs import Hindrance, Job, JobPhase, JobsError, NameTakenError
from mediaasset.media import Kind
from mediaasset.names import REPROCESS_ANNOTATION, REPROCESS_RENDITIONS_ANNOTATION
from mediaasset.objects import ObjectStore
from mediaasset.reasons import MediaError, Reason
from mediaasset.signing import UrlSigner
from mediaasset.spec import MediaAsset, MediaProfile
from mediaasset.store import ObjectInfo
from mediaasset.task import Rendition, RenditionResult, RenditionState, Task, encode

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
    stuck: bool = False
    """Whether the pods of Jobs do not end when they are asked to."""

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

    async def of_asset(self, uid: str, named: str | None = None) -> tuple[Job, ...]:  # noqa: ARG002 - the port's
        """See the port."""
        return tuple(job for job, _ in self.present.values() if job.uid == uid)

    async def active(self) -> tuple[Job, ...]:
        """See the port."""
        return tuple(job for job, _ in self.present.values() if job.is_active)

    async def stop(self, uid: str, name: str) -> None:
        """See the port."""
        if self.stuck:
            message = f"the pods of the Job {name} do not end"
            raise JobsError(message)
        if name in self.present and self.present[name][0].uid == uid:
            self.forget(name)

    def forget(self, name: str) -> None:
        """Remove a Job. Of one that had not ended nothing is left, and the number of its attempt is free."""
        job, _ = self.present.pop(name)
        if job.is_active:
            self.made = [made for made in self.made if made[0] != name]

    def running(self) -> Iterator[tuple[Job, Task]]:
        """Yield what runs, in order of age."""
        yield from [pair for pair in self.present.values() if pair[0].is_active]


class _Breakable:
    """The store, of which some prefixes do not answer."""

    def __init__(self, store: ObjectStore, broken: set[str]) -> None:
        self._store, self._broken = store, broken

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        if prefix.startswith(tuple(self._broken)):
            raise MediaError(Reason.STORE_UNAVAILABLE)
        return self._store.list(prefix)


def rendered(prefix: str, rendition: Rendition) -> RenditionResult:
    """Return what a transcoder would say that it made: its name tells as what, and `medium` is a directory."""
    digest = content_of(rendition)
    key = keys.rendition(prefix, rendition.name, digest, "jpg")
    if rendition.name == "medium":
        key = keys.rendition_tree(prefix, rendition.name, digest) + "index.vtt"
    return RenditionResult(
        name=rendition.name, state=RenditionState.READY, mime_type="image/jpeg", size_bytes=10, key=key, sha256=digest
    )


def content_of(rendition: Rendition) -> str:
    """Return the digest of what is made of a rendition: that it is optional changes nothing."""
    return hashlib.sha256(json.dumps(encode(replace(rendition, optional=False))).encode()).hexdigest()


class World:
    """Assets, Jobs and objects that outlive the operator, and the operator of the moment."""

    def __init__(self, database: Database, profile: MediaProfile) -> None:
        self.now: datetime = NOW
        self.mortal = Mortal()
        self.woken: list[tuple[str, ...]] = []
        self.jobs = PlayedJobs()
        self.profiles = {"": profile, "web": profile}
        self.assets = SqliteAssets(database, lambda *_: None, self.profiles, now=lambda: self.now)
        # Prefixes of keys that the store refuses, and Jobs whose pods do not end.
        self.broken: set[str] = set()
        self.store = ObjectStore(MemoryStore(), signed_by(UrlSigner("http://localhost", b"k" * 32)))
        self.restart()

    def restart(self) -> None:
        """Begin a new life of the operator, which remembers nothing."""
        self.mortal.writes_left = None
        store = _Breakable(self.store, self.broken)
        wrapped = [self.mortal.wrap(port) for port in (self.assets, self.jobs, store)]
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
            made = tuple(rendered(task.prefix, each) for each in task.renditions if each.kind is Kind.IMAGE)
            for each in made:
                await self.store.create(each.key or "", b"0123456789")
                tree = keys.tree_of(each.key or "")
                if tree:
                    await self.store.create(f"{tree}sprite.jpg", b"0123456789")
            asset = await self.assets.get(task.namespace, task.name)
            result = replace(make_result(asset, task.attempt, task.inputs_hash), renditions=made)
            await self.store.create(keys.result(task.uid, task.attempt), result.to_json().encode())
        phase = JobPhase.SUCCEEDED if reason is None else JobPhase.FAILED
        if job.name in self.jobs.present:
            self.jobs.present[job.name] = (replace(job, phase=phase, reason=reason, finished_at=self.now), task)

    def hinder(self, job: Job, task: Task, reason: Reason | None) -> None:
        """Keep the pod of a Job from starting, or let it start after all."""
        waiting = Hindrance(reason=reason, message="the platform's words", since=self.now) if reason else None
        phase = JobPhase.PENDING if waiting else JobPhase.RUNNING
        self.jobs.present[job.name] = (replace(job, phase=phase, waiting=waiting), task)

    async def take(self, step: tuple[Any, ...]) -> None:
        """Take a step of a random history: (what, of which asset or which running Job, …)."""
        match step:
            case ("reconcile", key):
                await self.reconcile(*key)
            case ("die", key, writes, after):
                self.mortal.writes_left, self.mortal.after = writes, after
                await self.reconcile(*key)
                self.mortal.writes_left = None
            case ("restart",):
                self.restart()
            case ("end", index, reason):
                for job, task in self.running(index):
                    await self.play(job, task, reason)
            case ("wait", seconds):
                self.now += timedelta(seconds=seconds)
            case ("edit", key, changes):
                await self.edit(*key, **changes)
            case _:
                message = f"no such step: {step}"
                raise AssertionError(message)

    def running(self, index: int) -> list[tuple[Job, Task]]:
        """Return the one running Job of this index, or none."""
        return list(self.jobs.running())[index : index + 1]

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

    async def touch(self, namespace: str, name: str, value: str, renditions: str = "") -> None:
        """Ask for reprocessing, of all renditions or of some."""
        asked = {REPROCESS_ANNOTATION: value, REPROCESS_RENDITIONS_ANNOTATION: renditions}
        with suppress(NotFoundError):
            await self.assets.annotate(namespace, name, asked)

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
