"""Stable names of standalone: the pointers of its store, read for each request."""

import re
from pathlib import Path

from mediaasset import keys, pointers

_TARGET = re.compile(rf"{keys.PUBLIC}/[A-Za-z0-9._/-]+\Z")


def key_of(root: Path, path: str) -> str | None:
    """Return the key that answers at what stands in a URL after /media/, None for nothing.

    root is the directory of the store. That the key is one of a rendition is left to who serves it.
    """
    wanted = pointers.asked(path)
    try:
        with (root / wanted.key).open("rb") as file:
            content = file.read(pointers.MAX_BYTES)
    except OSError:
        return None
    key = pointers.target(content, wanted)
    return key if key is not None and _TARGET.match(key) else None
