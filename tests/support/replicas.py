"""Two replicas of the API that share S3, Redis and the assets."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

import redisserver
import s3server
from media_ingest.app import create_app
from media_ingest.auth import Tokens
from media_ingest.locks import RedisLocks
from media_ingest.settings import Settings
from media_standalone.assets import SqliteAssets
from media_standalone.database import Database
from mediaasset.objects import ObjectStore
from mediaasset.s3 import StoreSettings, open_store
from mediaasset.s3parts import S3Parts
from uploading import USERS, Halfway, serving


@dataclass(frozen=True)
class Replicas:
    """Two that run, and what they share."""

    urls: list[str]
    assets: SqliteAssets
    store: ObjectStore
    redis: "redis.asyncio.Redis"
    s3: Any
    bucket: str

    def objects(self) -> list[str]:
        page = self.s3.list_objects_v2(Bucket=self.bucket)
        return sorted(item["Key"] for item in page.get("Contents", []))

    def unfinished(self) -> list[Any]:
        return list(self.s3.list_multipart_uploads(Bucket=self.bucket).get("Uploads", []))

    async def content(self, name: str) -> bytes:
        asset = await self.assets.get("shop", name)
        assert asset.spec.source.object
        return await self.store.read(asset.spec.source.object.key, max_bytes=1 << 26) or b""


@asynccontextmanager
async def running(
    tmp_path: Path,
    s3: s3server.S3Server,
    monkeypatch: pytest.MonkeyPatch,
    bucket: str,
    *,
    share: bool = True,
    **settings_: Any,
) -> AsyncIterator[Replicas]:
    """Run two of them over one bucket; without share each locks for itself."""
    s3.create_bucket(bucket)
    for name, value in s3.environment(bucket, prefix="root").items():
        monkeypatch.setenv(name, value)
    settings = StoreSettings(url=f"s3://{bucket}/root")
    store = open_store(settings)
    async with AsyncExitStack() as stack:
        server = stack.enter_context(redisserver.started(tmp_path))
        database = await Database.open(tmp_path / "assets.sqlite")
        stack.push_async_callback(database.close)
        assets = SqliteAssets(database, lambda *_: None)
        urls, clients = [], []
        for _ in range(2):
            client = redis.asyncio.Redis.from_url(server.url(user="default", password=server.root))
            clients.append(client)
            stack.push_async_callback(client.aclose)
            parts = S3Parts(settings)
            app = create_app(
                assets=assets,
                store=store,
                parts=parts,
                forms=parts,
                progress=Halfway(),
                tokens=Tokens(USERS.values()),
                settings=Settings(**settings_),
                locks=RedisLocks(client) if share else None,
            )
            urls.append(f"http://127.0.0.1:{await stack.enter_async_context(serving(app))}")
        yield Replicas(urls, assets, store, clients[0], s3.client(), bucket)
