from collections.abc import Iterator

import pytest

import s3server
from s3server import S3Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3server.start(tmp_path_factory.mktemp("s3")) as started:
        yield started
