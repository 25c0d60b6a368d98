"""Bring a cluster up, part after part, and take it down."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hack.cluster import images, node, parts, pki
from hack.cluster.layout import (
    API_PORT,
    DOMAIN,
    ENVOY_PORTS,
    ENVOY_STATS_PORT,
    HOST_IP,
    NODE_IP,
    REGISTRY_PORT,
    S3_PORT,
    S3_REGION,
    Cluster,
    ClusterError,
    clusters,
)
from hack.cluster.tools import TOOLS, tool

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds that a part may take to come up on a slow machine.
_PATIENCE = 90.0


def say(text: str) -> None:
    """Tell the user what happens; standard output is for results."""
    os.write(2, f"{text}\n".encode())


def check() -> None:
    """Refuse to start what cannot work.

    Raises:
        ClusterError: this machine lacks something, or we may not use it.

    """
    if os.geteuid() != 0:
        message = "a cluster without Docker makes network interfaces and mounts: run it as root"
        raise ClusterError(message)
    if subprocess.run([Path(__file__).with_name("setup.sh")], check=False).returncode:
        message = "this machine lacks what the cluster is made of"
        raise ClusterError(message)
    for private in ("/run", "/var/lib", "/var/log"):
        if clusters().resolve().is_relative_to(private):
            message = f"the cache must not lie in {private}, which the node has for itself"
            raise ClusterError(message)


def running() -> list[Cluster]:
    """Return the clusters that are complete and whose node lives."""
    return [cluster for cluster in node.living() if cluster.facts_file.exists()]


def create(cluster: Cluster) -> None:
    """Bring a cluster up; what a crash or a reboot left of it is removed first.

    Raises:
        ClusterError: a part did not come up, or another cluster runs.

    """
    check()
    for name in [*TOOLS, "envoy"]:
        tool(name)
    pause_image, pause_archive = images.pause()
    with node.lock():
        if cluster in running():
            _settle(cluster)
            say(f'Cluster "{cluster.name}" is already running.')
            return
        for other in node.living():
            if other != cluster:
                advice = f"hack/cluster/kind delete cluster --name {other.name}"
                message = f"cluster {other.name!r} is running, and only one can. Run: {advice}"
                raise ClusterError(message)
        remove(cluster)
        cluster.home.mkdir(parents=True, mode=0o700)
        cluster.etc.mkdir()
        say(f'Creating cluster "{cluster.name}" ...')
        try:
            _bring_up(cluster, pause_image, pause_archive)
        except BaseException:
            # Its logs stay for whoever wants to know why.
            node.stop(cluster)
            raise


def remove(cluster: Cluster) -> None:
    """Remove a cluster: its processes, its network, its files."""
    node.stop(cluster)
    if cluster.home.exists():
        shutil.rmtree(cluster.home)


def kubectl(cluster: Cluster, *arguments: str | Path, stdin: str | None = None) -> str:
    """Run kubectl as the administrator."""
    config = f"--kubeconfig={pki.kubeconfig(cluster, 'admin')}"
    return node.run(tool("kubernetes") / "kubectl", config, *arguments, stdin=stdin)


def _bring_up(cluster: Cluster, pause_image: str, pause_archive: Path) -> None:
    pki.make(cluster)
    node.start(cluster)
    parts.etcd(cluster)
    parts.containerd(cluster, pause_image)
    parts.registry(cluster)
    store = parts.s3(cluster)
    parts.apiserver(cluster)
    _await(cluster, "kube-apiserver", lambda: kubectl(cluster, "get", "--raw=/readyz"))
    say(" ✓ Control plane")
    parts.controllers(cluster)
    ctr = ("ctr", "--namespace=k8s.io")
    _await(cluster, "containerd", lambda: node.inside(cluster, *ctr, "version"))
    node.inside(cluster, *ctr, "images", "import", pause_archive)
    parts.kubelet(cluster)
    parts.proxy(cluster)
    parts.coredns(cluster)
    _ingress(cluster)
    _settle(cluster)
    say(f" ✓ Node {cluster.node}, DNS, registry, S3, ingress")
    _write_facts(cluster, store)


def _settle(cluster: Cluster) -> None:
    """Wait until everything answers, also parts that the node is starting again."""
    _await(cluster, "kube-apiserver", lambda: kubectl(cluster, "get", "--raw=/readyz"))
    _await(cluster, "kubelet", lambda: _wait(cluster, "condition=Ready", f"node/{cluster.node}"))
    _await(cluster, "kube-controller-manager", lambda: _wait(cluster, "create", "serviceaccount/default"))
    ports = {"coredns": 53, "registry": REGISTRY_PORT, "versitygw": S3_PORT, "envoy": ENVOY_STATS_PORT}
    for part, port in ports.items():
        _await(cluster, part, partial(_connect, port))


def _ingress(cluster: Cluster) -> None:
    for folder in (tool("contour"), tool("gateway-api")):
        # The folder of the Gateway API also has a kustomization, which is no object.
        files = [file for file in sorted(folder.glob("*.yaml")) if file.name != "kustomization.yaml"]
        kubectl(cluster, "apply", "--server-side", *(f"--filename={file}" for file in files))
    kubectl(cluster, "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    kubectl(cluster, "apply", "--server-side", "-f", Path(__file__).with_name("ingress.yaml"))
    certificate = (f"--cert={cluster.pki}/ingress.crt", f"--key={cluster.pki}/ingress.key")
    kubectl(cluster, "create", "secret", "tls", "ingress", "--namespace=projectcontour", *certificate)
    for port, real in ENVOY_PORTS.items():
        rule = f"PREROUTING -d {NODE_IP} -p tcp --dport {port} -j REDIRECT --to-ports {real}"
        node.inside(cluster, "iptables", "-t", "nat", "-A", *rule.split())
    parts.ingress(cluster)


def _wait(cluster: Cluster, event: str, what: str) -> str:
    return kubectl(cluster, "wait", f"--for={event}", what, "--timeout=5s")


def _connect(port: int) -> None:
    socket.create_connection((NODE_IP, port), timeout=1).close()


def _await(cluster: Cluster, part: str, probe: Callable[[], object]) -> None:
    """Wait until a part answers."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            probe()
        except (ClusterError, OSError) as error:
            lost = node.pid(cluster) is None
            if lost or time.monotonic() > until:
                part = "init" if lost else part
                log = cluster.logs / f"{part}.log"
                last = "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else ""
                message = f"{part} did not come up: {error}\n{log} ends:\n{last}"
                raise ClusterError(message) from error
            time.sleep(0.1)
        else:
            return


