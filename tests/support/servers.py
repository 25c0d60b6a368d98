"""Servers that a test starts as processes: a port for them, and running them from when they listen."""

import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from service import wait_for

#: Which of how many processes runs these tests (pytest-xdist).
_PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PROCESSES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


def free_port() -> int:
    """Return a port that nobody listened on a moment ago, and that no other process of the tests is given."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = int(probe.getsockname()[1])
        # Linux gives out odd ones first.
        if port // 2 % _PROCESSES == _PROCESS:
            return port


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
