"""The assets to which a change of their profile means something, and whom it finds: so that nobody lists them."""

import asyncio
import random
from collections.abc import Iterable
from dataclasses import dataclass

from media_operator.loop import Wake
from mediaasset.assets import Key
from mediaasset.names import DEFAULT_PROFILE_ANNOTATION
from mediaasset.spec import MediaAsset, MediaProfile, digest

#: The pause between two assets that a changed profile wakes, in seconds, give or take a half: thousands may follow it,
#: and what people upload meanwhile must not stand in line behind them.
PAUSE_SECONDS = 0.02
#: How long after a change of a profile the first is woken, in seconds: several changes in a row are one.
DELAY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Follower:
    profile_name: str | None
    profile_hash: str | None
    is_final: bool
    """What changed while an attempt ran is found once that has ended."""


class Followers:
    """Wakes the assets whose profile is another one than when they were worked on, as the watch tells of both."""

    def __init__(
        self, wake: Wake, *, pause_seconds: float = PAUSE_SECONDS, delay_seconds: float = DELAY_SECONDS
    ) -> None:
        """Take who has an asset looked at soon."""
        self._wake, self._pause_seconds, self._delay_seconds = wake, pause_seconds, delay_seconds
        self._followers: dict[Key, _Follower] = {}
        # By name; that of None is the default one.
        self._hashes: dict[str | None, str] = {}

    def seen(self, key: Key, asset: MediaAsset | None) -> None:
        """Take note of an asset as it is now, None for one that is gone or cannot be read."""
        if asset is None or asset.deleted_at is not None or not asset.awaits_profile:
            self._followers.pop(key, None)
            return
        follower = _Follower(asset.spec.profile_name, asset.status.profile_hash, asset.is_final)
        # Every event of an asset comes by, and one that waits for its turn was woken already.
        if self._followers.get(key) != follower:
            self._followers[key] = follower
            if self._is_behind(follower):
                self._wake(*key)

    async def profile(self, profile: MediaProfile) -> None:
        """Take note of a profile as it is now, and wake those that are behind it, one after the other."""
        names = self._note(profile)
        await asyncio.sleep(self._delay_seconds)
        await self._wake_behind(names)

    async def check(self, profiles: Iterable[MediaProfile]) -> None:
        """Do so for all profiles as a list has them, for the watch may have missed a change."""
        for profile in profiles:
            await self._wake_behind(self._note(profile))

    def _note(self, profile: MediaProfile) -> tuple[str | None, ...]:
        """Return the names by which assets ask for a profile."""
        is_default = profile.metadata.annotations.get(DEFAULT_PROFILE_ANNOTATION) == "true"
        names = (profile.metadata.name, None) if is_default else (profile.metadata.name,)
        self._hashes |= dict.fromkeys(names, digest(profile.spec))
        return names

    async def _wake_behind(self, names: tuple[str | None, ...]) -> None:
        for key, follower in list(self._followers.items()):
            # It may have been woken, or have gone, since.
            if follower.profile_name in names and self._followers.get(key) == follower and self._is_behind(follower):
                self._wake(*key)
                await asyncio.sleep(self._pause_seconds * random.uniform(0.5, 1.5))  # noqa: S311 - jitter is no secret

    def _is_behind(self, follower: _Follower) -> bool:
        return self._hashes.get(follower.profile_name, follower.profile_hash) != follower.profile_hash
