"""The assets of standalone: rows of a SQLite file that behave like custom resources."""

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import aiosqlite
import structlog
import yaml

from media_standalone.database import Database, translated
from mediaasset.assets import AlreadyExistsError, AssetsError, ConflictError, Event, NotFoundError, Page
from mediaasset.names import DEFAULT_PROFILE_ANNOTATION, FINALIZER, PROFILE_KIND
from mediaasset.spec import MediaAsset, MediaAssetSpec, MediaProfile
from mediaasset.status import Status

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
        self._on_change(*created.key)
        return created

    @translated(AssetsError)
    async def get(self, namespace: str, name: str) -> MediaAsset:
        """Read an asset."""
        rows = await self._database.rows(_BY_NAME, (namespace, name))
        return _single(rows, namespace, name)

    @translated(AssetsError)
    async def list(self, namespace: str, *, user_id: str | None = None, limit: int, offset: int = 0) -> Page:
        """List assets, newest first."""
        where = "namespace = ? AND deleted = 0" + ("" if user_id is None else " AND user_id = ?")
        parameters: tuple[Any, ...] = (namespace,) if user_id is None else (namespace, user_id)
        # One statement, so that the total and the items belong to one state of the file.
        rows = await self._database.rows(
            f"SELECT body, (SELECT count(*) FROM assets WHERE {where}) AS total FROM assets WHERE {where}"  # noqa: S608 - our own text
            " ORDER BY sequence DESC LIMIT ? OFFSET ?",
            (*parameters, *parameters, limit, offset),
        )
        if rows:
            return Page(tuple(_read(row) for row in rows), rows[0]["total"])
        counted = await self._database.rows(f"SELECT count(*) FROM assets WHERE {where}", parameters)  # noqa: S608 - our own text
        return Page((), counted[0][0])

    @translated(AssetsError)
    async def unfinished(self) -> tuple[tuple[str, str], ...]:
        """Return the assets that need looking after, oldest first."""
        rows = await self._database.rows("SELECT namespace, name FROM assets WHERE finished = 0 ORDER BY sequence")
        return tuple((row["namespace"], row["name"]) for row in rows)

    @translated(AssetsError)
    async def everything(self) -> tuple[tuple[str, str], ...]:
        """Return (namespace, name) of all assets; beyond the port, for a changed public URL."""
        rows = await self._database.rows("SELECT namespace, name FROM assets ORDER BY sequence")
        return tuple((row["namespace"], row["name"]) for row in rows)

    @translated(AssetsError)
    async def source_keys(self) -> frozenset[str]:
        """Return the keys of the store that any asset has as its source; beyond the port, for the sweep at start."""
        rows = await self._database.rows("SELECT source_key FROM assets WHERE source_key IS NOT NULL")
        return frozenset(row["source_key"] for row in rows)

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

    async def replace_spec(self, namespace: str, name: str, spec: MediaAssetSpec) -> MediaAsset:
        """Replace the spec; the generation grows only when it differs. Beyond the port. Raises NotFoundError."""

        def change(stored: MediaAsset) -> MediaAsset:
            if stored.spec == spec:
                return stored
            metadata = stored.metadata.model_copy(update={"generation": stored.metadata.generation + 1})
            return stored.model_copy(update={"metadata": metadata, "spec": spec})

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

    async def delete(self, namespace: str, name: str) -> None:
        """Mark as deleted; the row stays until it is released."""

        def change(stored: MediaAsset) -> MediaAsset:
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
        self._on_change(*asset.key)

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
        self._on_change(namespace, name)
        return changed


_BY_NAME = "SELECT body FROM assets WHERE namespace = ? AND name = ?"


async def _next_version(connection: aiosqlite.Connection) -> str:
    (row,) = await connection.execute_fetchall("UPDATE counter SET value = value + 1 RETURNING value")
    return str(row[0])


def _single(rows: list[sqlite3.Row], namespace: str, name: str) -> MediaAsset:
    if not rows:
        message = f"there is no asset {namespace}/{name}"
        raise NotFoundError(message)
    return _read(rows[0])


def _read(row: sqlite3.Row) -> MediaAsset:
    return MediaAsset.model_validate_json(row["body"])


def _columns(asset: MediaAsset) -> dict[str, str | int | None]:
    source = asset.spec.source.object
    return {
        "namespace": asset.key[0],
        "name": asset.metadata.name,
        "uid": asset.metadata.uid,
        "user_id": asset.spec.user_id,
        "source_key": source.key if source else None,
        "deleted": int(asset.deleted_at is not None),
        "finished": int(asset.is_final),
        "body": asset.model_dump_json(by_alias=True, exclude_none=True),
    }
