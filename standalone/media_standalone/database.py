"""The SQLite file of standalone: one connection, one writer, and a schema with a version."""

import asyncio
import functools
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ParamSpec, Self, TypeVar

import aiosqlite
from pydantic import ValidationError

from mediaasset.catalogue import facts_of
from mediaasset.spec import MediaAsset

P = ParamSpec("P")
R = TypeVar("R")

#: Stands in PRAGMA user_version. It grows with each change of the schema; a file with a larger one is refused.
SCHEMA_VERSION = 2

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

#: What version 2 added: what lists are asked by, as mediaasset.catalogue.Facts has it.
_CATALOGUE = """
ALTER TABLE assets ADD COLUMN type TEXT;
ALTER TABLE assets ADD COLUMN state TEXT NOT NULL DEFAULT 'processing';
ALTER TABLE assets ADD COLUMN collection TEXT NOT NULL DEFAULT '';
ALTER TABLE assets ADD COLUMN is_public INTEGER NOT NULL DEFAULT 0;
ALTER TABLE assets ADD COLUMN message_id TEXT;
ALTER TABLE assets ADD COLUMN created REAL NOT NULL DEFAULT 0;
ALTER TABLE assets ADD COLUMN item_order INTEGER;
ALTER TABLE assets ADD COLUMN size_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE assets ADD COLUMN file_name TEXT NOT NULL DEFAULT '';
ALTER TABLE assets ADD COLUMN text TEXT NOT NULL DEFAULT '';
ALTER TABLE assets ADD COLUMN expires REAL;
DROP INDEX IF EXISTS assets_listed;
DROP INDEX IF EXISTS assets_of_user;
CREATE INDEX assets_listed ON assets (namespace, deleted, created, name);
CREATE INDEX assets_of_user ON assets (namespace, user_id, deleted, created, name);
CREATE INDEX assets_of_collection ON assets (namespace, collection, deleted, created, name);
CREATE INDEX assets_expiring ON assets (expires) WHERE expires IS NOT NULL;
CREATE INDEX assets_of_message ON assets (namespace, message_id) WHERE message_id IS NOT NULL;
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
    if version == 0 and await connection.execute_fetchall("SELECT 1 FROM sqlite_master LIMIT 1"):
        message = f"{path} is a database, but not one of standalone: use another data directory"
        raise SchemaError(message)
    # All of it is one transaction: a crash in it leaves the file as it was, never half a schema.
    await connection.executescript(f"BEGIN; {'' if version else _SCHEMA} {_CATALOGUE}")
    for row in await connection.execute_fetchall("SELECT sequence, namespace, name, body FROM assets"):
        try:
            columns = catalogue_columns(MediaAsset.model_validate_json(row["body"]))
        except ValidationError as error:
            message = f"{path} holds the asset {row['namespace']}/{row['name']}, which cannot be read"
            raise SchemaError(message) from error
        assignments = ", ".join(f"{column} = ?" for column in columns)
        await connection.execute(
            f"UPDATE assets SET {assignments} WHERE sequence = ?",  # noqa: S608 - our own column names
            (*columns.values(), row["sequence"]),
        )
    await connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    await connection.execute("COMMIT")


def catalogue_columns(asset: MediaAsset) -> dict[str, str | float | None]:
    """Return what lists are asked by, for each column of it."""
    facts = facts_of(asset)
    return {
        "type": facts.type,
        "state": facts.state,
        "collection": facts.collection,
        "is_public": facts.is_public,
        "message_id": facts.message_id,
        "created": facts.created,
        "item_order": facts.order,
        "size_bytes": facts.size_bytes,
        "file_name": facts.file_name,
        "text": facts.text,
    }
