"""The operator dies in the windows between what it does and what it knows of it; requests and events get lost."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from apiproxy import Proxy
from cluster import ASSETS
from installed import WORK, Installed
from mediaasset.names import GROUP, MANAGER, MANAGER_LABEL
from outside import Outside
from service import wait_for

PHOTO = (Path(__file__).parents[1] / "data/photo.jpg").read_bytes()
RENDITIONS = {"thumbnail", "small", "medium", "large", "webp", "original"}
JOBS = f"/namespaces/{WORK}/jobs$"
STATUS = "/mediaassets/[^/]+/status$"
FIRST_STATUS = ("PUT", STATUS, "")
READY = r'"type":\s*"Ready",\s*"status":\s*"True"'


@pytest.fixture
def outside(alone: Installed, proxy: Proxy, tmp_path: Path) -> Iterator[Outside]:
    operator = Outside(alone, proxy, tmp_path)
    yield operator
    if operator.runs:
        assert operator.stop() == 0, operator.log
    assert "Traceback" not in operator.log, operator.log


def check_whole(media: Installed, name: str, *, attempts: int = 1) -> None:
    """Hold a Ready asset to its objects: one Job per attempt, one complete set."""
    asset = media.asset(name)
    uid, status = asset["metadata"]["uid"], asset["status"]
    assert status["attempt"] == attempts
    jobs = media.jobs(uid)
    assert len({job["metadata"]["labels"][f"{GROUP}/attempt"] for job in jobs}) == len(jobs) <= attempts
    assert {each["name"] for each in status["renditions"] if each["state"] == "Ready"} == RENDITIONS
    assert media.objects(f"media/shop/assets/{uid}/") == sorted(each["key"] for each in status["renditions"])
    result = json.loads(media.read(f"work/{uid}/{attempts}/result.json"))
    assert {each["key"] for each in result["renditions"]} == {each["key"] for each in status["renditions"]}


def killed_at(write: tuple[str, str, str], alone: Installed, proxy: Proxy, outside: Outside, *, after: bool) -> str:
    """Apply an asset and kill the operator before or after that write for it; return the name of the asset."""
    held = proxy.hold(*write, after=after)
    outside.start()
    name = alone.apply(PHOTO)
    held.reached()
    outside.kill()
    held.drop()
    return name


def check_recovers(alone: Installed, outside: Outside, name: str) -> None:
    """Start an operator that has to bring an asset to its end."""
    outside.start()
    alone.cluster.wait(ASSETS, name, "Ready", "shop")
    check_whole(alone, name)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "write",
    [("PATCH", "/mediaassets/[^/]+$", "finalizers"), ("POST", JOBS, ""), FIRST_STATUS, ("PUT", STATUS, READY)],
    ids=["hold", "job", "first-status", "last-status"],
)
def test_operator_killed_at_a_write_is_followed_by_one_that_does_the_rest(
    alone: Installed, proxy: Proxy, outside: Outside, write: tuple[str, str, str], *, after: bool
) -> None:
    name = killed_at(write, alone, proxy, outside, after=after)
    check_recovers(alone, outside, name)


def test_operator_that_was_down_for_the_whole_life_of_the_job_finds_its_result(
    alone: Installed, proxy: Proxy, outside: Outside
) -> None:
    name = killed_at(FIRST_STATUS, alone, proxy, outside, after=True)
    job = alone.asset(name)["status"]["jobName"]
    alone.cluster.wait("job", job, "Complete", WORK)
    check_recovers(alone, outside, name)


def test_job_deleted_after_its_result_costs_no_second_run(alone: Installed, proxy: Proxy, outside: Outside) -> None:
    name = killed_at(FIRST_STATUS, alone, proxy, outside, after=True)
    job = alone.asset(name)["status"]["jobName"]
    alone.cluster.wait("job", job, "Complete", WORK)
    alone.cluster.kubectl("delete", "job", job, "-n", WORK)
    check_recovers(alone, outside, name)


def test_job_deleted_before_its_result_is_followed_by_another_attempt(
    alone: Installed, proxy: Proxy, outside: Outside
) -> None:
    outside.start()
    # A Job that waits for its image has done nothing yet.
    name = alone.apply(PHOTO)
    job = wait_for(lambda: alone.asset(name).get("status", {}).get("jobName"), what="the Job")
    alone.cluster.kubectl("delete", "job", job, "-n", WORK, "--wait=false")
    alone.cluster.wait(ASSETS, name, "Ready", "shop")
    assert alone.asset(name)["status"]["attempt"] in {1, 2}
    check_whole(alone, name, attempts=alone.asset(name)["status"]["attempt"])


def test_deletion_that_a_watch_never_told_of_is_noticed(alone: Installed, proxy: Proxy, outside: Outside) -> None:
    outside.start()
    held = proxy.hold("PUT", STATUS, after=True)
    name = alone.apply(PHOTO)
    held.reached()
    proxy.mute("/mediaassets$")
    proxy.mute("/jobs$")
    proxy.mute("/pods$")
    held.release()
    alone.cluster.kubectl("delete", ASSETS, name, "-n", "shop", "--wait=false")
    wait_for(lambda: alone.asset(name)["metadata"].get("deletionTimestamp"), what="the deletion")
    for kind in ("mediaassets", "jobs", "pods"):
        assert proxy.expire(f"/{kind}$")
    alone.cluster.gone(ASSETS, name, "shop")
    assert alone.objects(f"uploads/shop/{name}/") == []


@pytest.mark.parametrize("kind", ["jobs", "pods"])
def test_only_what_is_ours_comes_over_the_wire(alone: Installed, proxy: Proxy, outside: Outside, kind: str) -> None:
    def asked(*, watch: bool) -> list[str]:
        return [path for path in proxy.reads if f"/{kind}?" in path and ("watch=true" in path) is watch]

    outside.start()
    wait_for(lambda: asked(watch=True), what="the watch")
    assert asked(watch=False)
    for path in asked(watch=True) + asked(watch=False):
        assert f"/namespaces/{WORK}/" in path
        assert parse_qs(urlsplit(path).query)["labelSelector"][0].startswith(f"{MANAGER_LABEL}={MANAGER}")


def test_asset_costs_few_writes(alone: Installed, proxy: Proxy, outside: Outside) -> None:
    outside.start()
    name = alone.apply(PHOTO)
    alone.ready(name)
    alone.cluster.wait("job", alone.asset(name)["status"]["jobName"], "Complete", WORK)
    # What follows Ready changes nothing, and so writes nothing.
    wait_for(lambda: "Complete" in str(alone.jobs(alone.asset(name)["metadata"]["uid"])), what="the Job")
    kinds = [f"{method} {re.sub('.*/namespaces/[^/]+/', '', path).replace(name, '')}" for method, path in proxy.writes]
    assert sorted(kinds) == [
        "PATCH mediaassets/",
        "POST events",
        "POST jobs",
        "PUT mediaassets//status",
        "PUT mediaassets//status",
    ]


def test_dead_watch_fails_the_probe_and_its_assets_are_looked_after_all_the_same(
    alone: Installed, proxy: Proxy, outside: Outside
) -> None:
    outside.start(MEDIA_OPERATOR_RESYNC_SECONDS="3")
    proxy.mute("/mediaassets$")
    name = alone.apply(PHOTO, renditions=[{"name": "small", "for": "Image", "format": "JPEG", "width": 64}])
    alone.ready(name)
    # It stays unfinished, and so stays known to the lists only.
    waiting = alone.apply(PHOTO, suspend=True)
    wait_for(lambda: outside.health() == 500, seconds=150, what="the probe to fail")
    proxy.expire("/mediaassets$")
    wait_for(lambda: outside.health() == 200, what="the probe to recover")
    alone.cluster.kubectl("delete", ASSETS, waiting, "-n", "shop", "--timeout=60s")
