"""Objects in parts and forms to post, on S3: what obstore has no calls for."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

from botocore.exceptions import BotoCoreError

from mediaasset.parts import GoneError, Unfinished, UploadForm
from mediaasset.reasons import MediaError, Reason
from mediaasset.s3 import StoreSettings
from mediaasset.s3bucket import Bucket

#: S3 takes no smaller part but the last, and no more than 10,000 of them: 48 GiB. Part n always begins at (n - 1) times
#: this, so that a part which is sent twice is the same part. Changing it breaks off the uploads that run.
PART_BYTES = 5 * 1024 * 1024


class S3Parts:
    """Implements the ports `Parts` and `Forms`.

    What is less than a part waits in an object of its own, named by the number of the part that it will begin: once
    there is a part of this number, what waited counts no more. So a crash between two requests to S3 loses or doubles
    nothing. (tusd's S3 store does much the same.)
    """

    def __init__(self, settings: StoreSettings) -> None:
        """Take where the bucket is."""
        self._bucket = Bucket(settings)

    async def begin(self, key: str) -> str:
        """Create a multipart upload; its id is the handle."""
        return str((await self._bucket.call("create_multipart_upload", key))["UploadId"])

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
                await self._bucket.call("put_object", _tail(key, number), Body=bytes(buffer))
            return size + len(buffer)

        try:
            async for chunk in chunks:
                rest = memoryview(chunk)
                while rest:
                    room = PART_BYTES - len(buffer)
                    buffer += rest[:room]
                    rest = rest[room:]
                    if len(buffer) < PART_BYTES:
                        break
                    await self._upload(key, handle, number, buffer)
                    if waited:
                        await self._bucket.call("delete_object", _tail(key, number))
                    buffer = bytearray()
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
        await self._bucket.call("complete_multipart_upload", key, UploadId=handle, MultipartUpload={"Parts": listed})
        await self._forget_tails(key)

    async def abort(self, key: str, handle: str) -> None:
        """Abort the multipart upload, and delete what waits."""
        with suppress(GoneError):
            await self._bucket.call("abort_multipart_upload", key, UploadId=handle)
        await self._forget_tails(key)

    async def unfinished(self) -> AsyncIterator[Unfinished]:
        """List the multipart uploads below the root prefix, with when they were created."""
        marker: dict[str, str] = {}
        while True:
            page = await self._bucket.run("list_multipart_uploads", Prefix=self._bucket.prefix, **marker)
            for upload in page.get("Uploads", []):
                yield Unfinished(
                    upload["Key"].removeprefix(self._bucket.prefix), upload["UploadId"], upload["Initiated"]
                )
            if not page.get("IsTruncated"):
                return
            marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    async def form(self, key: str, size: int, content_type: str, lifetime: timedelta) -> UploadForm:
        """Sign a POST policy for exactly this key, size and type."""
        fields = {"Content-Type": content_type}
        made = await asyncio.to_thread(
            self._bucket.signing.generate_presigned_post,
            self._bucket.name,
            self._bucket.prefix + key,
            Fields=fields,
            Conditions=[fields, ["content-length-range", size, size]],
            ExpiresIn=int(lifetime.total_seconds()),
        )
        return UploadForm(made["url"], made["fields"])

    async def _parts(self, key: str, handle: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        marker: dict[str, int] = {}
        while True:
            page = await self._bucket.call("list_parts", key, UploadId=handle, **marker)
            found += page.get("Parts", [])
            if not page.get("IsTruncated"):
                return found
            marker = {"PartNumberMarker": page["NextPartNumberMarker"]}

    async def _upload(self, key: str, handle: str, number: int, body: bytes | bytearray) -> dict[str, Any]:
        made = await self._bucket.call("upload_part", key, UploadId=handle, PartNumber=number, Body=body)
        return {"PartNumber": number, "ETag": made["ETag"]}

    async def _waiting(self, key: str, number: int) -> int:
        try:
            return int((await self._bucket.call("head_object", _tail(key, number)))["ContentLength"])
        except GoneError:
            return 0

    async def _read(self, key: str) -> bytes:
        try:
            answer = await self._bucket.call("get_object", key)
        except GoneError:
            return b""
        try:
            return bytes(await asyncio.to_thread(answer["Body"].read))
        except BotoCoreError as error:
            raise MediaError(Reason.STORE_UNAVAILABLE) from error

    async def _forget_tails(self, key: str) -> None:
        prefix = self._bucket.prefix + _tail(key, "")
        page = await self._bucket.run("list_objects_v2", Prefix=prefix)
        for item in page.get("Contents", []):
            await self._bucket.run("delete_object", Key=item["Key"])


def _size(parts: list[dict[str, Any]]) -> int:
    return sum(int(part["Size"]) for part in parts)


def _tail(key: str, number: int | str) -> str:
    return f"{key}.tail-{number}"
