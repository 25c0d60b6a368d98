"""The assets of a cluster: MediaAsset resources."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from typing import Self, TypeVar

import structlog
from pydantic import ValidationError

from mediaasset.assets import (
    EVERYTHING,
    AlreadyExistsError,
    AssetsError,
    ConflictError,
    Event,
    Key,
    NotFoundError,
    Page,
)
from mediaasset.catalogue import Query, Stats
from mediaasset.index import Index, unfinished_of
from mediaasset.informer import Informer
from mediaasset.invalid import problems
from mediaasset.kube import Api, Json, KubeError, event_of, meaning, merge_patch, resource, translated
from mediaasset.kubeprofiles import KubernetesProfiles
from mediaasset.names import (
    API_VERSION,
    ASSET_KIND,
    ASSET_PLURAL,
    CREATED_ANNOTATION,
    FINALIZER,
)
from mediaasset.spec import MediaAsset, MediaProfile
from mediaasset.status import Status

#: How long a reader waits for the first list, in seconds.
_SYNC_SECONDS = 5
#: A mirror without contact for so long is no answer any more, in seconds.
_SILENT_SECONDS = 60
#: How often a change is tried against others who change the asset at the same time.
_TRIES = 5
#: How often a watched asset is read where no mirror tells of changes, in seconds.
_LOOK_SECONDS = 1
#: Names that can be: anything else would be another path, and of a name that cannot be there is no asset.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")

M = TypeVar("M", MediaAsset, MediaProfile)

_LOG = structlog.get_logger(__name__)


class KubernetesAssets:
    """Implements the port `Assets` over the API server.

    As an async context manager it watches: inside of it, lists and `unfinished` come from memory. Outside they are read
    from the server each time.
    """

    def __init__(self, api: Api, namespaces: Sequence[str] = (), *, component: str = "media-operator") -> None:
        """Take the API, which stays the caller's, the namespaces to look at, all if none, and whom Events name."""
        self._api = api
        self._namespaces = tuple(namespaces) or ("",)
        self._component = component
        self._mirrors: dict[str, tuple[Informer, Index]] = {}
        self._stack = AsyncExitStack()
        self._profiles = KubernetesProfiles(api)

    async def __aenter__(self) -> Self:
        """Begin to watch; does not wait for the first list."""
        group = await self._stack.enter_async_context(asyncio.TaskGroup())
        for namespace in self._namespaces:
            index = Index()
            informer = Informer(self._api, _all(namespace), index)
            self._mirrors[namespace] = informer, index
            self._stack.callback(group.create_task(informer.run()).cancel)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop watching."""
        self._mirrors.clear()
        await self._stack.aclose()

    def silent_seconds(self) -> float:
        """Return how long a watch has had no contact with the server; 0 while all have. Any thread may ask."""
        # The clock of the loop is the monotonic one.
        since = [informer.silent_since for informer, _ in tuple(self._mirrors.values())]
        return max((time.monotonic() - moment for moment in since if moment is not None), default=0.0)

    async def create(self, asset: MediaAsset) -> MediaAsset:
        """Create the resource."""
        namespace, name = asset.key
        metadata = asset.metadata.to_dict()
        annotations = {**asset.metadata.annotations, CREATED_ANNOTATION: datetime.now(UTC).isoformat()}
        body = {
            "apiVersion": API_VERSION,
            "kind": ASSET_KIND,
            "metadata": {
                "name": name,
                "namespace": namespace,
                "finalizers": [FINALIZER],
                "annotations": annotations,
                **({"labels": metadata["labels"]} if metadata["labels"] else {}),
            },
            "spec": asset.spec.to_dict(),
        }
        with translated(AssetsError), meaning("AlreadyExists", AlreadyExistsError(f"{namespace}/{name} exists")):
            created = await self._api.call("POST", _all(namespace), body)
        return self._wrote(created)

    async def get(self, namespace: str, name: str) -> MediaAsset:
        """Read an asset, live."""
        return _asset(await self._get(namespace, name))

    async def list(self, namespace: str, query: Query = EVERYTHING, *, limit: int, offset: int = 0) -> Page:
        """List assets."""
        return (await self._index(namespace, query.user_id)).page(namespace, query, limit, offset)

    async def stats(self, namespace: str, *, user_id: str | None = None) -> Stats:
        """Count assets."""
        return (await self._index(namespace)).stats(namespace, user_id)

    def watch(self, namespace: str, name: str) -> AsyncIterator[MediaAsset]:
        """Follow an asset: the mirror says that it changed, the server what it is."""
        _, index = self._mirror(namespace) or (None, Index())
        seconds = _SILENT_SECONDS if self._mirrors else _LOOK_SECONDS
        return index.changes.follow((namespace, name), self.get, seconds=seconds)

    async def change(self, namespace: str, name: str, spec: Mapping[str, object]) -> MediaAsset:
        """Replace members of the spec."""
        for _ in range(_TRIES):
            stored = await self._get(namespace, name)
            asset = _asset(stored)
            if asset.deleted_at is not None:
                raise _no_asset(namespace, name)
            changed = {member: merge_patch(stored["spec"].get(member), value) for member, value in spec.items()}
            try:
                return await self._patch(asset, {"metadata": _identity(asset), "spec": changed})
            except ConflictError:
                continue
        message = f"{namespace}/{name} changes too often to be changed"
        raise AssetsError(message)

    async def unfinished(self) -> tuple[Key, ...]:
        """Return the assets that need looking after."""
        now = datetime.now(UTC)
        if self._mirrors:
            indices = [await self._index(namespace) for namespace in self._namespaces]
            return tuple(key for index in indices for key in (*index.unfinished(), *index.expired(now.timestamp())))
        found: list[Key] = []
        for namespace in self._namespaces:
            with translated(AssetsError):
                async for page in self._api.pages(_all(namespace)):
                    # Of thousands only the names are kept, and meanwhile other work goes on.
                    found += await asyncio.to_thread(unfinished_of, page["items"], now)
        return tuple(found)

    async def all(self) -> AsyncIterator[MediaAsset]:
        """Read every asset from the server, page by page."""
        for namespace in self._namespaces:
            with translated(AssetsError):
                async for page in self._api.pages(_all(namespace)):
                    for item in page["items"]:
                        yield _asset(item)

    async def write_status(self, asset: MediaAsset, status: Status) -> MediaAsset:
        """Replace the status of exactly this version."""
        body = {
            "apiVersion": API_VERSION,
            "kind": ASSET_KIND,
            "metadata": _identity(asset),
            "spec": asset.spec.to_dict(),
            "status": status.to_dict(),
        }
        with translated(AssetsError):
            try:
                written = await self._api.call("PUT", _one(*asset.key, sub="status"), body)
            except KubeError as error:
                raise await self._lost(asset, error) from error
        return self._wrote(written)

    async def annotate(self, namespace: str, name: str, annotations: dict[str, str]) -> None:
        """Add or replace annotations."""
        patch = {"metadata": {"annotations": annotations}}
        with translated(AssetsError), meaning("NotFound", _no_asset(namespace, name)):
            self._wrote(await self._api.call("PATCH", _one(namespace, name), patch))

    async def hold(self, asset: MediaAsset) -> MediaAsset:
        """Put our finalizer on an asset that lacks it."""
        if FINALIZER in asset.metadata.finalizers or asset.deleted_at is not None:
            return asset
        return await self._set_finalizers(asset, [*asset.metadata.finalizers, FINALIZER])

    async def delete(self, namespace: str, name: str, *, uid: str | None = None) -> None:
        """Delete the resource, which its finalizers keep until it is released."""
        missing = _no_asset(namespace, name)
        options = None if uid is None else {"preconditions": {"uid": uid}}
        with translated(AssetsError), meaning("NotFound", missing), meaning("Conflict", missing):
            answer = await self._api.call("DELETE", _one(namespace, name), options)
        if answer.get("kind") == ASSET_KIND:
            self._wrote(answer)
        else:
            # Nobody held it, so it is gone at once.
            self._forget((namespace, name), str(answer.get("details", {}).get("uid", "")))

    async def release(self, asset: MediaAsset) -> None:
        """Take our finalizer off a deleted asset."""
        # Most often the caller read the asset just now, and there is no need to read it again.
        stored: MediaAsset | None = asset if asset.deleted_at else await self._same(asset)
        for _ in range(_TRIES):
            if stored is None or stored.deleted_at is None or FINALIZER not in stored.metadata.finalizers:
                break
            try:
                await self._set_finalizers(stored, [name for name in stored.metadata.finalizers if name != FINALIZER])
                break
            except NotFoundError:
                break
            except ConflictError:
                stored = await self._same(asset)
        else:
            message = f"{'/'.join(asset.key)} changes too often to be released"
            raise AssetsError(message)

    async def profile(self, name: str | None) -> MediaProfile:
        """Return a profile, or the default one; as it was at most two seconds ago, and never before forget_profiles."""
        found = await self._profiles.find(name)
        if found is None:
            message = "there is no default profile" if name is None else f"there is no profile {name!r}"
            raise NotFoundError(message)
        return _model(MediaProfile, found)

    async def profiles(self) -> Sequence[MediaProfile]:
        """Return all profiles as they are now, but those that cannot be read."""
        self.forget_profiles()
        found = []
        for item in await self._profiles.all():
            with suppress(AssetsError):
                found.append(_model(MediaProfile, item))
        return found

    def forget_profiles(self) -> None:
        """Read the profiles anew when one is asked for next: a watch told that one is another now."""
        self._profiles.forget()

    async def emit(self, asset: MediaAsset, event: Event) -> None:
        """Write an Event."""
        namespace, name = asset.key
        regarding = {"apiVersion": API_VERSION, "kind": ASSET_KIND, **_identity(asset)}
        body = event_of(regarding, event.reason, event.message, warning=event.warning, component=self._component)
        try:
            await self._api.call("POST", resource("v1", "events", namespace=namespace), body)
        except Exception as error:  # noqa: BLE001 - an event is worth no trouble, whatever it is
            _LOG.warning("an event was lost", asset=f"{namespace}/{name}", reason=event.reason, error=repr(error))

    async def _get(self, namespace: str, name: str) -> Json:
        with translated(AssetsError), meaning("NotFound", _no_asset(namespace, name)):
            return await self._api.call("GET", _one(namespace, name))

    async def _same(self, asset: MediaAsset) -> MediaAsset | None:
        """Return what this very asset is now; None when it is gone, or another one has its name."""
        try:
            stored = await self.get(*asset.key)
        except NotFoundError:
            return None
        return stored if stored.metadata.uid == asset.metadata.uid else None

    async def _set_finalizers(self, asset: MediaAsset, finalizers: Sequence[str]) -> MediaAsset:
        return await self._patch(asset, {"metadata": {**_identity(asset), "finalizers": [*finalizers]}})

    async def _patch(self, asset: MediaAsset, patch: Json) -> MediaAsset:
        """Send a merge patch that holds for this version only."""
        with translated(AssetsError):
            try:
                stored = await self._api.call("PATCH", _one(*asset.key), patch)
            except KubeError as error:
                raise await self._lost(asset, error) from error
        if stored["metadata"].get("deletionTimestamp") and not stored["metadata"].get("finalizers"):
            # Nobody holds it any more, so it is gone.
            self._forget(asset.key, asset.metadata.uid)
            return _asset(stored)
        return self._wrote(stored)

    async def _lost(self, asset: MediaAsset, error: KubeError) -> Exception:
        """Return what a refused write to one version of an asset means."""
        if error.reason == "NotFound":
            return _no_asset(*asset.key)
        if error.reason != "Conflict":
            return error
        if await self._same(asset) is None:
            return _no_asset(*asset.key)
        return ConflictError(f"{'/'.join(asset.key)} changed since version {asset.metadata.resource_version}")

    async def _index(self, namespace: str, user_id: str | None = None) -> Index:
        """Return the mirror of a namespace; without one, what the server holds there now, perhaps of one user only."""
        informer, index = self._mirror(namespace) or (None, Index())
        if informer is None:
            with translated(AssetsError):
                await index.replace(self._api.pages(_all(namespace), _of_user(user_id)))
            return index
        try:
            async with asyncio.timeout(_SYNC_SECONDS):
                await informer.synced()
        except TimeoutError:
            message = "the assets have not been read yet"
            raise AssetsError(message) from None
        since = informer.silent_since
        if since is not None and asyncio.get_running_loop().time() - since > _SILENT_SECONDS:
            message = "what is known of the assets is too old"
            raise AssetsError(message)
        return index

    def _mirror(self, namespace: str) -> tuple[Informer, Index] | None:
        return self._mirrors.get(namespace) or self._mirrors.get("")

    def _wrote(self, item: Json) -> MediaAsset:
        asset = _asset(item)
        for namespace in (asset.key[0], ""):
            if namespace in self._mirrors:
                self._mirrors[namespace][1].wrote(item)
        return asset

    def _forget(self, key: Key, uid: str) -> None:
        for namespace in (key[0], ""):
            if namespace in self._mirrors:
                self._mirrors[namespace][1].released(key, uid)


def _all(namespace: str) -> str:
    return resource(API_VERSION, ASSET_PLURAL, namespace=namespace)


def _of_user(user_id: str | None) -> dict[str, str]:
    """Return the query that selects the assets of a user; the characters of the selectors' syntax are escaped."""
    if not user_id:
        return {}
    escaped = re.sub(r"[\\,=]", r"\\\g<0>", user_id)
    return {"fieldSelector": f"spec.userID={escaped}"}


def _one(namespace: str, name: str, sub: str = "") -> str:
    if not _NAME.fullmatch(name):
        raise _no_asset(namespace, name)
    return resource(API_VERSION, ASSET_PLURAL, namespace=namespace, name=name, sub=sub)


def _identity(asset: MediaAsset) -> Json:
    """Return metadata by which the server refuses a write to another version or another asset."""
    namespace, name = asset.key
    metadata = asset.metadata
    return {
        "namespace": namespace,
        "name": name,
        "uid": metadata.uid,
        "resourceVersion": metadata.resource_version,
    }


def _asset(item: Json) -> MediaAsset:
    return _model(MediaAsset, item)


def _model(model: type[M], item: Json) -> M:
    try:
        return model.model_validate(item)
    except ValidationError as error:
        # Made by a newer version, perhaps. What was sent stays out of the text.
        message = f"{model.__name__} {item['metadata']['name']} cannot be read: {'; '.join(problems(error))}"
        raise AssetsError(message) from None


def _no_asset(namespace: str, name: str) -> NotFoundError:
    return NotFoundError(f"there is no asset {namespace}/{name}")
