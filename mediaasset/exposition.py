"""The port where Prometheus reads what a program counts: never that of its API or its probes."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import disable_created_metrics, start_http_server

# When a series began is of no use here, and would be a second series of each.
disable_created_metrics()  # type: ignore[no-untyped-call]


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
