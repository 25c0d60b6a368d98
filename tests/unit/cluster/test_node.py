import json
import os
import subprocess
from pathlib import Path

import pytest

from hack.cluster import init, node
from hack.cluster.layout import Cluster


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv("MEDIA_OPERATOR_CACHE", str(tmp_path))
    made = Cluster("test")
    made.logs.mkdir(parents=True)
    return made


def _note(cluster: Cluster, pid: int) -> None:
    (cluster.home / "node.json").write_text(json.dumps({"pid": pid, "birth": node.birth(pid)}))


def test_a_node_lives_as_long_as_its_first_process(cluster: Cluster) -> None:
    assert node.pid(cluster) is None
    with subprocess.Popen(["sleep", "60"]) as process:
        _note(cluster, process.pid)
        assert node.pid(cluster) == process.pid
        process.kill()
        process.wait()
        assert node.pid(cluster) is None


def test_a_later_process_of_the_same_number_is_not_the_node(cluster: Cluster) -> None:
    _note(cluster, os.getpid())
    noted = json.loads((cluster.home / "node.json").read_text())
    boot, started = noted["birth"].split()
    for other in (f"{boot} {int(started) - 1}", f"another-boot {started}"):
        (cluster.home / "node.json").write_text(json.dumps(noted | {"birth": other}))
        assert node.pid(cluster) is None


def test_a_process_that_only_waits_to_be_collected_does_not_live() -> None:
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert node.birth(process.pid) is None


@pytest.mark.parametrize("theirs", ["10.96.3.0/24", "10.244.0.0/24", "10.244.255.1"])
def test_a_network_that_the_cluster_would_shadow_is_named(theirs: str) -> None:
    assert node.clash([{"dst": "default", "dev": "eth0"}, {"dst": theirs, "dev": "vpn0"}]) is not None


def test_wider_and_other_networks_are_no_obstacle() -> None:
    routes = ["default", "10.0.0.0/8", "192.168.1.0/24", "127.0.0.1", "10.97.0.0/16"]
    assert node.clash([{"dst": route} for route in routes]) is None


def test_a_part_runs_with_its_own_environment_and_its_end_is_in_its_log(cluster: Cluster) -> None:
    part = cluster.home / "greeter.json"
    part.write_text(json.dumps({"command": ["sh", "-c", "echo hello $WHO; exit 3"], "environment": {"WHO": "you"}}))
    pid = init.start(part, cluster.logs)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    running = {pid: "greeter"}
    init.reap(running, cluster.logs)
    assert running == {}
    assert (cluster.logs / "greeter.log").read_text() == "hello you\ninit: greeter ended with exit code 3\n"
