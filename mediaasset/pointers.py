"""Stable names: small objects that tell which key answers at a URL that stays. Pure.

A pointer is text: in its first line whose it is (`namespace/name` of an asset), then a line `{rendition} {key}` for
each rendition that answers. There are two kinds, each at a key that is the SHA-256 of what stands in the URL after
`/media/`. So a name may have any characters, and none is a folder of another, which stores that are directories refuse.

- `media/.names/{sha256}` for `by-name/{tenant}/{publicPath}/{asset}`, to whose URL `/{rendition}` is added, and the
  name of the file where a rendition is a directory.
- `media/.paths/{sha256}` for `{tenant}/{stablePath}`, the address that a file had before.

No public path begins a segment with a dot, so no rendition lies there, and nothing there is ever served as one.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote

from mediaasset import keys
from mediaasset.media import MEDIA_TYPES

BY_NAME = "by-name"
NAMES = f"{keys.PUBLIC}/.names"
PATHS = f"{keys.PUBLIC}/.paths"

#: No pointer is larger: 32 renditions with keys of a few hundred characters each.
MAX_BYTES = 64 * 1024

#: What spec.stablePath may be: segments without control characters and backslashes, none beginning with a dot, and at
#: its end an extension of the table of media, in whatever case. The CRD holds the same pattern.
STABLE_PATH_PATTERN = (
    r"^([^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*/)*[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*[.](?i:"
    + "|".join(extension for media in MEDIA_TYPES for extension in media.extensions)
    + ")$"
)
STABLE_PATH_MAX_LENGTH = 300
_STABLE_PATH = re.compile(STABLE_PATH_PATTERN.removesuffix("$") + r"\Z")
#: What ends like a key that we write would never be looked up as anything else. The CRD holds the same pattern.
KEY_LIKE_PATTERN = r"(^|/)[a-z][a-z0-9-]{0,31}-[0-9a-f]{16}(/[a-z0-9][a-z0-9_-]{0,63})?[.][a-z0-9]{1,8}$"
_KEY_LIKE = re.compile(KEY_LIKE_PATTERN)

_POINTER = re.compile(r"media/[.](?:names|paths)/[0-9a-f]{64}")
_OWNER = re.compile(r"([a-z0-9][a-z0-9-]*)/([a-z0-9][a-z0-9.-]*)\n")
_SINGLE_FILE = re.compile(r"-[0-9a-f]{16}\.[a-z0-9]{1,8}\Z")
_BY_NAME_URL = re.compile(
    rf"(?P<name>{BY_NAME}/(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*)"
    r"/(?P<rendition>[a-z][a-z0-9-]{0,31})(?:/(?P<file>[a-z0-9][a-z0-9_-]{0,63}\.[a-z0-9]{1,8}))?"
)


class Asked(NamedTuple):
    """What a URL asks for: the pointer's key, the rendition, and the file of it where it is a directory."""

    key: str
    rendition: str | None = None
    file: str | None = None


def stable_path_problem(path: str) -> str | None:
    """Return why `path` cannot be spec.stablePath, None where it can."""
    if len(path) > STABLE_PATH_MAX_LENGTH or not _STABLE_PATH.match(path):
        return "must be folders and a file name with the extension of a supported format, none beginning with a dot"
    if path.startswith(f"{BY_NAME}/") or _KEY_LIKE.search(path):
        return f"must neither begin with {BY_NAME}/ nor end as our own keys do"
    return None


def by_name(tenant: str, public_path: str, asset: str) -> str:
    """Return the name of an asset, as it stands in URLs after /media/; tenant may be empty."""
    return "/".join(part for part in (BY_NAME, tenant, public_path, asset) if part)


def by_path(tenant: str, path: str) -> str:
    """Return an old path, as it stands in URLs after /media/; tenant may be empty."""
    return f"{tenant}/{path}" if tenant else path


def name_key(name: str) -> str:
    """Return the key of the pointer of a name."""
    return f"{NAMES}/{_sha256(name)}"


def path_key(path: str) -> str:
    """Return the key of the pointer of an old path."""
    return f"{PATHS}/{_sha256(path)}"


def is_pointer(key: str) -> bool:
    """Tell whether a key is that of a pointer."""
    return _POINTER.fullmatch(key) is not None


def url(base_url: str, name: str) -> str:
    """Return the URL of a name or an old path."""
    return keys.public_url(base_url, quote(f"{keys.PUBLIC}/{name}"))


def body(owner: tuple[str, str], targets: Mapping[str, str]) -> bytes:
    """Return the content of a pointer: the (namespace, name) of the asset, and the keys by rendition."""
    lines = ["/".join(owner), *(f"{rendition} {key}" for rendition, key in targets.items())]
    return "".join(f"{line}\n" for line in lines).encode()


def owner_of(content: bytes) -> tuple[str, str] | None:
    """Return the (namespace, name) of the asset that a pointer belongs to; None where it cannot be read."""
    found = _OWNER.match(content.decode(errors="replace"))
    return (found[1], found[2]) if found else None


def asked(path: str) -> Asked:
    """Return what a URL asks for, given what stands in it after /media/."""
    found = _BY_NAME_URL.fullmatch(path)
    if found:
        return Asked(name_key(found["name"]), found["rendition"], found["file"])
    return Asked(path_key(path))


def target(content: bytes, wanted: Asked) -> str | None:
    """Return the key that answers; None where the pointer does not name one.

    The files of a directory refer to each other by relative names, so it answers under the name of a file only.
    """
    lines = dict(line.split(" ", 1) for line in content.decode(errors="replace").split("\n")[1:] if " " in line)
    key = lines.get(wanted.rendition) if wanted.rendition else next(iter(lines.values()), None)
    if key is None:
        return None
    if (_SINGLE_FILE.search(key) is None) != (wanted.file is not None):
        return None
    return f"{key.rpartition('/')[0]}/{wanted.file}" if wanted.file else key


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
