"""What the operator, and standalone in its place, can be told."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, HttpUrl
from pydantic_settings import BaseSettings, SettingsConfigDict

from mediaasset.spec import DNS_LABEL


class Settings(BaseSettings):
    """Settings of the reconcile, from the environment (MEDIA_OPERATOR_…) or the constructor."""

    model_config = SettingsConfigDict(env_prefix="MEDIA_OPERATOR_", frozen=True)

    public_base_url: HttpUrl
    """Where readers find the key `media/…`: the scheme, host and path before it."""

    single_tenant: bool = False
    """Leave the namespace out of public keys."""

    max_active_jobs: Annotated[int, Field(ge=1)] = 20
    """How many transcoders may run at once, over all namespaces."""

    max_active_jobs_per_namespace: Annotated[int, Field(ge=1)] | None = None
    """The same within one namespace; none is no limit of its own."""

    max_attempts: Annotated[int, Field(ge=1)] = 5
    """How many attempts may fail before an asset is Stalled."""

    backoff_seconds: Annotated[float, Field(gt=0)] = 30
    """The pause after the first failed attempt; it doubles with each further one."""

    deadline_seconds: Annotated[int, Field(ge=1)] = 1800
    """How long one attempt may take, its retries in other pods included."""

    allowed_cidrs: tuple[str, ...] = ()
    """Private address ranges that sources by URL may nevertheless come from."""

    foreign_prefixes: tuple[Annotated[str, Field(pattern="^[^/].*/$")], ...] = ()
    """Prefixes of keys, each with a slash at its end, from which any namespace may take sources."""


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


class ReleaseSettings(BaseSettings):
    """What `release` is told before an uninstall."""

    model_config = SettingsConfigDict(env_prefix="MEDIA_OPERATOR_", frozen=True)

    deployments: tuple[Annotated[str, Field(pattern="^[^/]+/[^/]+$")], ...] = ()
    """namespace/name of the Deployments of the operator and of ingest, which are stopped first."""

    namespaces: tuple[Annotated[str, Field(pattern=DNS_LABEL)], ...] = ()
    """The namespaces whose assets are let go; none are all of them."""
