"""What goes by itself: assets whose time is over, and what the sweep finds in the bucket, in the operator's own pod."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest

from apiproxy import Proxy
from cluster import ASSETS, Json
from installed import SYSTEM, Installed, labels
from litter import GONE, rendition
from mediaasset import keys
from outside import Outside

PHOTO = (Path(__file__).parents[1] / "data/photo.jpg").read_bytes()
SMALL = [{"name": "small", "for": "Image", "format": "JPEG", "width": 64, "height": 64}]
#: Runs the command as it would run in a month: nothing of a cluster can be made older than it is. Only the sweep is
#: told another time; what it signs and reads has today's.
LATER = """
import sys
from datetime import datetime, timedelta
from media_operator import __main__, clustersweep
class Later(datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) + timedelta(days=30)
clustersweep.datetime = Later
sys.exit(__main__.main())
"""


class Swept(NamedTuple):
    """What a sweep ended with, and its report."""

    code: int
    report: Json

    def found(self) -> dict[tuple[str, str], int]:
        return {(row["prefix"], row["kind"]): row["found"] for row in self.report["rows"] if row["found"]}

    def deleted(self) -> dict[tuple[str, str], int]:
        return {(row["prefix"], row["kind"]): row["deleted"] for row in self.report["rows"] if row["deleted"]}


def sweep(media: Installed, *options: str, **settings: str) -> Swept:
    """Sweep in the pod of the operator, with settings of its own."""
    told = [f"MEDIA_OPERATOR_{name.upper()}={value}" for name, value in settings.items()]
    program = ("python", "-P", "-c", LATER, "sweep", "--json", *options)
    deployment = f"deploy/{media.cluster.find('deployments', SYSTEM, labels('operator'))[0]['metadata']['name']}"
    done = media.cluster.run("exec", "-n", SYSTEM, deployment, "--", "env", *told, *program)
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    return Swept(done.returncode, json.loads(done.stdout.splitlines()[0]))


def objects(media: Installed, namespace: str) -> set[str]:
    """Return the objects that have a namespace in their name."""
    return {key for key in media.objects() if f"/{namespace}/" in key}


def events(media: Installed, reason: str) -> list[str]:
    """Return what the operator's pod has said of sweeps with this end."""
    selector = f"reason={reason},involvedObject.kind=Pod"
    listed = media.cluster.kubectl("get", "events", "-n", SYSTEM, "--field-selector", selector, "-o", "json")
    return [each["message"] for each in json.loads(listed)["items"]]


@pytest.fixture
def namespace(media: Installed) -> Iterator[str]:
    name = f"swept-{secrets.token_hex(4)}"
    media.cluster.namespace(name)
    yield name
    media.cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module", autouse=True)
def short_lived(media: Installed) -> dict[str, Json]:
    """Make a picture and a failure that are to go after a minute: the shortest time there is."""
    names = {
        "Creation": media.apply(PHOTO, renditions=SMALL, expireSecondsAfterCreation=60),
        "Failure": media.apply(b"no picture", expireSecondsAfterFailure=60),
    }
    return {"Creation": media.ready(names["Creation"]), "Failure": media.stalled(names["Failure"])}


