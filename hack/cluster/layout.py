"""Where everything of a cluster lies, and under which addresses it is found."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hack.cluster.tools import cache

if TYPE_CHECKING:
    from pathlib import Path

# The node is a network of its own behind one cable (a veth pair); the host is its only neighbour. There is no default
# route, so nothing in the cluster can reach, or be reached from, beyond this machine.
HOST_IP = "10.244.255.1"
NODE_IP = "10.244.255.2"
LINK_CIDR = "10.244.255.0/30"
POD_CIDR = "10.244.0.0/24"
SERVICE_CIDR = "10.96.0.0/16"
API_SERVICE_IP = "10.96.0.1"
# One cluster at a time: the addresses are fixed, so the network has one name, on the host and among the namespaces.
NETWORK = "media-node"

API_PORT = 6443
REGISTRY_PORT = 5000
S3_PORT = 9000
S3_REGION = "us-east-1"
# What Contour makes of the ports 80 and 443 of its Gateway; the node turns the well-known ones into them.
ENVOY_PORTS = {80: 8080, 443: 8443}
# Where Envoy answers as soon as Contour has told it what to serve; the others open with the first Ingress or route.
ENVOY_STATS_PORT = 8002
# Every name below it resolves to the node, for pods: the ingress and the S3 server can be called by a name.
DOMAIN = "test"


class ClusterError(Exception):
    """The cluster cannot do what it was asked; the text says why and what to do."""


@dataclass(frozen=True)
class Cluster:
    """A cluster by its name: the paths of its one folder, which `delete` removes."""

    name: str

    @cached_property
    def home(self) -> Path:
        """The folder that holds everything of this cluster."""
        return clusters() / self.name

    @property
    def node(self) -> str:
        """The name of its one node, as kind names it."""
        return f"{self.name}-control-plane"

    @property
    def cgroup(self) -> str:
        """The control group of all its pods: a kubelet clears what it does not know in its own."""
        return f"media-operator-{self.name}"

    @property
    def logs(self) -> Path:
        """One file for each part."""
        return self.home / "logs"

    @property
    def parts(self) -> Path:
        """The programs that the node runs, one file each."""
        return self.home / "parts"

    @property
    def etc(self) -> Path:
        """Generated configuration."""
        return self.home / "etc"

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.home / "pki"

    @property
    def kubeconfig(self) -> Path:
        """For the administrator; `--kubeconfig` gets a copy."""
        return self.home / "kubeconfig"

    @property
    def facts_file(self) -> Path:
        """Written when the cluster is complete: how to use it."""
        return self.home / "facts.json"

    def facts(self) -> dict[str, Any]:
        """Return how to use the cluster.

        Raises:
            ClusterError: it is not complete.

        """
        try:
            facts: dict[str, Any] = json.loads(self.facts_file.read_text())
        except FileNotFoundError:
            message = f"could not locate any control plane nodes for cluster named '{self.name}'"
            raise ClusterError(message) from None
        return facts


def clusters() -> Path:
    """Return the folder of all clusters."""
    return cache() / "clusters"


def environment() -> dict[str, str]:
    """Return what our programs see: no proxy or credential of the caller."""
    path = f"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:{os.environ.get('PATH', '')}"
    return {"PATH": path, "HOME": os.environ.get("HOME", "/root"), "LANG": "C.UTF-8"}
