"""The assets of standalone: rows of a SQLite file that behave like custom resources."""

import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import aiosqlite
import structlog
import yaml

from media_standalone.database import Database, catalogue_columns, translated
from mediaasset.assets import EVERYTHING, AlreadyExistsError, AssetsError, ConflictError, Event, NotFoundError, Page
from mediaasset.catalogue import Ordering, Query, State, Stats
from mediaasset.changes import Changes
from mediaasset.media import Kind
from mediaasset.names import DEFAULT_PROFILE_ANNOTATION, FINALIZER, PROFILE_KIND
from mediaasset.spec import MediaAsset, MediaAssetSpec, MediaProfile
from mediaasset.status import Status

#: How many rows are read at a time where all of them are.
_PAGE = 500

_LOG = structlog.get_logger(__name__)


def load_profiles(extra: Path | None = None) -> dict[str, MediaProfile]:
    """Read the built-in profiles, and those of a directory, which win over built-in ones of the same name.

    Raises ValueError, which names the file, for one that is no MediaProfile; OSError when the directory cannot be read.
    """
    profiles: dict[str, MediaProfile] = {}
    default = None
    for source, text in _profile_texts(extra):
        try:
            documents = [body for body in yaml.safe_load_all(text) if body is not None]
            found = [MediaProfile.model_validate(body) for body in documents]
        except (yaml.YAMLError, ValueError) as error:
            message = f"{source} is no {PROFILE_KIND}: {error}"
            raise ValueError(message) from error
        for profile in found:
            profiles[profile.metadata.name] = profile
            if profile.metadata.annotations.get(DEFAULT_PROFILE_ANNOTATION) == "true":
                default = profile
    if default is not None:
        profiles[""] = default
    return profiles


def _profile_texts(extra: Path | None) -> Iterator[tuple[str, str]]:
    # The directory of the operator of this machine comes last, so that its profiles and its default win.
    for directory in (resources.files("media_standalone") / "profiles", *([extra] if extra else [])):
        for entry in sorted(directory.iterdir(), key=lambda item: item.name):
            if entry.name.endswith((".yaml", ".yml")):
                yield entry.name, entry.read_text(encoding="utf-8")


