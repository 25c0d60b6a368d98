"""Taking an upload in: from its first byte to its asset."""

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from media_ingest import metrics, scan, tracing
from media_ingest.auth import Token
from media_ingest.body import Body
from media_ingest.errors import Problem, Slug, too_large
from media_ingest.fields import Fields, FileHead, Form
from media_ingest.locks import LockedError
from mediaasset import keys, media, names
from mediaasset.assets import AlreadyExistsError, NotFoundError
from mediaasset.media import Kind, MediaType
from mediaasset.spec import MediaAsset, MediaAssetSpec, Metadata, digest

if TYPE_CHECKING:
    from media_ingest.service import Service

#: What is handed to the store at a time: large enough that the step into its threads does not count.
CHUNK_BYTES = 1024 * 1024
#: What of it has come after so many seconds is handed on: a store that hears nothing for 20 hangs up.
_CHUNK_SECONDS = 1

#: An Idempotency-Key is a string of RFC 9651 in quotes, or what most clients send: the same without quotes.
_KEY = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\]){1,255})"|([!#-~]{1,255})')

#: Containers whose first bytes do not say whether they hold pictures: only the transcoder can check that one is sound.
_CONTAINERS = frozenset({"video/mp4", "video/quicktime", "video/3gpp", "video/webm", "video/x-matroska"})

_LOG = structlog.get_logger("media_ingest")


@dataclass(frozen=True, slots=True)
class Accepted:
    """The asset of an upload; replayed when an earlier request with the same Idempotency-Key had made it."""

    asset: MediaAsset
    replayed: bool = False


def idempotency_key(header: str | None) -> str | None:
    """Return the key of a header Idempotency-Key; raises Problem invalid-field for one that is none."""
    if header is None:
        return None
    found = _KEY.fullmatch(header.strip())
    if found is None:
        text = "must have 1 to 255 printable ASCII characters, in double quotes or without any"
        raise Problem(
            Slug.INVALID_FIELD, f"Idempotency-Key {text}.", errors=[{"field": "Idempotency-Key", "detail": text}]
        )
    quoted, bare = found.groups()
    return re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare


async def accept(service: "Service", token: Token, body: Body, key: str | None = None) -> Accepted:
    """Store an upload and create its asset; on any refusal neither exists.

    When the assets break off in the middle of the create, nobody knows at once whether there is one: the object stays
    as long as there may be. Raises Problem for what the sender can correct, AssetsError and MediaError for what he
    cannot; with an Idempotency-Key also idempotency-mismatch, in-progress and deleted.
    """
    if key is None:
        reading = Reading(service, token, body, names.random_asset_name(), hashing=False)
        return Accepted(await reading.store())
    name = names.keyed_asset_name(token.namespace, token.user, key)
    try:
        async with service.locks.hold(f"key:{token.namespace}/{name}"):
            earlier = await _earlier(service, token, name)
            reading = Reading(service, token, body, name, hashing=True)
            if earlier is None:
                try:
                    return Accepted(await reading.store())
                except AlreadyExistsError:
                    # Another replica that shares no lock with this one was faster.
                    earlier = await _earlier(service, token, name)
            else:
                await reading.compare()
            return _replayed(earlier, reading.spec)
    except LockedError:
        raise Problem(Slug.IN_PROGRESS) from None


async def refer(
    service: "Service", token: Token, form: Form, *, url: str, kind: Kind | None = None, key: str | None = None
) -> Accepted:
    """Create the asset of media that lie elsewhere: the transcoder fetches them, behind its guard of addresses.

    Raises as `accept` does.
    """
    spec = Fields.read(form.fields).to_spec(token, form.file, source={"url": url}, kind=kind)
    await service.profile(spec.profile_name)
    name = names.random_asset_name() if key is None else names.keyed_asset_name(token.namespace, token.user, key)
    if key is not None and (earlier := await _earlier(service, token, name)):
        return _replayed(earlier, spec)
    try:
        return Accepted(await create(service, asset_of(token, name, spec)))
    except AlreadyExistsError:
        return _replayed(await _earlier(service, token, name), spec)


