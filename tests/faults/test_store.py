"""The store is slow, refuses or is gone: assets wait for it, and none is told that it failed."""

import time

import pytest

from golden import Golden
from httpproxy import Refusal
from scene import Scene

#: How long the store is away, in seconds; the long form's is what operators of clusters call an outage.
SHORT, LONG = 8, 120
AWAY = [
    pytest.param("gone", SHORT, id="gone"),
    pytest.param("gone", LONG, id="gone-long", marks=pytest.mark.long),
    pytest.param("busy", SHORT, id="busy", marks=pytest.mark.long),
    pytest.param("hangs", SHORT, id="hangs", marks=pytest.mark.long),
    pytest.param("forbidden", SHORT, id="forbidden"),
]
EVERYTHING = "GET|HEAD|PUT|POST|DELETE"
REFUSALS = {
    # As S3 says that it is busy, which clients are to take for a reason to wait.
    "busy": Refusal(EVERYTHING, "", 503, b"<Error><Code>SlowDown</Code></Error>"),
    "forbidden": Refusal(EVERYTHING, "", 403, b"<Error><Code>AccessDenied</Code></Error>"),
}


@pytest.mark.long
def test_a_slow_store_only_takes_longer(scene: Scene, golden: Golden) -> None:
    scene.operator.start()
    scene.store.delay = 0.5
    golden.holds(scene)


def reason_of(scene: Scene, name: str) -> str | None:
    """Return why an asset is not Ready, of whatever generation."""
    conditions = (scene.asset(name) or {}).get("status", {}).get("conditions", ())
    return next((each["reason"] for each in conditions if (each["type"], each["status"]) == ("Ready", "False")), None)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("how", "seconds"), AWAY)
def test_a_store_that_is_away_is_waited_for(scene: Scene, how: str, seconds: int) -> None:
    # A request that is not answered is given up sooner than the 30 s of an installation.
    scene.operator.start(AWS_TIMEOUT="1 second")
    for name in ("ready", "moved", "deleted"):
        scene.create(name)
        scene.ready(name)
    scene.store.gone, scene.store.hangs = how == "gone", how == "hangs"
    refusal = scene.store.refuse(REFUSALS[how]) if how in REFUSALS else None
    scene.create("new")
    scene.change("moved", visibility="Private")
    scene.delete("deleted")
    over = time.monotonic() + seconds
    scene.until(lambda: time.monotonic() > over, seconds=2 * seconds)
    # Whoever waits for it is told why, nothing was given up meanwhile, and what was finished stays so.
    said = "StoreForbidden" if how == "forbidden" else "StoreUnavailable"
    scene.until(lambda: reason_of(scene, "new") == said)
    scene.until(lambda: reason_of(scene, "deleted") == "Deleting")
    assert scene.state("ready") == {"Ready": "Ready", "Published": "Ready"}
    assert scene.operator.health() == 200
    scene.store.gone = scene.store.hangs = False
    if refusal:
        scene.store.accept(refusal)
    # The client of the store tries for 30 s, and the longest pause between two reconciles is a minute.
    for name in ("new", "moved"):
        status = scene.ready(name, seconds=180)["status"]
        assert (status["attempt"], status["failedAttempts"]) == (1, 0)
    scene.gone("deleted")
    assert scene.bucket.keys(f"media/shop/assets/{scene.uids['moved']}/") == []
    assert scene.bucket.keys("uploads/shop/deleted/") == []
