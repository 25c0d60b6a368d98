"""The port to the assets: custom resources in a cluster, rows of a SQLite file in standalone."""

from dataclasses import dataclass
from typing import Protocol

from mediaasset.reasons import Reason
from mediaasset.spec import MediaAsset, MediaProfile
from mediaasset.status import Status

#: (namespace, name) of an asset.
Key = tuple[str, str]


class AssetsError(Exception):
    """The assets cannot be reached; trying again later may help."""


class AlreadyExistsError(Exception):
    """An asset of this name exists, perhaps as one that is being deleted."""


class ConflictError(Exception):
    """The asset changed since it was read: read it again and decide anew."""


class NotFoundError(Exception):
    """There is no such asset or profile, or no longer."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, newest first, and how many assets the whole list holds."""

    items: tuple[MediaAsset, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Event:
    """What a person should know happened to an asset; sent on transitions only."""

    reason: Reason
    message: str
    warning: bool = False


class Assets(Protocol):
    """Create, read and finish assets. Every method may raise AssetsError."""

    async def create(self, asset: MediaAsset) -> MediaAsset:
        """Store a new asset with our finalizer; return it with uid, generation 1, version and creation time.

        Raises AlreadyExistsError. When this returns, the asset survives a crash.
        """

    async def get(self, namespace: str, name: str) -> MediaAsset:
        """Read an asset, also one that is being deleted. Raises NotFoundError."""

    async def list(self, namespace: str, *, user_id: str | None = None, limit: int, offset: int = 0) -> Page:
        """List the assets of a namespace, newest first, without those being deleted."""

    async def unfinished(self) -> tuple[Key, ...]:
        """Return (namespace, name) of the assets that are neither finished for their generation nor gone."""

    async def write_status(self, asset: MediaAsset, status: Status) -> MediaAsset:
        """Replace the status of exactly the version that `asset` is; return what is stored now.

        Raises ConflictError when it changed since it was read, NotFoundError when it is gone.
        """

    async def annotate(self, namespace: str, name: str, annotations: dict[str, str]) -> None:
        """Add or replace annotations, which wakes the asset. Raises NotFoundError."""

    async def hold(self, asset: MediaAsset) -> MediaAsset:
        """Put our finalizer on an asset that was made without it; return what is stored now.

        One that has it, or that is being deleted already, stays as it is. Raises ConflictError when it changed since it
        was read, NotFoundError when it is gone.
        """

    async def delete(self, namespace: str, name: str) -> None:
        """Mark an asset as deleted; it goes once released. Deleting twice is fine. Raises NotFoundError."""

    async def release(self, asset: MediaAsset) -> None:
        """Take our finalizer off a deleted asset, so that it goes. An asset that is gone already is fine."""

    async def profile(self, name: str | None) -> MediaProfile:
        """Return the profile of this name, or the default one. Raises NotFoundError."""

    async def emit(self, asset: MediaAsset, event: Event) -> None:
        """Tell people of a transition; never raises, for an event is worth no retry."""
