"""What a program said on standard error: its last lines, fit to be kept and shown."""

import os
import re
from collections import deque
from collections.abc import Iterable

from media_transcoder.messages import LOG_CHARACTERS, LOG_LINES

#: Lines are cut before they are cleaned, so that a program that writes no line feed costs nothing.
_MAX_LINE_BYTES = 4096
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://\S*", re.IGNORECASE)
#: Directories of ours are nobody's business; they stand in most of ffmpeg's messages.
_DIRECTORY = re.compile(r"(?:\bfile:)?/\S*/")
#: Whatever has the form of a key, a token or a digest.
_TOKEN = re.compile(r"[A-Za-z0-9+_=-]{32,}")
#: Where ffmpeg's objects lie in memory: another number in each run.
_ADDRESS = re.compile(r" @ 0x[0-9a-f]+")
#: Which part of ffmpeg speaks, at the beginning of a line.
_SPEAKER = re.compile(r"\A(?:\[[^\]]*\]\s*)+")

#: Lines in which ffmpeg only repeats that something failed; the one before them says what.
_GENERAL = (
    "Conversion failed",
    "Error opening",
    "Error while",
    "Error sending",
    "Error submitting",
    "Could not open encoder",
    "Invalid data found when processing input",
    "Last message repeated",
    "Nothing was written",
    "Task finished with error",
    "Terminating thread",
    "Failed to inject",
    "Cannot determine format",
    "Unknown error",
    "Generic error",
)


def clean(text: str) -> str:
    """Return one line without control characters, directories, URLs, tokens and addresses, of at most 500 characters.

    The program that says it was started in the scratch directory, which may be named by its whole path.
    """
    line = "".join(letter if letter.isprintable() else " " for letter in text).strip()
    line = line.replace(os.getcwd() + "/", "")  # noqa: PTH109 - a string is what is looked for
    for pattern, instead in ((_URL, "(URL)"), (_DIRECTORY, ""), (_ADDRESS, ""), (_TOKEN, "(…)")):
        line = pattern.sub(instead, line)
    return line[:LOG_CHARACTERS]


class Complaints:
    """Keeps the last lines of a stream of bytes; a line that repeats is kept once, with how often it came."""

    def __init__(self) -> None:
        """Start with nothing said."""
        self._lines: deque[tuple[str, int]] = deque(maxlen=LOG_LINES)
        self._rest = b""

    def add(self, chunk: bytes) -> None:
        """Take what came next; an unfinished line waits for its end."""
        *lines, rest = (self._rest + chunk).split(b"\n")
        self._rest = rest[:_MAX_LINE_BYTES]
        for line in lines:
            self._add(line)

    @property
    def lines(self) -> tuple[str, ...]:
        """All that is kept, the oldest first."""
        if self._rest:
            self._add(self._rest)
            self._rest = b""
        return tuple(line if times == 1 else f"{line} ({times} times)" for line, times in self._lines)

    def _add(self, raw: bytes) -> None:
        line = clean(raw[:_MAX_LINE_BYTES].decode(errors="replace"))
        if not line:
            return
        times = 1
        if self._lines and self._lines[-1][0] == line:
            times += self._lines.pop()[1]
        self._lines.append((line, times))


def telling(lines: Iterable[str]) -> str:
    """Return as a sentence the last line that says more than that something failed; empty where there is none."""
    spoken = [_SPEAKER.sub("", line).strip() for line in lines]
    last = next((line for line in reversed(spoken) if line and not _is_general(line)), "")
    return f"{last.rstrip('.!:; ')}." if last else ""


def _is_general(line: str) -> bool:
    # "source: Invalid data found when processing input" says as little as it does without the name.
    return any(line.startswith(general) or line.endswith(general) for general in _GENERAL)
