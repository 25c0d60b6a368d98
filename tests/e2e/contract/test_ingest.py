"""`python -m media_ingest` on a real API server and a real S3 server."""

import asyncio
import concurrent.futures
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

import apiserver
import s3server
from apiproxy import Proxy
from media_operator.sweep import sweep
from media_operator.sweepsettings import SweepSettings
from mediaasset.kube import Api
from mediaasset.kubeassets import KubernetesAssets
from mediaasset.policies import Component, bucket_policy
from mediaasset.s3 import StoreSettings, open_store
from mediaasset.s3parts import S3Parts
from s3server import S3Server
from servers import free_port
from service import Service, wait_for

PHOTO = Path(__file__).parents[2] / "data/photo.jpg"
TOKEN = "a-token-for-tests-only"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3server.start(tmp_path_factory.mktemp("s3")) as server:
        yield server


@dataclass(frozen=True, slots=True)
class Running:
    process: "subprocess.Popen[bytes]"
    service: Service
    tokens: Path

    @property
    def port(self) -> int:
        return int(self.service.base_url.rpartition(":")[2])


def entry(token: str, user: str = "42") -> dict[str, object]:
    digest = hashlib.sha256(token.encode()).hexdigest()
    return {"sha256": digest, "user": user, "username": "joe", "namespace": "default", "scopes": ["admin"]}


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0


@contextmanager
def ingest(path: Path, kubeconfig: Path, store: dict[str, str], *, ends_with: int = 0) -> Iterator[Running]:
    path.mkdir()
    tokens = path / "tokens.yaml"
    tokens.write_text(json.dumps([entry(TOKEN)]))
    port = free_port()
    settings = {
        "KUBECONFIG": str(kubeconfig),
        "MEDIA_INGEST_TOKENS": str(tokens),
        "MEDIA_INGEST_HOST": "127.0.0.1",
        "MEDIA_INGEST_PORT": str(port),
    }
    with (path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "media_ingest"], env={**os.environ, **store, **settings}, stderr=log
        )
    try:
        base_url = f"http://127.0.0.1:{port}"
        wait_for(lambda: status(f"{base_url}/healthz") == 200, what="ingest")
        yield Running(process, Service(base_url, TOKEN), tokens)
    finally:
        process.terminate()
        code = process.wait(60)
        assert code == ends_with, (path / "log").read_text()
        for line in (path / "log").read_text().splitlines():
            assert isinstance(json.loads(line), dict)


@pytest.mark.usefixtures("api")  # takes away what is left
def test_upload_is_an_object_and_an_asset_and_is_listed_at_once(tmp_path: Path, kubeconfig: Path, s3: S3Server) -> None:
    account = s3.create_account("ingest-upload")
    s3.create_bucket("upload", bucket_policy("upload", "root", {Component.INGEST: account.access_key}))
    store = s3.environment("upload", prefix="root", account=account)
    public = {"MEDIA_STORE_PUBLIC_ENDPOINT": "https://s3.example.org"}
    with ingest(tmp_path / "ingest", kubeconfig, {**store, **public}) as running:
        assert status(f"{running.service.base_url}/readyz") == 200
        answer = running.service.upload(PHOTO)
        with running.service.client() as client:
            listed = client.get("/api/media/").json()
        assert [item["id"] for item in listed["results"]] == [answer["id"]]
        text = apiserver.kubectl(kubeconfig, "get", "mediaasset", str(answer["id"]), "--output", "json")
        key = json.loads(text)["spec"]["source"]["object"]["key"]
        body = s3.client().get_object(Bucket="upload", Key=f"root/{key}")["Body"].read()
        assert body == PHOTO.read_bytes()
        # The file of tokens is what it says now.
        running.tokens.write_text(json.dumps([entry("another-token", "43")]))

        def is_known(token: str) -> bool:
            with running.service.client(token) as client:
                return client.get("/api/media/").status_code == 200

        wait_for(lambda: is_known("another-token"), what="the new token")
        assert not is_known(TOKEN)


