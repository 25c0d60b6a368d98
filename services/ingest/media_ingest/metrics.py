"""What is counted for Prometheus, and the port where it is read: never that of the API."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics, start_http_server

# When a series began is of no use here, and would be a second series of each.
disable_created_metrics()  # type: ignore[no-untyped-call]

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
MIRROR_SILENT = Gauge(
    "media_ingest_mirror_silent_seconds", "How long the watch of assets had no contact; 0 while it has."
)


def method(name: str) -> str:
    """Return a method as a label."""
    return name if name in _METHODS else "other"


@contextmanager
def served(port: int | None, host: str) -> Iterator[int | None]:
    """Answer scrapes in a thread of its own for as long as the block runs, at any path of the port; none for None.

    Yields the port that is listened on. Raises OSError, with a text for people, for a port that cannot be had.
    """
    if port is None:
        yield None
        return
    try:
        server, thread = start_http_server(port, host)
    except OSError as error:
        message = f"cannot listen on {host} port {port} for metrics: {error.strerror}"
        raise OSError(message) from error
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