async def specify(
    service: "Service", token: Token, form: Form, source: Mapping[str, Any], head: bytes
) -> MediaAssetSpec:
    """Return the spec of an object that lies in the store already, whose size is known and which begins with `head`.

    Raises Problem for what must not become an asset.
    """
    if not head:
        raise Problem(Slug.EMPTY_SOURCE)
    kind = recognise(head, form.file)
    profile = await service.profile(form.fields.get("profile") or None)
    check_size(source["sizeBytes"], profile.spec.limits.of(kind).max_bytes, kind)
    return Fields.read(form.fields).to_spec(token, form.file, source={"object": source}, kind=kind)


def asset_of(token: Token, name: str, spec: MediaAssetSpec) -> MediaAsset:
    """Return the asset that is to be created."""
    annotations = {
        names.USER_NAME_ANNOTATION: token.username,
        names.REQUEST_DIGEST_ANNOTATION: _digest(spec),
        **tracing.annotations(),
    }
    tracing.name_asset(name)
    return MediaAsset(metadata=Metadata(namespace=token.namespace, name=name, annotations=annotations), spec=spec)


async def create(service: "Service", asset: MediaAsset) -> MediaAsset:
    """Create an asset and count it; raises as `Assets.create` does."""
    created = await service.assets.create(asset)
    metrics.UPLOADS.labels((created.spec.type or "unknown").lower()).inc()
    return created


class Reading:
    """One upload on its way into the store."""

    def __init__(self, service: "Service", token: Token, body: Body, name: str, *, hashing: bool) -> None:
        """Take who sends what, and the name of the asset; hashing makes the sha256 of the content part of the spec."""
        #: There once the content has been read to its end.
        self.spec: MediaAssetSpec
        self._service = service
        self._token = token
        self._body = body
        self._name = name
        self._key = keys.upload(token.namespace, name)
        self._hash = hashlib.sha256() if hashing else None
        self._chunks = body.chunks()

    async def store(self) -> MediaAsset:
        """Store the content and create the asset; raises AlreadyExistsError, and then keeps nothing."""
        # The form is read to its end and checked before the store is told that the object is complete.
        await self._service.store.write(self._key, await self._begin(), self._body.length)
        try:
            await scan.check(self._service.scanner, self._service.store, self._key, self._service.settings)
            return await create(self._service, asset_of(self._token, self._name, self.spec))
        except BaseException:
            await asyncio.shield(discard(self._service, self._token.namespace, self._name, self._key))
            raise

    async def compare(self) -> None:
        """Read the content to know its spec, and keep nothing of it."""
        async for _ in await self._begin():
            pass

    async def _begin(self) -> AsyncIterator[bytes]:
        """Refuse what can be refused early; return the content to be stored."""
        await self._body.open()
        limits = {kind: await self._limit(kind) for kind in Kind}
        if None not in limits.values():
            check_size(self._body.length.least, max(limit for limit in limits.values() if limit is not None))
        # All that is said before the file is checked before it; sizeBytes is not known yet.
        self._specify(Kind.DOCUMENT, None)
        head = await self._head()
        if not head:
            raise Problem(Slug.EMPTY_SOURCE)
        kind = recognise(head, self._body.form.file)
        check_size(self._body.length.least, limits[kind], kind)
        return self._content(head, kind, limits[kind])

    async def _head(self) -> bytes:
        head = b""
        async for chunk in self._chunks:
            head += chunk
            if len(head) >= media.SNIFF_BYTES:
                break
        return head

    async def _content(self, head: bytes, kind: Kind, limit: int | None) -> AsyncIterator[bytes]:
        size = waiting = 0
        pieces: list[bytes] = []
        due = time.monotonic() + _CHUNK_SECONDS
        async for chunk in _after(head, self._chunks):
            size += len(chunk)
            check_size(size, limit, kind)
            if self._hash:
                self._hash.update(chunk)
            pieces.append(chunk)
            waiting += len(chunk)
            if waiting >= CHUNK_BYTES or time.monotonic() >= due:
                yield b"".join(pieces)
                pieces.clear()
                waiting = 0
                due = time.monotonic() + _CHUNK_SECONDS
        if pieces:
            yield b"".join(pieces)
        await self._body.finish()
        # A form may name its profile after the file.
        check_size(size, await self._limit(kind), kind)
        self.spec = self._specify(kind, size)

    def _specify(self, kind: Kind, size: int | None) -> MediaAssetSpec:
        form = self._body.form
        sha256 = self._hash.hexdigest() if self._hash and size is not None else None
        source = {"key": self._key, "sizeBytes": size, "sha256": sha256}
        return Fields.read(form.fields).to_spec(self._token, form.file, source={"object": source}, kind=kind)

    async def _limit(self, kind: Kind) -> int | None:
        profile = await self._service.profile(self._body.form.fields.get("profile") or None)
        return profile.spec.limits.of(kind).max_bytes


