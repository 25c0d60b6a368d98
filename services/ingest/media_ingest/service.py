"""What the API does, without HTTP: take an upload in, find assets, answer for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request

from media_ingest import answer, download, intake
from media_ingest.auth import Token, Tokens
from media_ingest.body import Body
from media_ingest.edit import Edit
from media_ingest.errors import Problem, Slug, invalid
from media_ingest.locks import Locks
from media_ingest.scan import Scanner
from media_ingest.settings import Settings
from mediaasset.assets import Assets, NotFoundError
from mediaasset.catalogue import State, state_of
from mediaasset.jobs import ProgressReader
from mediaasset.names import reprocessing
from mediaasset.parts import Forms, Parts
from mediaasset.spec import MediaAsset, MediaProfile
from mediaasset.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The ports, and what is done with them."""

    assets: Assets
    store: Store
    progress: ProgressReader
    tokens: Tokens
    settings: Settings
    locks: Locks
    parts: Parts
    forms: Forms | None = None
    scanner: Scanner | None = None

    async def accept(self, token: Token, body: Body) -> MediaAsset:
        """Store an upload and create its asset; raises as `intake.accept` does."""
        return (await intake.accept(self, token, body)).asset

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

    async def change(self, asset: MediaAsset, edit: Edit) -> MediaAsset:
        """Change fields of an asset; raises Problem not-found."""
        try:
            return await self.assets.change(*asset.key, edit.to_spec())
        except NotFoundError:
            raise _no_asset(asset.metadata.name) from None

    async def reprocess(self, asset: MediaAsset, names: Sequence[str] = ()) -> MediaAsset:
        """Have an asset worked on once more, of its renditions all or those of these names.

        Raises Problem: not-found, invalid-field for a name that is none.
        """
        there = [rendition.name for rendition in asset.status.renditions]
        if not set(names) <= set(there):
            raise invalid({"renditions": f"must be of those that there are: {', '.join(there) or 'none'}"})
        try:
            await self.assets.annotate(*asset.key, reprocessing(datetime.now(UTC), names))
            return await self.assets.get(*asset.key)
        except NotFoundError:
            raise _no_asset(asset.metadata.name) from None

    async def download(self, asset: MediaAsset, rendition: str | None) -> str:
        """Return a URL of a rendition, or of the bytes as they came, that saves them under a name.

        Raises Problem: not-found, asset-not-ready, invalid-field.
        """
        found = download.original(asset) if rendition is None else download.rendition(asset, rendition)
        if await self.store.stat(found.key) is None:
            if state_of(asset) is State.PROCESSING:
                raise Problem(Slug.ASSET_NOT_READY, "The file is not there yet: ask again when the asset is ready.")
            raise Problem(Slug.NOT_FOUND, "The file is not kept any more.")
        lifetime = timedelta(seconds=self.settings.signed_url_seconds)
        return await self.store.sign(found.key, lifetime, file_name=found.file_name)

    async def answer(self, asset: MediaAsset) -> dict[str, Any]:
        """Return the JSON answer for an asset, with URLs for its private renditions."""
        (found,) = await self.answers([asset])
        return found

    async def answers(self, assets: Sequence[MediaAsset]) -> list[dict[str, Any]]:
        """Return the answers for the assets of a page."""
        wanted = [key for asset in assets for key in answer.keys_to_sign(asset, trees=self.store.opens_trees)]
        signed = await self.store.sign_all(wanted, timedelta(seconds=self.settings.signed_url_seconds))
        return [await self._answer(asset, signed) for asset in assets]

    async def _answer(self, asset: MediaAsset, signed: Mapping[str, str]) -> dict[str, Any]:
        running = state_of(asset) is State.PROCESSING
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


def service_of(request: Request) -> Service:
    """Return the service of the application that a request came to."""
    service: Service = request.app.state.service
    return service


def _no_asset(name: str) -> Problem:
    return Problem(Slug.NOT_FOUND, f"There is no asset {name[:64]}: check the id.")
