"""The first process of the node: it starts the node's parts, and starts again what ends.

    init.py HOME NODE

A part is a file ``HOME/parts/NAME.json`` with `command` and `environment`; SIGHUP says that one came or went. This
process is number 1 of its own PID namespace: whatever else the node started dies with it, containers included.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

_WAKE = {signal.SIGCHLD, signal.SIGHUP}
#: Seconds before a part that ended is started again.
_BACKOFF = 1.0
#: What kubelet sets, and these are the whole machine's: it reads from us that they are set already.
_KERNEL = {"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1"}


def furnish(home: Path, node: str) -> None:
    """Give the node folders of its own where its programs write, in its own mount namespace."""
    socket.sethostname(node)
    _mount("--make-rshared", "/")
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for folder in ("lib", "log"):
        _mount("--bind", home / f"var-{folder}", f"/var/{folder}")
    for name, value in _KERNEL.items():
        copy = home / "sysctl" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(f"{value}\n")
        _mount("--bind", copy, f"/proc/sys/{name}")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *arguments], check=True)  # noqa: S607 - the PATH is ours


def start(part: Path, logs: Path) -> int:
    """Start a part with its output in its log, and return its PID."""
    wanted = json.loads(part.read_text())
    command, environment = wanted["command"], wanted["environment"]
    log = os.open(logs / f"{part.stem}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        return os.posix_spawnp(
            command[0],
            command,
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)],
            # Signals that we wait for are blocked here, and a child would inherit that.
            setsigmask=[],
            setsid=True,
        )
    finally:
        os.close(log)


def reap(running: dict[int, str], logs: Path) -> None:
    """Collect every process that ended, ours or adopted, and note in its log how a part ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        if name := running.pop(pid, None):
            with (logs / f"{name}.log").open("a") as log:
                log.write(f"init: {name} ended with exit code {os.waitstatus_to_exitcode(status)}\n")


def main() -> None:
    """Run for ever."""
    home, node = Path(sys.argv[1]), sys.argv[2]
    furnish(home, node)
    signal.pthread_sigmask(signal.SIG_BLOCK, _WAKE)
    logs = home / "logs"
    running: dict[int, str] = {}
    started: dict[str, float] = {}
    while True:
        reap(running, logs)
        for pid, name in running.items():
            if not (home / "parts" / f"{name}.json").exists():
                os.kill(pid, signal.SIGTERM)
        for part in sorted((home / "parts").glob("*.json")):
            due = started.get(part.stem, -_BACKOFF) + _BACKOFF <= time.monotonic()
            if due and part.stem not in running.values():
                started[part.stem] = time.monotonic()
                running[start(part, logs)] = part.stem
        signal.sigtimedwait(_WAKE, _BACKOFF)


if __name__ == "__main__":
    main()
