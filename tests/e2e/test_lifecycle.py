"""What a person may do with an asset that exists, and what it does to Jobs, objects and URLs."""

import json
import secrets
import time
from pathlib import Path

import httpx2
import pytest

from cluster import ASSETS, Json
from installed import WORK, Installed
from mediaasset.names import REPROCESS_ANNOTATION
from service import wait_for

PHOTO = (Path(__file__).parents[1] / "data/photo.jpg").read_bytes()
SMALL = [{"name": "small", "for": "Image", "format": "JPEG", "width": 64, "height": 64}]


def test_alternative_text_is_changed_without_a_job(media: Installed) -> None:
    name = media.apply(PHOTO, renditions=SMALL)
    before = media.ready(name)
    media.patch(name, {"altText": "A hill in the morning"})
    after = media.ready(name)
    assert after["status"]["observedGeneration"] == before["metadata"]["generation"] + 1
    assert after["status"]["attempt"] == 1
    assert len(media.jobs(after["metadata"]["uid"])) == 1
    assert after["status"]["renditions"] == before["status"]["renditions"]


def test_reprocessing_is_asked_for_by_an_annotation_and_runs_once_while_the_old_urls_go_on(media: Installed) -> None:
    name = media.apply(PHOTO, renditions=SMALL)
    before = media.ready(name)
    url = before["status"]["url"] or before["status"]["renditions"][0]["url"]
    asked = f"{REPROCESS_ANNOTATION}=2026-01-01T00:00:00Z"
    media.cluster.kubectl("annotate", ASSETS, name, "-n", "shop", asked)
    seen = set()

    def done() -> bool:
        seen.add(httpx2.get(url).status_code)
        status = media.asset(name)["status"]
        return status["attempt"] == 2 and "completionTime" in status

    wait_for(done, what="the second attempt")
    assert seen == {200}
    after = media.ready(name)
    assert after["status"]["lastHandledReprocess"] == "2026-01-01T00:00:00Z"
    # The first one may have been stopped when it had done its work and not yet said so.
    attempts = [job["metadata"]["labels"]["media-operator.io/attempt"] for job in media.jobs(after["metadata"]["uid"])]
    assert attempts in (["1", "2"], ["2", "1"], ["2"])
    media.cluster.kubectl("annotate", ASSETS, name, "-n", "shop", "unrelated=1")
    media.patch(name, {"caption": "again"})
    assert media.ready(name)["status"]["attempt"] == 2


def test_visibility_moves_the_objects_without_a_job(media: Installed) -> None:
    name = media.apply(PHOTO, renditions=SMALL)
    public = media.ready(name)
    uid, url = public["metadata"]["uid"], public["status"]["renditions"][0]["url"]
    assert httpx2.get(url).status_code == 200
    media.patch(name, {"visibility": "Private"})
    private = media.ready(name)
    assert private["status"]["renditions"][0].get("url") is None
    assert private["status"]["renditions"][0]["key"].startswith("private/shop/")
    assert media.objects(f"media/shop/assets/{uid}/") == []
    assert len(media.objects(f"private/shop/assets/{uid}/")) == 1
    media.patch(name, {"visibility": "Public"})
    again = media.ready(name)
    assert again["status"]["renditions"] == public["status"]["renditions"]
    assert media.objects(f"private/shop/assets/{uid}/") == []
    assert httpx2.get(url).status_code == 200
    assert len(media.jobs(uid)) == 1


def objects_of(media: Installed, asset: Json) -> list[str]:
    """Return all objects of an asset but the tombstone that its deletion leaves."""
    uid, name = asset["metadata"]["uid"], asset["metadata"]["name"]
    places = (f"uploads/shop/{name}/", f"media/shop/assets/{uid}/", f"private/shop/assets/{uid}/", f"work/{uid}/")
    return [key for place in places for key in media.objects(place)]


@pytest.mark.parametrize("stage", ["at once", "with a Job", "with a pod", "ready"])
def test_deletion_at_any_stage_removes_what_is_ours_and_nothing_else(media: Installed, stage: str) -> None:
    other = media.apply(PHOTO, renditions=SMALL)
    name = media.apply(PHOTO)
    uid = media.asset(name)["metadata"]["uid"]
    reached = {
        "at once": lambda: True,
        "with a Job": lambda: media.jobs(uid),
        "with a pod": lambda: media.cluster.find("pods", WORK, f"media-operator.io/asset-uid={uid}"),
        "ready": lambda: media.ready(name),
    }
    wait_for(reached[stage], what=stage)
    asset = media.asset(name)
    media.cluster.kubectl("delete", ASSETS, name, "-n", "shop", "--timeout=60s")
    assert media.jobs(uid) == []
    assert media.cluster.find("pods", WORK, f"media-operator.io/asset-uid={uid}") == []
    # A transcoder that was stopped writes nothing afterwards.
    assert objects_of(media, asset) == (
        [f"uploads/shop/{name}/source"] if stage == "at once" and _unheld(asset) else []
    )
    assert len(objects_of(media, media.ready(other))) == 3


