"""MediaAsset and MediaProfile as frozen models: what people ask for.

The YAML in charts/media-operator/crds is the truth about both kinds; a test holds these models to it, field by
field. Bounds that the API server checks are repeated here only where standalone, which has no API server, needs them.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from mediaasset import keys, pointers
from mediaasset.media import Kind
from mediaasset.names import (
    API_VERSION,
    ASSET_KIND,
    CREATED_ANNOTATION,
    FINALIZER,
    PROFILE_KIND,
    REPROCESS_ANNOTATION,
    REPROCESS_RENDITIONS_ANNOTATION,
)
from mediaasset.reasons import OF_PROFILE, Reason
from mediaasset.status import ConditionType, Status
from mediaasset.task import INDEX, Channel, Codec, Fit, Format, Queue

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
RENDITION_NAME = r"^[a-z][a-z0-9-]{0,31}$"
SHA256 = r"^[0-9a-f]{64}$"
#: What WhatsApp announces: the id of media, and their SHA-256 in hexadecimal or base64.
MEDIA_ID = r"^[A-Za-z0-9_-]{1,128}$"
ANNOUNCED_SHA256 = r"^([0-9a-fA-F]{64}|[A-Za-z0-9+/_-]{43}=?)$"

_ALMOST_A_SECOND = timedelta(microseconds=999_999)

#: Kinds and formats that belong together.
FORMATS: Mapping[Kind, frozenset[Format]] = {
    Kind.IMAGE: frozenset({Format.JPEG, Format.PNG, Format.WEBP, Format.AVIF, Format.ORIGINAL}),
    Kind.VIDEO: frozenset({Format.MP4, Format.HLS, Format.STORYBOARD, Format.JPEG, Format.WEBP}),
    Kind.AUDIO: frozenset({Format.MP3, Format.OPUS}),
    Kind.DOCUMENT: frozenset({Format.COPY}),
}


class Visibility(StrEnum):
    """Who may load the renditions."""

    PUBLIC = "Public"
    PRIVATE = "Private"


class CollectionPolicy(StrEnum):
    """Which assets of one user stay in a collection."""

    KEEP_ALL = "KeepAll"
    KEEP_LATEST = "KeepLatest"


class ProfileUpdatePolicy(StrEnum):
    """What a changed profile means to an asset that is finished."""

    IGNORE = "Ignore"
    FOLLOW = "Follow"


class DeletionPolicy(StrEnum):
    """What happens to our objects when the resource goes."""

    DELETE = "Delete"
    RETAIN = "Retain"


class Model(BaseModel):
    """What all models share: frozen, camelCase on the wire, unknown fields refused."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, validate_by_alias=True, validate_by_name=True, extra="forbid"
    )

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form without the fields that are not set."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def _no_nul(text: str) -> str:
    if "\0" in text:
        message = "must not hold a NUL character"
        raise ValueError(message)
    return text


#: Text for display only; no program takes a decision from it.
DisplayText = Annotated[str, StringConstraints(max_length=2048), AfterValidator(_no_nul)]
FileName = Annotated[str, StringConstraints(max_length=1024), AfterValidator(_no_nul)]


#: From a minute, below which an asset would go while it is being made, to a hundred years.
ExpireSeconds = Annotated[int, Field(ge=60, le=3_155_760_000)]


def _stable(path: str) -> str:
    if problem := pointers.stable_path_problem(path):
        raise ValueError(problem)
    return path


class ObjectSource(Model):
    """Bytes that lie in the store already."""

    key: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    size_bytes: Annotated[int, Field(ge=0)] | None = None
    sha256: Annotated[str, StringConstraints(pattern=SHA256)] | None = None


