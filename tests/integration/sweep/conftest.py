"""A place of each kind that a sweep works on: a directory as in standalone, and a bucket of a real server."""

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import s3server
from litter import Place
from media_standalone.assets import SqliteAssets
from media_standalone.database import Database
from media_standalone.directory import open_store as open_directory
from media_standalone.partial import DirectoryParts
from mediaasset.s3 import StoreSettings, open_store
from mediaasset.s3parts import S3Parts
from mediaasset.signing import UrlSigner
from s3server import S3Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3server.start(tmp_path_factory.mktemp("s3")) as started:
        yield started


@pytest.fixture(params=["directory", "s3"])
async def place(
    request: pytest.FixtureRequest, server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Place]:
    database = await Database.open(tmp_path / "standalone.db")
    assets = SqliteAssets(database, lambda *_: None)
    try:
        if request.param == "directory":
            store = open_directory(tmp_path / "store", UrlSigner("", b"k" * 32))
            yield Place(assets, store, DirectoryParts(tmp_path / "partial", tmp_path / "store"))
        else:
            bucket = f"sweep-{secrets.token_hex(4)}"
            server.create_bucket(bucket)
            for name, value in server.environment(bucket, prefix="root/of/ours").items():
                monkeypatch.setenv(name, value)
            yield Place(assets, open_store(StoreSettings()), S3Parts(StoreSettings()))
    finally:
        await database.close()
