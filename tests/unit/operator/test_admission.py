"""A crowd that waits is let in as slots become free, at a cost that does not grow with the crowd."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from making import NOW, WEB, make_asset
from media_operator.actions import StartJob
from media_operator.admission import Admission
from media_operator.admit import Caps
from media_operator.tasks import task_of
from mediaasset.jobs import Job, JobPhase, JobsError
from mediaasset.task import Queue, Task
from planning import SETTINGS

CAP = 5


class Counted:
    """Jobs that count what is asked of them."""

    def __init__(self) -> None:
        self.running: dict[str, Job] = {}
        self.lists = 0
        self.refuses = self.answers_nothing = False
        self.during_list: Any = None
        self.asked = asyncio.Event()

    async def create(self, name: str, task: Task) -> None:
        if self.refuses:
            raise JobsError(name)
        self.asked.set()
        # Others come in between.
        await asyncio.sleep(0)
        self.running[name] = Job(
            name=name,
            namespace=task.namespace,
            uid=task.uid,
            attempt=task.attempt,
            inputs_hash=task.inputs_hash,
            phase=JobPhase.RUNNING,
            queue=task.queue,
        )
        if self.answers_nothing:
            raise JobsError(name)

    async def of_asset(self, uid: str, named: str | None = None) -> tuple[Job, ...]:  # noqa: ARG002 - the port's
        return tuple(job for job in self.running.values() if job.uid == uid)

    async def active(self) -> tuple[Job, ...]:
        self.lists += 1
        found = tuple(self.running.values())
        if self.during_list is not None:
            happens, self.during_list = self.during_list, None
            await happens()
        return found

    async def stop(self, uid: str, name: str) -> None:  # noqa: ARG002 - the signature is the port's
        del self.running[name]


def start_of(name: str, queue: Queue = Queue.INTERACTIVE) -> StartJob:
    task = task_of(make_asset(name=name, uid=name), WEB, SETTINGS, attempt=1, inputs_hash="hash", renditions=())
    return StartJob(f"job-{name}", replace(task, queue=queue))


async def test_crowd_is_let_in_slot_by_slot_with_one_wake_for_each() -> None:
    jobs, woken = Counted(), list[str]()
    caps = Caps(total=CAP)
    admission = Admission(jobs, caps, lambda _, name: woken.append(name), lambda: NOW, fresh_seconds=3600)
    crowd = [f"a{number:03}" for number in range(300)]
    started = [name for name in crowd if await admission.start(("shop", name), start_of(name))]
    assert started == crowd[:CAP]
    # Nobody was woken in vain: no slot became free.
    assert woken == []
    while jobs.running:
        name, job = next(iter(jobs.running.items()))
        del jobs.running[name]
        woken.clear()
        admission.ended([job.name])
        assert len(woken) <= 1
        for each in list(woken):
            assert await admission.start(("shop", each), start_of(each))
            started.append(each)
        assert len(jobs.running) <= CAP
    assert started == crowd
    assert jobs.lists == 1


async def test_slot_of_an_asset_that_went_with_its_job_is_given_away() -> None:
    jobs, woken = Counted(), list[str]()
    admission = Admission(jobs, Caps(total=1), lambda _, name: woken.append(name), lambda: NOW, fresh_seconds=3600)
    assert await admission.start(("shop", "one"), start_of("one"))
    assert not await admission.start(("shop", "two"), start_of("two"))
    await jobs.stop("one", "job-one")
    await admission.gone(("shop", "one"))
    assert woken == ["two"]
    assert await admission.start(("shop", "two"), start_of("two"))


async def test_end_of_a_job_that_a_list_has_dropped_already_wakes_the_next() -> None:
    jobs, woken = Counted(), list[str]()
    admission = Admission(jobs, Caps(total=1), lambda _, name: woken.append(name), lambda: NOW)
    assert await admission.start(("shop", "one"), start_of("one"))
    assert not await admission.start(("shop", "two"), start_of("two"))
    job = jobs.running.pop("job-one")
    admission.leave(("shop", "three"))
    admission.ended([job.name])
    assert woken == ["two"]


async def test_asset_that_has_nothing_to_start_any_more_does_not_hold_up_the_others() -> None:
    jobs, woken = Counted(), list[str]()
    admission = Admission(jobs, Caps(total=1), lambda _, name: woken.append(name), lambda: NOW)
    assert await admission.start(("shop", "one"), start_of("one"))
    for name in ("two", "three"):
        assert not await admission.start(("shop", name), start_of(name))
    admission.leave(("shop", "two"))
    job = jobs.running.pop("job-one")
    admission.ended([job.name])
    assert woken == ["three"]


async def test_two_at_once_do_not_share_a_slot() -> None:
    jobs = Counted()
    admission = Admission(jobs, Caps(total=1), lambda *_: None, lambda: NOW)
    answers = await asyncio.gather(*(admission.start(("shop", name), start_of(name)) for name in ("one", "two")))
    assert sorted(answers) == [False, True]
    assert len(jobs.running) == 1


async def test_bulk_import_that_a_list_tells_of_leaves_a_place_for_an_upload() -> None:
    jobs = Counted()
    for number in range(3):
        start = start_of(f"bulk{number}", Queue.BATCH)
        await jobs.create(start.name, start.task)
    admission = Admission(jobs, Caps(total=4, reserved=1), lambda *_: None, lambda: NOW)
    assert not await admission.start(("shop", "more"), start_of("more", Queue.BATCH))
    assert await admission.start(("shop", "upload"), start_of("upload"))
    assert admission.line.length(Queue.BATCH) == 1


async def test_who_has_waited_longer_goes_first_also_when_he_comes_later() -> None:
    jobs, woken = Counted(), list[str]()
    admission = Admission(jobs, Caps(total=1), lambda _, name: woken.append(name), lambda: NOW, fresh_seconds=3600)
    assert await admission.start(("shop", "one"), start_of("one"))
    assert not await admission.start(("shop", "two"), start_of("two"))
    assert not await admission.start(("shop", "old"), start_of("old"), NOW - timedelta(hours=1))
    admission.ended(["job-one"])
    assert woken == ["old"]
    assert await admission.waits(("shop", "two"))
    assert not await admission.waits(("shop", "old"))
    assert not await admission.waits(("shop", "stranger"))


async def test_place_of_one_that_cannot_be_started_goes_to_the_next() -> None:
    jobs, woken = Counted(), list[str]()
    admission = Admission(jobs, Caps(total=1), lambda _, name: woken.append(name), lambda: NOW, fresh_seconds=3600)
    assert await admission.start(("shop", "one"), start_of("one"))
    for name in ("bad", "good"):
        assert not await admission.start(("shop", name), start_of(name))
    del jobs.running["job-one"]
    admission.ended(["job-one"])
    jobs.refuses = True
    with pytest.raises(JobsError):
        await admission.start(("shop", "bad"), start_of("bad"))
    assert woken == ["bad", "good"]
    jobs.refuses = False
    assert await admission.start(("shop", "good"), start_of("good"))


async def test_job_whose_creation_got_no_answer_is_counted() -> None:
    jobs = Counted()
    admission = Admission(jobs, Caps(total=1), lambda *_: None, lambda: NOW, fresh_seconds=3600)
    jobs.answers_nothing = True
    with pytest.raises(JobsError):
        await admission.start(("shop", "one"), start_of("one"))
    assert list(jobs.running) == ["job-one"]
    jobs.answers_nothing = False
    assert not await admission.start(("shop", "two"), start_of("two"))


async def test_job_that_begins_while_a_list_is_read_is_counted() -> None:
    jobs = Counted()
    admission = Admission(jobs, Caps(total=2), lambda *_: None, lambda: NOW)
    beginning: list[asyncio.Task[bool]] = []

    async def goes_on() -> None:
        await beginning[0]

    async def begin(name: str) -> bool:
        return await admission.start(("shop", name), start_of(name))

    # The first one has its place and waits for an answer, which comes while the second one reads the list without it.
    beginning.append(asyncio.create_task(begin("one")))
    await jobs.asked.wait()
    jobs.during_list = goes_on
    assert await begin("two")
    assert set(admission.active) == set(jobs.running) == {"job-one", "job-two"}
    assert not await begin("three")


async def test_end_that_is_told_while_a_list_is_read_is_not_undone_by_it() -> None:
    jobs = Counted()
    admission = Admission(jobs, Caps(total=1), lambda *_: None, lambda: NOW)
    assert await admission.start(("shop", "one"), start_of("one"))

    async def end() -> None:
        await jobs.stop("one", "job-one")
        admission.ended(["job-one"])

    jobs.during_list = end
    assert await admission.start(("shop", "two"), start_of("two"))


async def test_end_that_nobody_told_of_is_found_by_a_list_and_given_to_the_first_in_line() -> None:
    jobs, woken = Counted(), list[str]()
    admission = Admission(jobs, Caps(total=2), lambda _, name: woken.append(name), lambda: NOW)
    for name in ("one", "two"):
        assert await admission.start(("shop", name), start_of(name))
    assert not await admission.start(("shop", "three"), start_of("three"))
    await jobs.stop("one", "job-one")
    assert not await admission.start(("shop", "four"), start_of("four"))
    assert woken == ["three"]
