"""A directory as the store, and the transcoder as the process that it is."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from mediaasset import keys
from mediaasset.media import Kind
from mediaasset.reasons import Reason, from_exit_code
from mediaasset.task import Failure, Limits, Rendition, Result, Source, Task, decode

_ROOT = Path(__file__).parents[2]
_PROFILES = _ROOT / "charts/media-operator/files/profiles"


def profile(name: str) -> tuple[tuple[Rendition, ...], dict[Kind, Limits]]:
    """Return the renditions and limits of a built-in profile, as the operator writes them into a Task."""
    spec = yaml.safe_load((_PROFILES / f"{name}.yaml").read_text())["spec"]
    renditions = tuple(
        decode(Rendition, {field: value for field, value in entry.items() if field != "for"} | {"kind": entry["for"]})
        for entry in spec["renditions"]
    )
    return renditions, {Kind(kind): decode(Limits, limits) for kind, limits in spec["limits"].items()}


WEB_RENDITIONS, WEB_LIMITS = profile("web")


@dataclass(frozen=True, kw_only=True)
class Ended:
    """One run that is over; reason is None when it succeeded."""

    code: int
    progress: list[dict[str, Any]]
    log: str

    @property
    def reason(self) -> Reason | None:
        return from_exit_code(self.code) if self.code else None


@dataclass(frozen=True)
class Bench:
    """A store with sources, and transcoders that work on it."""

    store: Path
    scratch: Path
    started: "list[subprocess.Popen[str]]" = field(default_factory=list)

    def put(self, content: bytes | Path, name: str = "source") -> Task:
        """Place a source in the store; return a Task for it with the profile `web`."""
        target = self.store / "uploads/ns/asset" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
        return self.task(Source(key=f"uploads/ns/asset/{name}"))

    def task(self, source: Source) -> Task:
        return Task(
            uid="uid",
            namespace="ns",
            name="asset",
            attempt=1,
            inputs_hash="hash",
            source=source,
            prefix="media/ns/assets/uid/",
            document_prefix="private/ns/assets/uid/",
            renditions=WEB_RENDITIONS,
            limits=WEB_LIMITS,
            deadline_seconds=60,
        )

    def environment(self, task: Task | str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "TMPDIR": str(self.scratch),
            "MEDIA_TASK": task if isinstance(task, str) else task.to_json(),
            "MEDIA_STORE_URL": self.store.as_uri(),
            "MEDIA_POD_NAME": "pod",
            "MEDIA_TERMINATION_LOG": str(self.store.parent / "termination"),
        }

    def start(self, task: Task | str, **variables: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "media_transcoder"],
            env=self.environment(task) | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def end(self, process: "subprocess.Popen[str]") -> Ended:
        output, log = process.communicate(timeout=90)
        lines = [json.loads(line) for line in output.splitlines()]
        return Ended(code=process.returncode, progress=lines, log=log)

    def run(self, task: Task | str, **variables: str) -> Ended:
        return self.end(self.start(task, **variables))

    def result(self, uid: str = "uid") -> Result:
        return Result.from_json((self.store / keys.result(uid, 1)).read_bytes())

    def failure(self) -> Failure:
        return Failure.from_json((self.store / keys.failure("uid", 1, "pod")).read_bytes())

    def published(self, name: str) -> Path:
        """Return the file of a rendition that the result names."""
        found = next(rendition for rendition in self.result().renditions if rendition.name == name)
        assert found.key is not None
        return self.store / found.key

    def objects(self, *prefixes: str) -> Sequence[str]:
        """List all keys but those of uploads."""
        found = sorted(str(path.relative_to(self.store)) for path in self.store.rglob("*") if path.is_file())
        return [key for key in found if key.startswith(prefixes or ("media/", "private/", "work/"))]

    def is_clean(self) -> bool:
        """Tell whether no scratch is left."""
        return not list(self.scratch.iterdir())

    def with_limits(self, task: Task, kind: Kind, limits: Limits) -> Task:
        return replace(task, limits=task.limits | {kind: limits})
