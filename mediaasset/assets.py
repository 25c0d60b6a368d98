"""The port to the assets: custom resources in a cluster, rows of a SQLite file in standalone."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from mediaasset.catalogue import Query, Stats
from mediaasset.reasons import Reason
from mediaasset.spec import MediaAsset, MediaProfile
from mediaasset.status import Status

#: (namespace, name) of an asset.
Key = tuple[str, str]

EVERYTHING = Query()


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
    """One page of a list, and how many assets the whole list holds."""

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

    async def list(self, namespace: str, query: Query = EVERYTHING, *, limit: int, offset: int = 0) -> Page:
        """List the assets of a namespace that a query asks for, in its order, without those being deleted.

        What this adapter created, changed or deleted is seen at once, other people's writes within seconds.
        """

    async def stats(self, namespace: str, *, user_id: str | None = None) -> Stats:
        """Count the assets of a namespace, of one user or of all, without those being deleted."""

    def watch(self, namespace: str, name: str) -> AsyncIterator[MediaAsset]:
        """Yield an asset as it is now, and again whenever it has changed, until it is being deleted or gone.

        Changes that follow each other closely may be told as one. Raises NotFoundError when there is none.
        """

    async def change(self, namespace: str, name: str, spec: Mapping[str, object]) -> MediaAsset:
        """Replace members of the spec, by their names in JSON; None takes one away. Others stay as they are.

        What comes out must be a valid spec: the caller has checked it. Returns what is stored now. Raises
        NotFoundError, also for an asset that is being deleted.
        """

    async def unfinished(self) -> tuple[Key, ...]:
        """Return (namespace, name) of the assets that need looking after.

        Those that are neither finished for their generation nor gone, and finished ones that have expired.
        """

    def all(self) -> AsyncIterator[MediaAsset]:
        """Yield every asset, also those being deleted: read now, from where they are kept, and in no order.

        One that exists from before the first is asked for until after the last is told is among them. Raises
        AssetsError when anything is left out, be it one that cannot be read.
        """

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

    async def delete(self, namespace: str, name: str, *, uid: str | None = None) -> None:
        """Mark an asset as deleted; it goes once released. Deleting twice is fine.

        With uid only this very asset, and not another one that has its name now. Raises NotFoundError.
        """

    async def release(self, asset: MediaAsset) -> None:
        """Take our finalizer off a deleted asset, so that it goes. An asset that is gone already is fine."""

    async def profile(self, name: str | None) -> MediaProfile:
        """Return the profile of this name, or the default one. Raises NotFoundError."""

    async def emit(self, asset: MediaAsset, event: Event) -> None:
        """Tell people of a transition; never raises, for an event is worth no retry."""
