"""Which server to talk to, and the token to show it."""

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

DEFAULT_URL = "http://127.0.0.1:8080"


class TargetError(Exception):
    """The address or the token file cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server: its URL without a slash at the end, and the token for it, None when there is none."""

    url: str
    token: str | None = None


def find(url: str, token_file: Path | None = None) -> Target:
    """Return the server at `url` with the token from `token_file`, $MEDIA_TOKEN, or standalone's data directory.

    The last is looked at only for a loopback address: a token made on this machine is no other machine's business.
    Raises TargetError.
    """
    host = _host(url)
    token: str | None = None
    if token_file:
        token = _read(token_file)
    elif given := os.environ.get("MEDIA_TOKEN", "").strip():
        token = given
    elif _is_loopback(host) and (kept := data_directory() / "token").is_file():
        token = _read(kept)
    if token and not (token.isascii() and token.isprintable()):
        message = "The token holds characters that no HTTP header can carry: check MEDIA_TOKEN or the token file."
        raise TargetError(message)
    return Target(url.rstrip("/"), token)


def data_directory() -> Path:
    """Return where `media standalone` keeps its data unless told otherwise; the rule is that of the XDG directories."""
    if given := os.environ.get("MEDIA_DATA_DIR"):
        return Path(given)
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "media-operator"


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError as error:
        message = f"{url!r} is not a URL: {error}."
        raise TargetError(message) from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        message = f"{url!r} is not the URL of a server; one looks like {DEFAULT_URL} or https://media.example.org."
        raise TargetError(message)
    return parts.hostname


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        message = f"Cannot read the token file {path}: {reason}."
        raise TargetError(message) from error
    if not token:
        message = f"The token file {path} is empty."
        raise TargetError(message)
    return token
