"""A node without a kubelet: kwok says of its pods that they run and succeed, thousands of them at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hack.cluster.create import kubectl
from hack.cluster.node import add, drop
from hack.cluster.pki import kubeconfig
from hack.cluster.tools import tool

if TYPE_CHECKING:
    from hack.cluster.layout import Cluster

NODE = "kwok-0"
#: Keeps all pods away that do not tolerate it.
TAINT = "kwok.x-k8s.io/node=fake:NoSchedule"
#: The stages that a node and a pod go through; `kwok` itself has none.
_STAGES = ("node-initialize", "node-heartbeat", "pod-ready", "pod-complete", "pod-delete")
#: How long a pod runs, in milliseconds: time for whoever plays the programs to write what they would.
_RUN_MILLISECONDS = 2000
#: What kwok leaves out of the node, and pods ask for: scratch space.
_SCRATCH = {"ephemeral-storage": "1Pi"}


def start(cluster: Cluster) -> None:
    """Add the node and run kwok for it; it may be there already."""
    options = {
        "cidr": "10.0.0.1/24",
        "nodeIP": "10.1.0.1",
        "manageAllNodes": False,
        "manageNodesWithLabelSelector": "type=kwok",
        "podPlayStageParallelism": 4,
        "nodePlayStageParallelism": 4,
        # A kwok that is started again within a lease would leave the pods bound meanwhile Pending for ever.
        "nodeLeaseDurationSeconds": 0,
    }
    own = {"apiVersion": "config.kwok.x-k8s.io/v1alpha1", "kind": "KwokConfiguration", "options": options}
    stages = [(tool("kwok") / f"{stage}.yaml").read_text() for stage in _STAGES]
    delayed = f"spec:\n  delay: {{durationMilliseconds: {_RUN_MILLISECONDS}}}\n"
    stages = [stage.replace("spec:\n", delayed, 1) if "name: pod-complete" in stage else stage for stage in stages]
    config = cluster.etc / "kwok.yaml"
    config.write_text("\n---\n".join([json.dumps(own), *stages]))
    user = f"--kubeconfig={kubeconfig(cluster, 'admin')}"
    add(cluster, "kwok", [str(tool("kwok") / "kwok"), user, f"--config={config}", "--manage-all-nodes=false"])
    key, _, rest = TAINT.partition("=")
    value, _, effect = rest.partition(":")
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": NODE, "labels": {"type": "kwok"}},
        "spec": {"taints": [{"key": key, "value": value, "effect": effect}]},
    }
    kubectl(cluster, "apply", "--server-side", "--filename=-", stdin=json.dumps(node))
    kubectl(cluster, "wait", "--for=condition=Ready", f"node/{NODE}", "--timeout=30s")
    status = {"status": {"capacity": _SCRATCH, "allocatable": _SCRATCH}}
    kubectl(cluster, "patch", "node", NODE, "--subresource=status", "--type=merge", f"--patch={json.dumps(status)}")


def stop(cluster: Cluster) -> None:
    """Remove the node, and with it its pods."""
    kubectl(cluster, "delete", "node", NODE, "--ignore-not-found")
    drop(cluster, "kwok")
