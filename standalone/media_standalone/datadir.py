"""The data directory: what lies in it, the lock on it, and the secrets that are made in it."""

import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from media_standalone.directory import remove_staged

_TOKEN_BYTES = 24
_URL_SECRET_BYTES = 32


def default_directory() -> Path:
    """Return where the data lie unless told otherwise: $MEDIA_DATA_DIR, else the place that the XDG rules give.

    The command `media` looks for the token there.
    """
    if given := os.environ.get("MEDIA_DATA_DIR"):
        return Path(given)
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "media-operator"


class InUseError(Exception):
    """Another standalone works on this data directory."""


@dataclass(frozen=True, slots=True)
class DataDir:
    """Names of what lies in the data directory."""

    path: Path

    @property
    def database(self) -> Path:
        """The assets and Jobs."""
        return self.path / "standalone.db"

    @property
    def store(self) -> Path:
        """The objects by key."""
        return self.path / "store"

    @property
    def scratch(self) -> Path:
        """A directory for each transcoder that runs."""
        return self.path / "scratch"

    @property
    def partial(self) -> Path:
        """The files of uploads that are not complete."""
        return self.path / "partial"

    @property
    def accounts(self) -> Path:
        """A directory for each WhatsApp account, with the files `token` and `namespace`; the owner makes them."""
        return self.path / "accounts"

    @property
    def url_key(self) -> Path:
        """The secret that signs URLs of private objects."""
        return self.path / "url-key"

    @property
    def token(self) -> Path:
        """The token that was generated when none was given."""
        return self.path / "token"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the directory and hold its lock; raises InUseError, or OSError when it cannot be written."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # The kernel drops the lock with the process, however it ends, so there is no stale one.
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                message = f"another standalone runs on {self.path}: stop it, or use another --data-dir"
                raise InUseError(message) from error
            yield
        finally:
            os.close(descriptor)

    def url_secret(self) -> bytes:
        """Return the secret that signs URLs of private objects; makes it when there is none."""
        return _kept(self.url_key, lambda: secrets.token_bytes(_URL_SECRET_BYTES))

    def own_token(self) -> str:
        """Return the generated token; makes it when there is none."""
        return _kept(self.token, lambda: secrets.token_urlsafe(_TOKEN_BYTES).encode() + b"\n").decode().strip()

    def remove_leftovers(self) -> None:
        """Delete what killed processes left half done; only while nothing else runs here."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(mode=0o700)
        remove_staged(self.store)


def _kept(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return what a file holds; at first it is made, readable for this user only, and appears whole or not at all."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        secret = make()
    new = path.with_name(f"{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    return secret