def _write_facts(cluster: Cluster, store: dict[str, str]) -> None:
    export_kubeconfig(cluster, cluster.kubeconfig)
    facts = {
        "name": cluster.name,
        "kubeconfig": str(cluster.kubeconfig),
        "kubectl": str(tool("kubernetes") / "kubectl"),
        "helm": str(tool("helm") / "helm"),
        "node": cluster.node,
        "node_ip": NODE_IP,
        "node_pid": node.pid(cluster),
        "host_ip": HOST_IP,
        "ca": str(cluster.pki / "ca.crt"),
        "ingress_class": "contour",
        "ingress_http": f"http://{NODE_IP}",
        "ingress_https": f"https://{NODE_IP}",
        "gateway": {"name": "contour", "namespace": "projectcontour"},
        "domain": DOMAIN,
        "registry": f"{NODE_IP}:{REGISTRY_PORT}",
        "s3_endpoint": f"http://{NODE_IP}:{S3_PORT}",
        "s3_region": S3_REGION,
        **{f"s3_{name}": value for name, value in store.items()},
        "versitygw": str(tool("versitygw") / "versitygw"),
        "logs": str(cluster.logs),
    }
    new = cluster.facts_file.with_suffix(".new")
    new.write_text(json.dumps(facts, indent=2) + "\n")
    new.rename(cluster.facts_file)


def export_kubeconfig(cluster: Cluster, target: Path) -> None:
    """Add the cluster to a kubeconfig file and make it the current one, as kind does."""
    name = f"kind-{cluster.name}"
    config = (tool("kubernetes") / "kubectl", f"--kubeconfig={target}", "config")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch(mode=0o600)
    certificate = f"--certificate-authority={cluster.pki}/ca.crt"
    node.run(*config, "set-cluster", name, f"--server=https://{NODE_IP}:{API_PORT}", certificate, "--embed-certs")
    identity = (f"--client-certificate={cluster.pki}/admin.crt", f"--client-key={cluster.pki}/admin.key")
    node.run(*config, "set-credentials", name, *identity, "--embed-certs")
    node.run(*config, "set-context", name, f"--cluster={name}", f"--user={name}")
    node.run(*config, "use-context", name)


def forget_kubeconfig(cluster: Cluster, target: Path) -> None:
    """Remove the cluster from a kubeconfig file."""
    name = f"kind-{cluster.name}"
    kubectl_config = (tool("kubernetes") / "kubectl", f"--kubeconfig={target}", "config")
    for entry in ("contexts", "clusters", "users"):
        node.run(*kubectl_config, "unset", f"{entry}.{name}")
    current = node.run(*kubectl_config, "view", "--output=jsonpath={.current-context}")
    if current == name:
        node.run(*kubectl_config, "unset", "current-context")
