"""Progress: a JSON line on standard output at most once a second and at each change of stage, and the same to Redis."""

import contextlib
import json
import sys
import time
from collections.abc import Callable

from mediaasset.task import Progress, encode

#: Each stage's share of the whole in percent: rough, for nearly all time goes into rendering.
SHARES = {"fetch": (0, 10), "probe": (10, 12), "render": (12, 90), "verify": (90, 94), "publish": (94, 100)}

_SECONDS_BETWEEN_LINES = 1.0


class Reporter:
    """Writes progress lines; percentages never go back."""

    def __init__(self, also: Callable[[str], None] = lambda _: None) -> None:
        """Start before the first stage; `also` is given each line."""
        self._stage = ""
        self._percent = 0.0
        self._written = 0.0
        self._also = also

    def report(self, stage: str, percent: float = 0.0, speed: float | None = None) -> None:
        """Tell how many percent of a stage are done, and an encoder's speed in seconds of media per second.

        A stage that is not in SHARES is ignored.
        """
        if stage not in SHARES:
            return
        start, end = SHARES[stage]
        self._percent = max(self._percent, start + (end - start) * min(max(percent, 0.0), 100.0) / 100)
        now = time.monotonic()
        is_end = self._percent >= 100  # noqa: PLR2004 - percent
        if stage == self._stage and now - self._written < _SECONDS_BETWEEN_LINES and not is_end:
            return
        self._stage, self._written = stage, now
        speed = round(speed, 2) if speed is not None else None
        line = json.dumps(encode(Progress(stage=stage, percent=round(self._percent, 1), speed=speed)))
        # Progress is comfort: nobody listening is no error.
        with contextlib.suppress(OSError):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        self._also(line)
