"""A bucket through boto3, for what obstore has no calls for."""

import asyncio
from datetime import timedelta
from typing import Any

import boto3
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from mediaasset.keys import place
from mediaasset.parts import GoneError
from mediaasset.reasons import MediaError, Reason
from mediaasset.s3 import StoreSettings
from mediaasset.s3client import connect


class Bucket:
    """Calls of S3 on the objects under the root prefix. Raises GoneError, and MediaError as `Store` does."""

    def __init__(self, settings: StoreSettings) -> None:
        """Take where the bucket is; endpoint, region and credentials are the variables AWS_…, as for the store."""
        self.name, self.prefix = place(settings.url)
        # A session of its own: the one that boto3 shares keeps the credentials that it first saw.
        self._session = boto3.Session()
        self.client = connect(self.name, session=self._session)
        public = str(settings.public_endpoint).rstrip("/") if settings.public_endpoint else None
        #: The client that signs what others send.
        self.signing = connect(self.name, endpoint=public, session=self._session) if public else self.client

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


def _meaning(error: ClientError) -> Exception:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in {"NoSuchUpload", "NoSuchKey", "404", "NotFound"}:
        return GoneError(code)
    return MediaError(Reason.STORE_FORBIDDEN if status in (401, 403) else Reason.STORE_UNAVAILABLE)
