"""What earlier runs of an import have done: a file of JSON lines, one for each file that the server has."""

import hashlib
import json
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO


def default_path(*parts: str) -> Path:
    """Return where the state of an import is kept unless told otherwise, by the rule of the XDG directories."""
    base = os.environ.get("XDG_STATE_HOME")
    directory = (Path(base) if base else Path.home() / ".local" / "state") / "media-operator" / "imports"
    return directory / f"{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}.jsonl"


class State:
    """The files that are done, by relative path and stamp. May be used by several threads. Raises OSError."""

    def __init__(self, path: Path) -> None:
        """Read what is there; a last line that a crash has cut counts as not written."""
        self._path = path
        self._lock = threading.Lock()
        self._done: dict[str, tuple[str, str]] = {}
        self._file: TextIO | None = None
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        for line in lines:
            try:
                entry = json.loads(line)
                self._done[entry["file"]] = entry["stamp"], entry["id"]
            except (ValueError, KeyError, TypeError):
                continue

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("a", encoding="utf-8")
        # What follows a line that was cut must be a line of its own.
        self._file.write("\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file:
            self._file.close()

    def asset(self, file: str, stamp: str) -> str | None:
        """Return the id of the asset that a file has become, None when it has not, or has changed since."""
        known, asset = self._done.get(file, ("", ""))
        return asset if known == stamp else None

    def add(self, file: str, stamp: str, asset: str) -> None:
        """Remember a file; it is written before this returns."""
        line = json.dumps({"file": file, "stamp": stamp, "id": asset})
        with self._lock:
            if self._file:
                self._file.write(f"{line}\n")
                self._file.flush()
