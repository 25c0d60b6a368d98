"""What the serving suite runs against: a base URL, and known objects behind it, put there through the store."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import obstore
import pytest

import gateway
import s3server
from media_standalone.datadir import DataDir
from media_standalone.directory import open_store
from mediaasset.signing import UrlSigner
from mediaasset.store import Store
from served import HIDDEN, POINTERS, PUBLISHED, UNPUBLISHED, Served
from standalone import started


async def _put(store: Store) -> None:
    for known in (*PUBLISHED, *UNPUBLISHED):
        assert await store.create(known.key, known.body)
    for key, body in {**HIDDEN, **POINTERS}.items():
        assert await store.create(key, body)


@contextmanager
def _standalone(path: Path) -> Iterator[Served]:
    data = DataDir(path / "data")
    with started(data.path) as server:
        signer = UrlSigner(server.base_url, data.url_secret())
        store = open_store(data.store, signer)
        asyncio.run(_put(store))

        async def body_of(body: bytes) -> AsyncIterator[bytes]:
            yield body

        yield Served(
            server.base_url,
            lambda key, body: asyncio.run(store.write(key, body_of(body))),
            lambda key: asyncio.run(store.delete([key])),
            (signer,),
            data.store,
        )


@contextmanager
def _gateway(path: Path, *, signs: bool = False) -> Iterator[Served]:
    with s3server.start(path / "s3") as server:
        account = server.create_account("gateway") if signs else None
        bucket = gateway.bucket(server, prefix="root", account=account, signed_urls=signs)
        for known in (*PUBLISHED, *UNPUBLISHED):
            bucket.put(known.key, known.body)
        for key, body in {**HIDDEN, **POINTERS}.items():
            obstore.put(bucket.store, key, body)
        own: dict[str, str] = {}
        used: tuple[str, ...] = ()
        if account:
            used = tuple(secrets.token_urlsafe(24) for _ in range(2))
            names = ("GATEWAY_SIGNING_KEY", "GATEWAY_SIGNING_PREVIOUS_KEY")
            own = server.environment("media", account=account) | dict(zip(names, used, strict=True))
        with gateway.start(path / "gateway", server.endpoint, **own, GATEWAY_PREFIX="root") as served:
            signers = tuple(UrlSigner(served.base_url, each.encode()) for each in used)
            yield Served(served.base_url, bucket.put, lambda key: obstore.delete(bucket.store, key), signers)


SERVERS: dict[str, Callable[[Path], AbstractContextManager[Served]]] = {
    "gateway": _gateway,
    "gateway that signs": partial(_gateway, signs=True),
    "standalone": _standalone,
}


@pytest.fixture(scope="session", params=sorted(SERVERS))
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with SERVERS[request.param](tmp_path_factory.mktemp("store")) as server:
        yield server
