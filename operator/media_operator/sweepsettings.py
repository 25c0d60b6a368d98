"""What the sweep can be told, in a cluster and in standalone."""

from datetime import time
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from mediaasset.spec import DNS_LABEL

_DAY = 24 * 3600


def _time(text: str) -> str:
    if text:
        time.fromisoformat(text)
    return text


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError) as error:
        message = "is no time zone of the IANA database, such as Europe/Berlin"
        raise ValueError(message) from error
    return name


class SweepSettings(BaseSettings):
    """Settings of the sweep, from the environment (MEDIA_OPERATOR_…) or the constructor."""

    model_config = SettingsConfigDict(env_prefix="MEDIA_OPERATOR_", frozen=True)

    sweep_time: Annotated[str, Field(pattern=r"^([0-2]\d:[0-5]\d)?$"), AfterValidator(_time)] = "02:00"
    """When the day's sweep begins, on the clock of the time zone; empty is never."""

    sweep_time_zone: Annotated[str, Field(min_length=1), AfterValidator(_zone)] = "UTC"
    """A name of the IANA database."""

    sweep_jitter_seconds: Annotated[int, Field(ge=0, le=6 * 3600)] = 900
    """Up to how long after that it begins, by chance: not all installs of a store shall come at once."""

    sweep_deletes: bool = False
    """Whether it deletes what it finds, or only counts it."""

    sweep_age_seconds: Annotated[int, Field(ge=3600)] = _DAY
    """What was written since is nobody's orphan yet."""

    sweep_max_percent: Annotated[int, Field(ge=1, le=100)] = 20
    """When more of a prefix, or of the assets, would go, then nothing does."""

    sweep_failed_seconds: Annotated[int, Field(ge=0)] = 7 * _DAY
    """How long a failed asset stays that says nothing of it itself; 0 is for ever."""

    sweep_tombstone_seconds: Annotated[int, Field(ge=_DAY)] = 14 * _DAY
    """How long the name of a deleted asset is remembered: longer than anybody repeats a request or a webhook."""

    upload_lifetime_seconds: Annotated[int, Field(ge=60)] = _DAY
    """How long an upload in several requests may lie incomplete, as ingest is told (MEDIA_INGEST_…)."""

    sweep_deletes_per_second: Annotated[int, Field(ge=1)] = 100
    """How many objects it deletes at most, so that it takes the store from nobody."""

    namespaces: tuple[Annotated[str, Field(pattern=DNS_LABEL)], ...] = ()
    """The namespaces whose assets are looked after; none are all of them."""

    single_tenant: bool = False
    """Whether public and private keys leave the namespace out."""

    def may_judge(self, namespace: str | None) -> bool:
        """Tell whether all assets of a namespace are known here; None for a key that names none."""
        return not self.namespaces or namespace in self.namespaces


class PodSettings(BaseSettings):
    """Our own pod, which the Event of a sweep is about; none where nobody says which it is."""

    model_config = SettingsConfigDict(env_prefix="MEDIA_OPERATOR_", frozen=True)

    pod_name: str = ""
    pod_namespace: str = ""
    pod_uid: str = ""
