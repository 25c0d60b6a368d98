"""ProcessJobs with real processes: small programs stand where the transcoder stands, so that each end can be chosen."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from media_standalone.assets import SqliteAssets
from media_standalone.database import Database
from media_standalone.jobs import BACKOFF_LIMIT, KEPT, ProcessJobs
from media_standalone.process import Runner
from mediaasset.jobs import Job, JobPhase
from mediaasset.reasons import TABLE, Reason
from mediaasset.spec import MediaAsset, MediaAssetSpec, Metadata, ObjectSource
from mediaasset.spec import Source as SpecSource
from mediaasset.task import Progress, Source, Task
from polling import until

INTERRUPTED = TABLE[Reason.INTERRUPTED].exit_code
UNDECODABLE = TABLE[Reason.UNDECODABLE].exit_code
FOREVER = "import time\nwhile True: time.sleep(60)\n"


def task(uid: str = "uid-1", deadline_seconds: int = 60) -> Task:
    return Task(
        uid=uid,
        namespace="default",
        name=f"asset-of-{uid}",
        attempt=1,
        inputs_hash="aa",
        source=Source(key="uploads/default/one/00"),
        prefix="media/",
        document_prefix="private/",
        deadline_seconds=deadline_seconds,
    )


class World:
    """A data directory, the program that is run, and what its runs note down."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes = path / "notes"
        self.notes.touch()
        self.clock = datetime.now(UTC)
        self.woken: list[str] = []
        self.database: Database

    @asynccontextmanager
    async def jobs(self, program: str, *, slots: int = 2, grace: float = 5.0) -> AsyncIterator[ProcessJobs]:
        script = self.path / "program.py"
        # Each run first notes its name and process, in one write, so that runs side by side do not mix.
        script.write_text(
            "import json, os, signal, sys\n"
            f"with open({str(self.notes)!r}, 'a') as notes:\n"
            "    notes.write(json.dumps({'pod': os.environ['MEDIA_POD_NAME'], 'pid': os.getpid(),"
            " 'environment': dict(os.environ), 'cwd': os.getcwd()}) + '\\n')\n" + program
        )
        runner = Runner(
            store_url=(self.path / "store").as_uri(),
            scratch=self.path / "scratch",
            grace_seconds=grace,
            command=(sys.executable, str(script)),
        )
        self.database = await Database.open(self.path / "standalone.db")
        jobs = ProcessJobs(self.database, runner, self._wake, slots=slots, pause_seconds=0.01, now=lambda: self.clock)
        try:
            await jobs.resume()
            yield jobs
        finally:
            await jobs.close()
            await self.database.close()

    def _wake(self, namespace: str, name: str) -> None:
        self.woken.append(f"{namespace}/{name}")

    def runs(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.notes.read_text().splitlines()]

    async def started(self, count: int) -> list[dict[str, object]]:
        async def check() -> list[dict[str, object]] | None:
            runs = self.runs()
            return runs if len(runs) >= count else None

        return await until(check)

    def alive(self) -> list[psutil.Process]:
        """Return the processes that any run has started, by the scratch directory in their environment."""
        mark = str(self.path / "scratch")
        found = []
        for process in psutil.process_iter():
            try:
                if mark in process.environ().get("TMPDIR", "") and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def end_of(jobs: ProcessJobs, uid: str = "uid-1") -> Job:
    async def check() -> Job | None:
        (job,) = await jobs.of_asset(uid)
        return None if job.is_active else job

    return await until(check)


