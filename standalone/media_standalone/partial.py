"""Objects that arrive in several requests, on a disk: files beside the store, moved into it when they are whole."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterable, AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

from mediaasset.parts import GoneError, Unfinished
from mediaasset.storeerrors import persist, store_error

#: How much is written at a time.
_WRITE_BYTES = 1024 * 1024


class DirectoryParts:
    """Implements the port `Parts`; both directories must be of one file system."""

    def __init__(self, directory: Path, store: Path) -> None:
        """Take where unfinished files lie, a directory that is made if need be, and the store."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._store = store

    async def begin(self, key: str) -> str:  # noqa: ARG002 - the signature is the port's
        """Make an empty file; its name is the handle."""
        handle = secrets.token_hex(16)
        await asyncio.to_thread(self._make, handle)
        return handle

    async def size(self, key: str, handle: str) -> int:
        """Look how long the file is."""
        try:
            return (self._directory / handle).stat().st_size
        except FileNotFoundError:
            raise GoneError(key) from None

    async def append(self, key: str, handle: str, chunks: AsyncIterable[bytes]) -> int:
        """Write to the end of the file, and have the disk keep it."""
        buffer = bytearray()
        await self.size(key, handle)
        try:
            async for chunk in chunks:
                buffer += chunk
                if len(buffer) >= _WRITE_BYTES:
                    await asyncio.to_thread(self._write, handle, bytes(buffer))
                    buffer.clear()
        finally:
            await asyncio.to_thread(self._write, handle, bytes(buffer), sync=True)
        return await self.size(key, handle)

    async def finish(self, key: str, handle: str) -> None:
        """Move the file into the store."""
        await self.size(key, handle)
        await asyncio.to_thread(self._move, key, handle)

    async def abort(self, key: str, handle: str) -> None:  # noqa: ARG002 - the signature is the port's
        """Delete the file."""
        (self._directory / handle).unlink(missing_ok=True)

    async def unfinished(self) -> AsyncIterator[Unfinished]:
        """List the files; what keys they are for only their records know."""
        for path in await asyncio.to_thread(lambda: sorted(self._directory.iterdir())):
            try:
                changed = path.stat().st_mtime
            except FileNotFoundError:
                continue
            yield Unfinished("", path.name, datetime.fromtimestamp(changed, UTC))

    def _make(self, handle: str) -> None:
        try:
            (self._directory / handle).touch(mode=0o600, exist_ok=False)
        except OSError as error:
            raise store_error(error) from error

    def _write(self, handle: str, data: bytes, *, sync: bool = False) -> None:
        try:
            # Opened anew each time: it is one in a megabyte, and nothing stays open when a request is cancelled.
            with (self._directory / handle).open("r+b") as file:
                file.seek(0, os.SEEK_END)
                file.write(data)
                file.flush()
                if sync:
                    os.fsync(file.fileno())
        except OSError as error:
            raise store_error(error) from error

    def _move(self, key: str, handle: str) -> None:
        target = self._store / key
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self._directory / handle).replace(target)
        except OSError as error:
            raise store_error(error) from error
        persist(self._store, key)
