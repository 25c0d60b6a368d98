"""The adapters that the contract suites run against: add one here, and every sentence of its port is held to it.

Each entry is an async context manager that gives a fresh, empty adapter. The suites know the ports only.
"""

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

import s3server
from media_standalone.assets import SqliteAssets
from media_standalone.database import Database
from media_standalone.directory import open_store
from media_standalone.jobs import ProcessJobs
from media_standalone.process import Runner
from mediaasset.assets import Assets
from mediaasset.jobs import Jobs
from mediaasset.s3 import StoreSettings
from mediaasset.s3 import open_store as open_bucket
from mediaasset.signing import UrlSigner
from mediaasset.store import Store


def _nobody(namespace: str, name: str) -> None:
    """Stand for a loop that is not there."""


@asynccontextmanager
async def _sqlite_assets(path: Path) -> AsyncIterator[Assets]:
    database = await Database.open(path / "standalone.db")
    try:
        yield SqliteAssets(database, _nobody)
    finally:
        await database.close()


@asynccontextmanager
async def _process_jobs(path: Path) -> AsyncIterator[Jobs]:
    database = await Database.open(path / "standalone.db")
    runner = Runner(store_url=(path / "store").as_uri(), scratch=path / "scratch", grace_seconds=5)
    (path / "store").mkdir()
    jobs = ProcessJobs(database, runner, _nobody, slots=1, pause_seconds=0.01)
    try:
        yield jobs
    finally:
        await jobs.close()
        await database.close()


@asynccontextmanager
async def _directory_store(path: Path) -> AsyncIterator[Store]:
    yield open_store(path / "store", UrlSigner("http://127.0.0.1:1", b"k" * 32))


@asynccontextmanager
async def _s3_store(path: Path, unsigned: str | None = None) -> AsyncIterator[Store]:
    with s3server.start(path / "s3") as server, pytest.MonkeyPatch.context() as patch:
        server.create_bucket("media")
        for name, value in server.environment("media", prefix="root/prefix").items():
            patch.setenv(name, value)
        if unsigned is not None:
            patch.setenv("AWS_UNSIGNED_PAYLOAD", unsigned)
        yield open_bucket(StoreSettings())


ASSETS: dict[str, Callable[[Path], AbstractAsyncContextManager[Assets]]] = {"sqlite": _sqlite_assets}
STORES: dict[str, Callable[[Path], AbstractAsyncContextManager[Store]]] = {
    "directory": _directory_store,
    "s3": _s3_store,
    "s3-signed": partial(_s3_store, unsigned="false"),
    "s3-trusted": partial(_s3_store, unsigned="true"),
}


@dataclass(frozen=True, slots=True)
class JobsUnderTest:
    """Jobs, and how to open what they left once more, like after a crash."""

    jobs: Jobs
    reopen: Callable[[], AbstractAsyncContextManager[Jobs]]


@asynccontextmanager
async def _process_jobs_under_test(path: Path) -> AsyncIterator[JobsUnderTest]:
    @asynccontextmanager
    async def reopen() -> AsyncIterator[Jobs]:
        # What is on the disk while the first one runs is what a crash would leave.
        copy = path / "after-the-crash"
        copy.mkdir()
        for file in list(path.glob("standalone.db*")):  # noqa: ASYNC240 - nothing else runs in this loop
            shutil.copy(file, copy)
        async with _process_jobs(copy) as jobs:
            yield jobs

    async with _process_jobs(path) as jobs:
        yield JobsUnderTest(jobs, reopen)


JOBS: dict[str, Callable[[Path], AbstractAsyncContextManager[JobsUnderTest]]] = {"process": _process_jobs_under_test}


@pytest.fixture(params=sorted(ASSETS))
async def assets(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Assets]:
    async with ASSETS[request.param](tmp_path) as adapter:
        yield adapter


@pytest.fixture(params=sorted(STORES))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with STORES[request.param](tmp_path) as adapter:
        yield adapter


@pytest.fixture(params=sorted(JOBS))
async def under_test(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[JobsUnderTest]:
    async with JOBS[request.param](tmp_path) as adapter:
        yield adapter


@pytest.fixture
def jobs(under_test: JobsUnderTest) -> Jobs:
    return under_test.jobs


@pytest.fixture
def reopen(under_test: JobsUnderTest) -> Callable[[], AbstractAsyncContextManager[Jobs]]:
    return under_test.reopen
