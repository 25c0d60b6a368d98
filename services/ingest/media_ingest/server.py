"""The HTTP server under the application: uvicorn with the options that every way to run it shares."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

#: What asks the process to end.
STOPPING = (signal.SIGINT, signal.SIGTERM)


class Server(uvicorn.Server):
    """uvicorn that a signal ends in an orderly way, with exit code 0."""

    def __init__(self, app: Starlette, *, shutdown_seconds: int, trusted_proxies: str | None = None) -> None:
        """Take how long requests may take to end, and the addresses of proxies, None for uvicorn's own default."""
        super().__init__(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                forwarded_allow_ips=trusted_proxies,
                timeout_graceful_shutdown=shutdown_seconds,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Have the signals end `serve` while it runs."""
        # uvicorn's own raises the signal again at the end, which kills the process before it has closed what is open.
        loop = asyncio.get_running_loop()
        for number in STOPPING:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in STOPPING:
                loop.remove_signal_handler(number)
