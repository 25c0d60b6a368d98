"""What ingest needs is gone, or it is told to go itself: nothing is half accepted, and nothing that runs is lost."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

import s3server
from mediaasset.environment import load
from mediaasset.kube import connect
from mediaasset.kubeassets import KubernetesAssets
from mediaasset.s3 import StoreSettings, open_store
from mediaasset.store import Store
from servers import free_port
from standalone import started
from uploading import running_api

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
MIB = 1024 * 1024


def opened(server: s3server.S3Server, monkeypatch: pytest.MonkeyPatch) -> Store:
    server.create_bucket("media")
    for name, value in server.environment("media").items():
        monkeypatch.setenv(name, value)
    return open_store(load(StoreSettings))


async def test_a_store_that_goes_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as server:
        store = opened(server.enter_context(s3server.start(tmp_path / "s3")), monkeypatch)
        async with running_api(tmp_path, parts={"store": store}) as api:
            assert (await api.post(content=PNG)).status_code == 201
            assert (await api.client.get("/readyz")).status_code == 200
            server.close()
            refused = await api.post(content=PNG)
            assert refused.status_code == 503
            assert refused.json()["type"] == "urn:media-operator:problem:store-unavailable"
            assert "Retry-After" in refused.headers
            unready = await api.client.get("/readyz")
            assert (unready.status_code, unready.json()["assets"], unready.json()["store"]) == (503, True, False)
            # What is known without the store is still told.
            assert (await api.get("/api/media/")).json()["count"] == 1


async def test_a_store_that_goes_away_in_the_middle_of_an_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    going = asyncio.Event()
    with ExitStack() as server:
        store = opened(server.enter_context(s3server.start(tmp_path / "s3")), monkeypatch)
        async with running_api(tmp_path, parts={"store": store}) as api:

            async def body() -> AsyncIterator[bytes]:
                yield PNG + bytes(MIB)
                await going.wait()
                for _ in range(8):
                    yield bytes(MIB)

            sending = asyncio.create_task(api.post(content=body()))
            server.close()
            going.set()
            refused = await sending
            assert refused.status_code == 503
            assert refused.json()["type"] == "urn:media-operator:problem:store-unavailable"
            assert (await api.get("/api/media/")).json()["count"] == 0


async def test_an_api_server_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "gone",
        "contexts": [{"name": "gone", "context": {"cluster": "gone", "user": "gone"}}],
        "clusters": [{"name": "gone", "cluster": {"server": url}}],
        "users": [{"name": "gone", "user": {}}],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    api_server = await connect()
    try:
        async with (
            KubernetesAssets(api_server) as assets,
            running_api(tmp_path, parts={"assets": assets}) as api,
        ):
            for answer in (await api.post(content=PNG), await api.get("/api/media/"), await api.get("/api/media/m/")):
                assert answer.status_code == 503
                assert answer.json()["type"] == "urn:media-operator:problem:assets-unavailable"
            unready = (await api.client.get("/readyz")).json()
            assert (unready["assets"], unready["store"]) == (False, True)
            assert not api.objects()
            assert assets.silent_seconds() > 0
    finally:
        await api_server.close()


def test_an_upload_that_runs_when_it_is_told_to_stop(tmp_path: Path) -> None:
    with started(tmp_path / "data") as server:
        address = urlsplit(server.base_url)
        place = (str(address.hostname), address.port or 80)
        with socket.create_connection(place, timeout=20) as running:
            head = (
                f"POST /api/media/upload/ HTTP/1.1\r\nHost: {address.netloc}\r\n"
                f"Authorization: Bearer {server.token}\r\nContent-Type: image/png\r\n"
                f"Content-Length: {len(PNG)}\r\nExpect: 100-continue\r\n\r\n"
            )
            running.sendall(head.encode())
            # It asks for the body: the request is on its way.
            assert running.recv(1000).startswith(b"HTTP/1.1 100")
            running.sendall(PNG[:50])
            server.process.send_signal(signal.SIGTERM)
            # From when on nobody else is let in.
            while True:
                try:
                    socket.create_connection(place, timeout=20).close()
                except OSError:
                    break
            running.sendall(PNG[50:])
            answer = b"".join(iter(lambda: running.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 201")
        assert server.process.wait(30) == 0
    with started(tmp_path / "data") as server, server.client() as client:
        assert client.get("/api/media/").json()["count"] == 1
