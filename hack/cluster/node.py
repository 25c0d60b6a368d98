"""The node: Linux namespaces that hold every process, mount, interface and iptables rule of the cluster.

Like kind's node it is a container, but one that `unshare` makes. So a port can be taken by nobody else, and ending the
first process ends all: there are no leftovers to look for, and nothing of others to hit.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hack.cluster.layout import (
    HOST_IP,
    LINK_CIDR,
    NETWORK,
    NODE_IP,
    POD_CIDR,
    SERVICE_CIDR,
    Cluster,
    ClusterError,
    clusters,
    environment,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def run(*command: str | Path, stdin: str | None = None) -> str:
    """Run a program on the host and return its output.

    Raises:
        ClusterError: it failed; the text has what it said.

    """
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, env=environment(), check=False)
    if done.returncode:
        message = f"{' '.join(map(str, command))} failed: {(done.stderr or done.stdout).strip()[-4000:]}"
        raise ClusterError(message)
    return done.stdout


@contextmanager
def lock() -> Iterator[None]:
    """Keep a second `create` or `delete` waiting."""
    clusters().mkdir(parents=True, exist_ok=True)
    with (clusters() / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def birth(pid: int) -> str | None:
    """Return what tells a process from a later one of the same number, or None if it does not live."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    started = fields[18]
    return None if state in "ZX" else f"{_BOOT_ID.read_text().strip()} {started}"


def pid(cluster: Cluster) -> int | None:
    """Return the PID of the node's first process, seen from the host, if it lives."""
    try:
        noted = json.loads((cluster.home / "node.json").read_text())
    except FileNotFoundError:
        return None
    found: int = noted["pid"]
    return found if noted["birth"] == birth(found) else None


def living() -> list[Cluster]:
    """Return the clusters whose node runs, complete or not."""
    return [cluster for cluster in map(Cluster, sorted(home.name for home in clusters().glob("*/"))) if pid(cluster)]


def inside(cluster: Cluster, *command: str | Path) -> str:
    """Run a program in the node's namespaces and return its output."""
    return run("nsenter", f"--target={pid(cluster)}", "--net", "--mount", "--pid", "--ipc", "--uts", "--", *command)


def start(cluster: Cluster) -> None:
    """Make the namespaces and their first process."""
    _connect()
    _make_cgroups(cluster)
    for name in ("logs", "parts", "var-lib", "var-log"):
        (cluster.home / name).mkdir(parents=True, exist_ok=True)
    init = [sys.executable, "-I", str(Path(__file__).with_name("init.py")), str(cluster.home), cluster.node]
    unshare = ["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc", "--"]
    command = ["nsenter", f"--net=/run/netns/{NETWORK}", *unshare, *init]
    with (cluster.logs / "init.log").open("w") as log:
        process = subprocess.Popen(
            command,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    # nsenter becomes unshare, and unshare's only child is the first process.
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not (child := children.read_text().strip() if process.poll() is None else ""):
        if process.poll() is not None:
            message = f"the node did not start: {(cluster.logs / 'init.log').read_text().strip()}"
            raise ClusterError(message)
        time.sleep(0.01)
    (cluster.home / "node.json").write_text(json.dumps({"pid": int(child), "birth": birth(int(child))}))


def add(cluster: Cluster, name: str, command: Sequence[str], **extra: str) -> None:
    """Have the node run a program from now on."""
    part = cluster.parts / f"{name}.json"
    new = part.with_suffix(".new")
    new.write_text(json.dumps({"command": command, "environment": environment() | extra}))
    new.rename(part)
    _tell(cluster)


def drop(cluster: Cluster, name: str) -> None:
    """Have the node end a program."""
    (cluster.parts / f"{name}.json").unlink(missing_ok=True)
    _tell(cluster)


def _tell(cluster: Cluster) -> None:
    if found := pid(cluster):
        os.kill(found, signal.SIGHUP)


def stop(cluster: Cluster) -> None:
    """End the node and all that runs in it, and take the network away."""
    if found := pid(cluster):
        handle = os.pidfd_open(found)
        try:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            # The kernel reports the end of a namespace's first process when all others have ended.
            select.select([handle], [], [])
        finally:
            os.close(handle)
    if not living():
        _disconnect()
    for group in _cgroups(cluster):
        for folder, _, _ in os.walk(group, topdown=False):
            Path(folder).rmdir()


def _connect() -> None:
    """Make the node's network and the cable to it."""
    _disconnect()
    if found := clash(json.loads(run("ip", "-json", "-4", "route", "show", "table", "all"))):
        message = f"the network {found} is in the way: the cluster uses {LINK_CIDR}, {POD_CIDR} and {SERVICE_CIDR}"
        raise ClusterError(message)
    prefix = LINK_CIDR.partition("/")[2]
    run("ip", "netns", "add", NETWORK)
    run("ip", "link", "add", NETWORK, "type", "veth", "peer", "name", "eth0", "netns", NETWORK)
    run("ip", "address", "add", f"{HOST_IP}/{prefix}", "dev", NETWORK)
    run("ip", "link", "set", NETWORK, "up")
    run("ip", "-n", NETWORK, "address", "add", f"{NODE_IP}/{prefix}", "dev", "eth0")
    for interface in ("lo", "eth0"):
        run("ip", "-n", NETWORK, "link", "set", interface, "up")
    for cidr in (POD_CIDR, SERVICE_CIDR):
        run("ip", "route", "add", cidr, "via", NODE_IP)
    # The addresses of Services exist only in iptables, but need a route to get there. Behind it is nothing: a Service
    # that kube-proxy has not seen yet is silent, and a client tries again, as where there is a default route.
    run("ip", "-n", NETWORK, "link", "add", "services", "type", "bridge")
    run("ip", "-n", NETWORK, "link", "set", "services", "arp", "off", "up")
    run("ip", "-n", NETWORK, "route", "add", SERVICE_CIDR, "dev", "services")


def _disconnect() -> None:
    if NETWORK in {link["ifname"] for link in json.loads(run("ip", "-json", "link", "show"))}:
        run("ip", "link", "delete", NETWORK)
    if Path(f"/run/netns/{NETWORK}").exists():
        run("ip", "netns", "delete", NETWORK)


def clash(routes: list[dict[str, str]]) -> str | None:
    """Return which of the machine's networks the cluster would shadow, if it does; `routes` are those of `ip -json`."""
    ours = [ipaddress.IPv4Network(cidr) for cidr in (LINK_CIDR, POD_CIDR, SERVICE_CIDR)]
    for route in routes:
        theirs = ipaddress.IPv4Network(route["dst"].replace("default", "0.0.0.0/0"))
        # What is wider, a default route or a company's 10.0.0.0/8, goes on to serve all but our addresses.
        if any(theirs.subnet_of(network) for network in ours):
            return f"{theirs} on {route.get('dev')}"
    return None


def _cgroups(cluster: Cluster) -> list[Path]:
    """Return the control group that holds all pods, as often as there are hierarchies: once in version 2."""
    root = Path("/sys/fs/cgroup")
    alone = (root / "cgroup.procs").exists()
    hierarchies = [root] if alone else [file.parent for file in root.glob("*/cgroup.procs")]
    return [hierarchy / cluster.cgroup for hierarchy in hierarchies]


def _make_cgroups(cluster: Cluster) -> None:
    for group in _cgroups(cluster):
        group.mkdir(exist_ok=True)
        # In version 1 a new group may use no processor and no memory until it is told to.
        for limit in ("cpuset.mems", "cpuset.cpus"):
            if (group / limit).exists() and not (group / limit).read_text().strip():
                (group / limit).write_text((group.parent / limit).read_text())
