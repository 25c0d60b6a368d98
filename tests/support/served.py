"""The objects that a server under test serves, those that it must hide, and how to look at its answers."""

import hashlib
import json
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from mediaasset import keys, pointers
from mediaasset.signing import UrlSigner

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
        """The digest that its key, or that of its directory, is named by."""
        found = re.search(r"-([0-9a-f]{16})[./]", self.key)
        assert found is not None
        return f'"{found[1]}"'


def _known(prefix: str, name: str, body: bytes, extension: str, mime: str) -> Known:
    return Known(keys.rendition(prefix, name, hashlib.sha256(body).hexdigest(), extension), body, mime)


IMAGE = _known(PREFIX, "medium", JPEG, "jpg", "image/jpeg")
VIDEO = _known(PREFIX, "mp4", MP4, "mp4", "video/mp4")
DOCUMENT = _known(PREFIX, "original", TEXT, "txt", "text/plain")
PRIVATE = _known(PRIVATE_PREFIX, "medium", JPEG, "jpg", "image/jpeg")

PRIVATE_FILM = _known(PRIVATE_PREFIX, "mp4", MP4, "mp4", "video/mp4")
PRIVATE_DOCUMENT = _known(PRIVATE_PREFIX, "original", TEXT, "txt", "text/plain")
PRIVATE_TREE = keys.rendition_tree(PRIVATE_PREFIX, "hls", hashlib.sha256(MP4).hexdigest())
PRIVATE_PLAYLIST = Known(f"{PRIVATE_TREE}index.m3u8", b"#EXTM3U\n720.mp4\n", "application/vnd.apple.mpegurl")
PRIVATE_SEGMENTS = Known(f"{PRIVATE_TREE}720.mp4", MP4, "video/mp4")
OTHER_TREE = Known(PRIVATE_PLAYLIST.key.replace("/hls-", "/other-"), b"#EXTM3U\n", "application/vnd.apple.mpegurl")
UNPUBLISHED = (PRIVATE, PRIVATE_FILM, PRIVATE_DOCUMENT, PRIVATE_PLAYLIST, PRIVATE_SEGMENTS, OTHER_TREE)

TREE = keys.rendition_tree(PREFIX, "hls", hashlib.sha256(MP4).hexdigest())
PLAYLIST = Known(f"{TREE}index.m3u8", b"#EXTM3U\n" * 100, "application/vnd.apple.mpegurl")
SEGMENTS = Known(f"{TREE}720.mp4", MP4, "video/mp4")
CUES = Known(f"{TREE}index.vtt", b"WEBVTT\n" * 100, "text/vtt")
PUBLISHED = (IMAGE, VIDEO, DOCUMENT, PLAYLIST, SEGMENTS, CUES)

#: What lies in the store and must never be served.
HIDDEN = {
    "uploads/default/one/00ff": JPEG,
    f"{PREFIX}medium.jpg": JPEG,
    f"{PREFIX}medium-0123456789abcdef.html": b"<script>",
    f"{PREFIX}medium-0123456789abcdef.svg": b"<svg/>",
    f"{PREFIX}medium-0123456789abcdef": JPEG,
    f"{PREFIX}hls-0123456789abcdef/index.html": b"<script>",
    f"{PREFIX}hls-0123456789abcdef/.m3u8": b"#EXTM3U",
    f"{PREFIX}hls-0123456789abcdef/further/index.m3u8": b"#EXTM3U",
    f"{PREFIX}hls/index.m3u8": b"#EXTM3U",
    "work/4fd6c2a0/1/result.json": b"{}",
}

OWNER = ("default", "one")
NAME = pointers.by_name("default", "users/42", "one")
#: What answers at stable names, by what stands in URLs after /media/: of a name, of old paths, and of a directory.
BY_NAME = {f"{NAME}/medium": IMAGE, f"{NAME}/mp4": VIDEO, f"{NAME}/original": DOCUMENT}
BY_PATH = {
    "default/product_images/Größe 42 (1)/image.JPG": IMAGE,
    "default/old/film.mov": VIDEO,
    "default/old/a+b %23?.txt": DOCUMENT,
}
IN_TREE = {f"{NAME}/hls/index.m3u8": PLAYLIST, f"{NAME}/hls/720.mp4": SEGMENTS, f"{NAME}/hls/index.vtt": CUES}
#: What a pointer may never lead to.
_AWAY = {
    "private": PRIVATE.key,
    "upload": "uploads/default/one/00ff",
    "other": f"{PREFIX}medium.jpg",
    "up": f"media/../{PRIVATE.key}",
    "pointer": pointers.name_key(NAME),
    "inside": "-/problem",
    "health": "healthz",
    "injected": f"{IMAGE.key}\r\nX-Injected: 1",
    "nothing": "",
    "gone": f"{PREFIX}medium-0000000000000000.jpg",
}
ASTRAY = (*(f"{NAME}-astray/{name}" for name in _AWAY), *(f"default/astray/{name}.jpg" for name in _AWAY))

#: Pointers by their keys.
POINTERS = {
    pointers.name_key(NAME): pointers.body(
        OWNER, {"medium": IMAGE.key, "mp4": VIDEO.key, "original": DOCUMENT.key, "hls": PLAYLIST.key}
    ),
    **{pointers.path_key(path): pointers.body(OWNER, {"original": known.key}) for path, known in BY_PATH.items()},
    pointers.name_key(f"{NAME}-astray"): pointers.body(OWNER, _AWAY),
    **{
        pointers.path_key(f"default/astray/{name}.jpg"): pointers.body(OWNER, {"original": key})
        for name, key in _AWAY.items()
    },
}


@dataclass(frozen=True, slots=True)
class Served:
    """A server that serves PUBLISHED and, by URLs of its signers, UNPUBLISHED.

    write and delete change the store: a key and its bytes, and a key. signers has the one of now, and that of the
    secret before it if the server knows that; it is empty where private renditions are another server's: S3's. root is
    the directory of the store, if it has one. An Ingress answers by itself, and without a body, where no path leads to
    us.
    """

    base_url: str
    write: Callable[[str, bytes], None]
    delete: Callable[[str], None]
    signers: tuple[UrlSigner, ...] = ()
    root: Path | None = None
    is_behind_ingress: bool = False

    @property
    def in_a_row(self) -> int:
        """How many answers speak for all: behind an Ingress are two gateways with a cache each."""
        return 8 if self.is_behind_ingress else 1

    def url(self, known: Known) -> str:
        return f"{self.base_url}/{known.key}"

    def stable(self, name: str) -> str:
        return pointers.url(self.base_url, name)

    def signed(self, known: Known, lifetime: timedelta = timedelta(hours=1), file_name: str | None = None) -> str:
        return self.signers[0].url(known.key, lifetime, file_name)


def raw(served: Served, target: str, method: str = "GET") -> tuple[int, bytes]:
    """Send a request whose target no client library has tidied up; return the status and the body."""
    address = urlsplit(served.base_url)
    with socket.create_connection((address.hostname, address.port or 80), timeout=10) as connection:
        request = f"{method} {target} HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode("latin-1"))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def check_problem(answer: httpx2.Response, status: int) -> None:
    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    body = json.loads(answer.content)
    assert body["status"] == status
    assert body["type"]
    assert body["title"]
    assert body["detail"]
