"""What the API does, without HTTP: take an upload in, find assets, answer for them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from starlette.requests import Request

from media_ingest import answer
from media_ingest.auth import Token, Tokens
from media_ingest.body import Body
from media_ingest.errors import Problem, Slug, too_large
from media_ingest.fields import Fields, FileHead
from media_ingest.settings import Settings
from mediaasset import keys, media, names
from mediaasset.assets import Assets, NotFoundError
from mediaasset.jobs import ProgressReader
from mediaasset.media import Kind, MediaType
from mediaasset.spec import MediaAsset, MediaAssetSpec, MediaProfile, Metadata
from mediaasset.store import Store

#: What is handed to the store at a time: large enough that the step into its threads does not count.
CHUNK_BYTES = 1024 * 1024

#: Containers whose first bytes do not say whether they hold pictures: only the transcoder can check that one is sound.
_CONTAINERS = frozenset({"video/mp4", "video/quicktime", "video/3gpp", "video/webm", "video/x-matroska"})

_LOG = structlog.get_logger("media_ingest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The ports, and what is done with them."""

    assets: Assets
    store: Store
    progress: ProgressReader
    tokens: Tokens
    settings: Settings

    async def accept(self, token: Token, body: Body) -> MediaAsset:
        """Store an upload and create its asset; on any refusal neither exists.

        When the assets break off in the middle of the create, nobody knows at once whether there is one: the object
        stays as long as there may be. Raises Problem for what the sender can correct, AssetsError and MediaError for
        what he cannot.
        """
        name = names.random_asset_name()
        reading = _Reading(self, token, body, keys.upload(token.namespace, name))
        # The form is read to its end and checked before the store is told that the object is complete.
        await self.store.write(reading.key, await reading.begin())
        try:
            return await self.assets.create(_asset(token, name, reading.spec))
        except BaseException:
            await asyncio.shield(self._discard(token.namespace, name, reading.key))
            raise

    async def find(self, token: Token, name: str) -> MediaAsset:
        """Return an asset that the token may see and that is not being deleted; raises Problem not-found."""
        try:
            asset = await self.assets.get(token.namespace, name)
        except NotFoundError:
            raise _no_asset(name) from None
        if asset.deleted_at is not None or not token.may_see(asset.spec.user_id):
            raise _no_asset(name)
        return asset

    async def delete(self, token: Token, name: str) -> None:
        """Delete an asset that the token may see; raises Problem not-found."""
        asset = await self.find(token, name)
        try:
            await self.assets.delete(*asset.key)
        except NotFoundError:
            raise _no_asset(name) from None

    async def answer(self, asset: MediaAsset) -> dict[str, Any]:
        """Return the JSON answer for an asset, with URLs for its private renditions."""
        lifetime = timedelta(seconds=self.settings.signed_url_seconds)
        signed = {key: await self.store.sign(key, lifetime) for key in answer.keys_to_sign(asset)}
        running = answer.state(asset) == answer.PROCESSING
        return answer.answer(
            asset,
            expected=() if asset.status.renditions else await self._expected(asset),
            signed=signed,
            progress=await self.progress.progress(asset.metadata.uid) if running else None,
        )

    async def profile(self, name: str | None) -> MediaProfile:
        """Return a profile; raises Problem profile-not-found."""
        try:
            return await self.assets.profile(name)
        except NotFoundError:
            detail = f"There is no profile {name}." if name else "There is no default profile."
            raise Problem(Slug.PROFILE_NOT_FOUND, detail) from None

    async def _expected(self, asset: MediaAsset) -> tuple[str, ...]:
        renditions = asset.spec.renditions
        if not renditions:
            try:
                renditions = (await self.assets.profile(asset.spec.profile_name)).spec.renditions
            except NotFoundError:
                return ()
        return tuple(rendition.name for rendition in renditions if rendition.for_ is asset.spec.type)

    async def _discard(self, namespace: str, name: str, key: str) -> None:
        """Delete the object of an upload, unless its asset was created after all."""
        try:
            await self.assets.get(namespace, name)
        except NotFoundError:
            await self._delete(key)
        except Exception:  # noqa: BLE001 - whatever it is, the first error is what counts
            _LOG.exception("an object may be without its asset", key=key)

    async def _delete(self, key: str) -> None:
        try:
            await self.store.delete([key])
        except Exception:  # noqa: BLE001 - whatever it is, the first error is what counts
            # The sweeper finds it later; what the sender is told is the first error.
            _LOG.exception("an object without an asset could not be deleted", key=key)


def service_of(request: Request) -> Service:
    """Return the service of the application that a request came to."""
    service: Service = request.app.state.service
    return service


class _Reading:
    """One upload on its way into the store."""

    def __init__(self, service: Service, token: Token, body: Body, key: str) -> None:
        self.key = key
        #: There once the content has been read to its end.
        self.spec: MediaAssetSpec
        self._service = service
        self._token = token
        self._body = body
        self._chunks = body.chunks()

    async def begin(self) -> AsyncIterator[bytes]:
        """Refuse what can be refused early; return the content to be stored."""
        await self._body.open()
        limits = {kind: await self._limit(kind) for kind in Kind}
        if None not in limits.values():
            self._check_announced(max(limit for limit in limits.values() if limit is not None))
        # All that is said before the file is checked before it; sizeBytes is not known yet.
        self._specify(Kind.DOCUMENT, None)
        head = await self._head()
        if not head:
            raise Problem(Slug.EMPTY_SOURCE)
        kind = recognise(head, self._body.form.file)
        self._check_announced(limits[kind], kind)
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
        async for chunk in _after(head, self._chunks):
            size += len(chunk)
            _check(size, limit, kind)
            pieces.append(chunk)
            waiting += len(chunk)
            if waiting >= CHUNK_BYTES:
                yield b"".join(pieces)
                pieces.clear()
                waiting = 0
        if pieces:
            yield b"".join(pieces)
        await self._body.finish()
        # A form may name its profile after the file.
        _check(size, await self._limit(kind), kind)
        self.spec = self._specify(kind, size)

    def _specify(self, kind: Kind, size: int | None) -> MediaAssetSpec:
        form = self._body.form
        source = {"key": self.key, "sizeBytes": size}
        return Fields.read(form.fields).to_spec(self._token, form.file, source=source, kind=kind)

    async def _limit(self, kind: Kind) -> int | None:
        profile = await self._service.profile(self._body.form.fields.get("profile") or None)
        return profile.spec.limits.of(kind).max_bytes

    def _check_announced(self, limit: int | None, kind: Kind | None = None) -> None:
        _check(self._body.announced, limit, kind)


def recognise(head: bytes, file: FileHead) -> Kind:
    """Return what the content is, by its first bytes.

    Raises Problem: unsupported-type; type-mismatch when the declared type or the extension is of another kind. Within
    one kind the content wins, and a type that is not in the table declares nothing.
    """
    declared = [found for found in (media.by_mime(file.content_type), media.by_file_name(file.name)) if found]
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


def _check(size: int, limit: int | None, kind: Kind | None) -> None:
    if limit is not None and size > limit:
        raise too_large(limit, size, f"A file of type {kind}" if kind else "The largest file")


async def _after(head: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    async for chunk in chunks:
        yield chunk


def _asset(token: Token, name: str, spec: MediaAssetSpec) -> MediaAsset:
    annotations = {names.USER_NAME_ANNOTATION: token.username}
    return MediaAsset(metadata=Metadata(namespace=token.namespace, name=name, annotations=annotations), spec=spec)


def _no_asset(name: str) -> Problem:
    return Problem(Slug.NOT_FOUND, f"There is no asset {name[:64]}: check the id.")
