"""The store over obstore: one class for S3 and for a directory."""

import asyncio
import functools
import re
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Sequence
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any, ParamSpec, Protocol, TypeVar
from urllib.parse import quote

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore
from obstore.store import ObjectStore as Backend

from mediaasset.store import UNKNOWN, Length, ObjectInfo
from mediaasset.storeerrors import persist, store_error

P = ParamSpec("P")
R = TypeVar("R")

#: Objects up to this size go in one request; larger ones in parts of it, so that memory stays bounded. S3 takes no
#: smaller parts, but for the last.
PART_BYTES = 5 * 1024 * 1024
#: And no larger body of a request.
_STREAM_BYTES = 5 * 1024**3
#: A directory has no requests to save.
_FILE_PART_BYTES = 1024 * 1024

#: How much of an object is read at a time.
_READ_BYTES = 1024 * 1024

#: How long the name of a download may be; all of it stands in a URL, twice encoded.
_NAME_LENGTH = 120


class Signer(Protocol):
    """Makes the URLs of `Store.sign` and `Store.sign_all`."""

    @property
    def opens_trees(self) -> bool:
        """Whether the URL of a file opens those beside it as well, when they are one rendition."""

    async def sign_all(self, wanted: Sequence[str], lifetime: timedelta, /) -> list[str]:
        """Return a URL for each key."""

    async def download(self, key: str, lifetime: timedelta, file_name: str, /) -> str:
        """Return a URL that is answered as an attachment."""


class Streams(Protocol):
    """Writes large objects of which at least a part's length is known before, and holds none of their bytes."""

    async def write(self, key: str, chunks: AsyncIterator[bytes], length: Length, /) -> None:
        """Write an object; raises as `Store.write` does."""


def _translated(call: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    @functools.wraps(call)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await call(*args, **kwargs)
        except BaseError as error:
            # No OSError: it may be the error of a stream that is written, which passes through.
            raise store_error(error) from error

    return wrapper


class ObjectStore:
    """Implements the port `Store`; `backend` is obstore's view of the root prefix."""

    def __init__(self, backend: Backend, signer: Signer, streams: Streams | None = None) -> None:
        """Take obstore's store, who makes the signed URLs, and who streams where obstore would gather parts."""
        self._backend = backend
        self._signer = signer
        self._streams = streams
        self._part_bytes = _FILE_PART_BYTES if isinstance(backend, LocalStore) else PART_BYTES

    @property
    def opens_trees(self) -> bool:
        """Tell what a signed URL opens."""
        return self._signer.opens_trees

    @_translated
    async def write(self, key: str, chunks: AsyncIterable[bytes], length: Length = UNKNOWN) -> None:
        """Stream an object in; whole or not at all."""
        if self._streams and PART_BYTES < length.least <= _STREAM_BYTES:
            await self._streams.write(key, aiter(chunks), length)
            return
        head, rest = await _begun(chunks, self._part_bytes)
        if rest is None:
            # One request instead of the three that the shortest upload in parts takes.
            await obstore.put_async(self._backend, key, head, use_multipart=False)
        else:
            await obstore.put_async(self._backend, key, rest, chunk_size=self._part_bytes, max_concurrency=2)
        await self._persist(key)

    @_translated
    async def create(self, key: str, body: bytes) -> bool:
        """Write an object unless it exists."""
        try:
            await obstore.put_async(self._backend, key, body, mode="create", use_multipart=False)
        except AlreadyExistsError:
            return False
        await self._persist(key)
        return True

    @_translated
    async def read(self, key: str, *, max_bytes: int) -> bytes | None:
        """Read a small object."""
        try:
            answer = await obstore.get_async(self._backend, key)
        except FileNotFoundError:
            return None
        if answer.meta["size"] > max_bytes:
            message = f"{key} has {answer.meta['size']} bytes, more than {max_bytes}"
            raise ValueError(message)
        return bytes(await answer.bytes_async())

    @_translated
    async def beginning(self, key: str, size: int) -> bytes | None:
        """Read the first bytes."""
        try:
            answer = await obstore.get_async(self._backend, key, options={"range": (0, size)})
        except FileNotFoundError:
            return None
        return bytes(await answer.bytes_async())

    async def content(self, key: str) -> AsyncIterator[bytes]:
        """Stream an object out."""
        try:
            answer = await obstore.get_async(self._backend, key)
            async for chunk in answer.stream(min_chunk_size=_READ_BYTES):
                yield bytes(chunk)
        except FileNotFoundError:
            return
        except BaseError as error:
            raise store_error(error) from error

    @_translated
    async def stat(self, key: str) -> ObjectInfo | None:
        """Look an object up."""
        try:
            meta = await obstore.head_async(self._backend, key)
        except FileNotFoundError:
            return None
        return ObjectInfo(key, meta["size"], meta["last_modified"])

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Yield the objects below a prefix."""
        try:
            async for batch in obstore.list(self._backend, prefix):
                for meta in batch:
                    yield ObjectInfo(meta["path"], meta["size"], meta["last_modified"])
        except BaseError as error:
            raise store_error(error) from error

    @_translated
    async def copy(self, source: str, target: str) -> bool:
        """Copy on the server's side."""
        try:
            await obstore.copy_async(self._backend, source, target)
        except FileNotFoundError:
            return False
        await self._persist(target)
        return True

    @_translated
    async def delete(self, keys: Iterable[str]) -> None:
        """Delete what is there."""
        for key in keys:
            try:
                await obstore.delete_async(self._backend, key)
            except FileNotFoundError:
                continue

    async def sign(self, key: str, lifetime: timedelta, *, file_name: str | None = None) -> str:
        """Make a URL that needs no credentials."""
        if file_name is not None:
            return await self._signer.download(key, lifetime, file_name)
        return (await self._signer.sign_all([key], lifetime))[0]

    async def sign_all(self, keys: Sequence[str], lifetime: timedelta) -> dict[str, str]:
        """Make URLs that need no credentials."""
        return dict(zip(keys, await self._signer.sign_all(keys, lifetime), strict=True)) if keys else {}

    async def _persist(self, key: str) -> None:
        # S3 answers only when the object is durable. A directory does not: the file and its name are made so here.
        if isinstance(self._backend, LocalStore) and self._backend.prefix is not None:
            await asyncio.to_thread(persist, Path(self._backend.prefix), key)


def saved_name(file_name: str) -> str:
    """Return a name to save a file under: no program takes a path, a quote or a control character for a part of it."""
    path = PurePosixPath(re.sub(r'[\x00-\x1f\x7f"\\/]', "_", file_name).strip() or "download")
    return path.stem[:_NAME_LENGTH] + path.suffix[:16]


def attachment(file_name: str) -> str:
    """Return the Content-Disposition (RFC 6266) of a download that is saved under this name."""
    name = saved_name(file_name)
    plain = name.encode("ascii", "replace").decode().replace("?", "_")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


async def _begun(chunks: AsyncIterable[bytes], part_bytes: int) -> tuple[bytes, AsyncIterator[bytes] | None]:
    """Return the whole content when it fits into one part, else all of it as a stream."""
    iterator = aiter(chunks)
    head: deque[bytes] = deque()
    size = 0
    async for chunk in iterator:
        head.append(chunk)
        size += len(chunk)
        if size > part_bytes:
            return b"", _joined(head, iterator)
    return b"".join(head), None


async def _joined(head: deque[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    while head:
        yield head.popleft()
    async for chunk in rest:
        yield chunk
