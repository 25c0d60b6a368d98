"""A real S3 server for tests: versitygw on loopback, with buckets, accounts and bucket policies."""

import functools
import importlib.util
import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.config

from servers import free_port

REGION = "us-east-1"
_TOOLS = Path(__file__).parents[2] / "hack/cluster/tools.py"
#: What the server prints once it listens.
_LISTENING = b"listening on"


def tool(name: str) -> Path:
    """Return the folder of a tool of the local cluster; it is built when it is missing."""
    if "cluster_tools" not in sys.modules:
        spec = importlib.util.spec_from_file_location("cluster_tools", _TOOLS)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    found: Path = sys.modules["cluster_tools"].tool(name)
    return found


@dataclass(frozen=True, slots=True)
class Account:
    """An access key of the server and its secret."""

    access_key: str
    secret_key: str

    @classmethod
    def make(cls, name: str) -> "Account":
        return cls(name, secrets.token_urlsafe(24))


@dataclass(frozen=True, slots=True)
class S3Server:
    """A versitygw that runs somewhere, started by us or not, and its root account."""

    endpoint: str
    root: Account
    stop: Callable[[], object] = lambda: None

    @property
    def access_key(self) -> str:
        return self.root.access_key

    @property
    def secret_key(self) -> str:
        return self.root.secret_key

    def client(self, account: Account | None = None) -> Any:
        """Return a client of boto3 for an account, by default the root."""
        return _client(self.endpoint, account or self.root)

    def create_bucket(self, bucket: str, policy: Mapping[str, Any] | None = None) -> None:
        """Make a bucket of the root account."""
        self.client().create_bucket(Bucket=bucket)
        if policy is not None:
            self.put_policy(bucket, policy)

    def put_policy(self, bucket: str, policy: Mapping[str, Any]) -> None:
        """Replace the policy of a bucket; the accounts that it names must exist. The server keeps no more than 4 KB."""
        self.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy, separators=(",", ":")))

    def create_account(self, name: str) -> Account:
        """Make an account that has no rights but those that a bucket policy gives it."""
        account = Account.make(name)
        admin = [str(tool("versitygw") / "versitygw"), "admin", "--endpoint-url", self.endpoint, "--region", REGION]
        user = ["create-user", "--access", account.access_key, "--secret", account.secret_key, "--role", "user"]
        environment = {**os.environ, "ADMIN_ACCESS_KEY": self.access_key, "ADMIN_SECRET_KEY": self.secret_key}
        done = subprocess.run([*admin, *user], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return account

    def environment(self, bucket: str, *, prefix: str = "", account: Account | None = None) -> dict[str, str]:
        """Return the variables by which our programs find a bucket as an account."""
        account = account or self.root
        return {
            "MEDIA_STORE_URL": f"s3://{bucket}/{prefix}".rstrip("/"),
            "AWS_ENDPOINT": self.endpoint,
            "AWS_ALLOW_HTTP": str(urlsplit(self.endpoint).scheme == "http").lower(),
            "AWS_REGION": REGION,
            "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false",
            "AWS_ACCESS_KEY_ID": account.access_key,
            "AWS_SECRET_ACCESS_KEY": account.secret_key,
        }


@functools.cache
def _client(endpoint: str, account: Account) -> Any:
    # Kept for good: one that is collected with connections to keep alive warns of them, in whatever test that is.
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=account.access_key,
        aws_secret_access_key=account.secret_key,
        config=botocore.config.Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


@contextmanager
def start(path: Path) -> Iterator[S3Server]:
    """Run a server on a free port whose objects and accounts lie under `path`."""
    data, accounts = path / "objects", path / "accounts"
    for folder in (data, accounts):
        folder.mkdir(parents=True)
    root = Account.make("root")
    process, port = _started(data, accounts, root)

    def stop() -> None:
        process.terminate()
        process.wait()

    try:
        yield S3Server(f"http://127.0.0.1:{port}", root, stop)
    finally:
        stop()


def _started(data: Path, accounts: Path, root: Account) -> "tuple[subprocess.Popen[bytes], int]":
    # The server takes no port 0, and between our look at a free port and its use another process may take it.
    output = b""
    for _ in range(5):
        port = free_port()
        process = subprocess.Popen(
            [
                tool("versitygw") / "versitygw",
                "--keep-alive",
                "--port",
                f"127.0.0.1:{port}",
                "--iam-dir",
                accounts,
                "posix",
                data,
            ],
            env={**os.environ, "ROOT_ACCESS_KEY": root.access_key, "ROOT_SECRET_KEY": root.secret_key},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdout is not None
        output = b""
        for line in process.stdout:
            output += line
            if _LISTENING in line:
                # It logs each request: a full pipe would stop it.
                threading.Thread(target=_drain, args=(process.stdout,), daemon=True).start()
                return process, port
        process.wait()
        process.stdout.close()
    message = f"versitygw does not start: {output.decode()}"
    raise AssertionError(message)


def _drain(stream: Any) -> None:
    with stream:
        for _ in stream:
            pass
