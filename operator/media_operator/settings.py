"""What the operator, and standalone in its place, can be told."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, model_validator
from pydantic.alias_generators import to_camel
from pydantic_settings import BaseSettings, SettingsConfigDict

from mediaasset.spec import DNS_LABEL
from mediaasset.task import MediaClass


class ClassSettings(BaseModel):
    """What the pods of one class have that differs from the template; absent is what the template says."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, validate_by_alias=True, validate_by_name=True, extra="forbid"
    )

    deadline_seconds: Annotated[int, Field(ge=1)] | None = None
    """How long one attempt may take; `Settings.deadline_seconds` when absent."""

    scratch_size_limit: str | int | None = None
    """The size of the volume `scratch`, as a quantity."""

    resources: dict[str, Any] | None = None
    node_selector: dict[str, str] | None = None
    tolerations: tuple[dict[str, Any], ...] | None = None
    priority_class_name: str | None = None


class Settings(BaseSettings):
    """Settings of the reconcile, from the environment (MEDIA_OPERATOR_…) or the constructor."""

    model_config = SettingsConfigDict(env_prefix="MEDIA_OPERATOR_", frozen=True)

    public_base_url: HttpUrl
    """Where readers find the key `media/…`: the scheme, host and path before it."""

    single_tenant: bool = False
    """Leave the namespace out of public keys."""

    stable_names: bool = True
    """Give public assets URLs that stay, beside those that change with the content."""

    max_active_jobs: Annotated[int, Field(ge=1)] = 20
    """How many transcoders may run at once, over all namespaces."""

    max_active_jobs_per_namespace: Annotated[int, Field(ge=1)] | None = None
    """The same within one namespace; none is no limit of its own."""

    interactive_reserved_jobs: Annotated[int, Field(ge=0)] = 4
    """How many of all places the queue Batch leaves free; one is always its to take."""

    classes: dict[MediaClass, ClassSettings] = {}
    """All classes of transcoders, or none: then there is only one, as in standalone."""

    default_class: MediaClass = MediaClass.VIDEO
    """The class for sources of which nothing is known."""

    large_video_bytes: Annotated[int, Field(ge=1)] = 64 * 1024 * 1024
    """A video of at least so many bytes starts in the class LargeVideo."""

    max_attempts: Annotated[int, Field(ge=1)] = 5
    """How many attempts may fail before an asset is Stalled."""

    backoff_seconds: Annotated[float, Field(gt=0)] = 30
    """The pause after the first failed attempt; it doubles with each further one."""

    deadline_seconds: Annotated[int, Field(ge=1)] = 1800
    """How long one attempt may take, its retries in other pods included."""

    schedule_patience_seconds: Annotated[float, Field(ge=0)] = 120
    """How long a transcoder may wait for a node, or a quota, before the asset says so."""

    start_patience_seconds: Annotated[float, Field(ge=0)] = 30
    """How long a transcoder that has its node may fail to start (its image, a Secret), or the store may not answer."""

    deletion_seconds: Annotated[int, Field(ge=60)] = 86_400
    """How long the deletion of an asset is tried; then it is let go, and an Event says what is left behind."""

    allowed_cidrs: tuple[str, ...] = ()
    """Private address ranges that sources by URL may nevertheless come from."""

    foreign_prefixes: tuple[Annotated[str, Field(pattern="^[^/].*/$")], ...] = ()
    """Prefixes of keys, each with a slash at its end, from which any namespace may take sources."""

    @model_validator(mode="after")
    def _has_all_classes(self) -> Self:
        missing = set(MediaClass) - set(self.classes)
        if self.classes and missing:
            message = f"classes must name all or none of {', '.join(MediaClass)}; {', '.join(sorted(missing))} missing"
            raise ValueError(message)
        return self


class ClusterSettings(Settings):
    """What the operator of a cluster can be told beside it; standalone has no use for these."""

    work_namespace: Annotated[str, Field(pattern=DNS_LABEL)]
    """Where the Jobs run: a namespace that no tenant can enter."""

    pod_template: Path
    """A YAML file with the metadata and the spec of the pods of Jobs; their one container is `transcoder`."""

    namespaces: tuple[Annotated[str, Field(pattern=DNS_LABEL)], ...] = ()
    """The namespaces whose assets are looked after; none are all of them."""

    job_ttl_seconds: Annotated[int, Field(ge=3600)] = 3600
    """How long a finished Job stays for people to look at."""

    resync_seconds: Annotated[float, Field(gt=0)] = 300
    """How often all unfinished assets are looked at without being woken, give or take a fifth."""

    port: Annotated[int, Field(ge=1, le=65535)] = 8080
    """Where /healthz answers."""

    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = 9090
    """Where Prometheus reads; none is nowhere."""

    version: str = "unknown"
    """Of the image, as the metric `media_operator_build_info` tells it."""


class ReleaseSettings(BaseSettings):
    """What `release` is told before an uninstall."""

    model_config = SettingsConfigDict(env_prefix="MEDIA_OPERATOR_", frozen=True)

    deployments: tuple[Annotated[str, Field(pattern="^[^/]+/[^/]+$")], ...] = ()
    """namespace/name of the Deployments of the operator and of ingest, which are stopped first."""

    namespaces: tuple[Annotated[str, Field(pattern=DNS_LABEL)], ...] = ()
    """The namespaces whose assets are let go; none are all of them."""

    definitions: tuple[str, ...] = ()
    """The names of CustomResourceDefinitions that are deleted in the end, and all assets with them."""


class DefinitionSettings(BaseSettings):
    """What `crds` is told before an upgrade."""

    model_config = SettingsConfigDict(env_prefix="MEDIA_OPERATOR_", frozen=True)

    definitions: Path
    """The folder of the CustomResourceDefinitions, one in each file."""