class WhatsAppSource(Model):
    """Media of one message, as the webhook announced them."""

    account_name: Annotated[str, StringConstraints(pattern=DNS_LABEL)]
    media_id: Annotated[str | None, StringConstraints(pattern=MEDIA_ID), Field(alias="mediaID")] = None
    message_id: Annotated[str, StringConstraints(min_length=1, max_length=256), Field(alias="messageID")]
    sender: Annotated[str, StringConstraints(max_length=128)] | None = None
    timestamp: AwareDatetime
    mime_type: Annotated[str, StringConstraints(max_length=255)] | None = None
    sha256: Annotated[str, StringConstraints(pattern=ANNOUNCED_SHA256)] | None = None
    voice: bool = False
    animated: bool = False
    failure: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = None

    @model_validator(mode="after")
    def _media_or_failure(self) -> Self:
        if (self.media_id is None) == (self.failure is None):
            message = "exactly one of mediaID and failure must be set"
            raise ValueError(message)
        return self


class Source(Model):
    """Where the bytes are; exactly one member."""

    object: ObjectSource | None = None
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$", max_length=2048)] | None = None
    whatsapp: WhatsAppSource | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(member is not None for member in (self.object, self.url, self.whatsapp)) != 1:
            message = "exactly one of object, url and whatsapp must be set"
            raise ValueError(message)
        return self


class Rendition(Model):
    """One file to make; the fields are those of mediaasset.task.Rendition."""

    name: Annotated[str, StringConstraints(pattern=RENDITION_NAME)]
    for_: Annotated[Kind, Field(alias="for")]
    format: Format
    fit: Fit = Fit.INSIDE
    width: Annotated[int, Field(ge=1, le=16384)] | None = None
    height: Annotated[int, Field(ge=1, le=16384)] | None = None
    quality: Annotated[int, Field(ge=1, le=100)] | None = None
    crf: Annotated[int, Field(ge=1, le=51)] | None = None
    preset: (
        Annotated[str, StringConstraints(pattern="^(ultrafast|superfast|veryfast|faster|fast|medium|slow)$")] | None
    ) = None
    bitrate: Annotated[int, Field(ge=8000, le=50_000_000)] | None = None
    codec: Codec | None = None
    max_bytes: Annotated[int, Field(ge=1024)] | None = None
    min_side: Annotated[int, Field(ge=1, le=16384)] | None = None
    animated: bool = False
    channel: Channel | None = None
    optional: bool = False

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.format not in FORMATS[self.for_]:
            message = f"format {self.format} cannot be made from {self.for_}"
            raise ValueError(message)
        is_boxed = self.width is not None and self.height is not None
        rules = {
            "fit Cover and fit Exact need width and height": self.fit is Fit.INSIDE or is_boxed,
            "codec is for MP4": self.codec is None or self.format is Format.MP4,
            "animated is for WebP of an Image": not self.animated
            or (self.for_ is Kind.IMAGE and self.format is Format.WEBP),
            "minSide is for an Image that is fitted Inside": self.min_side is None
            or (self.for_ is Kind.IMAGE and self.fit is Fit.INSIDE),
            "HLS and Storyboard are fitted Inside, and take neither maxBytes nor channel": self.format not in INDEX
            or (self.fit is Fit.INSIDE and self.max_bytes is None and self.channel is None),
        }
        for message, holds in rules.items():
            if not holds:
                raise ValueError(message)
        return self


def _unique_renditions(renditions: tuple[Rendition, ...]) -> tuple[Rendition, ...]:
    if len({(rendition.for_, rendition.name) for rendition in renditions}) != len(renditions):
        message = "two renditions have the same for and name"
        raise ValueError(message)
    return renditions


Renditions = Annotated[tuple[Rendition, ...], Field(max_length=32), AfterValidator(_unique_renditions)]


def _bounded(metadata: dict[str, str]) -> dict[str, str]:
    for key, value in metadata.items():
        if not 1 <= len(key) <= 128 or len(value) > 1024:  # noqa: PLR2004 - the bounds of the CRD
            message = "metadata keys have 1 to 128 characters, values at most 1024"
            raise ValueError(message)
    return metadata


