"""What is measured: the Jobs that a watch told of, and the queue of the loop."""

import asyncio
from typing import Any

from prometheus_client import REGISTRY

from making import WEB, make_asset
from media_operator import metrics
from media_operator.gauges import JobsSeen
from media_operator.loop import Loop, Urgency
from media_operator.manifest import manifest
from media_operator.tasks import task_of
from mediaasset.assets import AssetsError
from mediaasset.jobs import JobPhase
from mediaasset.reasons import MediaError, Reason
from planning import SETTINGS

TEMPLATE = {"spec": {"containers": [{"name": "transcoder", "image": "x"}]}}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def job(name: str, **status: Any) -> dict[str, Any]:
    task = task_of(make_asset(), WEB, SETTINGS, attempt=1, inputs_hash="hash", renditions=())
    return {**manifest(name, "work", task, TEMPLATE, ttl_seconds=3600), "status": status}


def over(kind: str) -> dict[str, Any]:
    return {"conditions": [{"type": kind, "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z"}]}


def test_jobs_are_counted_by_phase() -> None:
    clock = Clock()
    jobs = JobsSeen(clock)
    jobs.seen(job("a", ready=0))
    jobs.seen(job("b", ready=1))
    jobs.seen(job("c", ready=1))
    jobs.seen(job("d", **over("Failed")))
    assert jobs.phases() == {JobPhase.PENDING: 1, JobPhase.RUNNING: 2, JobPhase.FAILED: 1}
    jobs.seen(job("a", ready=1))
    jobs.seen(job("b"), is_gone=True)
    # It is told of no more once it has succeeded, but a list may show it.
    jobs.seen(job("c", **over("Complete")))
    # Somebody else's.
    jobs.seen({"metadata": {"name": "x"}})
    assert jobs.phases() == {JobPhase.RUNNING: 1, JobPhase.FAILED: 1}


def test_age_of_the_last_word_is_known() -> None:
    clock = Clock()
    jobs = JobsSeen(clock)
    jobs.seen(job("a", ready=1))
    assert jobs.silent_seconds() == 0
    clock.now = 11
    assert jobs.silent_seconds() == 11


async def test_loop_says_how_many_wait_and_for_how_long() -> None:
    running, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()
    looked_at = []

    async def reconcile(namespace: str, name: str) -> None:
        running.set()
        await go_on.wait()
        looked_at.append(name)
        if len(looked_at) == 3:
            done.set()

    async def nobody() -> tuple[()]:
        return ()

    loop = Loop(reconcile, nobody, workers=1)
    assert loop.waiting() == (0, 0.0)
    for name in ("a", "b", "c", "b"):
        loop.wake("shop", name)
    # To be urgent makes nobody younger.
    loop.wake("shop", "c", Urgency.MOVES)
    count, seconds = loop.waiting()
    assert count == 3
    assert seconds >= 0
    driving = asyncio.create_task(loop.run())
    await running.wait()
    assert loop.waiting()[0] == 2
    go_on.set()
    await done.wait()
    assert loop.waiting() == (0, 0.0)
    driving.cancel()
    await asyncio.wait([driving])


async def test_each_failure_is_counted_by_its_reason() -> None:
    errors = [AssetsError("away"), MediaError(Reason.STORE_UNAVAILABLE), KeyError("a bug")]
    done = asyncio.Event()

    async def reconcile(namespace: str, name: str) -> None:
        if not errors:
            done.set()
            return
        raise errors.pop(0)

    async def nobody() -> tuple[()]:
        return ()

    def counted() -> list[float]:
        names = ("AssetsError", "StoreUnavailable", "KeyError")
        name = "media_operator_reconcile_errors_total"
        return [REGISTRY.get_sample_value(name, {"reason": reason}) or 0 for reason in names]

    before, calls = counted(), REGISTRY.get_sample_value("media_operator_reconcile_seconds_count") or 0
    loop = Loop(reconcile, nobody, backoff_seconds=0.001)
    loop.wake("shop", "a")
    driving = asyncio.create_task(loop.run())
    await done.wait()
    driving.cancel()
    await asyncio.wait([driving])
    assert counted() == [each + 1 for each in before]
    assert (REGISTRY.get_sample_value("media_operator_reconcile_seconds_count") or 0) >= calls + 3


def test_requests_and_builds_are_told() -> None:
    labels = {"verb": "get", "resource": "mediaassets", "code": "200"}
    before = REGISTRY.get_sample_value("media_operator_api_requests_total", labels) or 0
    metrics.requested("get", "mediaassets", 200)
    assert REGISTRY.get_sample_value("media_operator_api_requests_total", labels) == before + 1
