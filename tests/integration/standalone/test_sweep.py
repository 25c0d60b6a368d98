"""The sweep and the metrics of the real process."""

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx2

from alerting import unknown
from litter import GONE, rendition
from mediaasset import keys
from servers import free_port
from service import wait_for
from standalone import command, started


def put(data: Path, *wanted: str) -> list[Path]:
    """Write objects into a store that nobody uses, two days ago."""
    two_days_ago = time.time() - 2 * 24 * 3600
    paths = [data / "store" / key for key in wanted]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"litter")
        os.utime(path, (two_days_ago, two_days_ago))
    return paths


def page(port: int) -> str:
    return httpx2.get(f"http://127.0.0.1:{port}/metrics").text


def metrics(port: int) -> dict[str, float]:
    lines = page(port).splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_it_sweeps_at_its_start_and_says_so_in_its_metrics(tmp_path: Path) -> None:
    data, text = tmp_path / "data", tmp_path / "note.txt"
    text.write_text("A note.")
    port = free_port()
    with started(data) as server:
        kept = server.finished(server.upload(text)["id"])["id"]
    retained = keys.upload("default", "retained")
    stays = put(data, keys.retention_mark("default", "retained", GONE), retained, rendition(GONE, namespace="default"))
    goes = put(data, keys.upload("default", "orphan"), keys.result("11111111-2222-4333-8444-555555555555", 1))
    with started(data, MEDIA_INGEST_METRICS_PORT=str(port)) as server:
        wait_for(lambda: metrics(port).get('media_operator_sweeps_total{result="deleted"}'), what="the sweep")
        found = metrics(port)
        assert found['media_operator_sweep_deleted_total{prefix="uploads",reason="orphan"}'] == 1
        assert found['media_operator_sweep_deleted_total{prefix="work",reason="orphan"}'] == 1
        assert 'media_operator_queue_assets{queue="reconcile"}' in found
        assert "media_operator_reconcile_seconds_count" in found
        # Alerts and dashboards ask for nothing else, as far as one machine has it.
        assert not [*unknown(page(port), "media_operator_"), *unknown(page(port), "media_ingest_")]
        assert server.get(kept)["status"] == "ready"
    assert all(path.exists() for path in stays)
    assert not any(path.exists() for path in goes)


def test_it_only_counts_when_it_is_told_so(tmp_path: Path) -> None:
    data, text = tmp_path / "data", tmp_path / "note.txt"
    text.write_text("A note.")
    with started(data) as server:
        server.finished(server.upload(text)["id"])
    (path,) = put(data, keys.upload("default", "orphan"))
    port = free_port()
    with started(data, MEDIA_OPERATOR_SWEEP_DELETES="false", MEDIA_INGEST_METRICS_PORT=str(port)):
        wait_for(lambda: metrics(port).get('media_operator_sweeps_total{result="counted"}'), what="the sweep")
    assert path.exists()


def test_a_setting_that_is_wrong_is_said_at_the_start(tmp_path: Path) -> None:
    environment = {**os.environ, "MEDIA_OPERATOR_SWEEP_TIME_ZONE": "Europe/Nowhere"}
    program = [sys.executable, "-m", "media_standalone", *command(tmp_path / "data")]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "MEDIA_OPERATOR_SWEEP_TIME_ZONE" in done.stderr
