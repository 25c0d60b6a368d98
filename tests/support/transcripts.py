"""The page on troubleshooting, whose transcripts are what kubectl said when a test had made the failure."""

import os
import re
import shlex
from pathlib import Path

from cluster import ASSETS, Cluster
from mediaasset.reasons import Reason

PAGE = Path(__file__).parents[2] / "docs/operations/troubleshooting.md"
#: Set it, and the tests on the cluster write what they see into the page.
VARIABLE = "MEDIA_TRANSCRIPTS"

_BLOCK = re.compile(r"```console\n(.*?)```\n", re.DOTALL)
_MESSAGE = """jsonpath='{.status.conditions[?(@.type=="Ready")].message}'"""


def name_of(reason: Reason) -> str:
    """Return the name of the asset that a transcript is of."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", reason).lower()


def sections() -> dict[str, str]:
    """Return the text under each heading of the page that is a reason."""
    _, *parts = re.split(r"^### `(\w+)`\n", PAGE.read_text(), flags=re.MULTILINE)
    # A heading of another kind ends a section too.
    texts = (re.split(r"^## ", text, flags=re.MULTILINE)[0] for text in parts[1::2])
    return dict(zip(parts[::2], texts, strict=True))


def transcript(section: str) -> str | None:
    """Return the transcript of a section, None where there is none."""
    found = _BLOCK.search(section)
    return found[1] if found else None


def record(cluster: Cluster, reason: Reason, name: str, *more: str, namespace: str = "shop") -> None:
    """Write what kubectl says of an asset into the page, if that is asked for; more are further commands."""
    if not os.environ.get(VARIABLE):
        return
    commands = [
        f"get mediaasset {name} -n {namespace}",
        f"get mediaasset {name} -n {namespace} -o {_MESSAGE}",
        f"events -n {namespace} --for {ASSETS}/{name}",
        *more,
    ]
    write(reason, "".join(f"$ kubectl {command}\n{_said(cluster, command)}" for command in commands))


def write(reason: Reason, said: str) -> None:
    """Put a transcript into the section of a reason."""
    text, old = PAGE.read_text(), sections()[reason]
    block = f"```console\n{said}```\n"
    new = _BLOCK.sub(lambda _: block, old, count=1) if transcript(old) else f"{old.rstrip()}\n\n{block}\n"
    PAGE.write_text(text.replace(old, new))


def _said(cluster: Cluster, command: str) -> str:
    said = cluster.kubectl(*shlex.split(command))
    return "".join(f"{line.rstrip()}\n" for line in said.splitlines())
