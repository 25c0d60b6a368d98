"""The list of the HTTP API at many assets: the real ingest, beside a server that only lists and watches.

    python benchmarks/lists.py [--assets 10000] [--requests 400]

Two of them run at once, one with a tenth of the assets and one with all, and are asked in turns. For each kind of list:
the time of a page of 50 at the client (p50, p95), and the p50 as a multiple of that at a tenth. And the memory of each.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import psutil
import uvicorn
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

_ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_ROOT), str(_ROOT / "tests/support")]

from mediaasset.names import API_VERSION, FINALIZER, USER_NAME_ANNOTATION
from service import wait_for

_PROFILES = _ROOT / "charts/media-operator/files/profiles"
#: What is asked for; alice has half of the assets, admin sees all.
LISTS = {
    "newest": ("alice", ""),
    "newest of all": ("admin", ""),
    "the last page": ("admin", "&page={last}"),
    "a collection": ("alice", "&collection=users/42/album-8&ordering=order"),
    "by type and status": ("alice", "&type=image&status=ready"),
    "a search": ("alice", "&search=picture-7"),
    "largest first": ("alice", "&ordering=-file_size"),
    "private, signed": ("bob", ""),
}
NAMES = ("thumbnail", "small", "medium", "large", "webp")


def asset(number: int) -> dict[str, Any]:
    """Return a finished image with its renditions as the API server would hold it; those of bob are private."""
    created = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%SZ")
    is_public, uid, digest = (
        number % 2 == 0,
        f"00000000-0000-0000-0000-{number:012}",
        sha256(b"%d" % number).hexdigest(),
    )
    user = "42" if is_public else "43"
    prefix = f"{'media' if is_public else 'private'}/shop/users/{user}/{uid}/"
    condition = {"status": "True", "reason": "Ready", "observedGeneration": 1, "lastTransitionTime": created}
    renditions = []
    for name in NAMES:
        key = f"{prefix}{name}-{digest[:16]}.jpg"
        made = {"name": name, "state": "Ready", "mimeType": "image/jpeg", "sizeBytes": 40_000 + number, "key": key}
        url = {"url": f"https://media.example.org/{key}"} if is_public else {}
        renditions.append({**made, **url, "width": 640, "height": 480, "sha256": digest})
    return {
        "apiVersion": API_VERSION,
        "kind": "MediaAsset",
        "metadata": {
            "namespace": "shop",
            "name": f"a{digest[:25]}",
            "uid": uid,
            "generation": 1,
            "resourceVersion": str(number + 1),
            "creationTimestamp": created,
            "finalizers": [FINALIZER],
            "annotations": {USER_NAME_ANNOTATION: "Alice"},
        },
        "spec": {
            "source": {"object": {"key": f"uploads/shop/a{number}/{digest[:32]}", "sizeBytes": 3_000_000 + number}},
            "type": "Image",
            "publicPath": f"users/{user}",
            "collection": f"users/{user}/album-{number % 20}",
            "order": number % 50,
            "visibility": "Public" if is_public else "Private",
            "userID": user,
            "originalFileName": f"picture-{number}.jpg",
            "altText": f"The picture of the number {number}, as people describe what they see in it",
        },
        "status": {
            "observedGeneration": 1,
            "attempt": 1,
            "conditions": [{**condition, "type": "Ready"}, {**condition, "type": "Published"}],
            "sourceInfo": {
                "type": "Image",
                "mimeType": "image/jpeg",
                "sizeBytes": 3_000_000 + number,
                "sha256": digest,
                "width": 4000,
                "height": 3000,
            },
            "renditions": renditions,
        },
    }


def api_server(assets: list[dict[str, Any]]) -> Starlette:
    """Return a server that has these assets and never any news."""

    def listed(items: list[Any], token: str = "") -> dict[str, Any]:
        return {"metadata": {"resourceVersion": str(len(assets) + 1), "continue": token}, "items": items}

    async def some(request: Request) -> Response:
        query = request.query_params
        if "watch" in query:
            return StreamingResponse(silence())
        begin, size = int(query.get("continue", 0)), int(query["limit"])
        return JSONResponse(
            listed(assets[begin : begin + size], str(begin + size) if begin + size < len(assets) else "")
        )

    async def silence() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    async def profiles(_: Request) -> Response:
        return JSONResponse(listed([yaml.safe_load(path.read_text()) for path in sorted(_PROFILES.glob("*.yaml"))]))

    root = f"/apis/{API_VERSION}"
    return Starlette(routes=[Route(f"{root}/mediaassets", some), Route(f"{root}/mediaprofiles", profiles)])


def serve_assets(count: int, port: int) -> None:
    """Be the API server."""
    uvicorn.run(api_server([asset(number) for number in range(count)]), port=port, log_level="critical")


@contextmanager
def process(*arguments: str, **environment: str) -> Iterator[psutil.Process]:
    """Run a Python program in the background."""
    with subprocess.Popen(
        [sys.executable, *arguments],
        env=os.environ | environment,
        cwd=_ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        try:
            yield psutil.Process(running.pid)
        finally:
            running.terminate()


@contextmanager
def ingest(folder: Path, count: int, port: int) -> Iterator[tuple[httpx2.Client, psutil.Process]]:
    """Run ingest with a mirror of so many assets; yields a client once the mirror is complete."""
    cluster = {"name": "it", "cluster": {"server": f"http://127.0.0.1:{port}"}}
    context = {"name": "it", "context": {"cluster": "it", "user": "it"}}
    config = {"clusters": [cluster], "contexts": [context], "users": [{"name": "it", "user": {}}]}
    (folder / "kubeconfig").write_text(json.dumps({"apiVersion": "v1", "current-context": "it", **config}))
    tokens = [
        {
            "sha256": sha256(name.encode()).hexdigest(),
            "user": user,
            "username": name,
            "namespace": "shop",
            "scopes": [scope],
        }
        for name, user, scope in (("alice", "42", "read"), ("bob", "43", "read"), ("admin", "1", "admin"))
    ]
    (folder / "tokens.yaml").write_text(yaml.safe_dump(tokens))
    environment = {
        "KUBECONFIG": str(folder / "kubeconfig"),
        "MEDIA_INGEST_TOKENS": str(folder / "tokens.yaml"),
        "MEDIA_INGEST_HOST": "127.0.0.1",
        "MEDIA_INGEST_PORT": str(port + 1),
        "MEDIA_INGEST_METRICS_PORT": "0",
        "MEDIA_STORE_URL": "s3://media",
        "AWS_ENDPOINT": "http://127.0.0.1:9",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }
    with (
        process(__file__, "--serve", str(count), "--port", str(port)),
        process("-m", "media_ingest", **environment) as running,
        httpx2.Client(base_url=f"http://127.0.0.1:{port + 1}", timeout=60) as client,
    ):

        def is_complete() -> bool:
            try:
                answer = client.get("/api/media/stats/", headers={"Authorization": "Bearer admin"})
            except httpx2.TransportError:
                return False
            return answer.is_success and answer.json()["total"] == count

        wait_for(is_complete, seconds=300, what="the mirror to be complete")
        yield client, running


def measure(clients: Sequence[tuple[int, httpx2.Client]], requests: int) -> dict[str, list[list[float]]]:
    """Ask for every kind of list, of both in turns; return the sorted seconds of each kind and client."""
    seconds: dict[str, list[list[float]]] = {}
    for name, (user, query) in LISTS.items():
        headers = {"Authorization": f"Bearer {user}"}
        taken: list[list[float]] = [[] for _ in clients]
        for _ in range(requests):
            for values, (count, client) in zip(taken, clients, strict=True):
                url = "/api/media/?page_size=50" + query.format(last=count // 50)
                started = time.perf_counter()
                answer = client.get(url, headers=headers)
                values.append(time.perf_counter() - started)
                if not answer.is_success or not answer.json()["results"]:
                    sys.exit(f"{url}: {answer.text}")
        # The first ones find nothing warm.
        seconds[name] = [sorted(values[len(values) // 10 :]) for values in taken]
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--port", type=int, default=18_400, help="the first of four that are free")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is not None:
        serve_assets(given.serve, given.port)
        return
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        counts = (given.assets // 10, given.assets)
        started = []
        for step, count in enumerate(counts):
            folder = Path(name) / str(count)
            folder.mkdir()
            started.append(stack.enter_context(ingest(folder, count, given.port + 2 * step)))
        before = [memory(process) for _, process in started]
        found = measure([(count, client) for count, (client, _) in zip(counts, started, strict=True)], given.requests)
        for count, rss, (_, process) in zip(counts, before, started, strict=True):
            lists = given.requests * len(LISTS)
            print(f"{count:>6} assets: RSS {rss:.0f} MiB, after {lists} lists {memory(process):.0f} MiB")
    for name, (few, many) in found.items():
        middle, p95 = statistics.median(many), many[int(len(many) * 0.95)]
        ratio = middle / statistics.median(few)
        print(f"{name:>20}: p50 {middle * 1000:5.1f} ms, {ratio:4.2f} x that at a tenth; p95 {p95 * 1000:5.1f} ms")


def memory(process: psutil.Process) -> float:
    """Return the resident memory in MiB."""
    return float(process.memory_info().rss) / 2**20


if __name__ == "__main__":
    main()
