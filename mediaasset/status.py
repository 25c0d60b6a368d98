"""The status of a MediaAsset: what the operator last saw. Frozen; changed by making a new one."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mediaasset.media import Kind
from mediaasset.reasons import Reason
from mediaasset.task import MediaClass, RenditionState


class _Model(BaseModel):
    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, validate_by_alias=True, validate_by_name=True, extra="ignore"
    )


class ConditionType(StrEnum):
    """The conditions of an asset, by kstatus's conventions: the last three are present only when True."""

    READY = "Ready"
    PUBLISHED = "Published"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    NAME_TAKEN = "NameTaken"


class Condition(_Model):
    """One condition, as metav1.Condition has it."""

    type: ConditionType
    status: Annotated[str, Field(pattern="^(True|False|Unknown)$")]
    reason: Reason
    message: str = ""
    observed_generation: int
    last_transition_time: AwareDatetime


class SourceInfo(_Model):
    """What the probe found in the source."""

    type: Kind
    mime_type: str
    size_bytes: int
    sha256: str
    width: int | None = None
    height: int | None = None
    duration_milliseconds: int | None = None
    bits_per_second: int | None = None
    codecs: tuple[str, ...] = ()


class RenditionStatus(_Model):
    """How far one rendition is; url only where it is public.

    inputsHash stands for what it was made as; it is absent while it is to be made again.
    """

    name: str
    state: RenditionState
    reason: Reason | None = None
    message: str | None = None
    mime_type: str | None = None
    size_bytes: int | None = None
    width: int | None = None
    height: int | None = None
    key: str | None = None
    url: str | None = None
    sha256: str | None = None
    inputs_hash: str | None = None


class Status(_Model):
    """All that the operator knows of an asset.

    requestHash stands for what the spec asks (source, type, profileName, renditions), inputsHash for what the last
    attempt made of it, profileHash for the content of the profile then. failedAttempts counts since any of that or the
    reprocess annotation changed; attempt never goes back. retryTime is when the next attempt may start. className is
    the class of the last attempt, or while another is to follow, of that one. namesHash stands for what its stable
    names were written as; the two URLs of them are there as long as the names are this asset's.
    """

    observed_generation: int | None = None
    request_hash: str | None = None
    inputs_hash: str | None = None
    profile_hash: str | None = None
    last_handled_reprocess: str | None = None
    attempt: int = 0
    failed_attempts: int = 0
    job_name: str | None = None
    class_name: MediaClass | None = None
    start_time: AwareDatetime | None = None
    completion_time: AwareDatetime | None = None
    retry_time: AwareDatetime | None = None
    conditions: tuple[Condition, ...] = ()
    source_info: SourceInfo | None = None
    renditions: tuple[RenditionStatus, ...] = ()
    url: str | None = None
    thumbnail_url: Annotated[str | None, Field(alias="thumbnailURL")] = None
    thumb_hash: str | None = None
    names_hash: str | None = None
    stable_url: Annotated[str | None, Field(alias="stableURL")] = None
    stable_path_url: Annotated[str | None, Field(alias="stablePathURL")] = None

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form without the fields that are not set."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def condition(self, kind: ConditionType) -> Condition | None:
        """Return a condition, or None while it is absent."""
        return next((condition for condition in self.conditions if condition.type is kind), None)

    def is_true(self, kind: ConditionType) -> bool:
        """Tell whether a condition is present and True."""
        condition = self.condition(kind)
        return condition is not None and condition.status == "True"

    def with_conditions(self, changes: Iterable[Condition], *, absent: Iterable[ConditionType] = ()) -> Self:
        """Return the status with these conditions set and those removed.

        A condition whose status does not change keeps its lastTransitionTime.
        """
        conditions = {condition.type: condition for condition in self.conditions}
        for change in changes:
            before = conditions.get(change.type)
            since = (
                before.last_transition_time
                if before and before.status == change.status
                else change.last_transition_time
            )
            conditions[change.type] = change.model_copy(update={"last_transition_time": since})
        for kind in absent:
            conditions.pop(kind, None)
        ordered = tuple(conditions[kind] for kind in ConditionType if kind in conditions)
        return self.model_copy(update={"conditions": ordered})


def condition(
    kind: ConditionType, *, status: bool, reason: Reason, message: str, generation: int, now: datetime
) -> Condition:
    """Make a condition; the message is cut at the 1,024 characters that an Event can show."""
    return Condition(
        type=kind,
        status="True" if status else "False",
        reason=reason,
        message=message[:1024],
        observed_generation=generation,
        last_transition_time=now,
    )


#: Which rendition a person is shown first, by name.
DISPLAY_ORDER = ("mp4", "hls", "mp3", "voice", "medium", "large", "original", "webp", "small")


def displayed(urls: Mapping[str, str | None]) -> str | None:
    """Return the URL of the rendition that a person is shown first, of those that there are."""
    name = next((name for name in DISPLAY_ORDER if name in urls), next(iter(urls), None))
    return urls[name] if name is not None else None