async def test_run_gets_its_task_and_little_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIA_TOKEN", "a-secret-of-ours")
    async with world.jobs("") as jobs:
        await jobs.create("job", task())
        job = await end_of(jobs)
    assert (job.phase, job.reason) == (JobPhase.SUCCEEDED, None)
    (run,) = world.runs()
    environment = run["environment"]
    assert isinstance(environment, dict)
    assert Task.from_json(environment["MEDIA_TASK"]) == task()
    assert environment["MEDIA_STORE_URL"] == (world.path / "store").as_uri()
    assert environment["MEDIA_DIE_WITH_PARENT"] == "1"
    assert environment["TMPDIR"] == run["cwd"] == str(world.path / "scratch" / environment["MEDIA_POD_NAME"])
    assert "a-secret-of-ours" not in environment.values()
    assert list((world.path / "scratch").iterdir()) == []
    assert world.woken == ["default/asset-of-uid-1"] * 3


async def test_failure_that_trying_again_cannot_help_runs_once(world: World) -> None:
    async with world.jobs(f"sys.exit({UNDECODABLE})") as jobs:
        await jobs.create("job", task())
        job = await end_of(jobs)
    assert (job.phase, job.reason, len(world.runs())) == (JobPhase.FAILED, Reason.UNDECODABLE, 1)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (f"sys.exit({INTERRUPTED})", Reason.INTERRUPTED),
        ("os.kill(os.getpid(), signal.SIGKILL)", Reason.INTERRUPTED),
        ("raise RuntimeError", Reason.INTERNAL),
    ],
)
async def test_failure_of_a_pod_is_run_again_as_the_same_job(world: World, program: str, reason: Reason) -> None:
    async with world.jobs(program) as jobs:
        await jobs.create("job", task())
        job = await end_of(jobs)
    assert (job.phase, job.reason) == (JobPhase.FAILED, reason)
    runs = world.runs()
    assert len(runs) == 1 + BACKOFF_LIMIT
    assert len({run["pod"] for run in runs}) == len(runs)


async def test_second_run_may_succeed(world: World) -> None:
    once = (
        f"import pathlib\nmark = pathlib.Path({str(world.path / 'mark')!r})\nif not mark.exists():\n    mark.touch()\n"
    )
    async with world.jobs(f"{once}    os.kill(os.getpid(), signal.SIGKILL)") as jobs:
        await jobs.create("job", task())
        assert (await end_of(jobs)).phase is JobPhase.SUCCEEDED
    assert len(world.runs()) == 2


