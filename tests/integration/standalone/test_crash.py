"""SIGKILL at three points, each held there by the test, and a plain start afterwards: the same end state."""

import contextlib
import json
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

from service import wait_for
from standalone import Standalone, assets_in, children_of, files_under, held, jobs_in, started


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "photo.jpg"
    Image.linear_gradient("L").resize((4000, 3000)).convert("RGB").save(path, "JPEG")
    return path


def end_state(data_dir: Path) -> dict[str, Any]:
    """Return what is left in the end, without what must differ from run to run (ids, times, ports)."""
    (asset,) = assets_in(data_dir)
    status, uid, name = asset["status"], asset["metadata"]["uid"], asset["metadata"]["name"]
    store = [str(path).replace(uid, "UID").replace(name, "NAME") for path in files_under(data_dir / "store")]
    # A pointer is named by a hash of the asset's name.
    store = [re.sub(r"(?<=media/\.names/).*", "HASH", path) for path in store]
    uploads = [path for path in store if path.startswith("uploads/")]
    assert uploads == [asset["spec"]["source"]["object"]["key"].replace(name, "NAME")]
    result = json.loads((data_dir / "store" / "work" / uid / "1" / "result.json").read_text())
    return {
        "conditions": {item["type"]: (item["status"], item["reason"]) for item in status["conditions"]},
        "attempt": (status["attempt"], status["failedAttempts"]),
        "renditions": {r["name"]: (r["state"], r["sha256"], r["width"], r["height"]) for r in status["renditions"]},
        "result": {item["name"]: item["sha256"] for item in result["renditions"]},
        "jobs": [(attempt, phase) for _, attempt, phase in jobs_in(data_dir)],
        "objects": [path for path in store if not path.startswith("uploads/")],
        "scratch": files_under(data_dir / "scratch"),
    }


@pytest.fixture(scope="module")
def undisturbed(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    data = tmp_path_factory.mktemp("undisturbed") / "data"
    with started(data) as server:
        assert server.finished(server.upload(photo)["id"])["status"] == "ready"
    return end_state(data)


def go_on(data: Path, asset: str) -> None:
    """Start plainly and see that the asset becomes ready and loads."""
    with started(data) as server:
        body = server.finished(asset)
        assert (body["status"], body["error"]) == ("ready", None)
        assert all(httpx2.get(url).status_code == 200 for url in body["urls"].values())
        assert children_of(data) == []


def test_kill_during_a_transcode(photo: Path, tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    data = tmp_path / "data"
    with held(data, "in-the-transcode") as (server, reached):
        asset = server.upload(photo)["id"]
        reached()
        assert files_under(data / "store" / "work") == []
        server.kill()
        assert children_of(data) == []
    go_on(data, asset)
    assert end_state(data) == undisturbed


def test_kill_between_result_and_status(photo: Path, tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    data = tmp_path / "data"
    with held(data, "before-the-status") as (server, reached):
        asset = server.upload(photo)["id"]
        reached()
        (result,) = (data / "store" / "work").rglob("result.json")
        before = (result.stat().st_mtime_ns, result.stat().st_ino)
        assert server.get(asset)["status"] == "processing"
        server.kill()
    go_on(data, asset)
    assert end_state(data) == undisturbed
    assert (result.stat().st_mtime_ns, result.stat().st_ino) == before


def test_kill_between_upload_and_asset(photo: Path, tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    data = tmp_path / "data"

    def send(server: Standalone) -> None:
        # It never gets an answer: that is the point.
        with contextlib.suppress(httpx2.TransportError):
            server.upload(photo)

    with held(data, "before-the-asset") as (server, reached):
        sender = threading.Thread(target=send, args=(server,))
        sender.start()
        reached()
        assert len(files_under(data / "store" / "uploads")) == 1
        server.kill()
        sender.join()
        (left,) = (path for path in (data / "store/uploads").rglob("*") if path.is_file())
    with started(data) as again:
        # Nobody was told that it had been accepted; the sender sends it again, and the sweep takes it one day.
        assert assets_in(data) == []
        assert again.finished(again.upload(photo)["id"])["status"] == "ready"
        two_days_ago = time.time() - 2 * 24 * 3600
        os.utime(left, (two_days_ago, two_days_ago))
    # It sweeps at its start.
    with started(data):
        wait_for(lambda: not left.exists(), what="the sweep")
    assert end_state(data) == undisturbed
