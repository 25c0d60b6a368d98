"""The sweep: what uploads left behind is found, and deleted only when that is safe."""

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from media_ingest.auth import Tokens
from media_ingest.locks import LocalLocks
from media_ingest.service import Service
from media_ingest.settings import Settings
from media_ingest.sweep import RefusedError, sweep
from media_standalone.partial import DirectoryParts
from mediaasset import keys
from uploading import USERS, Api, Halfway

PNG = b"\x89PNG\r\n\x1a\n" + bytes(5000)
LATER = datetime.now(UTC) + timedelta(hours=25)


def service(api: Api, **settings: Any) -> Service:
    return Service(
        assets=api.assets,
        store=api.store,
        parts=DirectoryParts(api.directory.parent / "partial", api.directory),
        progress=Halfway(),
        tokens=Tokens(USERS.values()),
        settings=Settings(**settings),
        locks=LocalLocks(),
    )


async def orphans(api: Api, count: int, namespace: str = "shop") -> list[str]:
    found = [keys.upload(namespace, f"orphan{number}") for number in range(count)]
    for key in found:
        await api.store.create(key, b"left behind")
    return found


def partial(api: Api) -> list[str]:
    return [path.name for path in (api.directory.parent / "partial").iterdir()]


def counted(name: str) -> float:
    return REGISTRY.get_sample_value(f"media_ingest_orphans_{name}_total") or 0


async def test_orphans_are_counted_and_kept_unless_told_otherwise(api: Api) -> None:
    asset = (await api.post(content=PNG)).json()["id"]
    left = await orphans(api, 3)
    found, deleted = counted("found"), counted("deleted")
    assert await sweep(service(api), LATER) == 3
    assert (counted("found"), counted("deleted")) == (found + 3, deleted)
    assert len(api.objects()) == 4
    assert await sweep(service(api, sweep_deletes=True), LATER) == 3
    assert counted("deleted") == deleted + 3
    assert not [key for key in left if await api.store.stat(key)]
    assert (await api.get(f"/api/media/{asset}/")).status_code == 200
    assert len(api.objects()) == 1
    assert await sweep(service(api, sweep_deletes=True), LATER) == 0


async def test_what_is_young_is_nobodys_orphan(api: Api) -> None:
    await api.post(content=PNG)
    (key,) = await orphans(api, 1)
    assert await sweep(service(api, sweep_deletes=True), datetime.now(UTC)) == 0
    path = api.directory / key
    day_ago = (datetime.now(UTC) - timedelta(hours=25)).timestamp()
    os.utime(path, (day_ago, day_ago))
    assert await sweep(service(api, sweep_deletes=True), datetime.now(UTC)) == 1


async def test_what_was_to_be_retained_stays(api: Api) -> None:
    await api.post(content=PNG)
    (key,) = await orphans(api, 1)
    await api.store.create(keys.tombstone("shop", "orphan0"), b"{}")
    assert await sweep(service(api, sweep_deletes=True), LATER) == 0
    assert await api.store.stat(key)


async def test_other_namespaces_are_left_alone(api: Api) -> None:
    await api.post(content=PNG)
    await orphans(api, 1, "elsewhere")
    assert await sweep(service(api, sweep_deletes=True), LATER, ("shop",)) == 0
    assert await sweep(service(api, sweep_deletes=True), LATER) == 1


async def test_without_any_asset_nothing_is_deleted(api: Api) -> None:
    await orphans(api, 1)
    with pytest.raises(RefusedError):
        await sweep(service(api, sweep_deletes=True), LATER)
    assert len(api.objects()) == 1


async def test_too_many_are_not_believed(api: Api) -> None:
    await api.post(content=PNG)
    await orphans(api, 11)
    with pytest.raises(RefusedError):
        await sweep(service(api, sweep_deletes=True), LATER)
    assert len(api.objects()) == 12
    assert await sweep(service(api, sweep_deletes=True, sweep_max_percent=100), LATER) == 11


async def test_an_upload_that_was_never_ended_goes_with_its_parts(api: Api) -> None:
    await api.post(content=PNG)
    headers = {**api.auth(), "Tus-Resumable": "1.0.0", "Upload-Length": "100000"}
    url = (await api.client.post("/api/tus/", headers=headers)).headers["Location"]
    assert len(partial(api)) == 1
    assert await sweep(service(api, sweep_deletes=True), LATER) == 1
    assert not partial(api)
    assert (await api.client.head(url, headers=headers)).status_code == 404
