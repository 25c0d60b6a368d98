"""The wiring to Kopf: what happens in the cluster wakes the loop, which reconciles.

Only `on.event` handlers: Kopf then writes nothing into the objects, and each event is merely a reason to look. Assets
and Jobs have an operator each, in one process, for they are watched in different namespaces and with other rights.
"""

import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import kopf

from media_operator.loop import Wake
from media_operator.manifest import asset_of, finished, is_over
from media_operator.plan import is_settled
from media_operator.settings import Settings
from media_operator.watched import Watched
from mediaasset.assets import Key
from mediaasset.names import ASSET_PLURAL, GROUP, MANAGER, MANAGER_LABEL, VERSION
from mediaasset.spec import MediaAsset

_DELETED = "DELETED"
_EXPIRING = {"expireSecondsAfterCreation", "expireSecondsAfterFailure"}


def assets_registry(wake: Wake, watched: Watched, settings: Settings) -> kopf.OperatorRegistry:
    """Return the handlers for assets; the liveness probe belongs to them."""
    registry = _registry()

    @kopf.on.event(GROUP, VERSION, ASSET_PLURAL, registry=registry)
    async def asset(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - Kopf's name
        key = (body["metadata"]["namespace"], body["metadata"]["name"])
        is_gone = type == _DELETED
        is_unfinished = not is_gone and not _is_settled(body, settings)
        # A finished one that expires is listed as unfinished one day, without a word of the watch.
        watched.seen(key, unfinished=is_unfinished or (not is_gone and _may_expire(body)))
        # After a start every asset comes by: for a finished one nothing must be read.
        if is_unfinished or is_gone:
            wake(*key)

    @kopf.on.probe(registry=registry, id="watch")
    async def watch(**_: Any) -> str:
        overdue = watched.overdue()
        if overdue:
            # Another kind of error would be retried by Kopf, and the probe would hang instead of failing.
            message = f"the watch has not shown {len(overdue)} assets that exist, such as {'/'.join(overdue[0])}"
            raise kopf.PermanentError(message)
        return "alive"

    return registry


def jobs_registry(wake: Wake, namespaces: Sequence[str] = ()) -> kopf.OperatorRegistry:
    """Return the handlers for Jobs and their pods: the end of a pod is seen first, that of the Job is certain.

    Those that work for assets in other than these namespaces are another operator's; without any, all are ours.
    """
    registry = _registry()

    def ours(body: kopf.Body) -> Key | None:
        asset = asset_of(body)
        return asset if asset and (not namespaces or asset[0] in namespaces) else None

    @kopf.on.event("batch", "v1", "jobs", registry=registry)
    async def job(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - Kopf's name
        asset = ours(body)
        if asset and (type == _DELETED or finished(body)):
            wake(*asset)

    @kopf.on.event("", "v1", "pods", registry=registry)
    async def pod(body: kopf.Body, **_: Any) -> None:
        asset = ours(body)
        if asset and is_over(body):
            wake(*asset)

    return registry


def _registry() -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        found = kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
        return found and _Connection(**vars(found))

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
    settings.watching.chunk_size = 500
    # Kopf keeps nothing in our objects today; if it ever does, it must not be under our own prefix, which it hides.
    prefix = f"kopf.{GROUP}"
    settings.persistence.finalizer = f"{prefix}/finalizer"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=prefix)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=prefix)
    return settings


def jobs_settings() -> kopf.OperatorSettings:
    """Return the same for Jobs and pods: only those that are ours come over the wire."""
    settings = kopf_settings()
    selector = f"{MANAGER_LABEL}={MANAGER}"
    settings.watching.label_selectors["batch", "v1", "jobs"] = selector
    settings.watching.label_selectors["", "v1", "pods"] = selector
    return settings


def _is_settled(body: kopf.Body, settings: Settings) -> bool:
    try:
        return is_settled(MediaAsset.model_validate(dict(body)), settings, datetime.now(UTC))
    except ValueError:
        # Another version of us wrote it, perhaps; the reconcile will say what is wrong with it.
        return False


def _may_expire(body: kopf.Body) -> bool:
    return not _EXPIRING.isdisjoint(body.get("spec", ()))
