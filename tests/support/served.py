"""The objects that a server under test serves, and those that it must hide."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from mediaasset import keys

PREFIX = "media/default/users/42/4fd6c2a0-0000-4000-8000-000000000001/"
PRIVATE_PREFIX = PREFIX.replace("media/", "private/", 1)
JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 40
MP4 = b"\0\0\0\x18ftypisom" + bytes(range(256)) * 2000
TEXT = b"kein Skript: <script>alert(1)</script>"


@dataclass(frozen=True, slots=True)
class Known:
    """One object: its key, its bytes, and the Content-Type that it must be served with."""

    key: str
    body: bytes
    mime: str

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.body).hexdigest()[:16]}"'


def _known(prefix: str, name: str, body: bytes, extension: str, mime: str) -> Known:
    return Known(keys.rendition(prefix, name, hashlib.sha256(body).hexdigest(), extension), body, mime)


IMAGE = _known(PREFIX, "medium", JPEG, "jpg", "image/jpeg")
VIDEO = _known(PREFIX, "mp4", MP4, "mp4", "video/mp4")
DOCUMENT = _known(PREFIX, "original", TEXT, "txt", "text/plain")
PRIVATE = _known(PRIVATE_PREFIX, "medium", JPEG, "jpg", "image/jpeg")

#: What lies in the store and must never be served.
HIDDEN = {
    "uploads/default/one/00ff": JPEG,
    f"{PREFIX}medium.jpg": JPEG,
    f"{PREFIX}medium-0123456789abcdef.html": b"<script>",
    f"{PREFIX}medium-0123456789abcdef.svg": b"<svg/>",
    f"{PREFIX}medium-0123456789abcdef": JPEG,
    "work/4fd6c2a0/1/result.json": b"{}",
}


@dataclass(frozen=True, slots=True)
class Served:
    """A server that serves IMAGE, VIDEO, DOCUMENT and PRIVATE. root is the directory of the store, if it has one."""

    base_url: str
    sign: Callable[[str, timedelta], str]
    root: Path | None = None

    def url(self, known: Known) -> str:
        return f"{self.base_url}/{known.key}"