class MediaAssetSpec(Model):
    """What is asked for one item of media."""

    source: Source
    type: Kind | None = None
    profile_name: Annotated[str, StringConstraints(pattern=DNS_LABEL)] | None = None
    profile_update_policy: ProfileUpdatePolicy = ProfileUpdatePolicy.IGNORE
    renditions: Renditions = ()
    public_path: Annotated[
        str, StringConstraints(pattern=keys.PUBLIC_PATH_PATTERN, max_length=keys.PUBLIC_PATH_MAX_LENGTH)
    ] = "assets"
    stable_path: Annotated[str, AfterValidator(_stable)] | None = None
    collection: (
        Annotated[str, StringConstraints(pattern=keys.PUBLIC_PATH_PATTERN, max_length=keys.PUBLIC_PATH_MAX_LENGTH)]
        | None
    ) = None
    collection_policy: CollectionPolicy = CollectionPolicy.KEEP_ALL
    order: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    visibility: Visibility = Visibility.PRIVATE
    user_id: Annotated[str | None, StringConstraints(min_length=1, max_length=128), Field(alias="userID")] = None
    original_file_name: FileName | None = None
    alt_text: DisplayText | None = None
    caption: DisplayText | None = None
    metadata: Annotated[dict[str, str], Field(max_length=64), AfterValidator(_bounded)] = Field(default_factory=dict)
    expire_seconds_after_creation: ExpireSeconds | None = None
    expire_seconds_after_failure: ExpireSeconds | None = None
    deletion_policy: DeletionPolicy = DeletionPolicy.DELETE
    suspend: bool = False
    queue: Queue = Queue.INTERACTIVE

    @property
    def request_hash(self) -> str:
        """Return what changes with the part of it that asks for new renditions."""
        return digest(self.source, self.type, self.profile_name, *self.renditions)

    @model_validator(mode="after")
    def _keeps_the_latest_of_a_collection(self) -> Self:
        # Without one of its own it would share `publicPath`, and delete what nobody meant.
        if self.collection_policy is CollectionPolicy.KEEP_LATEST and self.collection is None:
            message = "collectionPolicy KeepLatest needs a collection of its own"
            raise ValueError(message)
        return self


class Metadata(Model):
    """The part of ObjectMeta that we use. It is the only open model: other people's fields are kept out of the way."""

    model_config = ConfigDict(extra="ignore")

    namespace: str | None = None
    name: str
    uid: str = ""
    generation: int = 1
    resource_version: str = ""
    creation_timestamp: AwareDatetime | None = None
    deletion_timestamp: AwareDatetime | None = None
    finalizers: tuple[str, ...] = ()
    annotations: dict[str, str] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)


