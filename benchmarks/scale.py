"""Thousands of assets on a real control plane, with the operator and its settings as shipped.

    python benchmarks/scale.py [--assets 10000] [--rate 50] [--crowd 5000] [--patches 100000]

etcd, API server, controllers and scheduler are real; kwok plays the pods, and this program writes the Results of their
transcoders. No root and no images are needed. What is measured and what is aimed at stand in the table it prints.
"""

import argparse
import asyncio
import bisect
import itertools
import os
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
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
from uploads import per_asset

#: How many assets are made one after another to see what one takes, and at how few that is compared.
_SINGLES, _FEW = 10, 100
#: Uploads in the middle of a bulk import, and how many of that are to be Ready after the operator was killed.
_UPLOADS, _AFTER_KILL = 5, 100
#: Writes per asset that are but the difference of two measurements.
_NOISE = 0.05


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


async def bare(bench: Bench, count: int, rate: float, template: Json) -> tuple[float, Counter[str]]:
    """Create Jobs that no operator looks after, so many a second; return seconds for each, and the writes of all."""
    pod = {**template, "spec": {**template["spec"], "restartPolicy": "Never"}}
    earlier = len(bench.jobs.bare)
    remaining = (f"bare-{earlier + number}" for number in range(count))

    async def create() -> None:
        metadata = {"name": next(remaining), "namespace": WORK}
        body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": pod}}
        await bench.ask("POST", JOBS, body)

    before, started = bench.writes(), time.monotonic()
    await paced(count, rate, create)
    await reached(
        lambda: len(bench.jobs.bare) >= earlier + count,
        lambda: f"{len(bench.jobs.bare) - earlier} of {count} Jobs are Complete",
    )
    seconds = time.monotonic() - started
    await asyncio.sleep(QUIET_SECONDS)
    return seconds / count, bench.writes() - before


def doubled(bench: Bench, wanted: list[Key]) -> int:
    """Return how many of these assets had another number of Jobs than one."""
    return sum(len(bench.jobs.begun[key]) != 1 for key in wanted)