def _unheld(asset: Json) -> bool:
    """Tell whether the operator had not seen the asset yet: then nobody removes what its author put into the store."""
    return not asset["metadata"].get("finalizers")


def test_deleted_asset_leaves_a_tombstone_and_its_url_ends(media: Installed) -> None:
    name = media.apply(PHOTO, renditions=SMALL)
    asset = media.ready(name)
    media.cluster.kubectl("delete", ASSETS, name, "-n", "shop", "--timeout=60s")
    tombstone = json.loads(media.read(f"tombstones/shop/{name}.json"))
    assert tombstone["uid"] == asset["metadata"]["uid"]
    # Fetched for the first time, so no cache has it.
    assert httpx2.get(asset["status"]["renditions"][0]["url"]).status_code == 404


def test_retained_media_outlive_their_asset(media: Installed) -> None:
    name = media.apply(PHOTO, renditions=SMALL, deletionPolicy="Retain")
    asset = media.ready(name)
    media.cluster.kubectl("delete", ASSETS, name, "-n", "shop", "--timeout=60s")
    assert httpx2.get(asset["status"]["renditions"][0]["url"]).status_code == 200
    assert media.objects(f"uploads/shop/{name}/")


def test_namespace_with_assets_at_work_goes_away(media: Installed) -> None:
    namespace = f"e2e-{secrets.token_hex(4)}"
    media.cluster.namespace(namespace)
    done = media.apply(PHOTO, namespace=namespace, renditions=SMALL)
    media.ready(done, namespace)
    for _ in range(2):
        media.apply(PHOTO, namespace=namespace)
    media.cluster.kubectl("delete", "namespace", namespace, "--timeout=90s")
    assert media.objects(f"media/{namespace}/") == []
    leaders = [
        job["metadata"]["annotations"]["media-operator.io/asset-namespace"] for job in media.cluster.find("jobs", WORK)
    ]
    assert namespace not in leaders


def test_upload_of_another_namespace_is_forbidden(media: Installed) -> None:
    media.put("uploads/museum/theirs/source", PHOTO)
    name = media.apply(key="uploads/museum/theirs/source")
    status = media.stalled(name)["status"]
    (stalled,) = [each for each in status["conditions"] if each["type"] == "Stalled"]
    assert stalled["reason"] == "SourceForbidden"
    assert media.jobs(media.asset(name)["metadata"]["uid"]) == []


def test_failure_is_told_by_condition_event_and_column_and_runs_once(media: Installed) -> None:
    name = media.apply(b"\xff\xd8\xff\xe0" + b"no picture" * 100)
    asset = media.stalled(name)
    conditions = {each["type"]: each for each in asset["status"]["conditions"]}
    assert (conditions["Ready"]["status"], conditions["Ready"]["reason"]) == ("False", "Undecodable")
    assert conditions["Ready"]["observedGeneration"] == asset["metadata"]["generation"]
    assert "Reconciling" not in conditions
    assert len(media.jobs(asset["metadata"]["uid"])) == 1
    events = media.cluster.find("events", "shop")
    told = [(each["type"], each["reason"]) for each in events if each["involvedObject"]["name"] == name]
    assert told == [("Warning", "Undecodable")]
    row = media.cluster.kubectl("get", ASSETS, name, "-n", "shop", "--no-headers").split()
    assert row[:3] == [name, "False", "Undecodable"]


def test_quiet_assets_are_not_written_to(media: Installed) -> None:
    name = media.apply(PHOTO, renditions=SMALL)
    version = media.ready(name)["metadata"]["resourceVersion"]
    # Long enough for what follows Ready: the pod and the Job say that they ended.
    media.cluster.wait("job", media.asset(name)["status"]["jobName"], "Complete", WORK)
    time.sleep(2)
    assert media.asset(name)["metadata"]["resourceVersion"] == version


def test_suspended_asset_waits_until_it_is_resumed(media: Installed) -> None:
    name = media.apply(PHOTO, renditions=SMALL, suspend=True)
    wait_for(lambda: media.asset(name).get("status", {}).get("conditions"), what="the condition")
    asset = media.asset(name)
    assert {each["reason"] for each in asset["status"]["conditions"] if each["type"] == "Ready"} == {"Suspended"}
    assert media.jobs(asset["metadata"]["uid"]) == []
    media.patch(name, {"suspend": False})
    assert media.ready(name)["status"]["attempt"] == 1
