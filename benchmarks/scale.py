"""Thousands of assets on a real control plane, with the operator and its settings as shipped.

    python benchmarks/scale.py [--assets 10000] [--rate 50] [--crowd 5000] [--patches 100000]

etcd, API server, controllers and scheduler are real; kwok plays the pods, and this program writes the Results of their
transcoders. No root and no images are needed. What is measured and what is aimed at stand in the table it prints.
"""

import argparse
import asyncio
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_ROOT), str(_ROOT / "tests/support")]

import controlplane
import s3server
from controlplane import WORK
from mediaasset.assets import Key
from mediaasset.kube import Json, resource
from mediaasset.names import API_VERSION, ASSET_PLURAL
from mediaasset.task import Queue
from outside import Operator
from played import JOBS, PARALLEL, QUIET_SECONDS, Bench, opened, paced, reached
from polling import until
from uploads import per_asset, percentile

#: How many assets are made one after another to see what one takes, and at how few that is compared.
_SINGLES, _FEW = 10, 100


async def singles(bench: Bench) -> tuple[float, float]:
    """Make assets one after another; return the median seconds from creation to its Job, and CPU seconds of each."""
    await bench.quiet()
    began, seconds = bench.cpu(), []
    for _ in range(_SINGLES):
        started = time.monotonic()
        (key,) = await bench.make(1)
        await bench.all_ready([key])
        seconds.append(bench.jobs.waited(key, started))
    return statistics.median(seconds), (bench.cpu() - began) / _SINGLES


async def bare(bench: Bench, count: int, rate: float, template: Json) -> tuple[float, float]:
    """Create Jobs that no operator looks after, so many a second; return seconds and writes for each until Complete."""
    pod = {**template, "spec": {**template["spec"], "restartPolicy": "Never"}}
    names = [f"bare-{number}" for number in range(count)]
    remaining = iter(names)

    async def create() -> None:
        metadata = {"name": next(remaining), "namespace": WORK}
        body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": pod}}
        await bench.api.call("POST", JOBS, body)

    before, started = bench.writes(), time.monotonic()
    await paced(count, rate, create)
    await reached(lambda: len(bench.jobs.bare) >= count, lambda: f"{len(bench.jobs.bare)} of {count} Jobs are Complete")
    seconds = time.monotonic() - started
    await asyncio.sleep(QUIET_SECONDS)
    return seconds / count, sum(per_asset(bench.writes() - before, count).values())


def doubled(bench: Bench, wanted: list[Key]) -> int:
    """Return how many of these assets had another number of Jobs than one."""
    return sum(len(bench.jobs.begun[key]) != 1 for key in wanted)


def row(what: str, figure: str, aim: str) -> None:
    """Print a row of the table."""
    print(f"| {what} | {figure} | {aim} |", flush=True)


async def growth(bench: Bench, given: argparse.Namespace, template: Json) -> tuple[float, float]:
    """Let the number of assets grow, with a cap at which the operator is measured; return what one of a few takes."""
    row("memory at rest", f"{bench.memory():.0f} MiB", "")
    few = await bench.make(_FEW, rate=given.rate)
    await bench.all_ready(few)
    first, first_cpu = await singles(bench)
    floor, own_writes = await bare(bench, given.bare, given.rate, template)
    before, started, began = bench.writes(), time.monotonic(), bench.cpu()
    many = await bench.make(given.assets, rate=given.rate)
    created = time.monotonic() - started
    await bench.all_ready(many)
    each = (time.monotonic() - started) / len(many)
    row(f"{len(many)} assets, created in {created:.0f} s", f"all Ready, {1 / each:.1f} a second", "all Ready")
    row("  with another number of Jobs than one", str(doubled(bench, many)), "0")
    row(f"  seconds for each, against a bare Job ({1 / floor:.1f} a second)", f"{each / floor:.2f} x", "<= 1.20 x")
    await bench.quiet()
    row("  CPU time of the operator for each", f"{1000 * (bench.cpu() - began) / len(many):.0f} ms", "")
    made = per_asset(bench.writes() - before, len(many))
    print("  " + ", ".join(f"{name} {number:.2f}" for name, number in made.items()), file=sys.stderr)
    # The Job of an asset is ours, what becomes of it is Kubernetes' own.
    ours = sum(made.values()) - own_writes + 1
    row(f"API writes per asset, beside those of Kubernetes for its Job ({own_writes - 1:.1f})", f"{ours:.1f}", "<= 10")
    row(f"memory at {len(bench.assets.ready)} finished assets", f"{bench.memory():.0f} MiB", "< 150 MiB")
    return first, first_cpu


async def compare(bench: Bench, few: tuple[float, float], count: int) -> None:
    """Hold what one asset takes among so many against what it took among a few."""
    seconds, cpu = await singles(bench)
    row(f"creation to Job at {count} assets, against {_FEW}", f"{seconds / few[0]:.2f} x", "<= 1.3 x")
    row(f"  CPU time of the operator for each ({1000 * few[1]:.0f} ms)", f"{cpu / few[1]:.2f} x", "")


