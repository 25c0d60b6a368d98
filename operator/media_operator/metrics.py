"""What is counted for Prometheus; mediaasset/exposition.py serves it. No label is of a single asset."""

import platform

from prometheus_client import Counter, Gauge, Histogram

from media_operator.sweepreport import Report
from mediaasset.reasons import MediaError, Reason

RECONCILE_SECONDS = Histogram(
    "media_operator_reconcile_seconds",
    "How long one reconcile of one asset took.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
RECONCILE_ERRORS = Counter("media_operator_reconcile_errors", "Reconciles that failed and are made again.", ["reason"])
EVENTS = Counter("media_operator_asset_events", "Transitions of assets that people were told of.", ["reason"])
QUEUE = Gauge(
    "media_operator_queue_assets", "Assets that wait: to be reconciled, or in a queue for a free place.", ["queue"]
)
QUEUE_SECONDS = Gauge("media_operator_queue_oldest_seconds", "For how long the first of them has waited.", ["queue"])
JOBS = Gauge("media_operator_jobs", "Jobs that have not succeeded, by phase.", ["phase"])
WATCH_SECONDS = Gauge(
    "media_operator_watch_event_age_seconds", "How long ago the watch last told of something.", ["resource"]
)
WATCH_MISSED = Gauge(
    "media_operator_watch_missed_assets", "Assets that a list shows, and the watch has not told of for a minute."
)
REQUESTS = Counter(
    "media_operator_api_requests",
    "Requests to the API server, but for the watches; code 0 is no answer.",
    ["verb", "resource", "code"],
)
SWEEPS = Counter("media_operator_sweeps", "Sweeps, by what became of them.", ["result"])
SWEEP_TIME = Gauge("media_operator_sweep_last_timestamp_seconds", "When the last sweep ended that read all lists.")
SWEEP_FOUND = Gauge(
    "media_operator_sweep_found", "What the last sweep found that nobody needs any more.", ["prefix", "reason"]
)
SWEEP_FOUND_BYTES = Gauge("media_operator_sweep_found_bytes", "The bytes of it.", ["prefix", "reason"])
SWEEP_DELETED = Counter("media_operator_sweep_deleted", "What sweeps deleted.", ["prefix", "reason"])
BUILD = Gauge("media_operator_build_info", "Always 1.", ["version", "python"])

# An increase from nothing to 1 is none to Prometheus: what an alert waits for is there with 0 from the start.
for _reason in Reason:
    EVENTS.labels(_reason.value)
for _result in ("counted", "deleted", "refused", "failed"):
    SWEEPS.labels(_result)


def built(version: str) -> None:
    """Say which build this is."""
    BUILD.labels(version, platform.python_version()).set(1)


def requested(verb: str, resource: str, code: int) -> None:
    """Count a request to the API server."""
    REQUESTS.labels(verb, resource, str(code)).inc()


def reason_of(error: Exception) -> str:
    """Return the reason of a failure as a label: that of the table, or the kind of the error."""
    return error.reason.value if isinstance(error, MediaError) else type(error).__name__


def swept(report: Report | None) -> None:
    """Count a sweep; None is one that could not read all lists."""
    SWEEPS.labels(report.result if report else "failed").inc()
    if report is None:
        return
    SWEEP_TIME.set_to_current_time()
    SWEEP_FOUND.clear()
    SWEEP_FOUND_BYTES.clear()
    for row in report.rows:
        SWEEP_FOUND.labels(row.prefix, row.kind).set(row.found)
        SWEEP_FOUND_BYTES.labels(row.prefix, row.kind).set(row.size_bytes)
        SWEEP_DELETED.labels(row.prefix, row.kind).inc(row.deleted)
