"""The real `python -m media_standalone` as a process: start, wait until it serves, talk to it, stop or kill it."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from service import Service, wait_for

TOKEN = "a-token-for-tests-only"
_HELD = Path(__file__).with_name("held.py")


@dataclass
class Standalone(Service):
    """A process that serves, and the data directory that it works on."""

    process: "subprocess.Popen[bytes]"
    data_dir: Path

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end; return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(30)

    def kill(self) -> None:
        """End it as a power cut would, and wait until its transcoders have followed."""
        self.process.kill()
        self.process.wait(30)
        # A transcoder that a test has stopped hears of its parent's death only when it goes on.
        for child in children_of(self.data_dir):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.resume()
        wait_for(lambda: not children_of(self.data_dir), seconds=20, what="the transcoders to go")


def command(data_dir: Path, *arguments: str) -> list[str]:
    """Return the options of a standalone on a free port."""
    return ["--port", "0", "--data-dir", str(data_dir), *arguments]


def launch(data_dir: Path, program: Sequence[str], *, token: str | None = TOKEN, **environment: str) -> Standalone:
    """Start a program and wait for its ready line; AssertionError with its words when it ends instead."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("MEDIA_")}
    tokens = {} if token is None else {"MEDIA_TOKEN": token}
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    out, log = data_dir.with_suffix(".out"), data_dir.with_suffix(".log")
    with out.open("wb") as stdout, log.open("ab") as stderr:
        process = subprocess.Popen(
            [sys.executable, *program], stdout=stdout, stderr=stderr, env=own | tokens | environment
        )

    def check() -> str | None:
        assert process.poll() is None, f"it ended with {process.returncode}: {log.read_text()}"
        lines = out.read_text().splitlines()
        return lines[0] if lines else None

    try:
        line = wait_for(check, what="the ready line")
    except BaseException:
        process.kill()
        process.wait()
        raise
    assert line.startswith("Serving http://"), line
    return Standalone(line.removeprefix("Serving "), TOKEN, process, data_dir)


@contextmanager
def started(data_dir: Path, *arguments: str, token: str | None = TOKEN, **environment: str) -> Iterator[Standalone]:
    """Run a plain standalone; it is stopped in the end, and must end cleanly."""
    server = launch(data_dir, ["-m", "media_standalone", *command(data_dir, *arguments)], token=token, **environment)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            code = server.stop()
            log = data_dir.with_suffix(".log")
            assert code == 0, f"it ended with {code}: {log.read_text()}"


@contextmanager
def held(data_dir: Path, point: str) -> Iterator[tuple[Standalone, Callable[[], object]]]:
    """Run a standalone that stands still at `point` (see held.py); yields it and how to wait until it does.

    It is killed in the end if the test has not done so.
    """
    marker = data_dir.with_suffix(".held")
    server = launch(data_dir, [str(_HELD), point, str(marker), *command(data_dir)])
    try:
        yield server, lambda: wait_for(marker.exists, what=f"the hold at {point}")
    finally:
        server.kill()


def children_of(data_dir: Path) -> list[psutil.Process]:
    """Return the processes that run for this data directory, by their environment."""
    mark = str(data_dir / "scratch")
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TMPDIR", "").startswith(mark) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def assets_in(data_dir: Path) -> list[dict[str, Any]]:
    """Return all assets of a data directory as stored, newest first."""
    with closing(sqlite3.connect(data_dir / "standalone.db")) as connection:
        rows = connection.execute("SELECT body FROM assets ORDER BY sequence DESC").fetchall()
    return [json.loads(row[0]) for row in rows]


def jobs_in(data_dir: Path) -> list[tuple[str, int, str]]:
    """Return (uid, attempt, phase) of all Jobs of a data directory."""
    with closing(sqlite3.connect(data_dir / "standalone.db")) as connection:
        return connection.execute("SELECT uid, attempt, phase FROM jobs ORDER BY uid, attempt").fetchall()


def files_under(path: Path) -> list[Path]:
    """Return the files below a directory, relative to it."""
    return sorted(item.relative_to(path) for item in path.rglob("*") if item.is_file())
