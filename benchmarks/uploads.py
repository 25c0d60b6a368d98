"""Uploads and a thousand assets in a real cluster of our own, with the chart and its settings as shipped.

    python benchmarks/uploads.py [--photos 20] [--assets 1000]      as root, after `make images`

First photographs, one after another: seconds from the upload to Ready, where they go, and writes to the API server per
asset, beside those of a bare Job that does nothing. Then assets whose pods kwok only plays, while a helper writes what
their transcoders would: how many a second, and the memory of operator and ingest before and after.
"""

import argparse
import asyncio
import io
import itertools
import json
import os
import re
import secrets
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import psutil
from PIL import Image

_ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_ROOT), str(_ROOT / "tests/support")]

import installed
from cluster import Cluster, Json
from installed import WORK, Installed
from media_operator.manifest import finished
from mediaasset import keys
from mediaasset.kube import Api, connect, resource
from mediaasset.media import Kind
from mediaasset.names import API_VERSION, ASSET_KIND, ASSET_PLURAL
from mediaasset.task import TASK_VARIABLE, RenditionResult, RenditionState, Result, SourceInfo, Task

NAME = "media-bench"
KIND = _ROOT / "hack/cluster/kind"
PHOTO = _ROOT / "tests/data/photo.jpg"
#: What is written for an asset: by us, the Job controller and whoever writes Events. (Pods and leases are the nodes'.)
_COUNTED = re.compile(r"\w+ (mediaassets|jobs|events)\b")
#: Requests at once of what fills the cluster and of what plays the transcoders.
PARALLEL = 16


@contextmanager
def release(folder: Path) -> Iterator[Installed]:
    """Make a cluster, install the chart with its own settings, and remove all of it."""
    kubeconfig = folder / "kubeconfig"
    os.environ["KUBECONFIG"] = str(kubeconfig)
    kind("create", "cluster", "--name", NAME, "--kubeconfig", str(kubeconfig))
    try:
        facts = json.loads(kind("get", "facts", "--name", NAME))
        cluster = Cluster(kubeconfig, Path(facts["kubectl"]), load)
        yield installed.from_checkout(cluster, facts)
    finally:
        kind("delete", "cluster", "--name", NAME, "--kubeconfig", str(kubeconfig))


def kind(*arguments: str) -> str:
    """Run the command line of the local cluster; return what it prints."""
    return subprocess.run([str(KIND), *arguments], check=True, capture_output=True, text=True).stdout


def load(image: str) -> None:
    """Bring an image to the node."""
    kind("load", "docker-image", "--name", NAME, image)


def memory() -> dict[str, float]:
    """Return the resident memory of our programs in the cluster, in MiB, summed over their replicas."""
    found: Counter[str] = Counter()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            name = next((each for each in ("media_operator", "media_ingest") if each in process.cmdline()), None)
            if name:
                found[name] += process.memory_info().rss
    return {name: round(size / 2**20, 1) for name, size in sorted(found.items())}


def writes(media: Installed) -> Counter[str]:
    """Return how often each kind of write was asked of the API server, and granted, since it started."""
    return granted(media.cluster.kubectl("get", "--raw", "/metrics"))


def granted(metrics: str) -> Counter[str]:
    """Return the writes that the metrics of an API server tell of, by verb and resource."""
    found: Counter[str] = Counter()
    for labels, value in re.findall(r"^apiserver_request_total\{(.*)\} (\S+)$", metrics, re.MULTILINE):
        label = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if label["verb"] in {"POST", "PUT", "PATCH", "DELETE", "APPLY"} and label["code"].startswith("2"):
            path = "/".join(filter(None, (label["resource"], label["subresource"])))
            found[f"{label['verb']} {path}"] += int(float(value))
    return found


def per_asset(made: Counter[str], count: int) -> dict[str, float]:
    """Return those writes that are made for assets, for each of so many."""
    return {name: number / count for name, number in sorted(made.items()) if _COUNTED.match(name)}


def photographs(media: Installed, count: int) -> None:
    """Upload photographs one after another, each waited for."""
    before = writes(media)
    total = []
    steps: dict[str, list[float]] = {"upload": [], "until the Job": [], "Job": [], "until seen": []}
    for number in range(count):
        started = time.time()
        name = media.upload(PHOTO)["id"]
        answered = time.time()
        body = media.finished(name)
        seen = time.time()
        if body["status"] != "ready":
            sys.exit(f"{name} is {body['status']}: {body['error']}")
        status = media.asset(name)["status"]
        begun, ended = (datetime.fromisoformat(status[each]).timestamp() for each in ("startTime", "completionTime"))
        total.append(seen - started)
        moments = [started, answered, begun, ended, seen]
        for step, (first, then) in zip(steps.values(), itertools.pairwise(moments), strict=True):
            step.append(then - first)
        print(f"photograph {number + 1}: {total[-1]:.2f} s", file=sys.stderr)
    # The last Events and the ends of the last Jobs are written a moment later.
    time.sleep(5)
    ours = writes(media) - before
    median, bare = statistics.median(total), statistics.median(floor(media) for _ in range(5))
    print(f"upload to Ready, {count} photographs: p50 {median:.2f} s, p95 {percentile(total, 95):.2f} s")
    print("  of which (p50) " + ", ".join(f"{step} {statistics.median(all_):.2f} s" for step, all_ in steps.items()))
    print(f"  a bare Job until Complete: p50 {bare:.2f} s; upload to Ready takes {median / bare:.2f} of that")
    counted = per_asset(ours, count)
    print("API writes per photograph: " + ", ".join(f"{name} {number:.1f}" for name, number in counted.items()))


