"""What may be set; each field by an environment variable of the prefix MEDIA_INGEST_."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AnyUrl, Field, SecretStr, UrlConstraints, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from media_ingest.limiting import Rate
from mediaasset.signing import MIN_SECRET_BYTES, UrlSigner
from mediaasset.spec import DNS_LABEL
from mediaasset.task import GRAPH_URL, GRAPH_VARIABLE

SCAN_SCHEMES = ["http", "https", "clamd", "icap", "icaps"]


class Settings(BaseSettings):
    """The settings of the HTTP API; sizes in bytes, times in seconds."""

    model_config = SettingsConfigDict(env_prefix="MEDIA_INGEST_", frozen=True)

    #: The base of the API as clients see it, with a path if a proxy adds one; None takes it from each request.
    public_url: Annotated[str, Field(pattern=r"^https?://[^\s?#]+$")] | None = None
    page_size: Annotated[int, Field(ge=1)] = 20
    max_page_size: Annotated[int, Field(ge=1)] = 100
    #: How many assets one action by filter may touch.
    max_bulk: Annotated[int, Field(ge=1)] = 1000
    #: How long the URLs of private renditions work.
    signed_url_seconds: Annotated[int, Field(ge=60)] = 3600
    #: What one form may hold beside its file: fields, headers of parts, boundaries, and what follows the end.
    max_form_bytes: Annotated[int, Field(ge=1024)] = 256 * 1024
    max_field_bytes: Annotated[int, Field(ge=1024)] = 64 * 1024
    max_fields: Annotated[int, Field(ge=8)] = 64
    #: How long a refused body is read and discarded, so that its sender gets to read the answer.
    linger_seconds: Annotated[float, Field(gt=0)] = 30
    #: How many clients may wait for assets at once, with ?wait= or by a stream of events, and how long each.
    max_followers: Annotated[int, Field(ge=1)] = 500
    max_wait_seconds: Annotated[int, Field(ge=1, le=600)] = 60
    stream_seconds: Annotated[int, Field(ge=1)] = 900
    #: How often one may ask, as `120/minute`; empty is as often as one likes. Uploads count as requests too.
    requests_per_token: Rate = ""
    requests_per_address: Rate = ""
    uploads_per_token: Rate = ""
    uploads_per_address: Rate = ""
    webhooks_per_address: Rate = ""
    #: How many uploads are read at once; more are told to come back.
    max_uploads: Annotated[int, Field(ge=1)] = 64
    #: The least bytes per second at which they must come, looked at whenever so many seconds were waited for a sender.
    min_upload_rate: Annotated[int, Field(ge=1)] = 1024
    pace_seconds: Annotated[float, Field(gt=0)] = 60
    #: The origins, as `https://shop.example.org`, whose pages may use the API from a browser; `*` is any.
    cors_origins: tuple[Annotated[str, Field(pattern=r"^(\*|https?://[^\s/?#*]+)$")], ...] = ()
    #: Further paths, without a slash at the end, at which the webhook of WhatsApp answers.
    whatsapp_paths: tuple[Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)+$")], ...] = ()
    #: The base of the Graph API with its version; the transcoder goes by the same variable.
    graph_url: Annotated[str, Field(validation_alias=GRAPH_VARIABLE, pattern=r"^https?://[^\s?#]+$")] = GRAPH_URL
    #: A file of those who may send signed webhooks; it is read again when it changes. None for nobody.
    sources: Path | None = None
    #: The port that metrics are scraped from; None for none.
    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    #: What scans each upload before it becomes an asset: a command that reads it from stdin and ends with 0 for clean
    #: and 1 for infected, or a service: ClamAV's daemon at clamd://host:3310, an ICAP server at icap://host:1344/service
    #: (icaps: with TLS), or an http(s) URL that it is posted to, which answers 2xx or 406. One of the two, or none.
    scan_command: tuple[str, ...] = ()
    scan_url: Annotated[AnyUrl, UrlConstraints(allowed_schemes=SCAN_SCHEMES, host_required=True)] | None = None
    scan_seconds: Annotated[float, Field(gt=0)] = 120
    #: Whether an upload passes when the scanner gives no verdict.
    scan_fail_open: bool = False
    #: How long an upload in several requests may lie incomplete. The operator, who sweeps it up, is told the same.
    upload_lifetime_seconds: Annotated[int, Field(ge=60)] = 24 * 3600
    #: How long the form of a direct upload works.
    direct_form_seconds: Annotated[int, Field(ge=60, le=3600)] = 900


class ClusterSettings(Settings):
    """What ingest can be told in a cluster beside it."""

    #: The file of tokens; it is read again when it changes.
    tokens: Path
    #: The namespaces that tokens may belong to; none are all of them.
    namespaces: tuple[Annotated[str, Field(pattern=DNS_LABEL)], ...] = ()
    host: str = "0.0.0.0"  # noqa: S104 - in a pod, whose network says who may come
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = 9090
    #: The proxies that are believed about who asks, as addresses and networks: of X-Forwarded-For the last address
    #: counts that is none of them. Private ranges, as that of an Ingress is known to nobody in advance.
    trusted_proxies: tuple[str, ...] = (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "::1",
        "fc00::/7",
    )
    #: Where the Secrets of WhatsApp accounts are; None for no accounts. They are those of these names, or with
    #: `discover` all that have the label, which takes the right to list the Secrets there.
    work_namespace: Annotated[str, Field(pattern=DNS_LABEL)] | None = None
    whatsapp_accounts: tuple[Annotated[str, Field(pattern=DNS_LABEL)], ...] = ()
    whatsapp_discover: bool = False
    #: The secret of URLs of private renditions that the gateway answers, and the base of these URLs, which is that of
    #: public ones; without them S3 signs and answers.
    signing_key: Annotated[SecretStr, Field(min_length=MIN_SECRET_BYTES)] | None = None
    signing_base_url: Annotated[str, Field(pattern=r"^https?://[^\s?#]+$")] | None = None
    #: How long uploads that run may take to end once it is told to stop; less than the pod's grace period.
    shutdown_seconds: Annotated[int, Field(ge=1)] = 100

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.signing_key is None) != (self.signing_base_url is None):
            message = "signing_key and signing_base_url belong together"
            raise ValueError(message)
        return self

    def signer(self) -> UrlSigner | None:
        """Return who signs URLs that the gateway answers; None where S3 does."""
        if self.signing_key is None or self.signing_base_url is None:
            return None
        return UrlSigner(self.signing_base_url, self.signing_key.get_secret_value().encode())
