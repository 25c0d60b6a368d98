"""The SQLite file of standalone: one connection, one writer, and a schema with a version."""

import asyncio
import functools
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ParamSpec, Self, TypeVar

import aiosqlite

P = ParamSpec("P")
R = TypeVar("R")

#: Stands in PRAGMA user_version. It grows with each change of the schema; a file with a larger one is refused.
SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE assets (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  namespace TEXT NOT NULL,
  name TEXT NOT NULL,
  uid TEXT NOT NULL UNIQUE,
  user_id TEXT,
  source_key TEXT,
  deleted INTEGER NOT NULL,
  finished INTEGER NOT NULL,
  body TEXT NOT NULL,
  UNIQUE (namespace, name)
);
CREATE INDEX assets_listed ON assets (namespace, deleted, sequence);
CREATE INDEX assets_of_user ON assets (namespace, user_id, deleted, sequence);
CREATE INDEX assets_unfinished ON assets (sequence) WHERE finished = 0;
CREATE TABLE counter (value INTEGER NOT NULL);
INSERT INTO counter VALUES (0);
CREATE TABLE jobs (
  name TEXT PRIMARY KEY,
  uid TEXT NOT NULL,
  namespace TEXT NOT NULL,
  asset TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  inputs_hash TEXT NOT NULL,
  task TEXT NOT NULL,
  phase TEXT NOT NULL,
  exit_code INTEGER,
  reason TEXT,
  retries INTEGER NOT NULL DEFAULT 0,
  created_at TEXT NOT NULL,
  started_at TEXT,
  finished_at TEXT
);
CREATE INDEX jobs_of_asset ON jobs (uid);
CREATE INDEX jobs_active ON jobs (phase) WHERE finished_at IS NULL;
-- A finished Job is remembered at most as long as its asset.
CREATE TRIGGER jobs_released AFTER DELETE ON assets BEGIN
  DELETE FROM jobs WHERE uid = OLD.uid AND finished_at IS NOT NULL;
END;
"""


class SchemaError(Exception):
    """The file was written by a newer version, or is no database of ours."""


def translated(
    error: type[Exception],
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Callable[P, Coroutine[Any, Any, R]]]:
    """Return a decorator that turns errors of SQLite (disk full, read-only, damaged) into that of a port."""

    def decorate(call: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        @functools.wraps(call)
        async def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return await call(*args, **kwargs)
            except sqlite3.Error as cause:
                message = f"the database failed: {cause}"
                raise error(message) from cause

        return wrapper

    return decorate


class Database:
    """One connection for all adapters: SQLite has one writer anyway, and statements then need no retry."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        """Take a connection in autocommit mode; use `open` instead."""
        self._connection = connection
        self._lock = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Open or make the file; raises SchemaError for a newer or foreign one, sqlite3.Error when it cannot."""
        connection = await aiosqlite.connect(path, isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            # A commit that returned survives a power cut: FULL also syncs the write-ahead log.
            for pragma in ("busy_timeout=5000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
                await connection.execute(f"PRAGMA {pragma}")
            await _migrate(connection, path)
        except BaseException:
            await connection.close()
            raise
        return cls(connection)

    async def close(self) -> None:
        """Close the file; waits for a transaction that runs."""
        async with self._lock:
            await self._connection.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[aiosqlite.Connection]:
        """Hold the one writer; commits durably at the end, rolls back on any error."""
        async with self._lock:
            try:
                # Inside: a caller cancelled here leaves a BEGIN on its way to the connection's thread.
                await self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                await self._connection.execute("COMMIT")
            except BaseException:
                await self._connection.rollback()
                raise

    async def rows(self, query: str, parameters: Iterable[Any] = ()) -> list[sqlite3.Row]:
        """Run one SELECT; never sees a transaction that is not committed."""
        async with self._lock:
            return list(await self._connection.execute_fetchall(query, parameters))


async def _migrate(connection: aiosqlite.Connection, path: Path) -> None:
    (row,) = await connection.execute_fetchall("PRAGMA user_version")
    version = row[0]
    if version > SCHEMA_VERSION:
        message = (
            f"{path} was written by a newer version (schema {version}, this one knows {SCHEMA_VERSION}): update, or use"
            " another data directory"
        )
        raise SchemaError(message)
    if version == SCHEMA_VERSION:
        return
    if await connection.execute_fetchall("SELECT 1 FROM sqlite_master LIMIT 1"):
        message = f"{path} is a database, but not one of standalone: use another data directory"
        raise SchemaError(message)
    # One script is one transaction: a crash in it leaves an empty file, never half a schema.
    await connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
