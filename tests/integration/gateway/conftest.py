from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

import gateway
import s3server
import tap
from gateway import Bucket, Gateway
from tap import Tap


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s3")


@pytest.fixture(scope="session")
def bucket(folder: Path) -> Iterator[Bucket]:
    with s3server.start(folder) as server:
        yield gateway.bucket(server)


@pytest.fixture
def line(bucket: Bucket) -> Iterator[Tap]:
    """Return the line from the gateway to S3."""
    with tap.start(bucket.endpoint) as made:
        yield made


@pytest.fixture
def start(tmp_path: Path, line: Tap) -> Iterator[Callable[..., Gateway]]:
    """Return how to start a gateway on that line, with settings."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(gateway.start(tmp_path / "gateway", line.endpoint, **settings))


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    with httpx2.Client(timeout=30) as http:
        yield http