@pytest.mark.usefixtures("api")
def test_upload_that_runs_may_end_when_it_is_told_to_stop(tmp_path: Path, kubeconfig: Path, s3: S3Server) -> None:
    s3.create_bucket("stop")
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="photo.jpg"\r\n'
        b"Content-Type: image/jpeg\r\n\r\n" + PHOTO.read_bytes() + b"\r\n--b--\r\n"
    )
    head = (
        f"POST /api/media/upload/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with (
        ingest(tmp_path / "ingest", kubeconfig, s3.environment("stop")) as running,
        socket.create_connection(("127.0.0.1", running.port)) as sender,
    ):
        sender.sendall(head.encode() + body[:-1000])
        running.process.send_signal(signal.SIGTERM)
        # It listens no longer, and so has heard of the end.
        wait_for(lambda: status(f"{running.service.base_url}/healthz") == 0, what="the end of listening")
        sender.sendall(body[-1000:])
        answer = b"".join(iter(lambda: sender.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 201 ")


def left(s3: S3Server, bucket: str) -> list[str]:
    return [item["Key"] for item in s3.client().list_objects_v2(Bucket=bucket).get("Contents", [])]


def check_that_nothing_is_visible(running: Running, kubeconfig: Path) -> None:
    with running.service.client() as client:
        assert client.get("/api/media/").json()["count"] == 0
        assert client.get("/api/media/stats/").json()["total"] == 0
    assert apiserver.kubectl(kubeconfig, "get", "mediaassets", "--output", "name") == ""


def test_killed_in_the_middle_of_an_upload(tmp_path: Path, kubeconfig: Path, s3: S3Server, api: Api) -> None:
    s3.create_bucket("killed")
    film = b"\0\0\0\x18ftypisom" + bytes(20_000_000)
    head = (
        f"PUT /api/media/upload/film.mp4 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Length: {len(film)}\r\n\r\n"
    )
    store = s3.environment("killed")
    with (
        ingest(tmp_path / "first", kubeconfig, store, ends_with=-signal.SIGKILL) as running,
        socket.create_connection(("127.0.0.1", running.port)) as sender,
    ):
        # What does not fit between the two programs was taken.
        sender.sendall(head.encode() + film[:-1000])
        running.process.kill()
        running.process.wait()
    assert left(s3, "killed") == []
    with ingest(tmp_path / "second", kubeconfig, store) as running:
        check_that_nothing_is_visible(running, kubeconfig)
        running.service.upload(PHOTO)
    assert len(left(s3, "killed")) == 1


async def test_killed_between_the_object_and_its_asset(
    tmp_path: Path, kubeconfig: Path, s3: S3Server, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.create_bucket("between")
    for name, value in (store := s3.environment("between")).items():
        monkeypatch.setenv(name, value)
    with Proxy(kubeconfig).running() as proxy:
        creating = proxy.hold("POST", "/mediaassets")
        through = proxy.kubeconfig(tmp_path / "kubeconfig")
        with (
            ingest(tmp_path / "first", through, store, ends_with=-signal.SIGKILL) as running,
            concurrent.futures.ThreadPoolExecutor() as threads,
        ):
            sending = threads.submit(running.service.upload, PHOTO)
            await asyncio.to_thread(creating.reached)
            running.process.kill()
            running.process.wait()
            creating.drop()
            assert isinstance(await asyncio.to_thread(sending.exception), httpx2.HTTPError)
    (orphan,) = left(s3, "between")
    with ingest(tmp_path / "second", kubeconfig, store) as running:
        check_that_nothing_is_visible(running, kubeconfig)
        kept = running.service.upload(PHOTO)["id"]
    async with KubernetesAssets(api) as assets:
        bucket = StoreSettings(url=store["MEDIA_STORE_URL"])
        parts, settings, now = S3Parts(bucket), SweepSettings(), datetime.now(UTC)
        await sweep(assets, open_store(bucket), parts, settings, lambda: now, deletes=True)
        assert orphan in left(s3, "between")
        await sweep(assets, open_store(bucket), parts, settings, lambda: now + timedelta(hours=25), deletes=True)
    (found,) = left(s3, "between")
    assert f"/{kept}/" in found


def test_server_or_store_that_is_away_is_no_reason_to_end(tmp_path: Path, s3: S3Server) -> None:
    nowhere = tmp_path / "kubeconfig"
    cluster = {"name": "x", "cluster": {"server": "http://127.0.0.1:9"}}
    context = {"name": "x", "context": {"cluster": "x", "user": "x"}}
    config = {
        "clusters": [cluster],
        "users": [{"name": "x", "user": {}}],
        "contexts": [context],
        "current-context": "x",
    }
    nowhere.write_text(json.dumps(config))
    store = {**s3.environment("nothing"), "AWS_ENDPOINT": "http://127.0.0.1:9"}
    with ingest(tmp_path / "ingest", nowhere, store) as running:
        assert status(f"{running.service.base_url}/readyz") == 503
        assert status(f"{running.service.base_url}/healthz") == 200
