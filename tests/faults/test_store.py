"""The store is slow, refuses or is gone: assets wait for it, and none is told that it failed."""

import time

import pytest

from golden import Golden
from httpproxy import Refusal
from scene import Scene

#: How long the store is away, in seconds; the long form's is what operators of clusters call an outage.
OUTAGES = [pytest.param(8, id="short"), pytest.param(120, id="long", marks=pytest.mark.long)]
#: As S3 says that it is busy, which clients are to take for a reason to wait.
SLOW_DOWN = Refusal("GET|HEAD|PUT|POST|DELETE", "", 503, b"<Error><Code>SlowDown</Code></Error>")


@pytest.mark.long
def test_a_slow_store_only_takes_longer(scene: Scene, golden: Golden) -> None:
    scene.operator.start()
    scene.store.delay = 0.5
    golden.holds(scene)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seconds", OUTAGES)
@pytest.mark.parametrize("is_gone", [True, False], ids=["gone", "busy"])
def test_a_store_that_is_away_is_waited_for(scene: Scene, seconds: int, *, is_gone: bool) -> None:
    scene.operator.start()
    for name in ("ready", "moved", "deleted"):
        scene.create(name)
        scene.ready(name)
    scene.store.gone = is_gone
    refusal = None if is_gone else scene.store.refuse(SLOW_DOWN)
    scene.create("new")
    scene.change("moved", visibility="Private")
    scene.delete("deleted")
    over = time.monotonic() + seconds
    scene.until(lambda: time.monotonic() > over, seconds=2 * seconds)
    # Nothing was given up meanwhile, and what was finished stays so.
    assert scene.state("ready") == {"Ready": "Ready", "Published": "Ready"}
    assert scene.asset("deleted")
    assert scene.operator.health() == 200
    scene.store.gone = False
    if refusal:
        scene.store.accept(refusal)
    # The client of the store tries for 30 s, and the longest pause between two reconciles is a minute.
    for name in ("new", "moved"):
        status = scene.ready(name, seconds=180)["status"]
        assert (status["attempt"], status["failedAttempts"]) == (1, 0)
    scene.gone("deleted")
    assert scene.bucket.keys(f"media/shop/assets/{scene.uids['moved']}/") == []
    assert scene.bucket.keys("uploads/shop/deleted/") == []
