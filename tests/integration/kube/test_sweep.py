"""The sweep of a cluster as it really runs: a process of its own, a real API server, a real bucket."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

import apiserver
import s3server
from litter import GONE, finished, rendition
from making import make_asset
from media_operator.clustersweep import in_child
from mediaasset import kube
from mediaasset.kube import Api, Json, connect
from mediaasset.kubeassets import KubernetesAssets
from mediaasset.policies import bucket_policy
from mediaasset.s3 import StoreSettings, open_store
from mediaasset.spec import MediaAsset
from mediaasset.status import RenditionStatus, Status
from mediaasset.task import RenditionState
from s3server import S3Server

BUCKET, PREFIX = "media", "of/ours"
POD = {"NAME": "media-operator-0", "NAMESPACE": "default", "UID": "f3b1a1a0-0000-4000-8000-000000000001"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s3")


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[S3Server]:
    with s3server.start(data) as started:
        yield started


@pytest.fixture(scope="module")
def environment(server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return what the operator is told: its own account of the store, and whom its Events are about."""
    account = server.create_account("operator")
    server.create_bucket(BUCKET, bucket_policy(BUCKET, PREFIX, {"operator": account.access_key}))
    with apiserver.start(tmp_path_factory.mktemp("api")) as kubeconfig:
        yield {
            **server.environment(BUCKET, prefix=PREFIX, account=account),
            "KUBECONFIG": str(kubeconfig),
            "MEDIA_OPERATOR_SWEEP_MAX_PERCENT": "50",
            **{f"MEDIA_OPERATOR_POD_{name}": value for name, value in POD.items()},
        }


@pytest.fixture
async def api(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    api = await connect()
    yield api
    await api.close()


@pytest.fixture
async def asset(api: Api, data: Path) -> MediaAsset:
    """Make an asset that is Ready, and litter; all of it two days old."""
    assets, store = KubernetesAssets(api), open_store(StoreSettings())
    name = f"a-{datetime.now(UTC):%H%M%S%f}"
    made = await assets.create(make_asset(namespace="default", name=name))
    key = rendition(made.metadata.uid, namespace="default")
    status = Status(
        observed_generation=1, renditions=(RenditionStatus(name="medium", state=RenditionState.READY, key=key),)
    )
    made = await assets.write_status(made, status.with_conditions(finished(made, datetime.now(UTC))))
    for each in (key, rendition(made.metadata.uid, "old", namespace="default"), rendition(GONE), rendition(GONE, "b")):
        await store.create(each, b"bytes")
    age(data)
    return made


def age(data: Path) -> None:
    two_days_ago = (datetime.now(UTC) - timedelta(days=2)).timestamp()
    for path in (data / "objects" / BUCKET / PREFIX).rglob("*"):
        if path.is_file():
            os.utime(path, (two_days_ago, two_days_ago))


def objects(data: Path) -> set[str]:
    root = data / "objects" / BUCKET / PREFIX
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-m", "media_operator", "sweep", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)


async def events(api: Api) -> list[Json]:
    listed = await api.call("GET", "/api/v1/namespaces/default/events")
    return [item for item in listed["items"] if item["involvedObject"]["name"] == POD["NAME"]]


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"media_operator_{name}", labels) or 0.0


async def test_command_counts_and_deletes_only_when_told_to(api: Api, data: Path, asset: MediaAsset) -> None:
    before, told = objects(data), len(await events(api))
    counting = command()
    assert counting.returncode == 0, counting.stderr
    _, row, summary = counting.stdout.splitlines()
    assert row.split() == ["media", "orphan", "2", "4", "10", "0"]
    assert summary.endswith("nothing was deleted, since deletion is off.")
    # Of the log it is one line, of Events one.
    lines = [json.loads(line) for line in counting.stderr.splitlines()]
    assert len(lines) == 1, lines
    [line] = lines
    assert (line["event"], line["result"]) == ("sweep", "counted")
    assert line["rows"] == {"media/orphan": {"found": 2, "bytes": 10, "deleted": 0}}
    assert objects(data) == before
    deleting = command("--delete", "--json")
    assert deleting.returncode == 0, deleting.stderr
    assert json.loads(deleting.stdout)["rows"][0]["deleted"] == 2
    assert before - objects(data) == {rendition(GONE), rendition(GONE, "b")}
    found = await events(api)
    assert [event["type"] for event in found[told:]] == ["Normal", "Normal"]
    latest = max(found, key=lambda event: int(event["metadata"]["resourceVersion"]))
    assert latest["reason"] == "Swept"
    assert latest["message"].endswith("; 2 deleted.")
    assert latest["involvedObject"]["uid"] == POD["UID"]
    await KubernetesAssets(api).delete(*asset.key)


