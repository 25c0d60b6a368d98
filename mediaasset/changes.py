"""Who waits for news of which asset, within one process."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

from mediaasset.assets import Key, NotFoundError
from mediaasset.spec import MediaAsset


class Changes:
    """Events by asset; told and waited for in one event loop."""

    def __init__(self) -> None:
        """Begin with nobody waiting."""
        self._waiting: defaultdict[Key, set[asyncio.Event]] = defaultdict(set)

    def tell(self, key: Key) -> None:
        """Wake whoever waits for this asset."""
        for changed in self._waiting.get(key, ()):
            changed.set()

    async def follow(
        self, key: Key, read: Callable[[str, str], Awaitable[MediaAsset]], *, seconds: float | None = None
    ) -> AsyncIterator[MediaAsset]:
        """Yield an asset as `read` gives it, first and after each change, until it is being deleted or gone.

        seconds: read again after so long without news. Raises what `read` raises; NotFoundError only the first time.
        """
        version = None
        with self._listening(key) as changed:
            while True:
                changed.clear()
                try:
                    asset = await read(*key)
                except NotFoundError:
                    if version is None:
                        raise
                    return
                if asset.deleted_at is not None:
                    return
                if asset.metadata.resource_version != version:
                    version = asset.metadata.resource_version
                    yield asset
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await changed.wait()

    @contextmanager
    def _listening(self, key: Key) -> Iterator[asyncio.Event]:
        changed = asyncio.Event()
        self._waiting[key].add(changed)
        try:
            yield changed
        finally:
            self._waiting[key].discard(changed)
            if not self._waiting[key]:
                del self._waiting[key]
