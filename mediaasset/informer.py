"""List and watch: keeps a mirror of the resources of one kind, through every way in which a watch can end.

The informer of the client is made for threads and its blocking half, and sets no time limits; the Watch of its asyncio
half knows no lists.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Protocol

import structlog
from aiohttp import ClientError
from kubernetes.aio.client.exceptions import ApiException

from mediaasset.kube import Api, Json, KubeError

#: How long the server keeps one watch open, in seconds; client-go asks for 5 to 10 minutes.
WATCH_SECONDS = 300
#: What lasted this long was sound, however it ended: seconds.
_SOUND_SECONDS = 5
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 30.0
#: Refusals of a watch that say nothing about the version it asked for. All others are answered by a new list: 410 above
#: all, but also a version that the server does not know yet, as after its restore from a backup.
_UNRELATED = frozenset({401, 403, 429, 500, 502, 503})

_LOG = structlog.get_logger(__name__)


class Mirror(Protocol):
    """What an informer keeps up to date. Calls come from one task, in the order of the server's history."""

    async def replace(self, pages: AsyncIterator[Json]) -> str:
        """Take a whole list in pages, all of one version, and return that version. Nothing changes before the end."""

    def put(self, item: Json) -> None:
        """Take an object that was added or changed."""

    def drop(self, item: Json) -> None:
        """Take an object, in its last version, that is there no longer."""

    def advance(self, version: str) -> None:
        """Take note that all up to this version has been told."""


class Informer:
    """Fills a mirror from a path of the API server, for as long as `run` runs."""

    def __init__(
        self,
        api: Api,
        path: str,
        mirror: Mirror,
        *,
        watch_seconds: int = WATCH_SECONDS,
        selectors: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Take the API, the path of all resources of the kind, and what to keep up to date.

        selectors leave out what is not wanted: labelSelector and fieldSelector. What ceases to match is dropped.
        """
        self._api, self._path, self._mirror, self._selectors = api, path, mirror, selectors
        self._watch_seconds = watch_seconds
        self._version: str | None = None
        self._synced = asyncio.Event()
        #: Since when there is no contact, by the clock of the loop; None while there is.
        self.silent_since: float | None = None

    async def synced(self) -> None:
        """Wait until the first list is complete."""
        await self._synced.wait()

    async def run(self) -> None:
        """Go on until cancelled: no error ends it."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            started = loop.time()
            try:
                await self._once()
            except (KubeError, ApiException, ClientError, OSError) as error:
                if isinstance(error, KubeError) and error.status not in _UNRELATED:
                    self._version = None
                _LOG.warning("watching goes on", path=self._path, after=repr(error), anew=self._version is None)
            except Exception:  # noqa: BLE001 - it must not end: whoever lists would never know
                # Not foreseen, so the mirror may be wrong; a new list makes it right.
                self._version = None
                _LOG.exception("the watch failed", path=self._path)
            self.silent_since = self.silent_since or loop.time()
            failures = 0 if loop.time() - started > _SOUND_SECONDS else min(failures + 1, 10)
            # A server that comes back must not meet all of its clients at once.
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**failures)
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret

    async def _once(self) -> None:
        if self._version is None:
            self._version = await self._mirror.replace(self._api.pages(self._path, self._selectors))
            self._synced.set()
        opened = self._api.watch(self._path, self._version, seconds=self._watch_seconds, selectors=self._selectors)
        async with opened as events:
            self.silent_since = None
            async for event in events:
                item = event["object"]
                match event["type"]:
                    case "ADDED" | "MODIFIED":
                        self._mirror.put(item)
                    case "DELETED":
                        self._mirror.drop(item)
                # A bookmark has nothing but this, so that a quiet kind does not fall behind.
                self._version = str(item["metadata"]["resourceVersion"])
                self._mirror.advance(self._version)
