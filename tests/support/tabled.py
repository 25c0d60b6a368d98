"""Situations to ask the API in: whole, or with one thing missing that the answer depends on, all of them real."""

import asyncio
import os
import shlex
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from redis.asyncio import Redis

import standalone
from graph import Graph
from media_ingest.limiting import Limiter
from media_ingest.locks import RedisLocks
from media_ingest.scan import scanner_of
from media_ingest.settings import Settings
from media_ingest.whatsapp.accounts import in_directory
from media_ingest.whatsapp.secrets import labelled
from mediaasset.kube import connect
from mediaasset.kubeassets import KubernetesAssets
from mediaasset.s3 import StoreSettings, open_store
from mediaasset.s3parts import S3Parts
from messages import account
from redisserver import RedisServer
from s3server import S3Server
from servers import free_port
from uploading import Api, hold_to_document, running_api

#: How many bytes the disk of the situation "full" has.
DISK_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request; `said` is what httpx takes beside method and path."""

    method: str
    path: str
    user: str | None = "alice"
    said: Mapping[str, Any] = field(default_factory=dict)

    def but(self, *, headers: Mapping[str, str | None] | None = None, **change: Any) -> "Call":
        """Return the call with another user or path, other headers (None leaves one out) or another body."""
        said: dict[str, Any] = {key: change.pop(key) for key in ("content", "json", "params") if key in change}
        # One body takes the place of the other.
        bodies = {"content", "json"}
        gone = bodies if bodies & said.keys() else set[str]()
        kept = {name: value for name, value in self.said.items() if name not in gone}
        merged: dict[str, str | None] = dict(kept.get("headers", {})) | dict(headers or {})
        both: dict[str, Any] = {
            **kept,
            **said,
            "headers": {name: value for name, value in merged.items() if value is not None},
        }
        return replace(self, said=both, **change)


@dataclass(kw_only=True)
class Situation:
    """The API as it is there; nothing can be prepared where every request would be refused."""

    client: httpx2.AsyncClient
    can_prepare: bool = True
    token: str | None = None
    _api: Api | None = None
    _redis: Redis | None = None
    _graph: Graph | None = None

    @property
    def api(self) -> Api:
        assert self._api is not None
        return self._api

    @property
    def graph(self) -> Graph:
        assert self._graph is not None
        return self._graph

    @property
    def locks(self) -> RedisLocks:
        assert self._redis is not None
        return RedisLocks(self._redis)

    async def send(self, call: Call) -> httpx2.Response:
        """Send it; the answer is held to the document."""
        return await self.client.request(call.method, call.path, **{**call.said, "headers": self._headers(call)})

    async def begin(self, call: Call) -> httpx2.Response:
        """Send it but for the last byte of its body, and read the answer to that."""
        request = self.client.build_request(call.method, call.path, **{**call.said, "headers": self._headers(call)})
        lines = [f"{request.method} {request.url.raw_path.decode()} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        reader, writer = await asyncio.open_connection(request.url.host, request.url.port)
        writer.write("\r\n".join([*lines, "", ""]).encode() + request.content[:-1])
        status, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in fields if line)
        body = await reader.readexactly(int(headers["content-length"]))
        writer.close()
        answer = httpx2.Response(int(status.split()[1]), headers=headers, content=body, request=request)
        await hold_to_document(answer)
        return answer

    def _headers(self, call: Call) -> dict[str, str]:
        known = {} if call.user is None else {"Authorization": f"Bearer {self.token or call.user}"}
        return {**known, **call.said.get("headers", {})}


@dataclass(frozen=True, kw_only=True)
class Situations:
    """Makes them, each for itself."""

    path: Path
    s3: S3Server
    redis: RedisServer
    graph: Graph
    sources: object

    @asynccontextmanager
    async def one(self, kind: str) -> AsyncIterator[Situation]:
        """Run the API in the situation of this name, one of the methods below."""
        folder = self.path / kind.replace(" ", "-")
        folder.mkdir()
        async with AsyncExitStack() as stack:
            if kind == "full":
                server = stack.enter_context(_on_a_small_disk(folder / "data"))
                client = httpx2.AsyncClient(
                    base_url=server.base_url, timeout=30, event_hooks={"response": [hold_to_document]}
                )
                yield Situation(client=await stack.enter_async_context(client), token=server.token)
                return
            shared = Redis.from_url(self.redis.url(user="default", password=self.redis.root))
            await shared.flushall()
            stack.push_async_callback(shared.aclose)
            parts, settings = await self._made(stack, kind, folder, shared)
            api = await stack.enter_async_context(running_api(folder, parts=parts, **settings))
            prepares = kind not in ("limited", "no assets", "no store")
            yield Situation(client=api.client, can_prepare=prepares, _api=api, _redis=shared, _graph=self.graph)

    async def _made(
        self, stack: AsyncExitStack, kind: str, folder: Path, shared: Redis
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        account(folder / "accounts", userID="42", businessAccountID="8856996819413533")
        (folder / "sources.yaml").write_text(yaml.safe_dump(self.sources))
        parts: dict[str, Any] = {
            "accounts": in_directory(folder / "accounts"),
            "limiter": Limiter(shared),
            "locks": RedisLocks(shared),
        }
        settings: dict[str, Any] = {"sources": folder / "sources.yaml"}
        if kind != "no forms":
            bucket = "table" + os.urandom(6).hex()
            self.s3.create_bucket(bucket)
            environment = self.s3.environment(bucket, prefix="root")
            if kind == "no store":
                environment["AWS_ENDPOINT"] = f"http://127.0.0.1:{free_port()}"
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            for name, value in environment.items():
                patch.setenv(name, value)
            bucket_settings = StoreSettings(url=environment["MEDIA_STORE_URL"])
            direct = S3Parts(bucket_settings)
            parts |= {"store": open_store(bucket_settings), "parts": direct, "forms": direct}
        match kind:
            case "limited":
                settings |= {"requests_per_address": "1/hour", "webhooks_per_address": "1/hour"}
            case "slow":
                settings |= {"pace_seconds": 0.5}
            case "infected":
                settings |= {"scan_command": (sys.executable, "-c", "import sys; sys.stdin.buffer.read(); sys.exit(1)")}
                parts |= {"scanner": scanner_of(Settings.model_validate(settings))}
            case "no assets":
                dead = await _dead_api_server(folder)
                stack.push_async_callback(dead.close)
                parts |= {"assets": KubernetesAssets(dead), "accounts": labelled(dead, "work")}
        return parts, settings


async def _dead_api_server(folder: Path) -> Any:
    name = {"name": "gone"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "gone",
        "contexts": [{**name, "context": {"cluster": "gone", "user": "gone"}}],
        "clusters": [{**name, "cluster": {"server": f"http://127.0.0.1:{free_port()}"}}],
        "users": [{**name, "user": {}}],
    }
    (folder / "kubeconfig").write_text(yaml.safe_dump(config))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(folder / "kubeconfig"))
        return await connect()


@contextmanager
def _on_a_small_disk(data: Path) -> Iterator[standalone.Standalone]:
    """Run standalone on a disk of its own, which is gone with the process."""
    data.mkdir()
    program = shlex.join([sys.executable, "-m", "media_standalone", *standalone.command(data)])
    # A namespace of its own may mount, whoever asks.
    mounted = f"mount -t tmpfs -o size={DISK_BYTES} none {shlex.quote(str(data))} && exec {program}"
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", mounted]
    start = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"
    server = standalone.launch(data, ["-c", start, *command])
    try:
        yield server
    finally:
        server.stop()
