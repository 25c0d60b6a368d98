"""What is counted for Prometheus; mediaasset/exposition.py serves it."""

from prometheus_client import Counter, Gauge, Histogram

#: A client may send any word as its method; each that is not listed here is counted as `other`.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: Stands for the path where no route was found, so that nobody can make series by asking.
NO_ROUTE = "none"

REQUESTS = Counter("media_ingest_requests", "Requests that came to an end.", ["method", "route", "status"])
SECONDS = Histogram(
    "media_ingest_request_seconds",
    "From the first byte of a request to the last of its answer.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
RECEIVED = Counter("media_ingest_received_bytes", "Bytes of bodies that came in, also of those that were refused.")
UPLOADS = Counter("media_ingest_uploads", "Uploads that became assets.", ["kind"])
UPLOADS_RUNNING = Gauge("media_ingest_uploads_running", "Uploads whose bodies are being read.")
PROBLEMS = Counter("media_ingest_problems", "Requests that were answered with a problem.", ["problem"])
RATE_LIMITED = Counter("media_ingest_rate_limited", "Requests refused as too many.", ["limit"])
REDIS_UP = Gauge("media_ingest_redis_up", "0 while the Redis that is set does not answer, and else 1.")
REDIS_UP.set(1)
WHATSAPP_MESSAGES = Counter(
    "media_ingest_whatsapp_messages", "Messages with media, by what became of them.", ["outcome"]
)
# An increase from nothing to 1 is none to Prometheus, and an alert waits for it.
WHATSAPP_MESSAGES.labels("failed")
MIRROR_SILENT = Gauge(
    "media_ingest_mirror_silent_seconds", "How long the watch of assets had no contact; 0 while it has."
)


def method(name: str) -> str:
    """Return a method as a label."""
    return name if name in _METHODS else "other"