@pytest.mark.parametrize("prepare", ["", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"], ids=["polite", "deaf"])
async def test_deadline_ends_a_run(world: World, prepare: str) -> None:
    async with world.jobs(prepare + FOREVER, grace=0.2) as jobs:
        await jobs.create("job", task(deadline_seconds=1))
        job = await end_of(jobs)
    assert (job.phase, job.reason, len(world.runs())) == (JobPhase.FAILED, Reason.DEADLINE_EXCEEDED, 1)
    assert world.alive() == []


async def test_stop_ends_the_whole_process_group_and_forgets_the_job(world: World) -> None:
    child = "import subprocess\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    deaf = 'signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint(\'{"stage": "deaf"}\', flush=True)\n'
    async with world.jobs(child + deaf + FOREVER, grace=0.2) as jobs:
        await jobs.create("job", task())
        await until(lambda: jobs.progress("uid-1"))
        assert len(world.alive()) == 2
        await jobs.stop("uid-1", "job")
        assert world.alive() == []
        assert await jobs.of_asset("uid-1") == ()
        assert list((world.path / "scratch").iterdir()) == []


async def test_no_more_run_at_once_than_there_are_slots(world: World) -> None:
    async with world.jobs(FOREVER, slots=2) as jobs:
        for number in range(4):
            await jobs.create(f"job-{number}", task(f"uid-{number}"))
        await world.started(2)
        phases = sorted(job.phase for job in await jobs.active())
        assert phases == [JobPhase.PENDING] * 2 + [JobPhase.RUNNING] * 2
        await jobs.stop("uid-0", "job-0")
        assert len(await world.started(3)) == 3
        assert len(world.alive()) == 2


async def test_job_that_was_cut_short_is_run_again_at_the_next_start(world: World) -> None:
    async with world.jobs(FOREVER) as jobs:
        await jobs.create("job", task())
        await world.started(1)
    assert world.alive() == []
    async with world.jobs("") as jobs:
        job = await end_of(jobs)
        rows = await world.database.rows("SELECT retries FROM jobs")
    assert (job.phase, len(world.runs()), rows[0]["retries"]) == (JobPhase.SUCCEEDED, 2, 0)


async def test_job_of_another_version_is_dropped_at_start(world: World) -> None:
    async with world.jobs(FOREVER) as jobs:
        await jobs.create("job", task())
        await world.started(1)
        async with world.database.transaction() as connection:
            await connection.execute("UPDATE jobs SET task = replace(task, '\"version\":1', '\"version\":99')")
    async with world.jobs(FOREVER) as jobs:
        assert await jobs.of_asset("uid-1") == ()
    assert len(world.runs()) == 1


async def test_finished_job_is_not_run_again(world: World) -> None:
    for _ in range(2):
        async with world.jobs("") as jobs:
            await jobs.create("job", task())
            assert (await end_of(jobs)).phase is JobPhase.SUCCEEDED
    assert len(world.runs()) == 1


async def test_progress_is_the_last_line_and_ends_with_the_run(world: World) -> None:
    lines = (
        "print('no json at all')\nprint('[1]')\nprint('x' * 300_000)\n"
        'print(\'{"stage": "probe"}\')\nprint(\'{"stage": "video", "percent": 42}\', flush=True)\n'
    )
    async with world.jobs(lines + FOREVER) as jobs:
        assert await jobs.progress("uid-1") is None
        await jobs.create("job", task())

        async def last() -> Progress | None:
            progress = await jobs.progress("uid-1")
            return progress if progress and progress.percent else None

        assert await until(last) == Progress(stage="video", percent=42.0)
        await jobs.stop("uid-1", "job")
        assert await jobs.progress("uid-1") is None


async def test_chatter_does_not_block_a_run(world: World) -> None:
    async with world.jobs(
        "for _ in range(100): sys.stderr.write('x' * 100_000); sys.stdout.write('y' * 100_000)"
    ) as jobs:
        await jobs.create("job", task())
        assert (await end_of(jobs)).phase is JobPhase.SUCCEEDED


async def test_finished_job_is_kept_for_a_time(world: World) -> None:
    async with world.jobs("") as jobs:
        await jobs.create("old", task("uid-1"))
        await end_of(jobs, "uid-1")
        world.clock += KEPT - timedelta(minutes=1)
        await jobs.create("new", task("uid-2"))
        await end_of(jobs, "uid-2")
        assert len(await jobs.of_asset("uid-1")) == 1
        world.clock += timedelta(minutes=2)
        await jobs.create("newer", task("uid-3"))
        await end_of(jobs, "uid-3")
        assert await jobs.of_asset("uid-1") == ()
        assert len(await jobs.of_asset("uid-2")) == 1


async def test_finished_job_goes_with_its_asset(world: World) -> None:
    async with world.jobs("") as jobs:
        assets = SqliteAssets(world.database, lambda *_: None)
        spec = MediaAssetSpec(source=SpecSource(object=ObjectSource(key="uploads/default/one/00")))
        asset = await assets.create(MediaAsset(metadata=Metadata(namespace="default", name="one"), spec=spec))
        await jobs.create("its", task(asset.metadata.uid))
        await end_of(jobs, asset.metadata.uid)
        await jobs.create("other", task("uid-2"))
        await end_of(jobs, "uid-2")
        await assets.delete("default", "one")
        await assets.release(asset)
        assert await jobs.of_asset(asset.metadata.uid) == ()
        assert len(await jobs.of_asset("uid-2")) == 1


async def test_run_that_cannot_start_is_an_internal_error(world: World) -> None:
    async with world.jobs("") as jobs:
        (world.path / "scratch").write_text("in the way")
        await jobs.create("job", task())
        job = await end_of(jobs)
    assert (job.phase, job.reason) == (JobPhase.FAILED, Reason.INTERNAL)