async def patches(bench: Bench, count: int) -> None:
    """Change annotations of finished assets, each of which the operator hears of."""
    if not count:
        return
    free, finished_ones = asyncio.Semaphore(PARALLEL), itertools.cycle(list(bench.assets.ready))

    async def patch() -> None:
        namespace, name = next(finished_ones)
        async with free:
            path = resource(API_VERSION, ASSET_PLURAL, namespace=namespace, name=name)
            await bench.api.call("PATCH", path, {"metadata": {"annotations": {"bench": str(time.monotonic())}}})

    sizes = [bench.memory()]
    for _ in range(4):
        for _ in range(max(count // 4 // 500, 1)):
            await paced(min(500, count // 4), 0, patch)
        await bench.quiet()
        sizes.append(bench.memory())
    slope = 1000 * (sizes[-1] - sizes[1]) / max(count * 3 / 4, 1)
    steps = ", ".join(f"{size:.0f}" for size in sizes)
    row(f"memory over {count} patches of finished assets ({steps} MiB)", f"{slope:+.2f} MiB per 1000", "0")


async def restart(bench: Bench, seeded: int) -> None:
    """Start the operator anew among all these assets, with new work that waits for it."""
    if bench.operator.stop():
        sys.exit(bench.operator.log[-4000:])
    await bench.seed(seeded, next(iter(bench.assets.ready)))
    before = await bench.versions()
    (key,) = await bench.make(1)
    started = time.monotonic()
    bench.operator.launch()
    await reached(lambda: bool(bench.jobs.begun[key]), lambda: "the new asset waits")
    seconds = bench.jobs.waited(key, started)
    await bench.all_ready([key])
    await until(alive(bench.operator), seconds=600)
    await bench.quiet()
    after = await bench.versions()
    row(f"restart with {len(before)} assets: until new work has its Job", f"{seconds:.1f} s", "< 15 s")
    row("  writes to the others", str(sum(after[uid] != version for uid, version in before.items())), "0")
    row("  memory after it", f"{bench.memory():.0f} MiB", "< 150 MiB")


def alive(operator: Operator) -> Callable[[], Awaitable[bool | None]]:
    """Return what asks whether the operator has seen everything."""

    async def ask() -> bool | None:
        return await asyncio.to_thread(operator.health) == HTTPStatus.OK or None

    return ask


async def crowd(bench: Bench, count: int, cap: int) -> None:
    """Create thousands of assets of a bulk import at once, and an upload in the middle."""
    if not count:
        return
    bench.jobs.most_active = len(bench.jobs.active)
    importing = asyncio.ensure_future(bench.make(count, namespace="bulk", queue=Queue.BATCH.value))
    await reached(lambda: len(bench.jobs.active) >= cap - 4, lambda: f"{len(bench.jobs.active)} Jobs run")
    started = time.monotonic()
    (upload,) = await bench.make(1)
    await bench.all_ready([upload])
    seconds = bench.assets.ready[upload] - started
    many = await importing
    await bench.all_ready(many)
    spans = [bench.assets.ready[key] - bench.jobs.waited(key, 0) for key in many]
    row(f"{count} of a bulk import at once: most Jobs at a time", str(bench.jobs.most_active), f"<= {cap}")
    row("  with another number of Jobs than one", str(doubled(bench, many)), "0")
    row(
        f"  an upload in the middle is Ready after {seconds:.1f} s, against a Job's p95",
        f"{seconds / percentile(spans, 95):.2f} x",
        "<= 1 x",
    )


async def main(given: argparse.Namespace, folder: Path, kubeconfig: Path, variables: dict[str, str]) -> None:
    """Measure and print."""
    template = controlplane.read(folder)
    wide = {"MEDIA_OPERATOR_MAX_ACTIVE_JOBS": str(given.cap)}
    print(f"| what ({given.assets} assets, {given.rate:g} a second) | figure | aim |\n|---|---|---|", flush=True)
    async with opened(kubeconfig, Operator(folder, variables)) as bench:
        try:
            bench.operator.launch(**wide)
            await until(alive(bench.operator), seconds=600)
            few = await growth(bench, given, template)
            await patches(bench, given.patches)
            await restart(bench, given.seeded)
            await compare(bench, few, len(await bench.versions()))
            await crowd(bench, given.crowd, int(variables["MEDIA_OPERATOR_MAX_ACTIVE_JOBS"]))
        finally:
            if bench.operator.runs:
                bench.operator.kill()


def run() -> None:
    """Read the arguments, and bring up what is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=50, help="assets a second")
    parser.add_argument("--bare", type=int, default=500, help="bare Jobs, for comparison")
    parser.add_argument("--cap", type=int, default=200, help="Jobs at once while assets come at that rate")
    parser.add_argument("--crowd", type=int, default=5_000, help="assets at once, under the cap of the chart")
    parser.add_argument(
        "--seeded", type=int, default=0, help="further finished assets for the restart, written as such"
    )
    parser.add_argument("--patches", type=int, default=100_000)
    parser.add_argument("--run-milliseconds", type=int, default=2_000, help="how long a pod is played")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="media-scale-") as name, s3server.start(Path(name) / "s3") as s3:
        folder = Path(name)
        s3.create_bucket("media")
        with controlplane.start(folder / "plane", given.run_milliseconds) as kubeconfig:
            variables = controlplane.environment(folder, kubeconfig, s3, "media")
            controlplane.prepare(kubeconfig, folder, ("shop", "bulk"))
            os.environ |= {"KUBECONFIG": str(kubeconfig), **s3.environment("media")}
            asyncio.run(main(given, folder, kubeconfig, variables))


if __name__ == "__main__":
    run()
