"""What the parent and its decoding child say to each other: one request in, JSON lines out."""

import json
from dataclasses import dataclass
from typing import Any

from mediaasset.reasons import Reason
from mediaasset.task import Progress, SourceInfo, Task, decode, encode

#: Lines longer than this are no message of ours: 32 renditions with their messages stay far below.
LINE_BYTES = 1024 * 1024
#: So much is kept of why an attempt or an optional rendition failed. ffmpeg may say ten times as much, JSON writes a
#: letter in six bytes, and the operator reads results of at most 256 KiB.
MESSAGE_CHARACTERS = 1024
#: So many lines, and of each so many characters, are kept of what a program said that failed.
LOG_LINES = 20
LOG_CHARACTERS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to decode: the Task without its source's address, the file, and the directory for the outputs."""

    task: Task
    file: str
    directory: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """One finished output: `file` is its name inside the directory; sizes in pixels.

    A rendition that is a directory (mediaasset.task.INDEX) has the MIME type and the size of its index. One that does
    not apply to the source has the reason NotApplicable instead of a file, one that failed and was optional its reason.
    """

    name: str
    file: str | None = None
    mime_type: str | None = None
    width: int | None = None
    height: int | None = None
    reason: Reason | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How decoding ended: with renditions, or with a reason. source_info is what the probe had found until then.

    log holds the last lines of the program that failed.
    """

    source_info: SourceInfo | None = None
    renditions: tuple[Rendered, ...] = ()
    thumb_hash: str | None = None
    reason: Reason | None = None
    message: str = ""
    log: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One line of the child: progress within a stage (percent of that stage), or the outcome, which is the last."""

    progress: Progress | None = None
    outcome: Outcome | None = None


def dump(value: Any) -> bytes:
    """Write a message as one line."""
    return json.dumps(encode(value), separators=(",", ":")).encode() + b"\n"


def load(kind: Any, line: bytes) -> Any:
    """Read a message of type `kind`; raises TypeError or ValueError for anything else."""
    return decode(kind, json.loads(line))
