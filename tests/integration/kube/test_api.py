"""Answers that no sound API server gives, from one that is none: a proxy in between, or a connection that died."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from mediaasset.kube import Api, KubeError, connect, resource, translated

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def answering(handler: Handler, path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    config = {
        "clusters": [{"name": "x", "cluster": {"server": f"http://{host}:{port}"}}],
        "users": [{"name": "x", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "current-context": "x",
    }
    kubeconfig = path / "kubeconfig"
    kubeconfig.write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    api = await connect()
    try:
        yield api
    finally:
        await api.close()
        await runner.cleanup()


async def test_watch_on_a_dead_connection_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    over = asyncio.Event()

    async def silent(request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b'{"type":"ADDED","object":{"metadata":{"resourceVersion":"7"}}}\n')
        await over.wait()
        return answer

    async with answering(silent, tmp_path, monkeypatch) as api:
        async with api.watch("/api/v1/pods", "1", seconds=0, grace=0.2) as events:
            assert (await anext(events))["type"] == "ADDED"
            with pytest.raises(TimeoutError):
                await anext(events)
        over.set()


async def test_event_that_is_cut_off_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def cut(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=b'{"type":"ADDED","object":{}}\n{"type":"ADDED","obj')

    async with (
        answering(cut, tmp_path, monkeypatch) as api,
        api.watch("/api/v1/pods", "1", seconds=1) as events,
    ):
        assert [event["type"] async for event in events] == ["ADDED"]


@pytest.mark.parametrize(("status", "body"), [(502, b"<html>"), (200, b"[]"), (200, b"no JSON"), (404, b"404 page")])
async def test_answer_of_somebody_else_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes
) -> None:
    async def other(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, body=body)

    async with answering(other, tmp_path, monkeypatch) as api:
        with pytest.raises(KubeError) as raised:
            await api.call("GET", "/api/v1/pods")
        assert raised.value.status == status
        # Above all it is no word of the API server's on whether something exists.
        assert raised.value.reason not in {"NotFound", "Conflict", "AlreadyExists"}
        with pytest.raises(LookupError, match="the API server"), translated(LookupError):
            await api.call("GET", "/api/v1/pods")


def test_parts_of_a_path_stay_parts() -> None:
    assert resource("v1", "pods", namespace="a/b", name="c?d") == "/api/v1/namespaces/a%2Fb/pods/c%3Fd"
    assert resource("batch/v1", "jobs", namespace="a", name="b", sub="status").endswith("/a/jobs/b/status")


async def test_kubeconfig_that_is_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in (None, "[", "a: b"):
        path = tmp_path / f"{text}"
        if text is not None:
            path.write_text(text)
        monkeypatch.setenv("KUBECONFIG", str(path))
        with pytest.raises(OSError, match="no Kubernetes API server is configured"):
            await connect()