class MediaAsset(Model):
    """One item of media: the durable record of what is asked and how far it is."""

    api_version: str = API_VERSION
    kind: str = ASSET_KIND
    metadata: Metadata
    spec: MediaAssetSpec
    status: Status = Status()

    @property
    def key(self) -> tuple[str, str]:
        """Return (namespace, name)."""
        return self.metadata.namespace or "", self.metadata.name

    @property
    def deleted_at(self) -> datetime | None:
        """Return when it was deleted; it then only lives until its objects are gone."""
        return self.metadata.deletion_timestamp

    @property
    def wants_reprocess(self) -> bool:
        """Tell whether the annotation asks for an attempt that was not made yet."""
        asked = self.metadata.annotations.get(REPROCESS_ANNOTATION)
        return asked is not None and asked != self.status.last_handled_reprocess

    @property
    def created_at(self) -> datetime | None:
        """Return when it was created, None before that.

        An API server counts in whole seconds; within its second goes what was noted by whoever created it.
        """
        created, noted = self.metadata.creation_timestamp, self.metadata.annotations.get(CREATED_ANNOTATION)
        if created is None or noted is None:
            return created
        try:
            return min(max(created, datetime.fromisoformat(noted)), created + _ALMOST_A_SECOND)
        except (ValueError, TypeError):
            return created

    @property
    def reprocess_renditions(self) -> frozenset[str]:
        """Return the names of the only renditions that are to be made again; none are all."""
        named = self.metadata.annotations.get(REPROCESS_RENDITIONS_ANNOTATION, "").split(",")
        return frozenset(name.strip() for name in named) - {""}

    @property
    def awaits_profile(self) -> bool:
        """Tell whether another content of its profile starts work, though all that is asked now is done or failed."""
        stalled = self.status.condition(ConditionType.STALLED)
        follows = self.spec.profile_update_policy is ProfileUpdatePolicy.FOLLOW
        return follows or (stalled is not None and stalled.reason in OF_PROFILE)

    @property
    def expires_at(self) -> datetime | None:
        """Return when it is to be deleted, as far as is known now; None for never."""
        created, spec, status = self.metadata.creation_timestamp, self.spec, self.status
        times = []
        if created is not None and spec.expire_seconds_after_creation is not None:
            times.append(created + timedelta(seconds=spec.expire_seconds_after_creation))
        stalled = status.condition(ConditionType.STALLED)
        # What was asked since then is done first.
        is_current = status.observed_generation == self.metadata.generation and not self.wants_reprocess
        if stalled is not None and is_current and spec.expire_seconds_after_failure is not None:
            times.append(stalled.last_transition_time + timedelta(seconds=spec.expire_seconds_after_failure))
        return min(times, default=None)

    def is_expired(self, now: datetime) -> bool:
        """Tell whether it is to be deleted."""
        return self.expires_at is not None and self.expires_at <= now

    @property
    def is_held(self) -> bool:
        """Tell whether it stays until its objects are deleted."""
        return FINALIZER in self.metadata.finalizers

    @property
    def is_final(self) -> bool:
        """Tell whether the status is the last word on what is asked now: only a change makes a difference."""
        status = self.status
        stalled = status.condition(ConditionType.STALLED)
        # A profile that is missing may appear without a change of the asset.
        is_stalled = stalled is not None and stalled.reason is not Reason.PROFILE_NOT_FOUND
        return (
            self.deleted_at is None
            and status.observed_generation == self.metadata.generation
            and not self.wants_reprocess
            and not status.is_true(ConditionType.RECONCILING)
            # The asset that has its name may go without a change of this one.
            and not status.is_true(ConditionType.NAME_TAKEN)
            and (status.is_true(ConditionType.READY) or is_stalled)
        )


class KindLimits(Model):
    """What a source of one kind may measure; absent is no limit."""

    max_bytes: Annotated[int, Field(ge=1)] | None = None
    max_pixels: Annotated[int, Field(ge=1)] | None = None
    max_frames: Annotated[int, Field(ge=1)] | None = None
    max_duration_seconds: Annotated[int, Field(ge=1)] | None = None


class ProfileLimits(Model):
    """The limits of each kind."""

    image: Annotated[KindLimits, Field(alias="Image")] = KindLimits()
    video: Annotated[KindLimits, Field(alias="Video")] = KindLimits()
    audio: Annotated[KindLimits, Field(alias="Audio")] = KindLimits()
    document: Annotated[KindLimits, Field(alias="Document")] = KindLimits()

    def of(self, kind: Kind) -> KindLimits:
        """Return the limits of one kind."""
        return {Kind.IMAGE: self.image, Kind.VIDEO: self.video, Kind.AUDIO: self.audio, Kind.DOCUMENT: self.document}[
            kind
        ]


class MediaProfileSpec(Model):
    """Which renditions assets get, and what their sources may measure."""

    limits: ProfileLimits = ProfileLimits()
    renditions: Renditions = ()
    public_documents: bool = False


class MediaProfile(Model):
    """A named set of renditions and limits; cluster-scoped."""

    api_version: str = API_VERSION
    kind: str = PROFILE_KIND
    metadata: Metadata
    spec: MediaProfileSpec


def digest(*parts: object) -> str:
    """Return a hash of models and plain values that depends on their meaning only: 32 hexadecimal digits.

    What has its default is left out, so that a field which a later version adds changes no hash.
    """
    plain = [
        part.model_dump(mode="json", by_alias=True, exclude_defaults=True) if isinstance(part, Model) else part
        for part in parts
    ]
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:32]
