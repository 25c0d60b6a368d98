"""What the operator, and standalone in its place, can be told."""

from typing import Annotated

from pydantic import Field, HttpUrl
from pydantic_settings import BaseSettings, SettingsConfigDict


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