async def discard(service: "Service", namespace: str, name: str, key: str) -> None:
    """Delete the object of an upload, unless its asset was created after all; never raises."""
    try:
        source = (await service.assets.get(namespace, name)).spec.source.object
        if source and source.key == key:
            return
    except NotFoundError:
        pass
    except Exception:  # noqa: BLE001 - whatever it is, the first error is what counts
        _LOG.exception("an object may be without its asset", key=key)
        return
    try:
        await service.store.delete([key])
    except Exception:  # noqa: BLE001 - whatever it is, the first error is what counts
        # The sweeper finds it later; what the sender is told is the first error.
        _LOG.exception("an object without an asset could not be deleted", key=key)


def recognise(head: bytes, file: FileHead) -> Kind:
    """Return what the content is, by its first bytes.

    Raises Problem: unsupported-type; type-mismatch when the declared type or the extension is of another kind. Within
    one kind the content wins, and a type that is not in the table declares nothing.
    """
    declared = declarations(file)
    detected = media.sniff(head, declared_text=any(found.mime == "text/plain" for found in declared))
    if detected is None:
        supported = (
            "JPEG, PNG, GIF, WebP, BMP; MP4, MOV, AVI, MKV, WebM, 3GP; MP3, WAV, OGG, AAC, M4A, AMR; PDF, Office"
        )
        raise Problem(
            Slug.UNSUPPORTED_TYPE,
            f"The content is of no supported type: send {supported}, or a text declared as text/plain.",
            declared=_declaration(file),
            detected=None,
        )
    _check_declared(declared, detected)
    # Two declarations can disagree about a container: sound by one of them is a claim the transcoder checks.
    return Kind.AUDIO if any(found.kind is Kind.AUDIO for found in declared) else detected.kind


def declarations(file: FileHead) -> list[MediaType]:
    """Return what the type and the name of a file declare it to be, as far as they declare anything."""
    return [found for found in (media.by_mime(file.content_type), media.by_file_name(file.name)) if found]


def check_size(size: int, limit: int | None, kind: Kind | None = None) -> None:
    """Refuse what is larger than the limit; raises Problem source-too-large."""
    if limit is not None and size > limit:
        raise too_large(limit, size, f"A file of type {kind}" if kind else "The largest file")


async def _earlier(service: "Service", token: Token, name: str) -> MediaAsset | None:
    """Return the asset that a key has made; raises Problem deleted when there was one."""
    try:
        asset = await service.assets.get(token.namespace, name)
    except NotFoundError:
        if await service.store.stat(keys.tombstone(token.namespace, name)):
            raise Problem(Slug.DELETED) from None
        return None
    if asset.deleted_at is not None:
        raise Problem(Slug.DELETED)
    return asset


def _replayed(earlier: MediaAsset | None, spec: MediaAssetSpec) -> Accepted:
    if earlier is None:
        # It came and went while this request ran; what holds now, the next try is told.
        raise Problem(Slug.IN_PROGRESS)
    if earlier.metadata.annotations.get(names.REQUEST_DIGEST_ANNOTATION) != _digest(spec):
        raise Problem(Slug.IDEMPOTENCY_MISMATCH)
    return Accepted(earlier, replayed=True)


def _digest(spec: MediaAssetSpec) -> str:
    """Return what two requests that ask for the same have in common: fields and content, not where it came to lie."""
    dumped = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"source": {"object": {"key"}}})
    return digest(dumped)


def _check_declared(declared: Sequence[MediaType], detected: MediaType) -> None:
    for found in declared:
        if found.kind is detected.kind or (found.kind is Kind.AUDIO and detected.mime in _CONTAINERS):
            continue
        raise Problem(
            Slug.TYPE_MISMATCH,
            f"The file is declared as {found.mime} but its content is {detected.mime}: correct the declaration"
            " (Content-Type, extension) or the file.",
            declared=found.mime,
            detected=detected.mime,
        )


def _declaration(file: FileHead) -> str | None:
    by_name = media.by_file_name(file.name)
    return file.content_type or (by_name.mime if by_name else None)


async def _after(head: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    async for chunk in chunks:
        yield chunk
