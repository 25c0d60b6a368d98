"""What may be set; each field by an environment variable of the prefix MEDIA_INGEST_."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from mediaasset.spec import DNS_LABEL


class Settings(BaseSettings):
    """The settings of the HTTP API; sizes in bytes, times in seconds."""

    model_config = SettingsConfigDict(env_prefix="MEDIA_INGEST_", frozen=True)

    #: The base of the API as clients see it, with a path if a proxy adds one; None takes it from each request.
    public_url: Annotated[str, Field(pattern=r"^https?://[^\s?#]+$")] | None = None
    page_size: Annotated[int, Field(ge=1)] = 20
    max_page_size: Annotated[int, Field(ge=1)] = 100
    #: How long the URLs of private renditions work.
    signed_url_seconds: Annotated[int, Field(ge=60)] = 3600
    #: What one form may hold beside its file: fields, headers of parts, boundaries, and what follows the end.
    max_form_bytes: Annotated[int, Field(ge=1024)] = 256 * 1024
    max_field_bytes: Annotated[int, Field(ge=1024)] = 64 * 1024
    max_fields: Annotated[int, Field(ge=8)] = 64
    #: How long a refused body is read and discarded, so that its sender gets to read the answer.
    linger_seconds: Annotated[float, Field(gt=0)] = 30


class ClusterSettings(Settings):
    """What ingest can be told in a cluster beside it."""

    #: The file of tokens; it is read again when it changes.
    tokens: Path
    #: The namespaces that tokens may belong to; none are all of them.
    namespaces: tuple[Annotated[str, Field(pattern=DNS_LABEL)], ...] = ()
    host: str = "0.0.0.0"  # noqa: S104 - in a pod, whose network says who may come
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    #: How long uploads that run may take to end once it is told to stop; less than the pod's grace period.
    shutdown_seconds: Annotated[int, Field(ge=1)] = 100
