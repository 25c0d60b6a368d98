"""A crowd that waits is let in as slots become free, at a cost that does not grow with the crowd."""

import asyncio

from making import NOW, WEB, make_asset
from media_operator.actions import StartJob
from media_operator.admission import Admission
from media_operator.admit import Caps
from media_operator.tasks import task_of
from mediaasset.jobs import Job, JobPhase
from mediaasset.task import Task
from planning import SETTINGS

CAP = 5


class Counted:
    """Jobs that count what is asked of them."""

    def __init__(self) -> None:
        self.running: dict[str, Job] = {}
        self.lists = 0

    async def create(self, name: str, task: Task) -> None:
        self.running[name] = Job(
            name=name,
            namespace=task.namespace,
            uid=task.uid,
            attempt=task.attempt,
            inputs_hash=task.inputs_hash,
            phase=JobPhase.RUNNING,
        )

    async def of_asset(self, uid: str) -> tuple[Job, ...]:
        return tuple(job for job in self.running.values() if job.uid == uid)

    async def active(self) -> tuple[Job, ...]:
        self.lists += 1
        return tuple(self.running.values())

    async def stop(self, uid: str, name: str) -> None:  # noqa: ARG002 - the signature is the port's
        del self.running[name]


def start_of(name: str) -> StartJob:
    return StartJob(f"job-{name}", task_of(make_asset(name=name, uid=name), WEB, 1, "hash", SETTINGS))


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
        await admission.ended([job.name])
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
    await admission.ended([job.name])
    assert woken == ["two"]


async def test_asset_that_has_nothing_to_start_any_more_does_not_hold_up_the_others() -> None:
    jobs, woken = Counted(), list[str]()
    admission = Admission(jobs, Caps(total=1), lambda _, name: woken.append(name), lambda: NOW)
    assert await admission.start(("shop", "one"), start_of("one"))
    for name in ("two", "three"):
        assert not await admission.start(("shop", name), start_of(name))
    admission.leave(("shop", "two"))
    job = jobs.running.pop("job-one")
    await admission.ended([job.name])
    assert woken == ["three"]


async def test_two_at_once_do_not_share_a_slot() -> None:
    jobs = Counted()
    admission = Admission(jobs, Caps(total=1), lambda *_: None, lambda: NOW)
    answers = await asyncio.gather(*(admission.start(("shop", name), start_of(name)) for name in ("one", "two")))
    assert sorted(answers) == [False, True]
    assert len(jobs.running) == 1
