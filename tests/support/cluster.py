"""A Kubernetes that tests drive: kubectl with its answers parsed, and what is waited for."""

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]

ASSETS = "mediaassets.media-operator.io"


@dataclass(frozen=True, slots=True)
class Cluster:
    """One cluster. `load` brings an image of the local builds to its nodes."""

    kubeconfig: Path
    kubectl_path: Path
    load: Callable[[str], None]

    def run(self, *arguments: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
        """Run kubectl, whatever comes of it."""
        command = [str(self.kubectl_path), *arguments]
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        return subprocess.run(command, env=environment, input=stdin, capture_output=True, text=True, check=False)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl; return what it prints."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def apply(self, *bodies: Json) -> None:
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(bodies))

    def get(self, kind: str, name: str, namespace: str = "default") -> Json:
        found: Json = json.loads(self.kubectl("get", kind, name, "-n", namespace, "-o", "json"))
        return found

    def find(self, kind: str, namespace: str, selector: str = "") -> list[Json]:
        """List objects by labels."""
        listed = json.loads(self.kubectl("get", kind, "-n", namespace, "-l", selector, "-o", "json"))
        items: list[Json] = listed["items"]
        return items

    def exists(self, kind: str, name: str, namespace: str) -> bool:
        return bool(self.kubectl("get", kind, name, "-n", namespace, "--ignore-not-found", "-o", "name"))

    def wait(self, kind: str, name: str, condition: str, namespace: str = "default", seconds: int = 120) -> None:
        """Wait until a condition is true."""
        arguments = ["-n", namespace, f"--for=condition={condition}", f"--timeout={seconds}s", f"{kind}/{name}"]
        done = self.run("wait", *arguments)
        if done.returncode:
            described = self.run("describe", kind, name, "-n", namespace).stdout
            message = f"{done.stderr}\n{described}"
            raise AssertionError(message)

    def gone(self, kind: str, name: str, namespace: str, seconds: int = 120) -> None:
        """Wait until an object is deleted."""
        self.kubectl("wait", "-n", namespace, "--for=delete", f"--timeout={seconds}s", f"{kind}/{name}")

    def secret(self, name: str, namespace: str, /, **data: str) -> None:
        """Write a Secret."""
        metadata = {"name": name, "namespace": namespace}
        self.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})

    def namespace(self, name: str) -> None:
        """Make a namespace that enforces the restricted Pod Security Standard."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