class SqliteAssets:
    """Implements the port `Assets`; `on_change` is called with (namespace, name) after every change."""

    def __init__(
        self,
        database: Database,
        on_change: Callable[[str, str], None],
        profiles: dict[str, MediaProfile] | None = None,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Take the open file, who is to be woken, and the profiles by name ("" is the default one)."""
        self._database = database
        self._on_change = on_change
        self._profiles = load_profiles() if profiles is None else profiles
        self._now = now
        self._changes = Changes()

    @translated(AssetsError)
    async def create(self, asset: MediaAsset) -> MediaAsset:
        """Store a new asset."""
        async with self._database.transaction() as connection:
            metadata = asset.metadata.model_copy(
                update={
                    "uid": str(uuid.uuid4()),
                    "generation": 1,
                    "resource_version": await _next_version(connection),
                    "creation_timestamp": self._now(),
                    "deletion_timestamp": None,
                    "finalizers": (FINALIZER,),
                }
            )
            created = asset.model_copy(update={"metadata": metadata, "status": Status()})
            row = _columns(created)
            try:
                await connection.execute(
                    f"INSERT INTO assets ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",  # noqa: S608 - our own column names
                    tuple(row.values()),
                )
            except sqlite3.IntegrityError as error:
                message = f"{'/'.join(asset.key)} exists"
                raise AlreadyExistsError(message) from error
        self._tell(*created.key)
        return created

    @translated(AssetsError)
    async def get(self, namespace: str, name: str) -> MediaAsset:
        """Read an asset."""
        rows = await self._database.rows(_BY_NAME, (namespace, name))
        return _single(rows, namespace, name)

    @translated(AssetsError)
    async def list(self, namespace: str, query: Query = EVERYTHING, *, limit: int, offset: int = 0) -> Page:
        """List assets."""
        where, parameters = _where(namespace, query)
        direction = "DESC" if query.ordering.startswith("-") else "ASC"
        columns = (*_SORTED.get(query.ordering.removeprefix("-"), ()), "created", "name")
        order = ", ".join(f"{column} {direction}" for column in columns)
        # One statement, so that the total and the items belong to one state of the file.
        rows = await self._database.rows(
            f"SELECT body, (SELECT count(*) FROM assets WHERE {where}) AS total FROM assets WHERE {where}"  # noqa: S608 - our own text
            f" ORDER BY {order} LIMIT ? OFFSET ?",
            (*parameters, *parameters, limit, offset),
        )
        if rows:
            return Page(tuple(_read(row) for row in rows), rows[0]["total"])
        counted = await self._database.rows(f"SELECT count(*) FROM assets WHERE {where}", parameters)  # noqa: S608 - our own text
        return Page((), counted[0][0])

    @translated(AssetsError)
    async def stats(self, namespace: str, *, user_id: str | None = None) -> Stats:
        """Count assets."""
        where, parameters = _where(namespace, Query(user_id=user_id))
        rows = await self._database.rows(
            f"SELECT type, state, count(*), sum(size_bytes) FROM assets WHERE {where} GROUP BY type, state",  # noqa: S608 - our own text
            parameters,
        )
        return Stats.of((Kind(kind) if kind else None, State(state), *sums) for kind, state, *sums in rows)

    def watch(self, namespace: str, name: str) -> AsyncIterator[MediaAsset]:
        """Follow an asset."""
        return self._changes.follow((namespace, name), self.get)

    @translated(AssetsError)
    async def unfinished(self) -> tuple[tuple[str, str], ...]:
        """Return the assets that need looking after, oldest first."""
        rows = await self._database.rows(
            "SELECT namespace, name FROM assets WHERE finished = 0 OR expires <= ? ORDER BY sequence",
            (self._now().timestamp(),),
        )
        return tuple((row["namespace"], row["name"]) for row in rows)

    async def all(self) -> AsyncIterator[MediaAsset]:
        """Read every row, so many at a time."""
        last = 0
        while rows := await self._rows_after(last):
            for row in rows:
                yield _read(row)
            last = rows[-1]["sequence"]

    @translated(AssetsError)
    async def everything(self) -> tuple[tuple[str, str], ...]:
        """Return (namespace, name) of all assets; beyond the port, for a changed public URL."""
        rows = await self._database.rows("SELECT namespace, name FROM assets ORDER BY sequence")
        return tuple((row["namespace"], row["name"]) for row in rows)

    async def write_status(self, asset: MediaAsset, status: Status) -> MediaAsset:
        """Replace the status of exactly this version; the same status again changes nothing and wakes nobody."""

        def change(stored: MediaAsset) -> MediaAsset:
            if stored.metadata.uid != asset.metadata.uid:
                message = f"{'/'.join(asset.key)} is another asset of the same name now"
                raise NotFoundError(message)
            if stored.metadata.resource_version != asset.metadata.resource_version:
                message = f"{'/'.join(asset.key)} changed since version {asset.metadata.resource_version}"
                raise ConflictError(message)
            return stored.model_copy(update={"status": status})

        return await self._update(*asset.key, change)

    async def change(self, namespace: str, name: str, spec: Mapping[str, object]) -> MediaAsset:
        """Replace members of the spec; the generation grows only when it differs."""

        def change(stored: MediaAsset) -> MediaAsset:
            if stored.deleted_at is not None:
                raise _no_asset(namespace, name)
            merged = {**stored.spec.to_dict(), **spec}
            changed = MediaAssetSpec.model_validate({key: value for key, value in merged.items() if value is not None})
            if stored.spec == changed:
                return stored
            metadata = stored.metadata.model_copy(update={"generation": stored.metadata.generation + 1})
            return stored.model_copy(update={"metadata": metadata, "spec": changed})

        return await self._update(namespace, name, change)

    async def annotate(self, namespace: str, name: str, annotations: dict[str, str]) -> None:
        """Add or replace annotations."""

        def change(stored: MediaAsset) -> MediaAsset:
            merged = {**stored.metadata.annotations, **annotations}
            return stored.model_copy(update={"metadata": stored.metadata.model_copy(update={"annotations": merged})})

        await self._update(namespace, name, change)

    async def hold(self, asset: MediaAsset) -> MediaAsset:
        """Return the asset as it is: every row is made with the finalizer."""
        return asset

    async def delete(self, namespace: str, name: str, *, uid: str | None = None) -> None:
        """Mark as deleted; the row stays until it is released."""

        def change(stored: MediaAsset) -> MediaAsset:
            if uid is not None and stored.metadata.uid != uid:
                raise _no_asset(namespace, name)
            if stored.deleted_at:
                return stored
            metadata = stored.metadata.model_copy(update={"deletion_timestamp": self._now()})
            return stored.model_copy(update={"metadata": metadata})

        await self._update(namespace, name, change)

    @translated(AssetsError)
    async def release(self, asset: MediaAsset) -> None:
        """Remove the row of a deleted asset; by uid, for the name may be in use again."""
        async with self._database.transaction() as connection:
            await connection.execute("DELETE FROM assets WHERE uid = ? AND deleted = 1", (asset.metadata.uid,))
        self._tell(*asset.key)

    async def profile(self, name: str | None) -> MediaProfile:
        """Return a profile, or the default one."""
        try:
            return self._profiles[name or ""]
        except KeyError:
            message = f"there is no profile {name!r}" if name else "there is no default profile"
            raise NotFoundError(message) from None

    async def emit(self, asset: MediaAsset, event: Event) -> None:
        """Write the event to the log."""
        log = _LOG.warning if event.warning else _LOG.info
        log(
            event.message,
            namespace=asset.metadata.namespace,
            asset=asset.metadata.name,
            uid=asset.metadata.uid,
            reason=event.reason.value,
        )

    @translated(AssetsError)
    async def _rows_after(self, sequence: int) -> Sequence[sqlite3.Row]:
        query = "SELECT sequence, body FROM assets WHERE sequence > ? ORDER BY sequence LIMIT ?"
        return await self._database.rows(query, (sequence, _PAGE))

    @translated(AssetsError)
    async def _update(self, namespace: str, name: str, change: Callable[[MediaAsset], MediaAsset]) -> MediaAsset:
        async with self._database.transaction() as connection:
            rows = await connection.execute_fetchall(_BY_NAME, (namespace, name))
            stored = _single(list(rows), namespace, name)
            changed = change(stored)
            if changed == stored:
                return stored
            metadata = changed.metadata.model_copy(update={"resource_version": await _next_version(connection)})
            changed = changed.model_copy(update={"metadata": metadata})
            row = _columns(changed)
            assignments = ", ".join(f"{column} = ?" for column in row)
            await connection.execute(
                f"UPDATE assets SET {assignments} WHERE uid = ?",  # noqa: S608 - our own column names
                (*row.values(), changed.metadata.uid),
            )
        self._tell(namespace, name)
        return changed

    def _tell(self, namespace: str, name: str) -> None:
        self._changes.tell((namespace, name))
        self._on_change(namespace, name)


#: What an ordering sorts by, before the creation time and the name.
_SORTED: Mapping[str, tuple[str, ...]] = {
    Ordering.ORDER: ("item_order IS NULL", "item_order"),
    Ordering.SMALLEST: ("size_bytes",),
    Ordering.NAME: ("file_name",),
}

_BY_NAME = "SELECT body FROM assets WHERE namespace = ? AND name = ?"


def _where(namespace: str, query: Query) -> tuple[str, list[Any]]:
    """Return the condition that a query is, and its parameters."""
    conditions: dict[str, object] = {
        "namespace = ?": namespace,
        "deleted = ?": 0,
        "user_id = ?": query.user_id,
        "type = ?": query.type,
        "state = ?": query.state,
        "collection = ?": query.collection,
        "is_public = ?": query.is_public,
        "message_id = ?": query.message_id,
        "created > ?": query.created_after and query.created_after.timestamp(),
        "created < ?": query.created_before and query.created_before.timestamp(),
        "instr(text, ?) > 0": None if query.search is None else query.search.casefold(),
    }
    asked = {condition: value for condition, value in conditions.items() if value is not None}
    return " AND ".join(asked), list(asked.values())


async def _next_version(connection: aiosqlite.Connection) -> str:
    (row,) = await connection.execute_fetchall("UPDATE counter SET value = value + 1 RETURNING value")
    return str(row[0])


def _single(rows: list[sqlite3.Row], namespace: str, name: str) -> MediaAsset:
    if not rows:
        raise _no_asset(namespace, name)
    return _read(rows[0])


def _no_asset(namespace: str, name: str) -> NotFoundError:
    return NotFoundError(f"there is no asset {namespace}/{name}")


def _read(row: sqlite3.Row) -> MediaAsset:
    return MediaAsset.model_validate_json(row["body"])


def _columns(asset: MediaAsset) -> dict[str, str | float | None]:
    source = asset.spec.source.object
    return {
        "namespace": asset.key[0],
        "name": asset.metadata.name,
        "uid": asset.metadata.uid,
        "user_id": asset.spec.user_id,
        "source_key": source.key if source else None,
        "deleted": int(asset.deleted_at is not None),
        "finished": int(asset.is_final),
        "expires": asset.expires_at.timestamp() if asset.expires_at else None,
        "body": asset.model_dump_json(by_alias=True, exclude_none=True),
        **catalogue_columns(asset),
    }
