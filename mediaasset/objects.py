"""The store over obstore: one class for S3 and for a directory."""

import asyncio
import functools
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore
from obstore.store import ObjectStore as Backend

from mediaasset.store import ObjectInfo
from mediaasset.storeerrors import persist, store_error

P = ParamSpec("P")
R = TypeVar("R")

#: Objects up to this size go in one request; larger ones in parts of it, so that memory stays bounded.
PART_BYTES = 8 * 1024 * 1024

Signer = Callable[[str, timedelta], Awaitable[str]]


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

    def __init__(self, backend: Backend, sign: Signer) -> None:
        """Take obstore's store, and who makes the signed URLs."""
        self._backend = backend
        self._sign = sign

    @_translated
    async def write(self, key: str, chunks: AsyncIterable[bytes]) -> None:
        """Stream an object in; whole or not at all."""
        head, rest = await _begun(chunks)
        if rest is None:
            # One request instead of the three that the shortest upload in parts takes.
            await obstore.put_async(self._backend, key, head, use_multipart=False)
        else:
            await obstore.put_async(self._backend, key, rest, chunk_size=PART_BYTES, max_concurrency=2)
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

    async def sign(self, key: str, lifetime: timedelta) -> str:
        """Make a URL that needs no credentials."""
        return await self._sign(key, lifetime)

    async def _persist(self, key: str) -> None:
        # S3 answers only when the object is durable. A directory does not: the file and its name are made so here.
        if isinstance(self._backend, LocalStore) and self._backend.prefix is not None:
            await asyncio.to_thread(persist, Path(self._backend.prefix), key)


async def _begun(chunks: AsyncIterable[bytes]) -> tuple[bytes, AsyncIterator[bytes] | None]:
    """Return the whole content when it fits into one part, else all of it as a stream."""
    iterator = aiter(chunks)
    head = bytearray()
    async for chunk in iterator:
        head += chunk
        if len(head) > PART_BYTES:
            return b"", _joined(bytes(head), iterator)
    return bytes(head), None


async def _joined(head: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    del head
    async for chunk in rest:
        yield chunk
