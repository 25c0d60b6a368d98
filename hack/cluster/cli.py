"""The command line of kind, for a cluster that needs no Docker."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hack.cluster import create, images, kwok
from hack.cluster.layout import Cluster, ClusterError
from hack.cluster.node import lock
from hack.cluster.tools import ToolError, versions

if TYPE_CHECKING:
    from collections.abc import Callable

    # The standard library has no public name for what add_subparsers returns.
    _Verb = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001


def main() -> int:
    """Run one command; the exit code and the messages are kind's."""
    arguments = _parser().parse_args()
    try:
        arguments.run(arguments)
    except (ClusterError, ToolError) as error:
        create.say(f"ERROR: {error}")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kind", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    named = argparse.ArgumentParser(add_help=False)
    named.add_argument("--name", "-n", default=os.environ.get("KIND_CLUSTER_NAME", "kind"), type=_name)

    def command(verb: _Verb, name: str, run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        added = verb.add_parser(name, parents=[named], help=run.__doc__)
        added.set_defaults(run=run)
        return added

    get = verbs.add_parser("get", help="show clusters and what they are").add_subparsers(required=True)
    command(get, "clusters", _get_clusters)
    command(get, "nodes", _get_nodes)
    command(get, "kubeconfig", _get_kubeconfig)
    command(get, "facts", _get_facts)
    creating = verbs.add_parser("create", help="make a cluster").add_subparsers(required=True)
    made = command(creating, "cluster", _create)
    made.add_argument("--kubeconfig", type=Path)
    for option in ("--wait", "--image", "--config"):
        made.add_argument(option, help="accepted for kind's sake")
    made.add_argument("--retain", action="store_true", help="accepted for kind's sake: logs are always kept")
    command(creating, "fake-node", _create_fake_node)
    deleting = verbs.add_parser("delete", help="remove a cluster").add_subparsers(required=True)
    command(deleting, "cluster", _delete).add_argument("--kubeconfig", type=Path)
    command(deleting, "fake-node", _delete_fake_node)
    loading = verbs.add_parser("load", help="give images to the node").add_subparsers(required=True)
    loaded = command(loading, "docker-image", _load)
    loaded.add_argument("image", nargs="+")
    exporting = verbs.add_parser("export", help="collect logs").add_subparsers(required=True)
    exported = command(exporting, "logs", _export_logs)
    exported.add_argument("folder", type=Path)
    command(verbs, "version", _version)
    return parser


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", text):
        message = f"{text!r} is not a valid cluster name"
        raise argparse.ArgumentTypeError(message)
    return text


def _kubeconfig(given: Path | None) -> Path:
    """Return the kubeconfig file that kind would write."""
    return given or Path(os.environ.get("KUBECONFIG", "").partition(":")[0] or Path.home() / ".kube" / "config")


def _get_clusters(_: argparse.Namespace) -> None:
    """Print the names of running clusters."""
    names = [cluster.name for cluster in create.running()]
    print("\n".join(names)) if names else create.say("No kind clusters found.")


def _get_nodes(arguments: argparse.Namespace) -> None:
    """Print the names of a cluster's nodes."""
    found = Cluster(arguments.name)
    if found in create.running():
        print(found.node)
    else:
        create.say(f'No kind nodes found for cluster "{found.name}".')


def _get_kubeconfig(arguments: argparse.Namespace) -> None:
    """Print the kubeconfig of the administrator."""
    print(Path(Cluster(arguments.name).facts()["kubeconfig"]).read_text(), end="")


def _get_facts(arguments: argparse.Namespace) -> None:
    """Print addresses, credentials and paths as JSON (not a command of the real kind)."""
    print(json.dumps(Cluster(arguments.name).facts(), indent=2))


def _create(arguments: argparse.Namespace) -> None:
    """Make a cluster, or leave the running one as it is."""
    cluster = Cluster(arguments.name)
    for option in ("image", "config"):
        if getattr(arguments, option):
            create.say(f"--{option} is ignored: the node is made of what hack/versions.env names")
    target = _kubeconfig(arguments.kubeconfig).absolute()
    create.create(cluster)
    create.export_kubeconfig(cluster, target)
    facts = cluster.facts()
    create.say(f"""Set kubectl context to "kind-{cluster.name}"

  export KUBECONFIG={target}
  {facts["kubectl"]} get nodes

Ingress class, Gateway  contour, projectcontour/contour at {facts["ingress_http"]} and {facts["ingress_https"]}
S3                      {facts["s3_endpoint"]}
Credentials and more    hack/cluster/kind get facts --name {cluster.name}
Images                  hack/cluster/kind load docker-image --name {cluster.name} IMAGE
Logs                    {facts["logs"]}""")


def _delete(arguments: argparse.Namespace) -> None:
    """Remove a cluster and all that belongs to it."""
    cluster = Cluster(arguments.name)
    create.say(f'Deleting cluster "{cluster.name}" ...')
    target = _kubeconfig(arguments.kubeconfig)
    if target.exists():
        create.forget_kubeconfig(cluster, target)
    if cluster.home.exists():
        with lock():
            create.remove(cluster)
        create.say(f'Deleted nodes: ["{cluster.node}"]')


def _create_fake_node(arguments: argparse.Namespace) -> None:
    """Add a node on which kwok only plays pods, for tests of scale (not a command of the real kind)."""
    kwok.start(_running(arguments))
    create.say(f'Created node "{kwok.NODE}", labelled type=kwok and tainted {kwok.TAINT}')


def _delete_fake_node(arguments: argparse.Namespace) -> None:
    """Remove that node."""
    kwok.stop(_running(arguments))


def _running(arguments: argparse.Namespace) -> Cluster:
    cluster = Cluster(arguments.name)
    if cluster not in create.running():
        message = f'no nodes found for cluster "{cluster.name}"'
        raise ClusterError(message)
    return cluster


def _load(arguments: argparse.Namespace) -> None:
    """Copy images from buildah's storage to the node."""
    cluster = _running(arguments)
    for image in arguments.image:
        create.say(f'Image: "{image}" loading on node "{cluster.node}"...')
        images.load(cluster, image)


def _export_logs(arguments: argparse.Namespace) -> None:
    """Copy the logs of all parts and pods into a folder."""
    cluster, folder = Cluster(arguments.name), arguments.folder
    if not cluster.logs.exists():
        message = f'unknown cluster "{cluster.name}"'
        raise ClusterError(message)
    shutil.copytree(cluster.logs, folder / cluster.node, dirs_exist_ok=True)
    shutil.copytree(cluster.home / "var-log", folder / cluster.node, dirs_exist_ok=True, ignore_dangling_symlinks=True)
    if cluster in create.running():
        for what in ("events", "pods"):
            listed = create.kubectl(cluster, "get", what, "--all-namespaces", "--output=wide")
            (folder / f"{what}.txt").write_text(listed)
    create.say(f'Exporting logs for cluster "{cluster.name}" to:')
    print(folder)


def _version(_: argparse.Namespace) -> None:
    """Print what this is."""
    print(f"kind (of media-operator, without Docker) kubernetes {versions()['KUBERNETES']} {sys.platform}")
