"""What lists of assets are asked by: the same words for the mirror of a cluster and the file of standalone."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Self

from mediaasset.media import Kind
from mediaasset.spec import MediaAsset, Visibility
from mediaasset.status import ConditionType
from mediaasset.task import RenditionState


class State(StrEnum):
    """How far an asset is, in the words of the HTTP API."""

    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"


class Ordering(StrEnum):
    """What a list can be ordered by. Ties go by creation time, then by name.

    A dash in front turns all of it round. An asset without an order comes after those that have one.
    """

    OLDEST = "created_at"
    NEWEST = "-created_at"
    ORDER = "order"
    ORDER_REVERSED = "-order"
    SMALLEST = "file_size"
    LARGEST = "-file_size"
    NAME = "original_name"
    NAME_REVERSED = "-original_name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which assets of a namespace are meant; what is None does not matter. Those being deleted never are.

    created_after and created_before are exclusive; search is a text that the original file name, the alt text or the
    caption holds, whatever its case.
    """

    user_id: str | None = None
    type: Kind | None = None
    state: State | None = None
    collection: str | None = None
    is_public: bool | None = None
    message_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    search: str | None = None
    ordering: Ordering = Ordering.NEWEST


@dataclass(frozen=True, slots=True)
class Facts:
    """What of an asset a Query looks at. created is in seconds since 1970; text is what a search goes through."""

    name: str
    user_id: str | None
    type: Kind | None
    state: State
    collection: str
    is_public: bool
    message_id: str | None
    created: float
    order: int | None
    size_bytes: int
    file_name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """How many assets there are, by type and by state, and the bytes of their sources. What is zero is left out."""

    total: int = 0
    by_type: Mapping[Kind, int] = field(default_factory=dict)
    by_state: Mapping[State, int] = field(default_factory=dict)
    size_bytes: int = 0

    @classmethod
    def of(cls, groups: Iterable[tuple[Kind | None, State, int, int]]) -> Self:
        """Add groups up: the type and the state of each, how many assets it has, and their bytes."""
        by_type: Counter[Kind] = Counter()
        by_state: Counter[State] = Counter()
        size = 0
        for kind, state, count, size_bytes in groups:
            if kind is not None:
                by_type[kind] += count
            by_state[state] += count
            size += size_bytes
        return cls(total=by_state.total(), by_type=+by_type, by_state=+by_state, size_bytes=size)


def state_of(asset: MediaAsset) -> State:
    """Return how far an asset is.

    What was said about an older generation counts as processing, unless what changed since then needs no work.
    """
    is_seen = asset.status.observed_generation == asset.metadata.generation
    if not asset.wants_reprocess and (is_seen or _needs_no_work(asset)):
        if asset.status.is_true(ConditionType.READY):
            return State.READY
        if asset.status.is_true(ConditionType.STALLED):
            return State.FAILED
    return State.PROCESSING


def _needs_no_work(asset: MediaAsset) -> bool:
    """Tell whether the renditions that there are, and where they lie, are what is asked for."""
    if asset.status.request_hash != asset.spec.request_hash:
        return False
    has_url = {item.url is not None for item in asset.status.renditions if item.state is RenditionState.READY}
    if asset.spec.visibility is Visibility.PRIVATE:
        return True not in has_url
    # Whether a document of a public asset is public, its profile says.
    return False not in has_url or type_of(asset) is Kind.DOCUMENT


def type_of(asset: MediaAsset) -> Kind | None:
    """Return what the asset is, as the probe found it, or before that as it was asked."""
    return asset.status.source_info.type if asset.status.source_info else asset.spec.type


def collection_of(asset: MediaAsset) -> str:
    """Return the collection that an asset belongs to; without one of its own, its public path."""
    return asset.spec.collection or asset.spec.public_path


def size_of(asset: MediaAsset) -> int | None:
    """Return the bytes of the source, None while nobody knows."""
    if asset.status.source_info:
        return asset.status.source_info.size_bytes
    return asset.spec.source.object.size_bytes if asset.spec.source.object else None


def facts_of(asset: MediaAsset) -> Facts:
    """Return what of an asset a Query looks at."""
    spec, created = asset.spec, asset.created_at
    texts = (spec.original_file_name, spec.alt_text, spec.caption)
    return Facts(
        name=asset.metadata.name,
        user_id=spec.user_id,
        type=type_of(asset),
        state=state_of(asset),
        collection=collection_of(asset),
        is_public=spec.visibility is Visibility.PUBLIC,
        message_id=spec.source.whatsapp.message_id if spec.source.whatsapp else None,
        created=created.timestamp() if created else 0.0,
        order=spec.order,
        size_bytes=size_of(asset) or 0,
        file_name=(spec.original_file_name or "").casefold(),
        text="\n".join(text.casefold() for text in texts if text),
    )
