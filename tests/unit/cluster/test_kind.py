"""What pytest-kind and scripts rely on, of the command line of kind, without a cluster."""

import os
import subprocess
from pathlib import Path

import pytest

from hack.cluster.tools import TOOLS, Tool

KIND = Path(__file__).parents[3] / "hack" / "cluster" / "kind"


@pytest.fixture
def kind(tmp_path: Path) -> list[str]:
    return ["env", "--unset=KUBECONFIG", f"MEDIA_OPERATOR_CACHE={tmp_path}", f"HOME={tmp_path}", str(KIND)]


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_no_cluster_is_no_error_and_no_output(kind: list[str]) -> None:
    answer = _run(*kind, "get", "clusters")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "No kind clusters found.\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("get", "kubeconfig", "--name=none"), "could not locate any control plane nodes for cluster named 'none'"),
        (("load", "docker-image", "--name=none", "image"), 'no nodes found for cluster "none"'),
        (("export", "logs", "--name=none", "logs"), 'unknown cluster "none"'),
    ],
)
def test_a_cluster_that_is_not_there_is_named(kind: list[str], arguments: tuple[str, ...], said: str) -> None:
    answer = _run(*kind, *arguments)
    assert (answer.returncode, answer.stdout, answer.stderr) == (1, "", f"ERROR: {said}\n")


@pytest.mark.parametrize("name", ["", "../other", "-x", "Upper", "a b"])
def test_a_name_is_no_path(kind: list[str], name: str) -> None:
    answer = _run(*kind, "delete", "cluster", f"--name={name}")
    assert answer.returncode == 2
    assert "is not a valid cluster name" in answer.stderr


def test_only_root_makes_a_cluster(kind: list[str]) -> None:
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    answer = _run(*nobody, *kind, "create", "cluster", "--name=none")
    assert answer.returncode == 1
    assert "run it as root" in answer.stderr


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
def test_every_tool_has_a_pinned_version(tool: Tool) -> None:
    assert tool.version.startswith("v")
