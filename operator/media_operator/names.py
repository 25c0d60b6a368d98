"""The pointers of stable names in the store: who comes first has a name, until that asset is gone."""

from collections.abc import AsyncIterator

from media_operator.actions import Point
from mediaasset import pointers
from mediaasset.assets import Assets, Key, NotFoundError
from mediaasset.spec import MediaAsset
from mediaasset.store import Store


class Names:
    """Writes and deletes pointers."""

    def __init__(self, assets: Assets, store: Store) -> None:
        """Take the ports."""
        self._assets, self._store = assets, store

    async def point(self, action: Point) -> MediaAsset | None:
        """Have a pointer say what it is to say; return the asset that has it, if that is another one.

        Raises as the ports do.
        """
        # That it is made only if absent decides between two who come at once.
        if await self._store.create(action.key, action.body):
            return None
        found = await self._read(action.key)
        if found == action.body:
            return None
        owner = pointers.owner_of(found) if found is not None else None
        if owner is not None and owner not in action.owners:
            try:
                return await self._assets.get(*owner)
            except NotFoundError:
                # What it left behind, or was to leave, is no reason to keep the name from who asks for it.
                pass
        await self._store.write(action.key, _once(action.body))
        return None

    async def unpoint(self, key: str, owner: Key) -> None:
        """Delete a pointer if it is of this asset. Raises as the store does."""
        found = await self._read(key)
        if found is not None and pointers.owner_of(found) == owner:
            await self._store.delete([key])

    async def _read(self, key: str) -> bytes | None:
        try:
            return await self._store.read(key, max_bytes=pointers.MAX_BYTES)
        except ValueError:
            # Too large to be one of ours, and so nobody's.
            return b""


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body