def floor(media: Installed) -> float:
    """Run a Job of the work namespace that does nothing; return the seconds until it is Complete."""
    name = f"bare-{secrets.token_hex(4)}"
    template = media.pod_template()
    container = {**template["spec"]["containers"][0], "command": ["/bin/true"], "args": []}
    spec = {**template["spec"], "containers": [container], "restartPolicy": "Never"}
    body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": WORK}}
    started = time.time()
    media.cluster.apply({**body, "spec": {"template": {"spec": spec}}})
    media.cluster.wait("job", name, "Complete", WORK)
    return time.time() - started


def percentile(values: list[float], percent: int) -> float:
    """Return a percentile of at least two values."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


async def crowd(media: Installed, count: int) -> None:
    """Create assets as fast as the API server takes them, and wait until all are Ready."""
    key = "uploads/shop/crowd/source"
    media.put(key, PHOTO.read_bytes())
    api = await connect()
    path = resource(API_VERSION, ASSET_PLURAL, namespace="shop")
    free = asyncio.Semaphore(PARALLEL)

    async def create(number: int) -> None:
        spec = {"source": {"object": {"key": key}}, "type": "Image", "visibility": "Public"}
        metadata = {"name": f"crowd-{number}", "namespace": "shop"}
        async with free:
            await api.call(
                "POST", path, {"apiVersion": API_VERSION, "kind": ASSET_KIND, "metadata": metadata, "spec": spec}
            )

    async with playing(media, api):
        started = time.monotonic()
        await asyncio.gather(*(create(number) for number in range(count)))
        created = time.monotonic() - started
        while (ready := await count_ready(api, path)) < count:
            print(f"{ready} of {count} are Ready after {time.monotonic() - started:.0f} s", file=sys.stderr)
            await asyncio.sleep(5)
        seconds = time.monotonic() - started
    await api.close()
    rate = count / seconds
    print(f"{count} assets, played: created in {created:.1f} s, all Ready in {seconds:.0f} s ({rate:.1f} a second)")


async def count_ready(api: Api, path: str) -> int:
    """Count the assets of the crowd that are Ready."""
    items = [
        item
        async for page in api.pages(path)
        for item in page["items"]
        if item["metadata"]["name"].startswith("crowd-")
    ]
    return sum(
        any(c["type"] == "Ready" and c["status"] == "True" for c in item.get("status", {}).get("conditions", ()))
        for item in items
    )


@asynccontextmanager
async def playing(media: Installed, api: Api) -> AsyncIterator[None]:
    """Write for each Job what its transcoder would: real renditions, and the Result after them."""
    path = resource("batch/v1", "jobs", namespace=WORK)
    client, picture = media.s3.client(), jpeg()
    free = asyncio.Semaphore(PARALLEL)
    tasks: set[asyncio.Task[None]] = set()

    def play(task: Task) -> None:
        digest = sha256(picture).hexdigest()
        made = []
        for rendition in task.renditions:
            if rendition.kind is Kind.IMAGE:
                key = keys.rendition(task.prefix, rendition.name, digest, "jpg")
                client.put_object(Bucket=media.bucket, Key=media.key(key), Body=picture, ContentType="image/jpeg")
                made.append(
                    RenditionResult(
                        name=rendition.name,
                        state=RenditionState.READY,
                        mime_type="image/jpeg",
                        size_bytes=len(picture),
                        width=64,
                        height=48,
                        key=key,
                        sha256=digest,
                    )
                )
        info = SourceInfo(
            type=Kind.IMAGE, mime_type="image/jpeg", size_bytes=len(picture), sha256=digest, width=64, height=48
        )
        result = Result(
            uid=task.uid, attempt=task.attempt, inputs_hash=task.inputs_hash, source_info=info, renditions=tuple(made)
        )
        media.put(keys.result(task.uid, task.attempt), result.to_json().encode())

    async def begin(job: Json) -> None:
        (container,) = job["spec"]["template"]["spec"]["containers"]
        text = next(each["value"] for each in container["env"] if each["name"] == TASK_VARIABLE)
        async with free:
            await asyncio.to_thread(play, Task.from_json(text))

    async def watch() -> None:
        # Version 0 begins with what is there; a Job that is over needs no more playing.
        async with api.watch(path, "0", seconds=3600) as events:
            async for event in events:
                if event["type"] == "ADDED" and finished(event["object"]) is None:
                    task = asyncio.create_task(begin(event["object"]))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, *tasks, return_exceptions=True)


def jpeg() -> bytes:
    """Return a small picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(buffer, "JPEG")
    return buffer.getvalue()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=20)
    parser.add_argument("--assets", type=int, default=1000)
    given = parser.parse_args()
    folder = _ROOT / ".cache/bench"
    folder.mkdir(parents=True, exist_ok=True)
    with release(folder) as media:
        print(f"memory at rest, MiB: {memory()}")
        photographs(media, given.photos)
        print(f"memory after them, MiB: {memory()}")
        if given.assets:
            kind("create", "fake-node", "--name", NAME)
            toleration = {"key": "kwok.x-k8s.io/node", "operator": "Exists"}
            fake = {"nodeSelector": {"type": "kwok"}, "tolerations": [toleration]}
            media.install({"transcoder": {**media.values["transcoder"], **fake}})
            asyncio.run(crowd(media, given.assets))
            print(f"memory after {given.assets} assets, MiB: {memory()}")


if __name__ == "__main__":
    main()
