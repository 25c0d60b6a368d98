"""The port to the object store: S3 in production, a directory in standalone.

The transcoder does not use it: it runs no event loop and calls obstore itself.
"""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object: its key under the root prefix and its size in bytes."""

    key: str
    size_bytes: int
    modified: datetime


class Length(NamedTuple):
    """How many bytes a stream will have: at least, and at most, where that is known."""

    least: int = 0
    most: int | None = None


UNKNOWN = Length()


class Store(Protocol):
    """Objects by key.

    Every method raises MediaError: StoreUnavailable when the store does not answer, StoreForbidden when it refuses,
    DiskFull when it has no room.
    """

    @property
    def opens_trees(self) -> bool:
        """Whether a signed URL of a private playlist opens the files that it names, too."""

    async def write(self, key: str, chunks: AsyncIterable[bytes], length: Length = UNKNOWN) -> None:
        """Write an object as it streams in; it appears whole or not at all, and survives a crash once this returns.

        An error raised by `chunks` passes through, and nothing is left behind. What is known of the length spares
        memory; chunks must keep to it.
        """

    async def create(self, key: str, body: bytes) -> bool:
        """Write an object unless the key exists; tell whether it was written."""

    async def read(self, key: str, *, max_bytes: int) -> bytes | None:
        """Return the bytes of an object, None if there is none; ValueError when it is larger than max_bytes."""

    async def beginning(self, key: str, size: int) -> bytes | None:
        """Return the first bytes of an object that is not empty, at most so many; None if there is none."""

    def content(self, key: str) -> AsyncIterator[bytes]:
        """Yield the bytes of an object as they come; nothing if there is none."""

    async def stat(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, None if there is none."""

    def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Yield all objects whose key begins with `prefix`, which ends in a slash."""

    async def copy(self, source: str, target: str) -> bool:
        """Copy an object inside the store; tell whether the source was there."""

    async def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; those that do not exist are fine."""

    async def sign_all(self, keys: Sequence[str], lifetime: timedelta) -> dict[str, str]:
        """Return a URL as `sign` does for each of these keys; in S3 that is ten times as fast as one by one."""

    async def sign(self, key: str, lifetime: timedelta, *, file_name: str | None = None) -> str:
        """Return a URL by which anyone may GET the object until the lifetime is over.

        With a file name it is answered as an attachment, to be saved under that name.
        """
