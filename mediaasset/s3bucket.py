"""A bucket through boto3, for what obstore has no calls for."""

import asyncio
import functools
import os
import ssl
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import boto3
import httpx2
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from mediaasset.parts import GoneError
from mediaasset.reasons import MediaError, Reason
from mediaasset.s3 import StoreSettings, endpoint

_CONNECT_SECONDS = 5
_READ_SECONDS = 30
_CONNECTIONS = 32


class Bucket:
    """Calls of S3 on the objects under the root prefix. Raises GoneError, and MediaError as `Store` does."""

    def __init__(self, settings: StoreSettings) -> None:
        """Take where the bucket is; endpoint, region and credentials are the variables AWS_…, as for the store."""
        address = urlsplit(settings.url)
        self.name = address.netloc
        self.prefix = f"{address.path.strip('/')}/".lstrip("/")
        # A session of its own: the one that boto3 shares keeps the credentials that it first saw.
        self._session = boto3.Session()
        self.client = self._client(endpoint())
        public = str(settings.public_endpoint).rstrip("/") if settings.public_endpoint else None
        #: The client that signs what others send.
        self.signing = self._client(public) if public else self.client

    async def call(self, method: str, key: str, **arguments: Any) -> dict[str, Any]:
        """Call a method about an object."""
        return await self.run(method, Key=self.prefix + key, **arguments)

    async def run(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Call a method of boto3, which blocks, in a thread; give its errors their meaning."""
        try:
            answer: dict[str, Any] = await asyncio.to_thread(
                getattr(self.client, method), Bucket=self.name, **arguments
            )
        except ClientError as error:
            raise _meaning(error) from error
        except BotoCoreError as error:
            raise MediaError(Reason.STORE_UNAVAILABLE) from error
        return answer

    async def download(self, key: str, lifetime: timedelta, disposition: str) -> str:
        """Sign a URL of an object, which is answered with this Content-Disposition."""
        asked = {"Bucket": self.name, "Key": self.prefix + key, "ResponseContentDisposition": disposition}
        try:
            url: str = await asyncio.to_thread(
                self.signing.generate_presigned_url, "get_object", asked, int(lifetime.total_seconds())
            )
        except BotoCoreError as error:
            raise MediaError(Reason.STORE_FORBIDDEN) from error
        return url

    def address(self, key: str) -> str:
        """Return the URL of an object."""
        signed: str = self.client.generate_presigned_url("put_object", {"Bucket": self.name, "Key": self.prefix + key})
        return signed.partition("?")[0]

    def credentials(self) -> ReadOnlyCredentials:
        """Return what requests are signed with just now, which may have to be fetched. Raises NoCredentialsError."""
        found = self._session.get_credentials()
        if found is None:
            raise NoCredentialsError
        return found.get_frozen_credentials()

    def _client(self, url: str | None) -> Any:
        style = "virtual" if os.environ.get("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "").lower() == "true" else "path"
        return self._session.client(
            "s3",
            endpoint_url=url,
            region_name=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
            verify=_authorities(),
            config=Config(
                signature_version="s3v4",
                # Without an endpoint it is AWS, which knows the bucket by its host.
                s3={"addressing_style": style if url else "auto"},
                connect_timeout=_CONNECT_SECONDS,
                read_timeout=_READ_SECONDS,
                max_pool_connections=_CONNECTIONS,
                retries={"mode": "standard", "total_max_attempts": 4},
                # Other servers than AWS know only some of the checksums that boto3 would add on its own.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )


@functools.cache
def trust() -> ssl.SSLContext:
    """Return whom requests that boto3 does not send shall trust. Made once: reading the authorities takes a while."""
    authorities = _authorities()
    return ssl.create_default_context(cafile=authorities) if authorities else httpx2.create_ssl_context()


def _authorities() -> str | None:
    return os.environ.get("AWS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")


def _meaning(error: ClientError) -> Exception:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in {"NoSuchUpload", "NoSuchKey", "404", "NotFound"}:
        return GoneError(code)
    return MediaError(Reason.STORE_FORBIDDEN if status in (401, 403) else Reason.STORE_UNAVAILABLE)
