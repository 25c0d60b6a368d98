"""What a real API server says to the chart: each set of values as objects, and the rights that come of them."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import apiserver
from s3server import tool

CHART = Path(__file__).parents[2] / "charts/media-operator"
SYSTEM = "media-system"
NAMESPACES = (SYSTEM, "media-system-work", "transcoders", "shop", "museum")
#: What Kubernetes lets every account do.
ANYBODY = ("selfsubject", "[/", "clustertrustbundles")
RIGHTS = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
Json = dict[str, Any]


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with apiserver.start(tmp_path_factory.mktemp("api")) as found:
        # The chart brings them itself.
        apiserver.kubectl(found, "delete", "--filename", str(apiserver.PROFILES))
        # Kinds that others bring: of the Gateway API, and of the Prometheus Operator.
        names = [tool("gateway-api") / "gateway.networking.k8s.io_httproutes.yaml"]
        names += sorted(tool("prometheus-operator").glob("*.yaml"))
        files = [part for name in names for part in ("--filename", str(name))]
        apiserver.kubectl(found, "apply", "--server-side", *files)
        apiserver.established(found, *names)
        for namespace in NAMESPACES:
            apiserver.kubectl(found, "create", "namespace", namespace)
            apiserver.kubectl(found, "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
            apiserver.kubectl(found, "label", "namespace", namespace, "pod-security.kubernetes.io/warn=restricted")
        for name in ("high", "platform"):
            apiserver.kubectl(found, "create", "priorityclass", name, "--value=1000")
        yield found


def apply(kubeconfig: Path, bodies: list[Json], *options: str) -> str:
    """Apply objects by the server; return what it warned of."""
    command = [str(tool("kubernetes") / "kubectl"), "--kubeconfig", str(kubeconfig), "apply", "--filename=-"]
    command += ["--server-side", "--force-conflicts", "--validate=strict", *options]
    done = subprocess.run(command, input=yaml.safe_dump_all(bodies), capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return done.stderr


def test_every_object_is_taken_by_the_api_server(kubeconfig: Path, rendered: list[Json]) -> None:
    # Pods need their account, which a dry run does not make.
    apply(kubeconfig, [body for body in rendered if body["kind"] == "ServiceAccount"])
    assert apply(kubeconfig, rendered, "--dry-run=server") == ""


def test_lint_finds_nothing(helm: Callable[..., Any], given: Json) -> None:
    done = helm("lint", "--strict", str(CHART), values=given)
    assert not done.returncode, done.stdout
    assert "[WARNING]" not in done.stdout


def test_it_is_rendered_from_the_values_alone(helm: Callable[..., Any], given: Json) -> None:
    """Argo CD and others render without a cluster, or for another one, again and again, and compare."""
    command = ["template", "media", str(CHART), "--namespace", SYSTEM]
    elsewhere = ["--is-upgrade", "--kube-version=v1.99.0", "--api-versions=media-operator.io/v1alpha1/MediaProfile"]
    first, second = (helm(*command, *options, values=given) for options in ([], elsewhere))
    assert first.stdout
    assert first.stdout == second.stdout


def test_no_template_looks_into_the_cluster_or_makes_something_up() -> None:
    for file in sorted((CHART / "templates").iterdir()):
        words = set(re.findall(r"[A-Za-z0-9.]+", file.read_text()))
        drawn = {"randAlphaNum", "randAlpha", "randAscii", "randNumeric", "randBytes", "randInt", "uuidv4", "shuffle"}
        made = {"genCA", "genSelfSignedCert", "genSignedCert", "genPrivateKey", "htpasswd", "bcrypt", "now", "lookup"}
        assert not words & (drawn | made), file


def test_hooks_are_such_as_other_tools_know(rendered: list[Json]) -> None:
    for body in rendered:
        annotations = body["metadata"].get("annotations", {})
        if "helm.sh/hook" not in annotations:
            continue
        hooks = set(annotations["helm.sh/hook"].split(","))
        # Argo CD makes PreSync of the first two, and leaves the others out. Nothing that has to stay may be a hook.
        assert hooks <= {"pre-install", "pre-upgrade", "pre-delete", "test"}
        kinds = {
            "Job",
            "Pod",
            "ServiceAccount",
            "Role",
            "RoleBinding",
            "ClusterRole",
            "ClusterRoleBinding",
            "ConfigMap",
        }
        assert body["kind"] in kinds
        assert "before-hook-creation" in annotations["helm.sh/hook-delete-policy"]


def listed(kubeconfig: Path, account: str, namespace: str) -> list[str]:
    """Return the rows of `kubectl auth can-i --list` that not everybody has, without their empty columns."""
    command = ("auth", "can-i", "--list", "--no-headers", "--namespace", namespace)
    rows = apiserver.kubectl(kubeconfig, *command, "--as", f"system:serviceaccount:{account}").splitlines()
    return sorted(" ".join(row.split()) for row in rows if not any(each in row for each in ANYBODY))


@pytest.mark.parametrize("name", ["minimal", "namespaces"])
def test_rights_are_those_of_the_snapshot(kubeconfig: Path, render: Callable[[str], list[Json]], name: str) -> None:
    """The snapshot, rights.json, has what `kubectl auth can-i --list` says for each account, by namespace."""
    rendered = render(name)
    made = [body for body in rendered if body["kind"] in RIGHTS]
    apply(kubeconfig, made)
    try:
        accounts = [body["metadata"] for body in made if body["kind"] == "ServiceAccount"]
        found = {
            f"{account['namespace']}:{account['name']}": {
                namespace: rows
                for namespace in ("default", SYSTEM, "media-system-work", "shop")
                if (rows := listed(kubeconfig, f"{account['namespace']}:{account['name']}", namespace))
            }
            for account in accounts
        }
    finally:
        for body in made:
            where = ("--namespace", body["metadata"]["namespace"]) if "namespace" in body["metadata"] else ()
            apiserver.kubectl(kubeconfig, "delete", body["kind"], body["metadata"]["name"], *where)
    snapshot = json.loads(Path(__file__).with_name("rights.json").read_text())
    assert found == snapshot[name], json.dumps(found, indent=1)
