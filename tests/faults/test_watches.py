"""What a watch does not tell, tells wrongly, or tells too late: everything is found, and nothing is undone."""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import pytest

import apiproxy
from golden import Golden
from kubeclient import Json
from scene import JOBS, Scene

KINDS = {"mediaassets": "/mediaassets$", "jobs": "/jobs$", "pods": "/pods$"}
#: How many events each watch has in the golden run, at least.
EVENTS = {"mediaassets": 12, "jobs": 10, "pods": 8}
ERRORS = {
    "leader": apiproxy.failure(500, "InternalError", "etcdserver: leader changed"),
    "unavailable": apiproxy.failure(503, "ServiceUnavailable", "apiserver not ready"),
    "too-many": apiproxy.failure(429, "TooManyRequests", "slow down"),
    "unknown": {"kind": "Status", "status": "Failure", "message": "no code, no reason", "code": 0},
}


def short(first: object, names: Iterable[object]) -> list[Any]:
    """Return parameters of which only the first is part of the short form."""
    return [pytest.param(name, marks=[] if name == first else pytest.mark.long) for name in names]


def lose(number: int) -> tuple[Callable[[Json], list[Json]], list[Json]]:
    """Return what loses the event of this number of a watch, and where the lost one will be."""
    counter, lost = itertools.count(1), list[Json]()

    def spoil(event: Json) -> list[Json]:
        if event["type"] != "BOOKMARK" and next(counter) == number:
            lost.append(event)
            return []
        return [event]

    return spoil, lost


@pytest.mark.parametrize("number", short(1, range(1, max(EVENTS.values()) + 1)))
def test_events_that_never_come_are_not_needed(scene: Scene, golden: Golden, number: int) -> None:
    """Of each watch the one of this number, in one run: whoever finds all of them without it finds each."""
    scene.operator.start()
    spoiled = {kind: lose(number) for kind, count in EVENTS.items() if number <= count}
    for kind, (spoil, _) in spoiled.items():
        scene.api.spoil(KINDS[kind], spoil)
    golden.holds(scene)
    assert all(lost for _, lost in spoiled.values())


def test_events_that_come_twice_and_late_change_nothing(scene: Scene, golden: Golden) -> None:
    def repeat(old: list[Json]) -> Callable[[Json], list[Json]]:
        def replay(event: Json) -> list[Json]:
            if event["type"] == "BOOKMARK":
                return [event]
            old.append(event)
            return [event, *old]

        return replay

    scene.operator.start()
    told: dict[str, list[Json]] = {kind: [] for kind in KINDS}
    for kind, old in told.items():
        scene.api.spoil(KINDS[kind], repeat(old))
    golden.holds(scene)
    assert all(told.values())


@pytest.mark.long
def test_watches_that_fall_silent_are_done_without(scene: Scene, golden: Golden) -> None:
    scene.operator.start()
    for pattern in KINDS.values():
        scene.api.mute(pattern)
    golden.holds(scene)


@pytest.mark.parametrize("error", short("leader", ERRORS))
def test_an_error_on_a_watch_is_survived(scene: Scene, error: str) -> None:
    scene.operator.start()
    for kind, pattern in KINDS.items():
        scene.until(lambda pattern=pattern: scene.api.watches(pattern))  # type: ignore[misc]
        assert scene.api.expire(pattern, ERRORS[error])
        scene.create(kind)
        scene.ready(kind)
    # Perhaps of another process: Kopf gives up at such an error.
    scene.until(lambda: all(map(scene.api.watches, KINDS.values())) and scene.operator.health() == 200)


def test_a_job_deleted_between_two_lists_is_missed(scene: Scene) -> None:
    scene.kubelet.work = scene.kubelet.waiting
    scene.operator.start()
    scene.create("photo")
    # Before, it would not be known that there was an attempt.
    scene.until(lambda: scene.state("photo").get("Ready=False") == "Transcoding")
    (job,) = scene.jobs("photo")
    for pattern in KINDS.values():
        scene.api.mute(pattern)
    scene.kube.call("DELETE", f"{JOBS}/{job['metadata']['name']}", {"propagationPolicy": "Background"})
    scene.until(lambda: not any(each["metadata"]["uid"] == job["metadata"]["uid"] for each in scene.jobs("photo")))
    scene.kubelet.work = scene.kubelet.render
    for pattern in KINDS.values():
        assert scene.api.expire(pattern)
    assert scene.ready("photo")["status"]["attempt"] == 2


def test_an_asset_deleted_between_two_lists_leaves_nothing(scene: Scene) -> None:
    scene.operator.start()
    scene.create("photo")
    scene.ready("photo")
    for pattern in KINDS.values():
        scene.api.mute(pattern)
    scene.delete("photo")
    for pattern in KINDS.values():
        assert scene.api.expire(pattern)
    scene.gone("photo")
    assert scene.bucket.keys() == ["tombstones/shop/photo.json"]


@pytest.mark.long
def test_a_list_from_before_there_was_a_job_leads_to_no_second_one(scene: Scene) -> None:
    scene.kubelet.work = scene.kubelet.waiting
    scene.api.freeze(KINDS["jobs"])
    scene.operator.start()
    scene.create("photo")
    scene.until(lambda: scene.state("photo").get("Ready=False") == "Transcoding")
    scene.operator.kill()
    for kind in ("jobs", "pods"):
        scene.api.mute(KINDS[kind])
    scene.operator.start()
    scene.create("other")
    scene.until(lambda: scene.state("other").get("Ready=False") == "Transcoding")
    assert all('"items":[]' in each.replace(" ", "") for each in scene.api.frozen(KINDS["jobs"]))
    scene.kubelet.work = scene.kubelet.render
    for name in ("photo", "other"):
        assert scene.ready(name)["status"]["attempt"] == 1
        assert len(scene.jobs(name)) == 1


def test_a_list_from_before_a_deletion_harms_nobody_of_the_same_name(scene: Scene) -> None:
    scene.operator.start()
    scene.create("photo")
    scene.ready("photo")
    scene.operator.kill()
    scene.delete("photo")
    # From now on every list is the first one, in which the asset is being deleted.
    scene.api.freeze(KINDS["mediaassets"])
    scene.operator.start()
    scene.gone("photo")
    scene.operator.kill()
    old = scene.uids["photo"]
    scene.create("photo")
    done = len(scene.writes())
    scene.api.mute(KINDS["mediaassets"])
    scene.operator.launch()
    assert scene.ready("photo")["status"]["attempt"] == 1
    lists = scene.api.frozen(KINDS["mediaassets"])
    assert lists
    assert all(old in each and "deletionTimestamp" in each for each in lists)
    assert not [write for write in scene.writes()[done:] if write.startswith("DELETE")]
    scene.api.thaw(KINDS["mediaassets"])
    scene.api.cut(KINDS["mediaassets"])
    scene.delete("photo")
    scene.gone("photo")
