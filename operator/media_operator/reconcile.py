"""One reconcile: observe, plan, admit, apply, write the status once. Called unchanged by Kopf and by standalone."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from media_operator.actions import (
    Action,
    CopyObject,
    DeletePrefix,
    Hold,
    Plan,
    Release,
    StartJob,
    StopJob,
    WriteTombstone,
)
from media_operator.admit import Caps, Waiting, admit
from media_operator.observe import MAX_DOCUMENT_BYTES, Observed, observe
from media_operator.plan import is_settled, plan, queued, without
from media_operator.settings import Settings
from mediaasset import keys
from mediaasset.assets import Assets, ConflictError, NotFoundError
from mediaasset.jobs import Jobs
from mediaasset.names import WAKE_ANNOTATION
from mediaasset.spec import MediaAsset, MediaProfile
from mediaasset.store import Store


class Reconciler:
    """Brings assets to where their spec wants them.

    Calls for different assets may overlap; for one asset they must not: the caller has a queue for each.
    """

    def __init__(
        self, assets: Assets, jobs: Jobs, store: Store, settings: Settings, now: Callable[[], datetime]
    ) -> None:
        """Take the three ports and the clock."""
        self._assets, self._jobs, self._store = assets, jobs, store
        self._settings, self._now = settings, now
        self._caps = Caps(total=settings.max_active_jobs, per_namespace=settings.max_active_jobs_per_namespace)
        self._admission = asyncio.Lock()
        # Who waits is nowhere else: after a restart every unfinished asset is reconciled and queues again.
        self._waiting: dict[tuple[str, str], Waiting] = {}

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """Take one asset a step further; return after how many seconds to look again, None for not before a change.

        Raises what the ports raise (AssetsError, JobsError, MediaError): nothing is lost then, call again later.
        """
        try:
            asset = await self._assets.get(namespace, name)
        except NotFoundError:
            self._waiting.pop((namespace, name), None)
            await self._wake_next()
            return None
        if is_settled(asset, self._settings):
            await self._wake_next()
            return None
        try:
            decided = plan(asset, await self._observe(asset), self._now(), self._settings)
            return await self._carry_out(asset, decided)
        except ConflictError:
            return 0.0
        except NotFoundError:
            return None
        except Exception:
            # It queues again behind the others, which must not wait for an asset that cannot be started.
            self._waiting.pop(asset.key, None)
            raise

    async def _observe(self, asset: MediaAsset) -> Observed:
        # Jobs before their results: a Job that is seen to have succeeded has written its Result before.
        uid = asset.metadata.uid
        jobs = await self._jobs.of_asset(uid)
        work: dict[str, bytes] = {}
        async for item in self._store.list(keys.work_prefix(uid)):
            # One that is too large is none of ours, but its attempt is used.
            is_read = item.key.endswith(".json") and item.size_bytes <= MAX_DOCUMENT_BYTES
            work[item.key] = await self._store.read(item.key, max_bytes=MAX_DOCUMENT_BYTES) or b"" if is_read else b""
        return observe(uid, jobs, work, await self._profile(asset))

    async def _profile(self, asset: MediaAsset) -> MediaProfile | None:
        try:
            return await self._assets.profile(asset.spec.profile_name)
        except NotFoundError:
            return None

    async def _carry_out(self, asset: MediaAsset, decided: Plan) -> float | None:
        decided = await self._act(asset, decided)
        if decided.start is None:
            self._waiting.pop(asset.key, None)
        elif not await self._admit(asset, decided.start):
            decided = queued(asset, self._now())
        if asset.deleted_at is None and decided.status != asset.status:
            await self._assets.write_status(asset, decided.status)
            for event in decided.events:
                await self._assets.emit(asset, event)
        if decided.start is None:
            await self._wake_next()
        return decided.requeue_seconds

    async def _act(self, asset: MediaAsset, decided: Plan) -> Plan:
        """Carry out the actions but the start; return the Plan without what turned out to be gone."""
        lost = []
        for action in decided.actions:
            if isinstance(action, CopyObject):
                if not await self._copy(action):
                    lost.append(action.target)
            else:
                await self._apply(asset, action)
        # One object that is gone must not keep the others where they are.
        return without(decided, lost) if lost else decided

    async def _apply(self, asset: MediaAsset, action: Action) -> None:
        match action:
            case Hold():
                await self._assets.hold(asset)
            case StopJob(name):
                await self._jobs.stop(asset.metadata.uid, name)
            case DeletePrefix(prefix):
                await self._store.delete([item.key async for item in self._store.list(prefix)])
            case WriteTombstone(key, body):
                await self._store.create(key, body)
            case Release():
                await self._assets.release(asset)

    async def _copy(self, action: CopyObject) -> bool:
        """Tell whether the object is at its target, copied now or before a crash."""
        return await self._store.copy(action.source, action.target) or await self._store.stat(action.target) is not None

    async def _admit(self, asset: MediaAsset, start: StartJob) -> bool:
        namespace, name = asset.key
        async with self._admission:
            waiting = self._waiting.setdefault(asset.key, Waiting(namespace=namespace, name=name, since=self._now()))
            if waiting not in await self._admitted():
                return False
            await self._jobs.create(start.name, start.task)
            del self._waiting[asset.key]
            return True

    async def _admitted(self) -> tuple[Waiting, ...]:
        active = await self._jobs.active()
        return admit(self._waiting.values(), (job.namespace for job in active), self._caps)

    async def _wake_next(self) -> None:
        """Wake the assets that may start now; each of them is admitted in its own reconcile."""
        if not self._waiting:
            return
        async with self._admission:
            admitted = await self._admitted()
        for waiting in admitted:
            try:
                await self._assets.annotate(waiting.namespace, waiting.name, {WAKE_ANNOTATION: self._now().isoformat()})
            except NotFoundError:
                self._waiting.pop((waiting.namespace, waiting.name), None)
