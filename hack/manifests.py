#!/usr/bin/env python3
"""Render manifests/install.yaml and manifests/profiles.yaml from the chart, for clusters without Helm.

    manifests.py [--check]     write both, or only say whether they are what the chart gives (exit code 1 if not)

The hooks of upgrade and uninstall are left out. The profiles are a file of their own: their kind must be there first.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

_ROOT = Path(__file__).resolve().parents[1]
CHART = _ROOT / "charts/media-operator"
MANIFESTS = _ROOT / "manifests"
RELEASE, NAMESPACE = "media-operator", "media-operator"
#: What a person must edit: these lines hold what no install can guess.
VALUES = {
    "publicBaseURL": "https://media.example.org",
    "s3.endpoint": "https://s3.example.org",
    "s3.bucket": "media",
    "s3.credentials.ingest.existingSecret": "s3-ingest",
    "s3.credentials.operator.existingSecret": "s3-operator",
    "s3.credentials.transcoder.existingSecret": "s3-transcoder",
    "tokens.existingSecret": "media-tokens",
}

_HEAD = """\
# Made from charts/media-operator by `make manifests`; do not edit it here. It holds example.org where your own hosts
# belong, and needs four Secrets: docs/install.md.
"""

Json = dict[str, Any]


class _Dumper(yaml.SafeDumper):
    """Writes lists indented and texts of several lines as blocks, as people do."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - PyYAML's
        return super().increase_indent(flow, indentless=False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def render() -> dict[str, str]:
    """Return the text of each file by its name."""
    values = [f"--set={name}={value}" for name, value in VALUES.items()]
    command = [str(_helm()), "template", RELEASE, str(CHART), f"--namespace={NAMESPACE}", "--include-crds", *values]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rendered: list[Json] = [body for body in yaml.safe_load_all(out) if body]
    namespace = next(body for body in rendered if body["kind"] == "Namespace")
    labels = {**namespace["metadata"]["labels"]}
    own: Json = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    profiles = [body for body in rendered if body["kind"] == "MediaProfile"]
    others = [body for body in rendered if body not in profiles and not _is_hook(body)]
    # Helm prints definitions before all else.
    others.sort(key=lambda body: body["kind"] != "Namespace")
    return {"install.yaml": _dump([own, *others]), "profiles.yaml": _dump(profiles)}


def _helm() -> Path:
    """Return the helm of the local cluster's tools, built if need be."""
    command = [sys.executable, str(_ROOT / "hack/cluster/tools.py"), "helm"]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return Path(printed.split(maxsplit=1)[1].strip()) / "helm"


def _is_hook(body: Json) -> bool:
    return "helm.sh/hook" in body["metadata"].get("annotations", {})


def _dump(bodies: list[Json]) -> str:
    return _HEAD + "---\n".join(
        yaml.dump(_without_helm(body), Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)
        for body in bodies
    )


def _without_helm(body: Json) -> Json:
    """Take away what only Helm reads."""
    metadata = dict(body["metadata"])
    annotations = {k: v for k, v in metadata.pop("annotations", {}).items() if "helm.sh/" not in k}
    if annotations:
        metadata["annotations"] = annotations
    if "labels" in metadata:
        labels = {k: v for k, v in metadata["labels"].items() if k != "helm.sh/chart"}
        metadata["labels"] = labels | {"app.kubernetes.io/managed-by": "kubectl"}
    return {**body, "metadata": metadata}


def main() -> int:
    """Write or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    stale = {name: text for name, text in render().items() if _read(MANIFESTS / name) != text}
    for name, text in stale.items():
        if check:
            sys.stderr.write(f"manifests/{name} is not what the chart gives: run `make manifests`\n")
        else:
            (MANIFESTS / name).write_text(text, encoding="utf-8")
    return 1 if check and stale else 0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
