"""One reconcile: observe, plan, admit, apply, write the status once. Called unchanged by Kopf and by standalone."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from media_operator import metrics, naming
from media_operator.actions import (
    Action,
    CopyObject,
    CopyTree,
    DeleteAsset,
    DeleteObject,
    DeletePrefix,
    Hold,
    Plan,
    Point,
    Release,
    StopJob,
    Unpoint,
    WriteTombstone,
)
from media_operator.admission import Admission
from media_operator.admit import Caps, Line
from media_operator.deleting import failing, is_overdue, left_behind
from media_operator.loop import Wake
from media_operator.names import Names
from media_operator.observe import MAX_DOCUMENT_BYTES, Observed, observe, siblings_of
from media_operator.plan import hindered, is_settled, plan, queued, waits_since, without
from media_operator.settings import Settings
from mediaasset import keys
from mediaasset.assets import Assets, ConflictError, Key, NotFoundError
from mediaasset.catalogue import Query
from mediaasset.jobs import Jobs, JobsError
from mediaasset.reasons import MediaError
from mediaasset.spec import CollectionPolicy, MediaAsset, MediaProfile
from mediaasset.store import Store

#: How many assets of a collection are looked at together; the older ones are found once these are gone.
_SIBLINGS = 1000


class Reconciler:
    """Brings assets to where their spec wants them.

    Calls for different assets may overlap; for one asset they must not: the caller has a queue for each.
    """

    def __init__(
        self,
        assets: Assets,
        jobs: Jobs,
        store: Store,
        settings: Settings,
        now: Callable[[], datetime],
        *,
        wake: Wake,
        fresh_seconds: float = 0.0,
    ) -> None:
        """Take the three ports, the clock, who calls `reconcile` for an asset soon, and see Admission for the last."""
        self._assets, self._jobs, self._store = assets, jobs, store
        self._settings, self._now = settings, now
        self._names = Names(assets, store)
        caps = Caps(
            total=settings.max_active_jobs,
            per_namespace=settings.max_active_jobs_per_namespace,
            reserved=settings.interactive_reserved_jobs,
        )
        self._wake = wake
        self._admission = Admission(jobs, caps, wake, now, fresh_seconds=fresh_seconds)
        # The assets in line, as of which version.
        self._in_line: dict[Key, str] = {}
        # The versions that are our own doing, until a watch tells of them.
        self._written: dict[Key, str] = {}
        # The Jobs of assets that are finished already: their end is news for those only who wait for a place.
        self._ending: dict[Key, str] = {}
        # Since when the store does not let an asset be looked at.
        self._hindered: dict[Key, datetime] = {}

    @property
    def line(self) -> Line:
        """The assets that wait for a place."""
        return self._admission.line

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """Take one asset a step further; return after how many seconds to look again, None for not before a change.

        Raises what the ports raise (AssetsError, JobsError, MediaError): nothing is lost then, call again later.
        """
        self._ending.pop((namespace, name), None)
        try:
            asset = await self._assets.get(namespace, name)
        except NotFoundError:
            self._in_line.pop((namespace, name), None)
            self._written.pop((namespace, name), None)
            self._hindered.pop((namespace, name), None)
            await self._admission.gone((namespace, name))
            return None
        if await self._waits(asset):
            return None
        if self._is_done(asset):
            # Perhaps its Job is over, a second or two after the Result that finished it.
            await self._admission.wake_next()
            return None
        try:
            observed = await self._observe(asset)
            again = await self._carry_out(asset, plan(asset, observed, self._now(), self._settings), observed)
        except ConflictError:
            return 0.0
        except NotFoundError:
            return None
        except Exception as error:
            # It queues again behind the others, which must not wait for an asset that cannot be started.
            self._admission.leave(asset.key)
            if isinstance(error, MediaError):
                await self._complain(asset, error)
            raise
        self._hindered.pop(asset.key, None)
        return again

    def job_ended(self, key: Key, job_name: str) -> None:
        """Take note that a Job of an asset says that it is over, or is gone."""
        self._admission.ended([job_name])
        self.pod_changed(key, job_name)
        self._ending.pop(key, None)

    def pod_changed(self, key: Key, job_name: str) -> None:
        """Have an asset looked at because of one of its pods, unless it is finished already."""
        if self._ending.get(key) != job_name:
            self._wake(*key)

    def wrote(self, key: Key, version: str) -> bool:
        """Tell whether an asset became this version by our last write, after which there is nothing more to do."""
        return self._written.pop(key, None) == version

    def _is_done(self, asset: MediaAsset) -> bool:
        return is_settled(asset, self._settings, self._now()) and not asset.awaits_profile

    async def _waits(self, asset: MediaAsset) -> bool:
        """Tell whether it is in line, unchanged, and not yet let in: of thousands in line nothing else is read."""
        version = asset.metadata.resource_version
        if self._in_line.pop(asset.key, None) != version or not await self._admission.waits(asset.key):
            return False
        self._in_line[asset.key] = version
        return True

    async def _observe(self, asset: MediaAsset) -> Observed:
        # Jobs before their results: a Job that is seen to have succeeded has written its Result before.
        uid = asset.metadata.uid
        jobs = await self._jobs.of_asset(uid, None if asset.deleted_at else asset.status.job_name or "")
        self._admission.ended(job.name for job in jobs if not job.is_active)
        if asset.deleted_at is not None:
            # All else is as good as gone, and a store that does not answer must not be in the way of saying so.
            return Observed(profile=None, jobs=jobs)
        work: dict[str, bytes] = {}
        async for item in self._store.list(keys.work_prefix(uid)):
            # One that is too large is none of ours, but its attempt is used.
            is_read = item.key.endswith(".json") and item.size_bytes <= MAX_DOCUMENT_BYTES
            work[item.key] = await self._store.read(item.key, max_bytes=MAX_DOCUMENT_BYTES) or b"" if is_read else b""
        return observe(uid, jobs, work, await self._profile(asset), await self._siblings(asset))

    async def _siblings(self, asset: MediaAsset) -> tuple[MediaAsset, ...]:
        if asset.spec.collection_policy is CollectionPolicy.KEEP_ALL:
            return ()
        query = Query(user_id=asset.spec.user_id, collection=asset.spec.collection)
        page = await self._assets.list(asset.key[0], query, limit=_SIBLINGS)
        return siblings_of(asset, page.items)

    async def _profile(self, asset: MediaAsset) -> MediaProfile | None:
        try:
            return await self._assets.profile(asset.spec.profile_name)
        except NotFoundError:
            return None

    async def _carry_out(self, asset: MediaAsset, decided: Plan, observed: Observed) -> float | None:
        decided = await self._act(asset, decided) if asset.deleted_at is None else await self._delete(asset, decided)
        if decided.start is None:
            self._admission.leave(asset.key)
        elif not await self._admission.start(asset.key, decided.start, waits_since(asset)):
            decided = queued(asset, self._now(), self._admission.line.length(asset.spec.queue) - 1)
        asset = await self._tell(asset, decided)
        if asset.key in self._admission.line:
            self._in_line[asset.key] = asset.metadata.resource_version
        if asset.status.job_name in {job.name for job in observed.jobs if job.is_active} and self._is_done(asset):
            self._ending[asset.key] = asset.status.job_name
        return decided.requeue_seconds

    async def _tell(self, asset: MediaAsset, decided: Plan) -> MediaAsset:
        """Write the status if it is another one, then send the events."""
        if decided.status != asset.status:
            asset = await self._assets.write_status(asset, decided.status)
            self._written.pop(asset.key, None)
            # Of a finished one the watch tells nobody.
            if not is_settled(asset, self._settings, self._now()):
                self._written[asset.key] = asset.metadata.resource_version
        for event in decided.events:
            metrics.EVENTS.labels(event.reason).inc()
            await self._assets.emit(asset, event)
        return asset

    async def _complain(self, asset: MediaAsset, error: MediaError) -> None:
        """Show that the store does not let an asset be looked at, once that takes longer than it may."""
        since = self._hindered.setdefault(asset.key, self._now())
        if (self._now() - since).total_seconds() >= self._settings.start_patience_seconds:
            # What was written before the error made it another version: the next time, then.
            with suppress(ConflictError, NotFoundError):
                await self._tell(asset, hindered(asset, error, self._now()))

    async def _delete(self, asset: MediaAsset, decided: Plan) -> Plan:
        """Carry out a deletion and let the asset go, or say which step fails.

        Raises what the step raised; after the time that deletions have, what fails is left behind.
        """
        left: list[Action] = []
        for action in decided.actions:
            if isinstance(action, Release) and left:
                await self._tell(asset, Plan(status=asset.status, events=(left_behind(left),)))
            try:
                await self._apply(asset, action)
            except (JobsError, MediaError) as error:
                if not is_overdue(asset, self._now(), self._settings):
                    await self._tell(asset, failing(asset, action, error, self._now()))
                    raise
                left.append(action)
        return Plan(status=asset.status)

    async def _act(self, asset: MediaAsset, decided: Plan) -> Plan:
        """Carry out the actions but the start; return the Plan without what turned out to be gone, or another's."""
        lost = []
        owners: dict[str, MediaAsset] = {}
        for action in decided.actions:
            if isinstance(action, CopyObject):
                if not await self._copy(action):
                    lost.append(action.target)
            elif isinstance(action, CopyTree):
                if not await self._copy_tree(action):
                    lost.append(action.target + action.index)
            elif isinstance(action, Point):
                if owner := await self._names.point(action):
                    owners[action.key] = owner
            else:
                await self._apply(asset, action)
        # One object that is gone must not keep the others where they are.
        decided = without(decided, lost) if lost else decided
        return naming.taken(asset, decided, owners, self._now(), self._settings) if owners else decided

    async def _apply(self, asset: MediaAsset, action: Action) -> None:
        match action:
            case Hold():
                await self._assets.hold(asset)
            case StopJob(name):
                await self._jobs.stop(asset.metadata.uid, name)
            case DeleteObject(key):
                await self._store.delete([key])
            case DeletePrefix(prefix):
                await self._store.delete([item.key async for item in self._store.list(prefix)])
            case WriteTombstone(key, body):
                await self._store.create(key, body)
            case Unpoint(key, owner):
                await self._names.unpoint(key, owner)
            case DeleteAsset(namespace, name, uid):
                with suppress(NotFoundError):
                    await self._assets.delete(namespace, name, uid=uid)
            case Release():
                await self._assets.release(asset)

    async def _copy(self, action: CopyObject) -> bool:
        """Tell whether the object is at its target, copied now or before a crash."""
        return await self._store.copy(action.source, action.target) or await self._store.stat(action.target) is not None

    async def _copy_tree(self, action: CopyTree) -> bool:
        async for item in self._store.list(action.source):
            await self._store.copy(item.key, action.target + item.key.removeprefix(action.source))
        return await self._store.stat(action.target + action.index) is not None
