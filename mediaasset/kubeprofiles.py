"""The profiles of a cluster: MediaProfile resources, of which one list answers several questions."""

import asyncio
from collections.abc import Sequence

from mediaasset.assets import AssetsError
from mediaasset.kube import Api, Json, resource, translated
from mediaasset.names import API_VERSION, DEFAULT_PROFILE_ANNOTATION, PROFILE_PLURAL

#: How old an answer may be where no watch tells of changes, in seconds: one upload asks several times.
_FRESH_SECONDS = 2


class KubernetesProfiles:
    """Profiles as they were at most two seconds ago, and never before the last `forget`."""

    def __init__(self, api: Api) -> None:
        """Take the API, which stays the caller's."""
        self._api = api
        self._listed: Sequence[Json] = ()
        # Until when the list is to be believed, by the clock of the loop.
        self._expires = 0.0
        self._forgotten = 0
        self._lock = asyncio.Lock()

    def forget(self) -> None:
        """Read them anew when one is asked for next: a watch told that one is another now."""
        self._expires = 0.0
        self._forgotten += 1

    async def all(self) -> Sequence[Json]:
        """Return all of them. Raises AssetsError."""
        clock = asyncio.get_running_loop().time
        async with self._lock:
            while clock() >= self._expires:
                forgotten = self._forgotten
                with translated(AssetsError):
                    pages = self._api.pages(resource(API_VERSION, PROFILE_PLURAL))
                    self._listed = [item async for page in pages for item in page["items"]]
                # Forgotten meanwhile, it may have been listed before it changed.
                if forgotten == self._forgotten:
                    self._expires = clock() + _FRESH_SECONDS
            return self._listed

    async def find(self, name: str | None) -> Json | None:
        """Return one, or the default one; None, and that as of now, where there is none. Raises AssetsError."""
        found = _named(name, await self.all())
        if found is None:
            # It may be new: whoever applies it together with its first asset must not be told that it is missing.
            self.forget()
            found = _named(name, await self.all())
        return found


def _named(name: str | None, profiles: Sequence[Json]) -> Json | None:
    if name is None:
        # Of several defaults the newest counts, and the first by name of those, as with StorageClasses.
        return max((item for item in profiles if _is_default(item)), key=_created, default=None)
    return next((item for item in profiles if item["metadata"]["name"] == name), None)


def _is_default(profile: Json) -> bool:
    return (profile["metadata"].get("annotations") or {}).get(DEFAULT_PROFILE_ANNOTATION) == "true"


def _created(profile: Json) -> str:
    return str(profile["metadata"]["creationTimestamp"])
