"""A real API server for tests, without nodes or controllers: etcd and kube-apiserver, with our resources installed."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from s3server import tool

_ROOT = Path(__file__).parents[2]
CRDS = _ROOT / "charts/media-operator/files/crds"
PROFILES = _ROOT / "charts/media-operator/files/profiles"

_CONFIG = """\
apiVersion: config.kwok.x-k8s.io/v1alpha1
kind: KwokctlConfiguration
options:
  components: [etcd, kube-apiserver]
  kubeApiserverPort: {port}
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


@contextmanager
def start(path: Path) -> Iterator[Path]:
    """Run a server whose files lie under `path`; give the path of a kubeconfig of its administrator."""
    path.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = path / "kwok.yaml"
    config.write_text(_CONFIG.format(port=port))
    try:
        _kwokctl(path, "create", "cluster", "--runtime", "binary", "--config", str(config), "--wait", "60s")
        kubeconfig = path / "kwok/clusters/test/kubeconfig.yaml"
        kubectl(kubeconfig, "apply", "-f", str(CRDS))
        kubectl(kubeconfig, "wait", "--for=condition=Established", "--timeout=60s", "-f", str(CRDS))
        kubectl(kubeconfig, "apply", "-f", str(PROFILES))
        yield kubeconfig
    finally:
        _kwokctl(path, "delete", "cluster")