def test_sweep_counts_then_deletes_what_nobody_needs_and_nothing_else(media: Installed, namespace: str) -> None:
    own = {"namespaces": json.dumps([namespace])}
    gone = [
        keys.upload(namespace, "gone"),
        keys.upload_record(namespace, "gone"),
        rendition(GONE, namespace=namespace),
        rendition(GONE, top=keys.PRIVATE, namespace=namespace),
    ]
    theirs = [f"uploads/{namespace}/by-hand/photo.jpg", f"media/{namespace}/logo"]
    for key in (*gone, *theirs):
        media.put(key, b"litter")
    assert (refused := sweep(media, "--delete", **own)).code == 1
    assert refused.report["refused"], "without any asset nothing is known"
    assert any("nothing was deleted" in each for each in events(media, "SweepRefused"))

    failed = media.apply(b"no picture", namespace=namespace)
    alive = media.apply(PHOTO, namespace=namespace, renditions=SMALL)
    kept = media.apply(PHOTO, namespace=namespace, renditions=SMALL, deletionPolicy="Retain")
    deleted = media.apply(PHOTO, namespace=namespace, renditions=SMALL)
    uids = {name: media.ready(name, namespace)["metadata"]["uid"] for name in (alive, kept, deleted)}
    media.stalled(failed, namespace)
    media.cluster.kubectl("delete", ASSETS, kept, deleted, "-n", namespace, "--timeout=60s")
    # Of the uploads of others that broke off we take those that lie where ours do.
    s3, place = media.s3.client(), {"Bucket": media.bucket, "Key": media.key(keys.upload(namespace, "broken-off"))}
    handle = s3.create_multipart_upload(**place)["UploadId"]
    s3.upload_part(**place, UploadId=handle, PartNumber=1, Body=b"half of it")
    foreign = s3.create_multipart_upload(Bucket=media.bucket, Key="elsewhere/broken-off")["UploadId"]

    expected = {
        ("assets", "failed"): 1,
        ("uploads", "orphan"): 2,
        ("media", "orphan"): 1,
        ("private", "orphan"): 1,
        ("tombstones", "expired"): 2,
        ("multipart", "unfinished"): 1,
    }
    before = objects(media, namespace)
    counted = sweep(media, **own)
    assert (counted.code, counted.found(), counted.deleted()) == (0, expected, {})
    assert objects(media, namespace) == before
    swept = sweep(media, "--delete", **own)
    assert (swept.code, swept.found(), swept.deleted()) == (0, expected, expected)
    assert any(f"{sum(expected.values())} deleted" in each for each in events(media, "Swept"))

    media.cluster.gone(ASSETS, failed, namespace)
    assert not media.cluster.exists(ASSETS, deleted, namespace)
    left = objects(media, namespace)
    # The mark of what is retained is no tombstone.
    tombstones = {keys.tombstone(namespace, name) for name in (kept, deleted)}
    assert before - left == {*gone, *tombstones, f"uploads/{namespace}/{failed}/source"}
    for name in (alive, kept):
        assert [key for key in left if uids[name] in key and key.startswith(f"media/{namespace}/")]
    pending = {each["UploadId"] for each in s3.list_multipart_uploads(Bucket=media.bucket).get("Uploads", ())}
    assert foreign in pending
    assert handle not in pending
    assert httpx2.get(media.asset(alive, namespace)["status"]["renditions"][0]["url"]).status_code == 200


def test_sweep_of_all_namespaces_leaves_every_asset_whole(media: Installed) -> None:
    name = media.apply(PHOTO, renditions=SMALL)
    status = media.ready(name)["status"]
    uid = media.asset(name)["metadata"]["uid"]
    litter = [f"work/{GONE}/1/result.json", f"media/shop/assets/{uid}/other-{'0' * 16}.jpg"]
    litter += [f"private/shop/assets/{uid}/small-{'0' * 16}.jpg"]
    for key in litter:
        media.put(key, b"litter")
    settings = {"sweep_failed_seconds": "0", "sweep_max_percent": "100"}
    swept = sweep(media, "--delete", **settings)
    assert swept.code == 0, swept
    assert swept.deleted()["work", "orphan"] >= 1
    assert swept.deleted()["private", "unreferenced"] >= 1
    left = set(media.objects())
    # A public URL works as long as its asset is public, also one that the status names no more.
    assert set(litter) & left == {litter[1]}
    listed = json.loads(media.cluster.kubectl("get", ASSETS, "-A", "-o", "json"))["items"]
    renditions = [each for asset in listed for each in asset.get("status", {}).get("renditions", ())]
    named = {each["key"] for each in renditions if each.get("key")}
    assert {each["key"] for each in status["renditions"]} <= named
    assert named <= left
    media.s3.client().delete_object(Bucket=media.bucket, Key=media.key(litter[1]))
    # With the second sweep there is nothing to do, but for what is left of the assets that the first one deleted.
    again = sweep(media, "--delete", **settings)
    assert (again.code, again.found().keys() - {("tombstones", "expired")}) == (0, set())


def test_assets_go_when_their_time_is_over(
    alone: Installed, proxy: Proxy, tmp_path: Path, short_lived: dict[str, Json]
) -> None:
    # The one of the release looks every few minutes whose time is over.
    operator = Outside(alone, proxy, tmp_path)
    operator.start(MEDIA_OPERATOR_RESYNC_SECONDS="3")
    try:
        for asset in short_lived.values():
            name = asset["metadata"]["name"]
            alone.cluster.gone(ASSETS, name, "shop")
            told = alone.cluster.kubectl("events", "-n", "shop", "--for", f"{ASSETS}/{name}")
            assert "Expired" in told, told
            assert alone.objects(f"uploads/shop/{name}/") == []
    finally:
        assert operator.stop() == 0, operator.log
    picture = short_lived["Creation"]
    assert alone.objects(f"media/shop/assets/{picture['metadata']['uid']}/") == []
    # Nobody had fetched it: no cache has it.
    assert httpx2.get(picture["status"]["renditions"][0]["url"]).status_code == 404
