"""The sweep of a cluster: the command that people and the operator run, and how the operator runs it."""

import asyncio
import signal
import sys
from contextlib import suppress
from datetime import UTC, datetime

import structlog

from media_operator import metrics
from media_operator.sweep import sweep
from media_operator.sweepreport import Report
from media_operator.sweepsettings import PodSettings, SweepSettings
from mediaasset.kube import Api, connect, event_of, resource
from mediaasset.kubeassets import KubernetesAssets
from mediaasset.s3 import StoreSettings, open_store

_LOG = structlog.get_logger(__name__)


async def run(settings: SweepSettings, pod: PodSettings, bucket: StoreSettings, *, deletes: bool) -> Report:
    """Sweep once, and tell of it in an Event about our own pod.

    Raises AssetsError, MediaError, OSError and ValueError, each with a text for people, when nothing could be done.
    """
    # Nothing else in the operator needs the 30 MB of boto3.
    from mediaasset.s3parts import S3Parts  # noqa: PLC0415

    api = await connect()
    try:
        assets = KubernetesAssets(api, settings.namespaces)
        report = await sweep(
            assets, open_store(bucket), S3Parts(bucket), settings, lambda: datetime.now(UTC), deletes=deletes
        )
        await _emit(api, pod, report)
    finally:
        await api.close()
    return report


async def in_child(*, deletes: bool) -> None:
    """Run the command in a process of its own, and count what it did; raises OSError when it fails.

    All names of a large store take memory, and to read all assets takes time, that the operator shall not lack.
    """
    options = ["--json", *(["--delete"] if deletes else [])]
    command = [sys.executable, "-P", "-m", "media_operator", "sweep", *options]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            # It may be ended at any point, and would only be in the way of our own end.
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            await process.wait()
    try:
        report = Report.from_json(output)
    except (ValueError, TypeError, KeyError) as error:
        metrics.swept(None)
        message = f"the sweep ended with {process.returncode}"
        raise OSError(message) from error
    metrics.swept(report)


async def _emit(api: Api, pod: PodSettings, report: Report) -> None:
    if not (pod.pod_name and pod.pod_namespace):
        return
    regarding = {
        "apiVersion": "v1",
        "kind": "Pod",
        "namespace": pod.pod_namespace,
        "name": pod.pod_name,
        "uid": pod.pod_uid,
    }
    reason = {"refused": "SweepRefused", "failed": "SweepFailed"}.get(report.result, "Swept")
    body = event_of(regarding, reason, report.summary(), warning=reason != "Swept", component="media-operator")
    try:
        await api.call("POST", resource("v1", "events", namespace=pod.pod_namespace), body)
    except Exception as error:  # noqa: BLE001 - an event is worth no trouble, whatever it is
        _LOG.warning("an event was lost", reason=reason, error=repr(error))
