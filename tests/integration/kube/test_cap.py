"""Places are counted by what Jobs say of themselves: the whole history of them is held against the cap."""

import itertools

import pytest

from kubeclient import Json
from scene import JOBS, Scene, is_over

CAP = 2
NAMES = [f"photo{number}" for number in range(7)]
SETTINGS = {"MEDIA_OPERATOR_MAX_ACTIVE_JOBS": str(CAP), "MEDIA_OPERATOR_INTERACTIVE_RESERVED_JOBS": "0"}


def most_active(events: list[Json]) -> int:
    """Return how many Jobs there were at a time, at most, that were not over."""
    active, most = set[str](), 0
    for event in events:
        name = event["object"]["metadata"]["name"]
        if event["type"] == "DELETED" or is_over(event["object"]):
            active.discard(name)
        else:
            active.add(name)
        most = max(most, len(active))
    return most


@pytest.mark.parametrize("harm", ["none", "killed", "unheard"])
def test_there_are_never_more_jobs_than_the_cap(scene: Scene, harm: str) -> None:
    since = scene.kube.call("GET", JOBS)["metadata"]["resourceVersion"]
    scene.operator.start(**SETTINGS)
    if harm == "unheard":
        numbers = itertools.count()
        # Of every other Job and pod nobody says that it has ended.
        for pattern in ("/jobs$", "/pods$"):
            scene.api.spoil(pattern, lambda event: [] if event["type"] == "DELETED" and next(numbers) % 2 else [event])
    for name in NAMES:
        scene.create(name)
    if harm == "killed":
        # Whichever they are: some are done, some run, some wait.
        scene.until(lambda: sum("Ready" in scene.state(name) for name in NAMES) >= CAP)
        scene.operator.kill()
        scene.operator.start(**SETTINGS)
    for name in NAMES:
        scene.ready(name)
    assert most_active(scene.kube.history(JOBS, since)) == CAP
    scene.check()
