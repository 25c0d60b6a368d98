"""What every adapter of the port `Jobs` keeps.

The Tasks here name a source that does not exist, so a transcoder ends them soon, with the reason of the table.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import pytest

from mediaasset.jobs import Job, JobPhase, Jobs, NameTakenError
from mediaasset.media import Kind
from mediaasset.names import job_name
from mediaasset.reasons import Reason
from mediaasset.task import Format, Queue, Rendition, Source, Task

Reopen = Callable[[], AbstractAsyncContextManager[Jobs]]


def task(uid: str = "uid-1", attempt: int = 1, inputs_hash: str = "aa") -> Task:
    return Task(
        uid=uid,
        namespace="default",
        name="one",
        attempt=attempt,
        inputs_hash=inputs_hash,
        source=Source(key="uploads/default/one/missing"),
        prefix=f"media/default/assets/{uid}/",
        document_prefix=f"private/default/assets/{uid}/",
        renditions=(Rendition(name="small", kind=Kind.IMAGE, format=Format.JPEG, width=32, height=32),),
        deadline_seconds=60,
    )


def name_of(work: Task) -> str:
    return job_name(work.uid, work.inputs_hash, work.attempt)


async def start(jobs: Jobs, work: Task) -> str:
    name = name_of(work)
    await jobs.create(name, work)
    return name


async def end_of(jobs: Jobs, work: Task) -> Job:
    async with asyncio.timeout(60):
        while True:
            job = next(job for job in await jobs.of_asset(work.uid) if job.name == name_of(work))
            if not job.is_active:
                return job
            await asyncio.sleep(0.05)


async def test_created_job_says_what_it_works_on(jobs: Jobs) -> None:
    name = await start(jobs, task())
    (job,) = await jobs.of_asset("uid-1")
    assert (job.name, job.namespace, job.uid, job.attempt, job.inputs_hash) == (name, "default", "uid-1", 1, "aa")


async def test_second_create_of_the_same_work_is_accepted(jobs: Jobs) -> None:
    await asyncio.gather(*(start(jobs, task()) for _ in range(4)))
    assert len(await jobs.of_asset("uid-1")) == 1
    await end_of(jobs, task())
    await start(jobs, task())
    assert [job.phase for job in await jobs.of_asset("uid-1")] == [JobPhase.FAILED]


@pytest.mark.parametrize("other", [replace(task(), uid="uid-2"), replace(task(), inputs_hash="bb")])
async def test_name_of_other_work_is_taken(jobs: Jobs, other: Task) -> None:
    name = await start(jobs, task())
    with pytest.raises(NameTakenError):
        await jobs.create(name, other)
    assert await jobs.of_asset("uid-2") == ()


async def test_job_survives_a_crash_of_its_creator(jobs: Jobs, reopen: Reopen) -> None:
    name = await start(jobs, task())
    async with reopen() as again:
        assert [job.name for job in await again.of_asset("uid-1")] == [name]


async def test_jobs_of_an_asset_are_all_of_it_and_none_of_another(jobs: Jobs) -> None:
    names = {await start(jobs, task(attempt=1)), await start(jobs, task(attempt=2))}
    await start(jobs, task(uid="uid-2"))
    assert {job.name for job in await jobs.of_asset("uid-1")} == names
    assert await jobs.of_asset("uid-3") == ()


async def test_failed_job_gives_the_reason_of_its_exit_code_and_is_no_longer_active(jobs: Jobs) -> None:
    await start(jobs, task())
    job = await end_of(jobs, task())
    assert (job.phase, job.reason) == (JobPhase.FAILED, Reason.SOURCE_NOT_FOUND)
    assert job.finished_at is not None
    assert await jobs.active() == ()


async def test_active_are_the_unfinished_ones_of_all_assets(jobs: Jobs) -> None:
    await start(jobs, task(uid="uid-1"))
    await start(jobs, task(uid="uid-2"))
    assert {job.uid for job in await jobs.active()} <= {"uid-1", "uid-2"}
    assert all(job.is_active for job in await jobs.active())
    await end_of(jobs, task(uid="uid-1"))
    await end_of(jobs, task(uid="uid-2"))
    assert await jobs.active() == ()


async def test_stopped_job_is_gone_and_stopping_it_again_is_fine(jobs: Jobs) -> None:
    name = await start(jobs, task())
    await jobs.stop("uid-1", name)
    assert await jobs.of_asset("uid-1") == ()
    assert await jobs.active() == ()
    await jobs.stop("uid-1", name)


async def test_job_of_another_asset_is_not_stopped(jobs: Jobs) -> None:
    name = await start(jobs, task())
    await jobs.stop("uid-2", name)
    assert [job.name for job in await jobs.of_asset("uid-1")] == [name]


async def test_job_that_the_asset_tells_of_is_found_and_so_is_one_that_has_not_succeeded(
    jobs: Jobs, reopen: Reopen
) -> None:
    name = await start(jobs, task())
    assert [job.name for job in await jobs.of_asset("uid-1", "")] == [name]
    await end_of(jobs, task())
    async with reopen() as again:
        for named in (name, "", "media-none-of-this-name"):
            assert [job.name for job in await again.of_asset("uid-1", named)] == [name]
        # A name that is another asset's is none of this one's.
        assert await again.of_asset("uid-2", name) == ()
    await jobs.stop("uid-1", name)
    assert await jobs.of_asset("uid-1", name) == ()


async def test_job_keeps_its_queue(jobs: Jobs) -> None:
    await start(jobs, replace(task(), queue=Queue.BATCH))
    await start(jobs, task(uid="uid-2"))
    assert [job.queue for job in await jobs.of_asset("uid-1")] == [Queue.BATCH]
    assert [job.queue for job in await jobs.of_asset("uid-2")] == [Queue.INTERACTIVE]
