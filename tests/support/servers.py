"""Servers that a test starts as processes: a port for them, and running them from when they listen."""

import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from service import wait_for


def free_port() -> int:
    """Return a port that nobody listened on a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def running(command: Sequence[str | Path], *ports: int, **options: Any) -> Iterator[None]:
    """Run a server from when it listens on all of the ports until the block ends; options are those of Popen.

    AssertionError when it ends before, or takes a minute.
    """
    with subprocess.Popen(command, **options) as process:

        def is_up() -> bool:
            assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
            return all(map(_listens, ports))

        try:
            wait_for(is_up, what=str(command[0]))
            yield
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0
