"""A real Redis for tests: redis-server on loopback, with one user who may publish progress and nothing else."""

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from servers import free_port

#: The rule of docs/operations/progress.md.
RULE = "resetchannels &media-progress:* -@all +publish"
USER = "transcoder"


@dataclass(frozen=True, slots=True)
class RedisServer:
    """One that runs; ca is the certificate of its authority where it speaks TLS."""

    port: int
    password: str
    root: str
    ca: Path | None = None

    def url(self, *, user: str = USER, password: str | None = None) -> str:
        scheme = "rediss" if self.ca else "redis"
        return f"{scheme}://{user}:{password or self.password}@localhost:{self.port}"

    def admin(self) -> "redis.Redis":
        """Return a client that may do everything."""
        return redis.Redis.from_url(
            self.url(user="default", password=self.root),
            decode_responses=True,
            **({"ssl_ca_certs": str(self.ca)} if self.ca else {}),
        )


@contextmanager
def started(directory: Path, *, tls: bool = False) -> Iterator[RedisServer]:
    """Run a server until the block ends."""
    port = free_port()
    server = RedisServer(
        port, secrets.token_urlsafe(12), secrets.token_urlsafe(12), _certificate(directory) if tls else None
    )
    options = ["--port", "0", "--tls-port", str(port)] if tls else ["--port", str(port)]
    if tls:
        options += ["--tls-cert-file", "redis.crt", "--tls-key-file", "redis.key", "--tls-auth-clients", "no"]
        options += ["--tls-ca-cert-file", "redis.crt"]
    users = directory / "users.acl"
    users.write_text(f"user default on >{server.root} ~* &* +@all\nuser {USER} on >{server.password} {RULE}\n")
    command = ["redis-server", "--bind", "127.0.0.1", *options, "--save", "", "--aclfile", users.name]
    with subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stdout or ():
                if "Ready to accept connections" in line:
                    break
            yield server
        finally:
            process.kill()


def _certificate(directory: Path) -> Path:
    command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout redis.key -out redis.crt -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command.split(), *names], cwd=directory, check=True, capture_output=True)
    return directory / "redis.crt"