async def test_operator_runs_it_in_a_process_of_its_own_and_counts(
    api: Api, data: Path, asset: MediaAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted = counted("sweep_deleted_total", prefix="media", reason="orphan")
    sweeps = counted("sweeps_total", result="counted")
    await in_child(deletes=False)
    assert counted("sweep_found", prefix="media", reason="orphan") == 2
    assert counted("sweep_found_bytes", prefix="media", reason="orphan") == 10
    assert counted("sweeps_total", result="counted") == sweeps + 1
    await in_child(deletes=True)
    assert counted("sweep_deleted_total", prefix="media", reason="orphan") == deleted + 2
    assert rendition(GONE) not in objects(data)
    await in_child(deletes=True)
    assert counted("sweep_found", prefix="media", reason="orphan") == 0
    # Without the store no list is complete.
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    failures, swept_at = counted("sweeps_total", result="failed"), counted("sweep_last_timestamp_seconds")
    with pytest.raises(OSError, match="the sweep ended with 1"):
        await in_child(deletes=True)
    assert counted("sweeps_total", result="failed") == failures + 1
    assert counted("sweep_last_timestamp_seconds") == swept_at > 0
    await KubernetesAssets(api).delete(*asset.key)


async def test_unfinished_uploads_of_anybody_are_aborted(
    api: Api, data: Path, asset: MediaAsset, server: S3Server
) -> None:
    client = server.client()
    wanted = f"{PREFIX}/{rendition(GONE, 'half')}"
    client.create_multipart_upload(Bucket=BUCKET, Key=wanted)
    assert command("--delete", "--json").returncode == 0
    # It is too young.
    assert [each["Key"] for each in client.list_multipart_uploads(Bucket=BUCKET)["Uploads"]] == [wanted]
    old = (datetime.now(UTC) - timedelta(days=2)).timestamp()
    for path in sorted((data / "objects" / BUCKET).rglob("*")):
        if ".sgwtmp" in path.parts:
            os.utime(path, (old, old))
    report = json.loads(command("--delete", "--json").stdout)
    assert [(row["prefix"], row["deleted"]) for row in report["rows"]] == [("multipart", 1)]
    assert "Uploads" not in client.list_multipart_uploads(Bucket=BUCKET)
    await KubernetesAssets(api).delete(*asset.key)


async def test_where_unfinished_uploads_may_not_be_listed_the_rest_is_swept(
    api: Api, data: Path, asset: MediaAsset, environment: dict[str, str], server: S3Server
) -> None:
    policy = bucket_policy(BUCKET, PREFIX, {"operator": environment["AWS_ACCESS_KEY_ID"]})
    without = [each for each in policy["Statement"] if each["Action"] != ["s3:ListBucketMultipartUploads"]]
    server.put_policy(BUCKET, {**policy, "Statement": without})
    done = command("--delete")
    server.put_policy(BUCKET, policy)
    assert done.returncode == 0, done.stderr
    assert "does not let us list multipart uploads" in done.stdout
    assert rendition(GONE) not in objects(data)
    await KubernetesAssets(api).delete(*asset.key)


async def test_list_of_all_assets_is_complete_over_pages(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube, "PAGE_SIZE", 2)
    assets = KubernetesAssets(api)
    made = {(await assets.create(make_asset(namespace="default", name=f"page-{n}"))).key for n in range(5)}
    await assets.delete("default", "page-0")
    found = [asset async for asset in assets.all()]
    assert made <= {asset.key for asset in found}
    assert [asset.metadata.name for asset in found if asset.deleted_at and asset.key in made] == ["page-0"]
    limited = [asset async for asset in KubernetesAssets(api, ["other"]).all()]
    assert limited == []
