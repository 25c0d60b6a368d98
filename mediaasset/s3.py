"""The store of a cluster: a bucket of S3 or of a server that speaks its protocol."""

import functools
import os
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store
from pydantic import AfterValidator, Field, HttpUrl
from pydantic_settings import BaseSettings, SettingsConfigDict

from mediaasset.objects import ObjectStore, attachment
from mediaasset.storeerrors import store_error

if TYPE_CHECKING:
    from obstore.store import RetryConfig, S3Config

    from mediaasset.s3parts import S3Parts

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


def open_store(settings: StoreSettings) -> ObjectStore:
    """Return the store in this bucket; raises MediaError when the variables AWS_… are not sound. Nothing is sent."""
    try:
        backend = S3Store.from_url(settings.url, retry_config=_RETRY, **_unsigned())
        signing = backend
        if settings.public_endpoint:
            # The host is part of what is signed, so the URL for another one needs a store of its own.
            signing = S3Store.from_url(settings.url, endpoint=_without_slash(str(settings.public_endpoint)))
    except BaseError as error:
        raise store_error(error) from error

    return ObjectStore(backend, _Signer(signing, settings))


def _unsigned() -> "S3Config":
    """Return the option by which the hash of a body is not signed, as boto3 has it: where TLS vouches for the body.

    To hash it costs more than to send it. AWS_UNSIGNED_PAYLOAD says otherwise.
    """
    endpoint = os.environ.get("AWS_ENDPOINT") or os.environ.get("AWS_ENDPOINT_URL") or "https:"
    if "AWS_UNSIGNED_PAYLOAD" in os.environ or not endpoint.startswith("https:"):
        return {}
    return {"unsigned_payload": True}


class _Signer:
    """Implements the signer of a store."""

    def __init__(self, signing: S3Store, settings: StoreSettings) -> None:
        self._signing = signing
        self._settings = settings

    async def sign_all(self, keys: Sequence[str], lifetime: timedelta) -> list[str]:
        try:
            return [*await obstore.sign_async(self._signing, "GET", keys, lifetime)]
        except BaseError as error:
            raise store_error(error) from error

    async def download(self, key: str, lifetime: timedelta, file_name: str) -> str:
        return await self._parts.download(key, lifetime, attachment(file_name))

    @functools.cached_property
    def _parts(self) -> "S3Parts":
        # obstore signs no names. Only ingest asks for them: the operator shall not hold the 30 MB of boto3.
        from mediaasset.s3parts import S3Parts  # noqa: PLC0415

        return S3Parts(self._settings)
