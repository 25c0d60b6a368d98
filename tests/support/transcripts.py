"""The page on troubleshooting, whose transcripts are what kubectl said when a test had made the failure."""

import os
import re
import shlex
from pathlib import Path

from cluster import ASSETS, Cluster
from mediaasset.reasons import TABLE, Reason, Retry
from service import wait_for

PAGE = Path(__file__).parents[2] / "docs/operations/troubleshooting.md"
#: Set it, and the tests on the cluster write what they see into the page.
VARIABLE = "MEDIA_TRANSCRIPTS"

_BLOCK = re.compile(r"```console\n(.*?)```\n", re.DOTALL)
_MESSAGE = """jsonpath='{.status.conditions[?(@.type=="Ready")].message}'"""
#: What differs between two runs of the same failure: names made by chance, and all figures.
_CHANCE = re.compile(r"\bmedia-[a-z2-7]{26}\b|\d+")
#: What the kubelet puts before the same words while it waits to pull again.
_BACK_OFF = re.compile(r'Back-off pulling image "[^"]*": ErrImagePull: ')


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


def record(cluster: Cluster, reason: Reason, name: str) -> None:
    """Hold what kubectl says of an asset to the page, or write it into the page if that is asked for.

    Events follow the status: the page is given a few seconds to come true.
    """
    if os.environ.get(VARIABLE):
        wait_for(lambda: _has_event(said(cluster, name)) or not _tells(reason), seconds=10, what="the event")
        write(reason, said(cluster, name))
        return
    wanted = transcript(sections()[reason])
    assert wanted, f"{reason} has no transcript: record it with {VARIABLE}=1"
    seen: list[str] = []

    def is_true() -> bool:
        seen.append(said(cluster, name))
        return shape(seen[-1], reason) == shape(wanted, reason)

    try:
        wait_for(is_true, seconds=10)
    except AssertionError:
        assert shape(seen[-1], reason) == shape(wanted, reason), f"record it anew with {VARIABLE}=1:\n{seen[-1]}"


def said(cluster: Cluster, name: str, namespace: str = "shop") -> str:
    """Return the commands that show an asset, with what kubectl says."""
    commands = (
        f"get mediaasset {name} -n {namespace}",
        f"get mediaasset {name} -n {namespace} -o {_MESSAGE}",
        f"events -n {namespace} --for {ASSETS}/{name}",
    )
    return "".join(f"$ kubectl {command}\n{_said(cluster, command)}" for command in commands)


def shape(text: str, reason: Reason) -> tuple[list[str], list[str], str, set[tuple[str, ...]]]:
    """Return what a transcript must keep from run to run: its columns, the message, and the kinds of events.

    Of what Kubernetes itself says only the local cluster keeps the words: those of its version.
    """
    parts = [part.split("\n", 1)[1] for part in text.split("$ kubectl ")[1:4]]
    got, message, events = [_CHANCE.sub("0", _BACK_OFF.sub("", part)) for part in parts]
    head, line = got.splitlines()
    is_theirs = TABLE[reason].retry is Retry.PLATFORM and os.environ.get("CLUSTER", "local") != "local"
    words = TABLE[reason].text if is_theirs else message.strip()
    # Age, type, reason, object, message; the age is in no two runs the same.
    told = [re.split(r"\s{2,}", each.strip(), maxsplit=4) for each in events.splitlines()[1:]]
    kinds = {tuple(each[1:4]) if is_theirs else tuple(each[1:]) for each in told}
    # The last column is the age.
    return head.split(), line.split()[:-1], words, kinds


def _tells(reason: Reason) -> bool:
    """Tell whether an asset with this reason has an event: what waits and is no failure has none."""
    return reason not in (Reason.QUEUED, Reason.SUSPENDED)


def _has_event(text: str) -> bool:
    return len(text.rpartition("$ kubectl events")[2].splitlines()) > 1


def write(reason: Reason, text: str) -> None:
    """Put a transcript into the section of a reason."""
    page, old = PAGE.read_text(), sections()[reason]
    block = f"```console\n{text}```\n"
    new = _BLOCK.sub(lambda _: block, old, count=1) if transcript(old) else f"{old.rstrip()}\n\n{block}\n"
    PAGE.write_text(page.replace(old, new))


def _said(cluster: Cluster, command: str) -> str:
    output = cluster.kubectl(*shlex.split(command))
    return "".join(f"{line.rstrip()}\n" for line in output.splitlines())
