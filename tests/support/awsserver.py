"""A server with the semantics of AWS for the settings of a bucket: moto, as a process of its own on loopback."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

from s3server import Account, S3Server
from service import wait_for


@contextmanager
def start() -> Iterator[S3Server]:
    """Run it on a free port; it takes any account, and forgets everything in the end."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: _listens(process, port), what="moto")
            yield S3Server(f"http://127.0.0.1:{port}", Account("test", "test"))
        finally:
            process.kill()


def _listens(process: "subprocess.Popen[bytes]", port: int) -> bool:
    assert process.poll() is None
    with closing(socket.socket()) as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0
