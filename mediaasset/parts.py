"""The port to objects that arrive in several requests, and to forms by which they come without passing through us."""

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol


class GoneError(Exception):
    """There is no such unfinished object: it was finished, given up, or never begun."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An object that was begun: its key, empty where that is not known, its handle, and since when nothing came."""

    key: str
    handle: str
    since: datetime


class Parts(Protocol):
    """Objects that grow; nobody sees one before it is finished.

    All that is known of one lies in the store, so any replica can go on. That there is one writer at a time is the
    caller's to see to. Every method may raise MediaError, as those of `Store`.
    """

    async def begin(self, key: str) -> str:
        """Begin an object; return the handle that belongs to it from now on."""

    async def size(self, key: str, handle: str) -> int:
        """Return how many bytes are durable. Raises GoneError."""

    async def append(self, key: str, handle: str, chunks: AsyncIterable[bytes]) -> int:
        """Append bytes as they come; return how many are durable then. Raises GoneError.

        What came before an error of `chunks` is kept as well, and the error passes through.
        """

    async def finish(self, key: str, handle: str) -> None:
        """Make the object of what was appended, which is something. Raises GoneError."""

    async def abort(self, key: str, handle: str) -> None:
        """Forget what was appended; fine when there is nothing."""

    def unfinished(self) -> AsyncIterator[Unfinished]:
        """Yield all objects that were begun, by whomever, and neither finished nor aborted."""


@dataclass(frozen=True, slots=True)
class UploadForm:
    """A form to be posted as multipart/form-data: these fields first, then the file, named `file`."""

    url: str
    fields: Mapping[str, str]


class Forms(Protocol):
    """Makes forms that put one object of one size into the store."""

    async def form(self, key: str, size: int, content_type: str, lifetime: timedelta) -> UploadForm:
        """Return a form that works until the lifetime is over; raises MediaError."""
