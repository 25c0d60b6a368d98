"""A real API server for tests, without nodes: etcd and kube-apiserver, with our resources installed."""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from s3server import tool
from servers import free_port
from service import wait_for

_ROOT = Path(__file__).parents[2]
CRDS = _ROOT / "charts/media-operator/crds"
PROFILES = _ROOT / "charts/media-operator/files/profiles"

_CONFIG = """\
apiVersion: config.kwok.x-k8s.io/v1alpha1
kind: KwokctlConfiguration
options:
  components: {components}
  kubeApiserverPort: {ports[0]}
  etcdPort: {ports[1]}
  etcdPeerPort: {ports[2]}
  kubeControllerManagerPort: {ports[3]}
  bindAddress: 127.0.0.1
"""


def _kwokctl(path: Path, *arguments: str) -> None:
    """Run kwokctl; everything of the cluster lies under `path`."""
    kubernetes, etcd, kwok = tool("kubernetes"), tool("etcd"), tool("kwok")
    environment = {
        **os.environ,
        "KWOK_WORKDIR": str(path / "kwok"),
        "KWOK_KUBE_VERSION": kubernetes.name.removeprefix("kubernetes-"),
        "KWOK_KUBE_APISERVER_BINARY": str(kubernetes / "kube-apiserver"),
        "KWOK_KUBE_CONTROLLER_MANAGER_BINARY": str(kubernetes / "kube-controller-manager"),
        "KWOK_KUBECTL_BINARY": str(kubernetes / "kubectl"),
        "KWOK_ETCD_BINARY": str(etcd / "etcd"),
        "KUBECONFIG": str(path / "kubeconfig.shared"),
    }
    done = subprocess.run(
        [str(kwok / "kwokctl"), "--name", "test", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def kubectl(kubeconfig: Path, *arguments: str) -> str:
    """Run kubectl against a cluster; return what it prints."""
    command = [str(tool("kubernetes") / "kubectl"), "--kubeconfig", str(kubeconfig), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def established(kubeconfig: Path, *definitions: Path) -> None:
    """Wait until definitions are served; `kubectl wait` breaks off where there are no conditions yet."""

    def is_served() -> bool:
        files = [part for each in definitions for part in ("-f", str(each))]
        found = json.loads(kubectl(kubeconfig, "get", *files, "-o", "json"))
        each_says = [each.get("status", {}).get("conditions") or () for each in found.get("items", [found])]
        return all(("Established", "True") in [(c["type"], c["status"]) for c in said] for said in each_says)

    wait_for(is_served, what="the definitions")


def install(kubeconfig: Path) -> None:
    """Install our resources and the profiles that come with them; what is there stays."""
    kubectl(kubeconfig, "apply", "-f", str(CRDS))
    established(kubeconfig, CRDS)
    kubectl(kubeconfig, "apply", "-f", str(PROFILES))


@contextmanager
def start(path: Path, controllers: Sequence[str] = ()) -> Iterator[Path]:
    """Run a server whose files lie under `path`; give the path of a kubeconfig of its administrator.

    controllers are those of Kubernetes' own that run beside it, such as `job-controller`.
    """
    path.mkdir(parents=True, exist_ok=True)
    # Of two that start at once, kwokctl gives both the same ports, and both API servers one etcd.
    ports = [free_port() for _ in range(4)]
    config = path / "kwok.yaml"
    components = ["etcd", "kube-apiserver", *(["kube-controller-manager"] if controllers else [])]
    config.write_text(_CONFIG.format(ports=ports, components=json.dumps(components)))
    options = ["--runtime", "binary", "--config", str(config), "--wait", "60s"]
    if controllers:
        options += ["--extra-args", f"kube-controller-manager=controllers={','.join(controllers)}"]
    try:
        _kwokctl(path, "create", "cluster", *options)
        kubeconfig = path / "kwok/clusters/test/kubeconfig.yaml"
        install(kubeconfig)
        yield kubeconfig
    finally:
        _kwokctl(path, "delete", "cluster")
