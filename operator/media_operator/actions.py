"""What a plan can ask for: the actions, and the Plan that lists them."""

from dataclasses import dataclass

from mediaasset.assets import Event, Key
from mediaasset.status import Status
from mediaasset.task import Task


@dataclass(frozen=True, slots=True)
class Hold:
    """Put our finalizer on an asset that was made by other means than ours, before anything is made for it."""


@dataclass(frozen=True, slots=True)
class StartJob:
    """Start an attempt, once it is admitted."""

    name: str
    task: Task


@dataclass(frozen=True, slots=True)
class StopJob:
    """End a Job and wait until none of its pods runs."""

    name: str


@dataclass(frozen=True, slots=True)
class CopyObject:
    """Copy an object inside the store."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class CopyTree:
    """Copy all objects below a prefix inside the store; both prefixes end in a slash, `index` is one of the names."""

    source: str
    target: str
    index: str


@dataclass(frozen=True, slots=True)
class DeleteObject:
    """Delete an object whose name only this asset uses."""

    key: str


@dataclass(frozen=True, slots=True)
class DeletePrefix:
    """Delete all objects below a prefix that holds the asset's uid or name, and so only its own."""

    prefix: str


@dataclass(frozen=True, slots=True)
class WriteTombstone:
    """Remember that an asset of this name was deleted."""

    key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Point:
    """Have a stable name lead to an asset, unless it leads to one that exists and is none of `owners`."""

    key: str
    body: bytes
    owners: frozenset[Key]


@dataclass(frozen=True, slots=True)
class Unpoint:
    """Delete a stable name if it is this asset's."""

    key: str
    owner: Key


@dataclass(frozen=True, slots=True)
class DeleteAsset:
    """Delete an asset, this one or another; one that is gone already, or whose name is another's now, is left."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Release:
    """Let the deleted asset go."""


Action = (
    Hold
    | StartJob
    | StopJob
    | CopyObject
    | CopyTree
    | DeleteObject
    | DeletePrefix
    | WriteTombstone
    | Point
    | Unpoint
    | DeleteAsset
    | Release
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Actions in their order, then the status to write, then the events to send, then when to look again.

    requeue_seconds is None where only a change can make a difference.
    """

    actions: tuple[Action, ...] = ()
    status: Status
    events: tuple[Event, ...] = ()
    requeue_seconds: float | None = None

    @property
    def start(self) -> StartJob | None:
        """Return the action that needs to be admitted."""
        return next((action for action in self.actions if isinstance(action, StartJob)), None)