def behind(bench: Bench, wanted: list[Key]) -> float:
    """Return the largest part of the Jobs that were over at a moment by which Ready assets were fewer than they."""
    over = sorted(bench.jobs.over[name] for key in wanted for name in bench.jobs.begun[key])
    ready = sorted(bench.assets.ready[key] for key in wanted)
    lags = [1 - bisect.bisect_right(ready, moment) / count for count, moment in enumerate(over, 1)]
    # Of the first few each one is a large part.
    return max(lags[len(lags) // 20 :])


def late(bench: Bench, wanted: list[Key]) -> float:
    """Return the writes per asset that Kubernetes makes for its Job once it is Ready: statuses, and one Event."""
    jobs = [(name, bench.assets.ready[key]) for key in wanted for name in bench.jobs.begun[key]]
    statuses = sum(moment > ready for name, ready in jobs for moment in bench.jobs.updates[name])
    return (statuses + sum(bench.jobs.over[name] > ready for name, ready in jobs)) / len(wanted)


class Table:
    """The figures and their aims. What is counted has to be met; a time may be that of a busy machine."""

    def __init__(self, title: str) -> None:
        """Begin with a title."""
        self.missed: list[str] = []
        print(f"| {title} | figure | aim |\n|---|---|---|", flush=True)

    def row(self, what: str, figure: str, aim: str = "") -> None:
        """Print a row."""
        print(f"| {what} | {figure} | {aim} |", flush=True)

    def count(self, what: str, number: int, most: int) -> None:
        """Print a number that must not be greater than another."""
        self.row(what, str(number), f"<= {most}" if most else "0")
        if number > most:
            self.missed.append(what.strip())


async def growth(table: Table, bench: Bench, given: argparse.Namespace, template: Json) -> tuple[float, float]:
    """Let the number of assets grow, with a cap at which the operator is measured; return what one of a few takes."""
    table.row("memory at rest", f"{bench.memory():.0f} MiB")
    few = await bench.make(_FEW, rate=given.rate)
    await bench.all_ready(few)
    first = await singles(bench)
    floor, floor_writes = await bare(bench, given.bare, given.rate, template)
    bench.jobs.most_active = 0
    before, started, began = bench.writes(), time.monotonic(), bench.cpu()
    many = await bench.make(given.assets, rate=given.rate)
    created = time.monotonic() - started
    await bench.all_ready(many)
    each = (time.monotonic() - started) / len(many)
    table.row(f"{len(many)} assets, created in {created:.0f} s", f"all Ready, {1 / each:.1f} a second", "all Ready")
    table.count("  with another number of Jobs than one", doubled(bench, many), 0)
    table.count("  most Jobs at a time", bench.jobs.most_active, given.cap)
    await reached(lambda: not bench.jobs.active, lambda: f"{len(bench.jobs.active)} Jobs run")
    await bench.quiet()
    table.row("  Ready assets behind complete Jobs, at worst", f"{100 * max(behind(bench, many), 0):.0f} %", "<= 20 %")
    table.row("  CPU time of the operator for each", f"{1000 * (bench.cpu() - began) / len(many):.0f} ms", "<= 20 ms")
    made = per_asset(bench.writes() - before, len(many))
    writes(table, made, per_asset(floor_writes, given.bare))
    table.row("  of those until it is Ready", f"{sum(made.values()) - late(bench, many):.1f}", "<= 10")
    table.row(f"memory at {len(bench.assets.ready)} finished assets", f"{bench.memory():.0f} MiB", "< 150 MiB")
    # The more there is in the API server, the longer it takes for each write.
    last, _ = await bare(bench, given.bare, given.rate, template)
    what = f"seconds for each, against a bare Job ({1 / floor:.1f} a second before, {1 / last:.1f} after)"
    table.row(what, f"{2 * each / (floor + last):.2f} x", "<= 1.20 x")
    return first


def writes(table: Table, made: dict[str, float], floor: dict[str, float]) -> None:
    """Tell the writes for an asset from those that Kubernetes makes for any Job, with which each of us begins."""
    ours = {name: number - (floor.get(name, 0) if name != "POST jobs" else 0) for name, number in made.items()}
    said = ", ".join(f"{name} {number:.1f}" for name, number in ours.items() if number > _NOISE)
    table.row(f"API writes per asset, Events counted ({said})", f"{sum(ours.values()):.1f}")
    said = ", ".join(f"{name} {number:.1f}" for name, number in floor.items() if name != "POST jobs")
    table.row(f"  with those of Kubernetes for its Job ({said})", f"{sum(made.values()):.1f}")


async def compare(table: Table, bench: Bench, few: tuple[float, float], count: int) -> None:
    """Hold what one asset takes among so many against what it took among a few."""
    seconds, cpu = await singles(bench)
    table.row(f"creation to Job at {count} assets, against {_FEW}", f"{seconds / few[0]:.2f} x", "<= 1.3 x")
    table.row(f"  CPU time of the operator for each ({1000 * few[1]:.0f} ms)", f"{cpu / few[1]:.2f} x", "")


async def patches(table: Table, bench: Bench, count: int) -> None:
    """Change annotations of finished assets, each of which the operator hears of."""
    if not count:
        return
    free, finished_ones = asyncio.Semaphore(PARALLEL), itertools.cycle(list(bench.assets.ready))

    async def patch() -> None:
        namespace, name = next(finished_ones)
        async with free:
            path = resource(API_VERSION, ASSET_PLURAL, namespace=namespace, name=name)
            await bench.ask("PATCH", path, {"metadata": {"annotations": {"bench": str(time.monotonic())}}})

    sizes = [bench.memory()]
    for _ in range(4):
        for _ in range(max(count // 4 // 500, 1)):
            await paced(min(500, count // 4), 0, patch)
        await bench.quiet()
        sizes.append(bench.memory())
    slope = 1000 * (sizes[-1] - sizes[1]) / max(count * 3 / 4, 1)
    steps = ", ".join(f"{size:.0f}" for size in sizes)
    table.row(f"memory over {count} patches of finished assets ({steps} MiB)", f"{slope:+.2f} MiB per 1000", "0")


async def restart(table: Table, bench: Bench, seeded: int) -> None:
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
    table.row(f"restart with {len(before)} assets: until new work has its Job", f"{seconds:.1f} s", "< 15 s")
    table.count("  writes to the others", sum(after[uid] != version for uid, version in before.items()), 0)
    table.row("  memory after it", f"{bench.memory():.0f} MiB", "< 150 MiB")


def alive(operator: Operator) -> Callable[[], Awaitable[bool | None]]:
    """Return what asks whether the operator has seen everything."""

    async def ask() -> bool | None:
        return await asyncio.to_thread(operator.health) == HTTPStatus.OK or None

    return ask


async def crowd(table: Table, bench: Bench, count: int, cap: int, wide: dict[str, str]) -> None:
    """Create thousands of assets of a bulk import at once, uploads in the middle, and a new operator after a kill.

    The cap is that of the chart as long as it is looked at; then the rest is done with a wide one.
    """
    if not count:
        return
    bench.jobs.most_active = len(bench.jobs.active)
    importing = asyncio.ensure_future(bench.make(count, namespace="bulk", queue=Queue.BATCH.value))
    await reached(lambda: len(bench.jobs.active) >= cap - 4, lambda: f"{len(bench.jobs.active)} Jobs run")
    waited = []
    for _ in range(_UPLOADS):
        started = time.monotonic()
        (upload,) = await bench.make(1)
        await bench.all_ready([upload])
        waited.append(bench.assets.ready[upload] - started)
    many = await importing
    bench.operator.kill()
    bench.operator.launch()
    enough = min(len(many), bench.ready(many) + _AFTER_KILL)
    await reached(lambda: bench.ready(many) >= enough, lambda: f"{bench.ready(many)} of {enough} are Ready")
    what = f"{count} of a bulk import at once, the operator killed in the middle: most Jobs at a time"
    table.count(what, bench.jobs.most_active, cap)
    median, spans = statistics.median(waited), sorted(bench.jobs.seconds.values())
    job = statistics.median(spans)
    table.row(
        f"  an upload in the middle is Ready after {median:.1f} s (of {_UPLOADS}), against a Job ({job:.1f} s)",
        f"{median / job:.2f} x",
        "<= 1 x",
    )
    bench.operator.kill()
    bench.operator.launch(**wide)
    await bench.all_ready(many)
    table.count("  with another number of Jobs than one", doubled(bench, many), 0)


async def main(given: argparse.Namespace, folder: Path, kubeconfig: Path, variables: dict[str, str]) -> list[str]:
    """Measure and print; return what has to be met and is not."""
    template = controlplane.read(folder)
    wide = {"MEDIA_OPERATOR_MAX_ACTIVE_JOBS": str(given.cap)}
    table = Table(f"what ({given.assets} assets, {given.rate:g} a second)")
    async with opened(kubeconfig, Operator(folder, variables)) as bench:
        try:
            bench.operator.launch(**wide)
            await until(alive(bench.operator), seconds=600)
            few = await growth(table, bench, given, template)
            await patches(table, bench, given.patches)
            await restart(table, bench, given.seeded)
            await compare(table, bench, few, len(await bench.versions()))
            await crowd(table, bench, given.crowd, int(variables["MEDIA_OPERATOR_MAX_ACTIVE_JOBS"]), wide)
        finally:
            if bench.operator.runs:
                bench.operator.kill()
    return table.missed


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
    # What was started is ended then too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="media-scale-") as name, s3server.start(Path(name) / "s3") as s3:
        folder = Path(name)
        s3.create_bucket("media")
        with controlplane.start(folder / "plane", given.run_milliseconds) as kubeconfig:
            variables = controlplane.environment(folder, kubeconfig, s3, "media")
            controlplane.prepare(kubeconfig, folder, ("shop", "bulk"))
            os.environ |= {"KUBECONFIG": str(kubeconfig), **s3.environment("media")}
            missed = asyncio.run(main(given, folder, kubeconfig, variables))
    if missed:
        sys.exit(f"not met: {'; '.join(missed)}")


if __name__ == "__main__":
    run()
