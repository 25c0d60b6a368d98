"""The wiring to Kopf: what happens in the cluster wakes the loop, which reconciles.

Only `on.event` handlers: Kopf then writes nothing into the objects, and each event is merely a reason to look.
"""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import kopf

from media_operator.followers import Followers
from media_operator.plan import is_settled
from media_operator.settings import Settings
from media_operator.watched import Watched
from mediaasset.assets import Key
from mediaasset.kube import server_in_cluster
from mediaasset.names import ASSET_PLURAL, GROUP, PROFILE_PLURAL, VERSION
from mediaasset.spec import MediaAsset, MediaProfile
from mediaasset.task import Queue

M = TypeVar("M", MediaAsset, MediaProfile)

_DELETED = "DELETED"
_EXPIRING = {"expireSecondsAfterCreation", "expireSecondsAfterFailure"}


def assets_registry(
    changed: Callable[[Key, str, Queue], None],
    watched: Watched,
    followers: Followers,
    settings: Settings,
    *,
    forget_profiles: Callable[[], None],
) -> kopf.OperatorRegistry:
    """Return the handlers for assets and their profiles; the liveness probe belongs to them.

    `changed` is told of each asset that is not finished or gone: of its version, and the queue that it is in. After
    `forget_profiles` nobody works by a profile as it was before.
    """
    registry = kopf.OperatorRegistry()

    @kopf.on.event(GROUP, VERSION, ASSET_PLURAL, registry=registry)
    async def asset(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - Kopf's name
        key = (body["metadata"]["namespace"], body["metadata"]["name"])
        is_gone = type == _DELETED
        found = None if is_gone else _parsed(MediaAsset, body)
        # What cannot be read, another version of us wrote, perhaps; the reconcile will say what is wrong with it.
        is_unfinished = not is_gone and (found is None or not is_settled(found, settings, datetime.now(UTC)))
        followers.seen(key, found)
        # A finished one that expires is listed as unfinished one day, without a word of the watch.
        watched.seen(key, unfinished=is_unfinished or (not is_gone and _may_expire(body)))
        # After a start every asset comes by: for a finished one nothing must be read.
        if is_unfinished or is_gone:
            changed(key, body["metadata"]["resourceVersion"], found.spec.queue if found else Queue.INTERACTIVE)

    @kopf.on.event(GROUP, VERSION, PROFILE_PLURAL, registry=registry)
    async def profile(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - Kopf's name
        forget_profiles()
        found = _parsed(MediaProfile, body)
        if found and type != _DELETED:
            await followers.profile(found)

    @kopf.on.probe(registry=registry, id="watch")
    async def watch(**_: Any) -> str:
        overdue = watched.overdue()
        if overdue:
            # Another kind of error would be retried by Kopf, and the probe would hang instead of failing.
            message = f"the watch has not shown {len(overdue)} assets that exist, such as {'/'.join(overdue[0])}"
            raise kopf.PermanentError(message)
        return "alive"

    @kopf.on.login(registry=registry)
    async def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        server = server_in_cluster()
        if server is None:
            found = kopf.login_with_kubeconfig(**kwargs)
            return found and _Connection(**vars(found))
        # The token is read anew whenever the old one is refused.
        found = kopf.login_with_service_account(**kwargs)
        return found and _Connection(**{**vars(found), "server": server})

    return registry


class _Connection(kopf.ConnectionInfo):
    """Verifies as mediaasset.kube does: the CAs of many clusters lack what Python 3.13 began to insist on."""

    def as_ssl_context(self) -> ssl.SSLContext:
        context = super().as_ssl_context()
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


def kopf_settings() -> kopf.OperatorSettings:
    """Return how Kopf talks to the API server; seconds."""
    settings = kopf.OperatorSettings()
    # The kinds and namespaces are known, so that no right is needed to list those of others.
    settings.scanning.disabled = True
    settings.posting.enabled = False
    # A dead connection must end by itself, whatever the network in between believes.
    settings.watching.server_timeout = 300
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.watching.chunk_size = 100
    # Kopf holds each object for so long after its last event: at a start that would be all of them at once.
    settings.queueing.idle_timeout = 0.1
    # Kopf keeps nothing in our objects today; if it ever does, it must not be under our own prefix, which it hides.
    prefix = f"kopf.{GROUP}"
    settings.persistence.finalizer = f"{prefix}/finalizer"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=prefix)
    settings.persistence.diffbase_storage = _NoDiffs(prefix=prefix)
    return settings


class _NoDiffs(kopf.AnnotationsDiffBaseStorage):
    """Spares the copies of each object that Kopf makes to compare it with an earlier one, which no handler asks for."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Return the same for all."""
        return kopf.BodyEssence({})


def _parsed(model: type[M], body: kopf.Body) -> M | None:
    try:
        return model.model_validate(dict(body))
    except ValueError:
        return None


def _may_expire(body: kopf.Body) -> bool:
    return not _EXPIRING.isdisjoint(body.get("spec", ()))
