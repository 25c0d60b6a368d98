#!/usr/bin/env python3
"""Write the README of the chart from the comments of its values.yaml.

    reference.py [--check]     write it, or only say whether it is what the values give (exit code 1 if not)

The comment above a value begins with its path: `# s3.bucket is the bucket.` A value that several components have is
explained where it stands first, and there for all of them.
"""

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

CHART = Path(__file__).resolve().parents[1] / "charts/media-operator"
README = CHART / "README.md"
COMPONENTS = ("operator", "ingest", "gateway", "transcoder")
_WIDTH = 120
_TABLE = "| value | default | |\n|---|---|---|\n"

_HEAD = """\
# The chart of media-operator

It installs the operator, ingest, the gateway, and what transcoders run with. [Installing](../../docs/install.md) has
the way there step by step, [upgrading](../../docs/operations/upgrade.md) what becomes of a release later, and
[`examples`](examples) values to begin with.

```sh
helm install media charts/media-operator -n media-system --create-namespace -f values.yaml --wait
helm test media -n media-system
```

Four things must be given: `publicBaseURL`, `s3.bucket`, `tokens.existingSecret`, and the credentials under `s3`, unless
the cloud gives ServiceAccounts an identity. Secrets are never made by the chart, only named. Nothing is drawn by chance
or looked up in the cluster, so Argo CD, Flux and `helm template` see what will be there. A misspelt value is refused.

<!-- Below, everything is made from values.yaml by hack/reference.py; do not edit it here. -->
"""


class Value(NamedTuple):
    """A value that can be set, or, without a default, a part of the values; the comment may be of another component."""

    path: str
    default: str | None
    comment: str


def values() -> list[Value]:
    """Return all values in their order. Raises ValueError, naming it, for one that nothing explains."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    lines = text.splitlines()
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)  # noqa: S101 - it is our own file
    found = list(_values(root, lines, ""))
    comments = {_common(each.path): each.comment for each in reversed(found) if each.comment}
    explained = [each._replace(comment=each.comment or comments.get(_common(each.path), "")) for each in found]
    if missing := [each.path for each in explained if each.default is not None and not each.comment]:
        message = f"values.yaml explains nothing of: {', '.join(missing)}"
        raise ValueError(message)
    return explained


def _values(node: yaml.MappingNode, lines: list[str], parent: str) -> Iterator[Value]:
    for key, value in node.value:
        path = f"{parent}{key.value}"
        comment = _comment(lines, key.start_mark.line, path)
        is_part = isinstance(value, yaml.MappingNode) and not value.flow_style
        yield Value(path, None if is_part else _default(value), comment)
        if is_part:
            yield from _values(value, lines, f"{path}.")


def _default(node: yaml.Node) -> str:
    return json.dumps(yaml.SafeLoader("").construct_object(node, deep=True), ensure_ascii=False)


def _comment(lines: list[str], line: int, path: str) -> str:
    """Return the comment above a line as a sentence, without the path that it begins with."""
    above: list[str] = []
    while line and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        above.insert(0, lines[line].lstrip().removeprefix("#").strip())
    said = re.sub(rf"^{re.escape(path)}( is| are|,)? ", "", " ".join(above))
    return said[:1].upper() + said[1:]


def _common(path: str) -> str:
    """Return the path without the component or the class of transcoders, where it begins with one."""
    first, _, rest = path.partition(".")
    return re.sub(r"^classes\.\w+\.", "classes.", rest) if first in COMPONENTS else path


def render() -> str:
    """Return the README."""
    found = values()
    parts = [_HEAD, "\n## The release\n\n", _TABLE]
    # What is in no part comes first.
    for value in sorted(found, key=lambda value: "." in value.path or value.default is None):
        if value.default is not None:
            parts.append(f"| `{value.path}` | `{_cell(value.default)}` | {_cell(value.comment)} |\n")
        elif "." not in value.path:
            parts += [f"\n## {value.path}\n\n", _paragraph(value.comment), _TABLE]
        elif value.comment:
            parts.append(f"| **`{value.path}`** | | {_cell(value.comment)} |\n")
    return "".join(parts)


def _paragraph(text: str) -> str:
    return textwrap.fill(text, _WIDTH) + "\n\n" if text else ""


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def main() -> int:
    """Write or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    try:
        text = render()
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if README.exists() and README.read_text(encoding="utf-8") == text:
        return 0
    if check:
        sys.stderr.write("charts/media-operator/README.md is not what values.yaml gives: run `make manifests`\n")
        return 1
    README.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
