"""The API server refuses, for a while: whatever it says, and whether or not it did what it was asked."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import apiproxy
import scene as scenes
from golden import Golden
from httpproxy import Refusal
from mediaasset.kube import REQUEST_TIMEOUT
from outside import Operator
from scene import Pod, Scene, Servers

WRITES, ALL = "POST|PUT|PATCH|DELETE", "GET|POST|PUT|PATCH|DELETE"
#: How long the long form lets two operators work, and the server say that it is asked too much, in seconds; whatever
#: else it says is treated alike, and a shorter time has as many tries in it as matter.
OUTAGE, SHORT_OUTAGE = 60, 10
REFUSALS = {
    "conflict": (409, apiproxy.failure(409, "Conflict", "the object has been modified"), {}),
    "invalid": (422, apiproxy.failure(422, "Invalid", "it is invalid today"), {}),
    "too-many": (429, apiproxy.failure(429, "TooManyRequests", "slow down"), {"Retry-After": "1"}),
    "internal": (500, apiproxy.failure(500, "InternalError", "etcdserver: request timed out"), {}),
    "unavailable": (503, apiproxy.failure(503, "ServiceUnavailable", "not ready"), {}),
    "forbidden": (403, apiproxy.failure(403, "Forbidden", "the authorizer is not ready"), {}),
    "page": (502, "<html>bad gateway</html>", {}),
}
SHORT = {"conflict"}


def refusal(name: str, methods: str, pattern: str = "", *, times: int | None = None, late: bool = False) -> Refusal:
    status, body, headers = REFUSALS[name]
    content = body if isinstance(body, str) else json.dumps(body)
    kind = {"Content-Type": "text/html" if isinstance(body, str) else "application/json"}
    return Refusal(methods, pattern, status, content.encode(), {**kind, **headers}, times=times, late=late)


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=[] if each in SHORT else pytest.mark.long) for each in REFUSALS]
)
def test_each_write_refused_twice_is_made_all_the_same(scene: Scene, golden: Golden, name: str) -> None:
    scene.operator.start()
    patterns = ("/jobs$", "/jobs/", "/mediaassets/[^/]+$", "/status$", "/events$")
    given = [scene.api.refuse(refusal(name, WRITES, pattern, times=2)) for pattern in patterns]
    golden.holds(scene)
    # Events are worth no second try.
    assert all(each.met == 2 for each in given)


@pytest.mark.parametrize(
    "name", ["internal", *(pytest.param(each, marks=pytest.mark.long) for each in ("page", "conflict"))]
)
def test_each_write_that_was_done_though_it_was_refused_is_made_once(scene: Scene, golden: Golden, name: str) -> None:
    scene.operator.start()
    for pattern in ("/jobs$", "/jobs/", "/mediaassets/[^/]+$", "/status$"):
        scene.api.refuse(refusal(name, WRITES, pattern, times=1, late=True))
    golden.holds(scene)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", REFUSALS)
def test_a_server_that_refuses_everything_for_a_while_loses_no_asset(scene: Scene, name: str) -> None:
    scene.operator.start()
    scene.create("early")
    given = scene.api.refuse(refusal(name, ALL))
    scene.create("late")
    over = time.monotonic() + (OUTAGE if name == "too-many" else SHORT_OUTAGE)
    scene.until(lambda: time.monotonic() > over, seconds=2 * OUTAGE)
    scene.api.accept(given)
    assert given.met
    # The longest pause between two tries of one reconcile is a minute.
    for photo in ("early", "late"):
        assert scene.ready(photo, seconds=150)["status"]["attempt"] == 1


@pytest.mark.long
def test_a_server_that_is_gone_for_a_while_is_waited_for(scene: Scene) -> None:
    scene.operator.start()
    scene.create("early")
    scene.api.gone = True
    scene.create("late")
    over = time.monotonic() + 10
    scene.until(lambda: time.monotonic() > over)
    scene.api.gone = False
    for photo in ("early", "late"):
        assert scene.ready(photo)["status"]["attempt"] == 1


@pytest.mark.long
@pytest.mark.timeout(240)
def test_a_server_that_takes_requests_and_answers_none_is_waited_for(scene: Scene) -> None:
    scene.operator.start()
    scene.create("early")
    scene.api.hangs = True
    scene.create("late")
    # The first requests are given up meanwhile, and done at last, beside those that are sent for them.
    over = time.monotonic() + (REQUEST_TIMEOUT.total or 0) + 5
    scene.until(lambda: time.monotonic() > over)
    scene.api.hangs = False
    for photo in ("early", "late"):
        assert scene.ready(photo)["status"]["attempt"] == 1
    scene.until(lambda: scene.operator.health() == 200)
    # Told to end while it opens its watches anew, it does not wait for them.
    scene.api.hangs = True
    scene.api.cut("")
    over = time.monotonic() + 2
    scene.until(lambda: time.monotonic() > over)
    assert scene.operator.stop() == 0


@contextmanager
def another(scene: Scene, folder: Path) -> Iterator[None]:
    """Run another operator beside that of a scene."""
    folder.mkdir()
    second = Operator(folder, scene.environment)
    second.start()
    try:
        yield
        assert second.runs
        assert second.stop() == 0
    finally:
        if second.runs:
            second.kill()
    assert "Traceback" not in second.log


def test_two_operators_at_once_do_the_work_of_one(scene: Scene, golden: Golden, tmp_path: Path) -> None:
    scene.operator.start()
    with another(scene, tmp_path / "other"):
        golden.holds(scene)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_two_operators_for_a_minute_do_nothing_twice(scene: Scene, tmp_path: Path) -> None:
    scene.operator.start()
    names = list[str]()
    with another(scene, tmp_path / "other"):
        over = time.monotonic() + OUTAGE
        while time.monotonic() < over:
            name = scene.create(f"photo-{len(names)}")
            scene.change(name, visibility="Private")
            scene.ready(name)
            scene.reprocess(name, "again")
            names.append(name)
        for name in names:
            status = scene.ready(name)["status"]
            assert (status["attempt"], len(scene.jobs(name))) == (2, 2)
        for name in names:
            scene.delete(name)
        for name in names:
            scene.gone(name)
    assert scene.bucket.keys() == sorted(f"tombstones/shop/{name}.json" for name in names)


@pytest.mark.long
@pytest.mark.timeout(240)
def test_a_token_that_is_exchanged(servers: Servers, tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    with scenes.scene(servers, tmp_path, tmp_path.name, pod) as scene:
        scene.api.token = "first"
        scene.operator.start()
        scene.create("early")
        scene.ready("early")
        # The server refuses the old one, watches included, before the kubelet has brought the new one.
        scene.api.token = "second"
        scene.api.cut("")
        scene.create("late")
        scene.until(lambda: "Unauthorized" in scene.operator.log)
        pod.give("second")
        # It is read anew once a minute.
        scene.ready("late", seconds=120)
        scene.until(lambda: scene.operator.health() == 200)
