"""The store of a cluster: a bucket of S3 or of a server that speaks its protocol."""

import functools
import os
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, Annotated

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store
from pydantic import AfterValidator, Field, HttpUrl
from pydantic_settings import BaseSettings, SettingsConfigDict

from mediaasset.objects import ObjectStore, attachment
from mediaasset.signing import PrivateFirst, UrlSigner
from mediaasset.store import Length
from mediaasset.storeerrors import store_error

if TYPE_CHECKING:
    from obstore.store import RetryConfig, S3Config

    from mediaasset.s3bucket import Bucket
    from mediaasset.s3stream import S3Streams

#: A short outage is waited for; a longer one is the callers' to handle, who have a client or a queue behind them. (The
#: time of one request is bounded by AWS_TIMEOUT, 30 seconds by default; options given here would replace all of those.)
_RETRY: "RetryConfig" = {"max_retries": 4, "retry_timeout": timedelta(seconds=30)}


def _without_slash(url: str) -> str:
    return url.rstrip("/")


class StoreSettings(BaseSettings):
    """Where the bucket is (MEDIA_STORE_…).

    Endpoint, region and credentials are the variables AWS_… that every client of S3 knows; obstore reads them itself.
    """

    model_config = SettingsConfigDict(env_prefix="MEDIA_STORE_", frozen=True)

    #: The bucket, and the root prefix of all keys in it.
    url: Annotated[str, Field(pattern=r"^s3://[a-z0-9.-]+(/[^\s?#]*)?$"), AfterValidator(_without_slash)]
    #: The endpoint that clients outside of the cluster reach, for signed URLs; None is the one that we use.
    public_endpoint: HttpUrl | None = None


def open_store(settings: StoreSettings, private: UrlSigner | None = None) -> ObjectStore:
    """Return the store in this bucket; raises MediaError when the variables AWS_… are not sound. Nothing is sent.

    private: who signs URLs of private renditions in place of S3.
    """
    # obstore reads AWS_UNSIGNED_PAYLOAD itself. To hash what TLS vouches for would cost more than to send it.
    options: S3Config = {"unsigned_payload": True} if payload() is Payload.TRUSTED else {}
    try:
        backend = S3Store.from_url(settings.url, retry_config=_RETRY, **options)
        signing = backend
        if settings.public_endpoint:
            # The host is part of what is signed, so the URL for another one needs a store of its own.
            signing = S3Store.from_url(settings.url, endpoint=_without_slash(str(settings.public_endpoint)))
    except BaseError as error:
        raise store_error(error) from error

    extras = _Extras(signing, settings)
    signer = PrivateFirst(private, extras) if private else extras
    return ObjectStore(backend, signer, None if payload() is Payload.SIGNED else extras)


def endpoint() -> str | None:
    """Return the address of the server, None for that of AWS."""
    return os.environ.get("AWS_ENDPOINT") or os.environ.get("AWS_ENDPOINT_URL")


class Payload(Enum):
    """How the content of an upload is kept from changing on its way; docs/decisions/0013-*.md."""

    #: Its sha256 is signed, so all of it is read before it is sent.
    SIGNED = auto()
    #: A checksum follows it.
    CHECKED = auto()
    #: By TLS, or by the trust in the network that AWS_UNSIGNED_PAYLOAD states.
    TRUSTED = auto()


def payload() -> Payload:
    """Return how large uploads go to the server that the variables AWS_… name."""
    if told := os.environ.get("AWS_UNSIGNED_PAYLOAD"):
        return Payload.TRUSTED if told.lower() in {"1", "true", "on", "yes", "y"} else Payload.SIGNED
    return Payload.TRUSTED if (endpoint() or "https:").startswith("https:") else Payload.CHECKED


class _Extras:
    """Implements the signer and the streams of a store."""

    #: A signature of S3 is for one object.
    opens_trees = False

    def __init__(self, signing: S3Store, settings: StoreSettings) -> None:
        self._signing = signing
        self._settings = settings

    async def sign_all(self, keys: Sequence[str], lifetime: timedelta) -> list[str]:
        try:
            return [*await obstore.sign_async(self._signing, "GET", keys, lifetime)]
        except BaseError as error:
            raise store_error(error) from error

    async def download(self, key: str, lifetime: timedelta, file_name: str) -> str:
        return await self._bucket.download(key, lifetime, attachment(file_name))

    async def write(self, key: str, chunks: AsyncIterator[bytes], length: Length) -> None:
        await self._streams.write(key, chunks, length)

    # obstore signs no names and streams nothing. Only ingest asks for that: the operator shall not hold the 30 MB of
    # boto3.
    @functools.cached_property
    def _bucket(self) -> "Bucket":
        from mediaasset.s3bucket import Bucket  # noqa: PLC0415

        return Bucket(self._settings)

    @functools.cached_property
    def _streams(self) -> "S3Streams":
        from mediaasset.s3stream import S3Streams  # noqa: PLC0415

        return S3Streams(self._bucket, payload())
