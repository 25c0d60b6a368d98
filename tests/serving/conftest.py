"""What the serving suite runs against: a base URL, and known objects behind it, put there through the store.

A second server (the gateway of a cluster) is one more entry in SERVERS.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from media_standalone.datadir import DataDir
from media_standalone.directory import Signer, open_store
from mediaasset.store import Store
from served import DOCUMENT, HIDDEN, IMAGE, PRIVATE, VIDEO, Served
from standalone import started


async def _put(store: Store) -> None:
    for known in (IMAGE, VIDEO, DOCUMENT, PRIVATE):
        assert await store.create(known.key, known.body)
    for key, body in HIDDEN.items():
        assert await store.create(key, body)


@contextmanager
def _standalone(path: Path) -> Iterator[Served]:
    data = DataDir(path / "data")
    with started(data.path) as server:
        signer = Signer(data.url_secret(), server.base_url)
        asyncio.run(_put(open_store(data.store, signer)))
        yield Served(server.base_url, lambda key, lifetime: asyncio.run(signer.sign(key, lifetime)), data.store)


SERVERS: dict[str, Callable[[Path], AbstractContextManager[Served]]] = {"standalone": _standalone}


@pytest.fixture(scope="session", params=sorted(SERVERS))
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with SERVERS[request.param](tmp_path_factory.mktemp("store")) as server:
        yield server
