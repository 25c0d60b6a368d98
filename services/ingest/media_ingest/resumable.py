"""Uploads that take more than one request: what is remembered of them, and how they become assets.

All of it lies in the store, so any replica goes on where another stopped.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from media_ingest import answer, intake, scan
from media_ingest.auth import Scope, Token
from media_ingest.errors import Problem, Slug
from media_ingest.fields import Fields, FileHead, Form
from mediaasset import keys, media, names
from mediaasset.assets import AlreadyExistsError
from mediaasset.media import Kind
from mediaasset.parts import GoneError
from mediaasset.spec import MediaAsset

if TYPE_CHECKING:
    from media_ingest.service import Service

#: What is remembered of an upload has fewer bytes: the fields came in headers or in a body of bounded size.
_MAX_RECORD_BYTES = 1024 * 1024
#: The body of a request with a checksum is held in memory until the checksum is known to be right.
MAX_CHECKED_BYTES = 16 * 1024 * 1024


class Record(BaseModel):
    """What is remembered of an upload; size is in bytes, None while it is not known; handle is None if it is posted."""

    model_config = ConfigDict(frozen=True)

    user: str
    key: str
    handle: str | None = None
    size: int | None = None
    fields: Mapping[str, str] = Field(default_factory=dict)
    file_name: str = ""
    content_type: str = ""
    created: AwareDatetime
    expires: AwareDatetime

    @property
    def form(self) -> Form:
        """Return what the sender said of the file."""
        return Form(dict(self.fields), FileHead(self.file_name, self.content_type))


class HandedOverError(Exception):
    """Another request goes on with this upload."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """What the bytes of one request must hash to."""

    algorithm: str
    digest: bytes


async def begin(
    service: "Service", token: Token, form: Form, size: int | None, *, posted: bool = False
) -> tuple[str, Record]:
    """Remember a new upload; return the name of its asset to be. Raises Problem for what can be refused by now."""
    if size == 0:
        raise Problem(Slug.EMPTY_SOURCE)
    name = names.random_asset_name()
    key = keys.upload(token.namespace, name)
    Fields.read(form.fields).to_spec(token, form.file, source={"object": {"key": key}}, kind=Kind.DOCUMENT)
    await _check_size(service, form, size or 0)
    now = datetime.now(UTC)
    record = Record(
        user=token.user,
        key=key,
        handle=None if posted else await service.parts.begin(key),
        size=size,
        fields=form.fields,
        file_name=form.file.name,
        content_type=form.file.content_type,
        created=now,
        expires=now + timedelta(seconds=service.settings.upload_lifetime_seconds),
    )
    await _remember(service, token.namespace, name, record)
    return name, record


async def find(service: "Service", token: Token, name: str) -> Record:
    """Return what is remembered of an upload of this user; raises Problem not-found, also for one that expired."""
    record = await read(service, token.namespace, name)
    is_seen = record is not None and (record.user == token.user or token.has(Scope.ADMIN))
    if record is None or not is_seen or record.expires <= datetime.now(UTC):
        raise Problem(Slug.NOT_FOUND, "There is no such upload, or no longer: begin a new one.")
    return record


async def read(service: "Service", namespace: str, name: str) -> Record | None:
    """Return what is remembered of an upload, None if nothing is."""
    raw = await service.store.read(keys.upload_record(namespace, name), max_bytes=_MAX_RECORD_BYTES)
    try:
        return Record.model_validate_json(raw) if raw else None
    except ValidationError:
        # Of a newer version, perhaps.
        return None


async def offset(service: "Service", record: Record) -> int:
    """Return how many bytes of an upload are durable."""
    try:
        if record.handle is not None:
            return await service.parts.size(record.key, record.handle)
    except GoneError:
        pass
    # It is an object already, whose asset could not be made.
    found = await service.store.stat(record.key)
    return found.size_bytes if found else 0


async def append(
    service: "Service",
    record: Record,
    start: int,
    body: AsyncIterator[bytes],
    *,
    wanted: asyncio.Event,
    checksum: Checksum | None = None,
) -> int:
    """Append a body to an upload that has `start` bytes; return how many are durable then.

    Raises Problem; HandedOverError when another request wants to go on. What came before an error is kept, unless there
    is a checksum.
    """
    chunks = _bounded(_until(wanted, body), None if record.size is None else record.size - start)
    if checksum:
        chunks = _checked(chunks, checksum)
    if start == 0:
        chunks = _recognised(service, record, chunks)
    assert record.handle is not None  # noqa: S101 - what is posted is not appended to
    try:
        return await service.parts.append(record.key, record.handle, chunks)
    except GoneError:
        raise Problem(Slug.OFFSET_MISMATCH) from None


async def with_size(service: "Service", namespace: str, name: str, record: Record, size: int) -> Record:
    """Remember the size of an upload that had none. Raises Problem, also when it has another one."""
    if record.size is not None and record.size != size:
        raise Problem(Slug.MALFORMED_REQUEST, "Upload-Length was another one before: it cannot change.")
    if record.size is None:
        await _check_size(service, record.form, size)
        record = record.model_copy(update={"size": size})
        await _remember(service, namespace, name, record)
    return record


async def conclude(service: "Service", token: Token, name: str, record: Record) -> MediaAsset:
    """Make the asset of an upload whose bytes are all durable; again is fine.

    Raises Problem: for content that no upload may have, and then forgets it.
    """
    if record.handle is not None:
        # Gone is what was finished before, or is missing, which is seen next.
        with suppress(GoneError):
            await service.parts.finish(record.key, record.handle)
    found = await service.store.stat(record.key)
    if found is None or found.size_bytes != record.size:
        raise Problem(Slug.UPLOAD_INCOMPLETE, size=record.size, received=found.size_bytes if found else 0)
    try:
        head = await service.store.beginning(record.key, media.SNIFF_BYTES) or b""
        spec = await intake.specify(service, token, record.form, {"key": record.key, "sizeBytes": record.size}, head)
        await scan.check(service.scanner, service.store, record.key, service.settings)
    except Problem as problem:
        if problem.status < 500:  # noqa: PLR2004 - the sender's fault, which no repetition mends
            await forget(service, token.namespace, name, record)
        raise
    try:
        asset = await intake.create(service, intake.asset_of(token, name, spec))
    except AlreadyExistsError:
        asset = await service.find(token, name)
    await service.store.delete([keys.upload_record(token.namespace, name)])
    return asset


async def forget(service: "Service", namespace: str, name: str, record: Record) -> None:
    """Delete all that there is of an upload."""
    if record.handle is not None:
        await service.parts.abort(record.key, record.handle)
    # The record goes last: as long as it is there, the sweep knows what to give up.
    await service.store.delete([record.key, keys.upload_record(namespace, name)])


async def as_answer(service: "Service", token: Token, name: str) -> dict[str, Any]:
    """Return the JSON answer for an upload that is not complete; raises Problem not-found."""
    record = await find(service, token, name)
    declared = intake.declarations(record.form.file)
    source = {"object": {"key": record.key, "sizeBytes": record.size}}
    kind = declared[0].kind if declared else None
    spec = Fields.read(record.fields).to_spec(token, record.form.file, source=source, kind=kind)
    asset = intake.asset_of(token, name, spec)
    asset = asset.model_copy(
        update={"metadata": asset.metadata.model_copy(update={"creation_timestamp": record.created})}
    )
    return {**answer.answer(asset), "status": "uploading"}


async def _remember(service: "Service", namespace: str, name: str, record: Record) -> None:
    async def content() -> AsyncIterator[bytes]:
        yield record.model_dump_json().encode()

    await service.store.write(keys.upload_record(namespace, name), content())


async def _check_size(service: "Service", form: Form, size: int) -> None:
    """Refuse what is too large for what it is declared to be, or for anything."""
    limits = (await service.profile(form.fields.get("profile") or None)).spec.limits
    kinds = {found.kind for found in intake.declarations(form.file)} or set(Kind)
    known = [limits.of(kind).max_bytes for kind in kinds]
    largest = max((limit for limit in known if limit is not None), default=0)
    if None not in known:
        intake.check_size(size, largest, kinds.pop() if len(kinds) == 1 else None)


async def _until(wanted: asyncio.Event, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield a body until another request wants to go on: this one's sender may be gone without a word."""
    asked = asyncio.ensure_future(wanted.wait())
    try:
        while True:
            coming = asyncio.ensure_future(anext(body, None))
            await asyncio.wait({coming, asked}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                coming.cancel()
                await asyncio.wait({coming})
                raise HandedOverError
            if (chunk := coming.result()) is None:
                return
            if chunk:
                yield chunk
    finally:
        asked.cancel()


async def _bounded(chunks: AsyncIterator[bytes], room: int | None) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        if room is not None:
            room -= len(chunk)
            if room < 0:
                raise Problem(Slug.MALFORMED_REQUEST, "There are more bytes than Upload-Length says.")
        yield chunk


async def _checked(chunks: AsyncIterator[bytes], checksum: Checksum) -> AsyncIterator[bytes]:
    held = bytearray()
    async for chunk in chunks:
        held += chunk
        if len(held) > MAX_CHECKED_BYTES:
            limit = MAX_CHECKED_BYTES
            detail = f"A request with Upload-Checksum may have {limit:,} bytes: send the file in smaller chunks."
            raise Problem(Slug.FORM_TOO_LARGE, detail, limit=limit)
    if hashlib.new(checksum.algorithm, held, usedforsecurity=False).digest() != checksum.digest:
        raise Problem(Slug.CHECKSUM_MISMATCH)
    if held:
        yield bytes(held)


async def _recognised(service: "Service", record: Record, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Refuse by its first bytes what would be refused in the end."""
    head = b""
    async for chunk in chunks:
        if len(head) >= media.SNIFF_BYTES:
            yield chunk
            continue
        head += chunk
        if len(head) >= media.SNIFF_BYTES:
            kind = intake.recognise(head, record.form.file)
            limits = (await service.profile(record.fields.get("profile") or None)).spec.limits
            intake.check_size(record.size or 0, limits.of(kind).max_bytes, kind)
            yield head
    if head and len(head) < media.SNIFF_BYTES:
        yield head
