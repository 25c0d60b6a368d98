"""A server with the semantics of AWS for the settings of a bucket: moto, as a process of its own on loopback."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from s3server import Account, S3Server
from servers import free_port, running


@contextmanager
def start() -> Iterator[S3Server]:
    """Run it on a free port; it takes any account, and forgets everything in the end."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    with running(command, port, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        yield S3Server(f"http://127.0.0.1:{port}", Account("test", "test"))
