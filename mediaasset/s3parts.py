"""Objects in parts and forms to post, on S3: what obstore has no calls for."""

import asyncio
import os
from collections.abc import AsyncIterable
from contextlib import suppress
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from mediaasset.parts import GoneError, UploadForm
from mediaasset.reasons import MediaError, Reason
from mediaasset.s3 import StoreSettings

#: S3 takes no smaller part but the last, and no more than 10,000 of them: 48 GiB. Part n always begins at (n - 1) times
#: this, so that a part which is sent twice is the same part. Changing it breaks off the uploads that run.
PART_BYTES = 5 * 1024 * 1024

_CONNECT_SECONDS = 5
_READ_SECONDS = 30
_CONNECTIONS = 32


class S3Parts:
    """Implements the ports `Parts` and `Forms`.

    What is less than a part waits in an object of its own, named by the number of the part that it will begin: once
    there is a part of this number, what waited counts no more. So a crash between two requests to S3 loses or doubles
    nothing. (tusd's S3 store does much the same.)
    """

    def __init__(self, settings: StoreSettings) -> None:
        """Take where the bucket is; endpoint, region and credentials are the variables AWS_…, as for the store."""
        address = urlsplit(settings.url)
        self._bucket = address.netloc
        self._prefix = f"{address.path.strip('/')}/".lstrip("/")
        self._client = _client(os.environ.get("AWS_ENDPOINT") or os.environ.get("AWS_ENDPOINT_URL"))
        public = str(settings.public_endpoint).rstrip("/") if settings.public_endpoint else None
        self._signing = _client(public) if public else self._client

    async def begin(self, key: str) -> str:
        """Create a multipart upload; its id is the handle."""
        return str((await self._call("create_multipart_upload", key))["UploadId"])

    async def size(self, key: str, handle: str) -> int:
        """Add up the parts and what waits."""
        parts = await self._parts(key, handle)
        return _size(parts) + await self._waiting(key, len(parts) + 1)

    async def append(self, key: str, handle: str, chunks: AsyncIterable[bytes]) -> int:
        """Upload full parts as they come together; what remains waits."""
        parts = await self._parts(key, handle)
        size, number = _size(parts), len(parts) + 1
        buffer = bytearray(await self._read(_tail(key, number)))
        waited = len(buffer)

        async def keep() -> int:
            if len(buffer) > waited:
                await self._call("put_object", _tail(key, number), Body=bytes(buffer))
            return size + len(buffer)

        try:
            async for chunk in chunks:
                buffer += chunk
                while len(buffer) >= PART_BYTES:
                    await self._upload(key, handle, number, bytes(memoryview(buffer)[:PART_BYTES]))
                    if waited:
                        await self._call("delete_object", _tail(key, number))
                    del buffer[:PART_BYTES]
                    size, number, waited = size + PART_BYTES, number + 1, 0
        except (MediaError, GoneError):
            raise
        except Exception:
            await keep()
            raise
        return await keep()

    async def finish(self, key: str, handle: str) -> None:
        """Upload what waits as the last part, and complete."""
        parts = await self._parts(key, handle)
        if rest := await self._read(_tail(key, len(parts) + 1)):
            parts.append(await self._upload(key, handle, len(parts) + 1, rest))
        listed = [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in parts]
        await self._call("complete_multipart_upload", key, UploadId=handle, MultipartUpload={"Parts": listed})
        await self._forget_tails(key)

    async def abort(self, key: str, handle: str) -> None:
        """Abort the multipart upload, and delete what waits."""
        with suppress(GoneError):
            await self._call("abort_multipart_upload", key, UploadId=handle)
        await self._forget_tails(key)

    async def form(self, key: str, size: int, content_type: str, lifetime: timedelta) -> UploadForm:
        """Sign a POST policy for exactly this key, size and type."""
        fields = {"Content-Type": content_type}
        made = await asyncio.to_thread(
            self._signing.generate_presigned_post,
            self._bucket,
            self._prefix + key,
            Fields=fields,
            Conditions=[fields, ["content-length-range", size, size]],
            ExpiresIn=int(lifetime.total_seconds()),
        )
        return UploadForm(made["url"], made["fields"])

    async def download(self, key: str, lifetime: timedelta, disposition: str) -> str:
        """Sign a URL of an object, which is answered with this Content-Disposition."""
        asked = {"Bucket": self._bucket, "Key": self._prefix + key, "ResponseContentDisposition": disposition}
        try:
            url: str = await asyncio.to_thread(
                self._signing.generate_presigned_url, "get_object", asked, int(lifetime.total_seconds())
            )
        except BotoCoreError as error:
            raise MediaError(Reason.STORE_FORBIDDEN) from error
        return url

    async def _parts(self, key: str, handle: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        marker: dict[str, int] = {}
        while True:
            page = await self._call("list_parts", key, UploadId=handle, **marker)
            found += page.get("Parts", [])
            if not page.get("IsTruncated"):
                return found
            marker = {"PartNumberMarker": page["NextPartNumberMarker"]}

    async def _upload(self, key: str, handle: str, number: int, body: bytes) -> dict[str, Any]:
        made = await self._call("upload_part", key, UploadId=handle, PartNumber=number, Body=body)
        return {"PartNumber": number, "ETag": made["ETag"]}

    async def _waiting(self, key: str, number: int) -> int:
        try:
            return int((await self._call("head_object", _tail(key, number)))["ContentLength"])
        except GoneError:
            return 0

    async def _read(self, key: str) -> bytes:
        try:
            answer = await self._call("get_object", key)
        except GoneError:
            return b""
        try:
            return bytes(await asyncio.to_thread(answer["Body"].read))
        except BotoCoreError as error:
            raise MediaError(Reason.STORE_UNAVAILABLE) from error

    async def _forget_tails(self, key: str) -> None:
        prefix = self._prefix + _tail(key, "")
        page = await self._run("list_objects_v2", Prefix=prefix)
        for item in page.get("Contents", []):
            await self._run("delete_object", Key=item["Key"])

    async def _call(self, method: str, key: str, **arguments: Any) -> dict[str, Any]:
        return await self._run(method, Key=self._prefix + key, **arguments)

    async def _run(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Call a method of boto3, which blocks, in a thread; give its errors their meaning."""
        try:
            answer: dict[str, Any] = await asyncio.to_thread(
                getattr(self._client, method), Bucket=self._bucket, **arguments
            )
        except ClientError as error:
            raise _meaning(error) from error
        except BotoCoreError as error:
            raise MediaError(Reason.STORE_UNAVAILABLE) from error
        return answer


def _size(parts: list[dict[str, Any]]) -> int:
    return sum(int(part["Size"]) for part in parts)


def _tail(key: str, number: int | str) -> str:
    return f"{key}.tail-{number}"


def _client(endpoint: str | None) -> Any:
    style = "virtual" if os.environ.get("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "").lower() == "true" else "path"
    # A session of its own: the one that boto3 shares keeps the credentials that it first saw.
    return boto3.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
        verify=os.environ.get("AWS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE"),
        config=Config(
            signature_version="s3v4",
            # Without an endpoint it is AWS, which knows the bucket by its host.
            s3={"addressing_style": style if endpoint else "auto"},
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            max_pool_connections=_CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": 4},
            # Other servers than AWS know only some of the checksums that boto3 would add on its own.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def _meaning(error: ClientError) -> Exception:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in {"NoSuchUpload", "NoSuchKey", "404", "NotFound"}:
        return GoneError(code)
    return MediaError(Reason.STORE_FORBIDDEN if status in (401, 403) else Reason.STORE_UNAVAILABLE)
