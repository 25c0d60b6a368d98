"""Objects that go on to S3 while they come in, so that their bytes need not wait in memory."""

import asyncio
import base64
import functools
import os
import ssl
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlencode

import httpx2
import structlog
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError

from mediaasset.reasons import MediaError, Reason
from mediaasset.s3 import Payload
from mediaasset.s3bucket import Bucket
from mediaasset.s3client import authorities_of
from mediaasset.store import Length

#: An answer comes once the object is durable, however large it is.
_TIMEOUT = httpx2.Timeout(30, connect=5, read=120)
#: How long to wait before a connection is tried once more, in seconds. Nothing of the content is gone by then.
_PAUSES = (0.1, 0.4, 1.6, 3.2)

#: Content that a checksum follows goes in frames of this size; servers take no frames that are very small or large.
_FRAME_BYTES = 1024 * 1024
_CHECKSUM = "x-amz-checksum-crc32"

_LOG = structlog.get_logger(__name__)


class S3Streams:
    """Implements `Streams`, for keys that had no object before.

    What was sent cannot be sent again, so an outage in the middle is an error at once.
    """

    def __init__(self, bucket: Bucket, payload: Payload) -> None:
        """Take where objects go, and how they are kept from changing on their way; not SIGNED."""
        self._bucket = bucket
        self._is_checked = payload is Payload.CHECKED

    async def write(self, key: str, chunks: AsyncIterator[bytes], length: Length) -> None:
        """Write an object in one request; in two parts where its length is not quite known."""
        # A server that takes a body for complete when it breaks off (versitygw#2414) knows better by frames, and nobody
        # else completes our parts.
        if self._is_checked and length.least == length.most:
            await self._send(key, "", chunks, length.least)
            return
        algorithm = {"ChecksumAlgorithm": "CRC32"} if self._is_checked else {}
        upload = (await self._bucket.call("create_multipart_upload", key, **algorithm))["UploadId"]
        try:
            rest = bytearray()
            query = urlencode({"partNumber": 1, "uploadId": upload}, quote_via=quote)
            parts = [await self._send(key, query, _first(chunks, length.least, rest), length.least)]
            async for chunk in chunks:
                rest += chunk
            if rest:
                sent = {"UploadId": upload, "PartNumber": 2, "Body": bytes(rest)}
                parts.append(await self._bucket.call("upload_part", key, **sent, **algorithm))
            listed = [
                {"PartNumber": number, **{name: part[name] for name in ("ETag", "ChecksumCRC32") if name in part}}
                for number, part in enumerate(parts, 1)
            ]
            await self._bucket.call(
                "complete_multipart_upload", key, UploadId=upload, MultipartUpload={"Parts": listed}
            )
        except BaseException:
            await asyncio.shield(self._abort(key, upload))
            raise

    async def _abort(self, key: str, upload: str) -> None:
        # The first error is what counts; a lifecycle rule ends what this leaves.
        with suppress(Exception):
            await self._bucket.call("abort_multipart_upload", key, UploadId=upload)

    async def _send(self, key: str, query: str, chunks: AsyncIterator[bytes], size: int) -> dict[str, Any]:
        """Send an object or a part; return what the list of parts says of it."""
        body = _Checked(chunks, size) if self._is_checked else _Plain(chunks, size)
        try:
            request = await asyncio.to_thread(self._signed, key, query, body)
            answer = await _answer(request, body)
        except BotoCoreError as error:
            raise MediaError(Reason.STORE_FORBIDDEN) from error
        except httpx2.HTTPError as error:
            # The object may be complete, and only the answer lost. If it was a refusal that got lost, this is one too.
            await self._bucket.call("delete_object", key)
            raise MediaError(Reason.STORE_UNAVAILABLE) from error
        if not answer.is_success:
            _LOG.warning("the store refused an upload", status=answer.status_code)
            is_forbidden = answer.status_code in (httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN)
            raise MediaError(Reason.STORE_FORBIDDEN if is_forbidden else Reason.STORE_UNAVAILABLE)
        if isinstance(body, _Checked) and answer.headers.get(_CHECKSUM) != body.checksum:
            # A server that knows no trailing checksums may have taken the frames for content.
            _LOG.error("the store did not check what it was sent: set AWS_UNSIGNED_PAYLOAD")
            await self._bucket.call("delete_object", key)
            raise MediaError(Reason.STORE_UNAVAILABLE)
        return {"ETag": answer.headers["ETag"], **body.told()}

    def _signed(self, key: str, query: str, body: "_Plain") -> AWSRequest:
        url = self._bucket.address(key)
        request = AWSRequest("PUT", f"{url}?{query}" if query else url, headers=body.headers)
        signature = _Signature(self._bucket.credentials(), "s3", self._bucket.client.meta.region_name)
        signature.hash = body.hash
        signature.add_auth(request)
        return request


class _Signature(S3SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """Signs what stands for a body, instead of its sha256."""

    hash: str

    def payload(self, request: AWSRequest) -> str:  # noqa: ARG002 - the signature is botocore's
        return self.hash


class _Plain:
    """The body of a request: the content and nothing else."""

    hash = "UNSIGNED-PAYLOAD"

    def __init__(self, chunks: AsyncIterator[bytes], size: int) -> None:
        self.headers: dict[str, str] = {}
        self.length = size
        self._chunks = _exactly(chunks, size)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            yield chunk

    def told(self) -> dict[str, str]:
        """Return what the list of parts says of this one, beside its ETag."""
        return {}


class _Checked(_Plain):
    """The body of a request: the content in frames, and then its checksum ("aws-chunked", of AWS's Signature V4)."""

    hash = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

    def __init__(self, chunks: AsyncIterator[bytes], size: int) -> None:
        super().__init__(chunks, size)
        self._size = size
        self._crc = 0
        # Without `Content-Encoding: aws-chunked`, as in minio-go: some servers keep it with the object.
        self.headers = {"X-Amz-Decoded-Content-Length": str(size), "X-Amz-Trailer": _CHECKSUM}
        full, last = divmod(size, _FRAME_BYTES)
        heads = full * len(_head(_FRAME_BYTES)) + (len(_head(last)) if last else 0)
        self.length = heads + size + len(self._end()) - len(b"\r\n")

    @property
    def checksum(self) -> str:
        """The CRC-32 of what has been sent."""
        return base64.b64encode(self._crc.to_bytes(4, "big")).decode()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left, room = self._size, 0
        async for chunk in self._chunks:
            self._crc = zlib.crc32(chunk, self._crc)
            rest = chunk
            while rest:
                if not room:
                    room = min(_FRAME_BYTES, left)
                    # Each begins by ending the one before.
                    yield _head(room) if left < self._size else _head(room).lstrip()
                piece, rest = (rest, b"") if len(rest) <= room else (rest[:room], rest[room:])
                yield piece
                left -= len(piece)
                room -= len(piece)
        yield self._end()

    def told(self) -> dict[str, str]:
        return {"ChecksumCRC32": self.checksum}

    def _end(self) -> bytes:
        return f"\r\n0\r\n{_CHECKSUM}:{self.checksum}\r\n\r\n".encode()


def _head(size: int) -> bytes:
    return b"\r\n%x\r\n" % size


@functools.cache
def _trust() -> ssl.SSLContext:
    """Return whom to trust. Made once: reading the authorities takes a while."""
    authorities = authorities_of(os.environ)
    return ssl.create_default_context(cafile=authorities) if authorities else httpx2.create_ssl_context()


async def _answer(request: AWSRequest, body: _Plain) -> httpx2.Response:
    headers = {**request.headers, "Content-Length": str(body.length)}
    # A connection of its own, which the server cannot have closed a moment ago.
    async with httpx2.AsyncClient(verify=_trust(), timeout=_TIMEOUT) as client:
        for pause in _PAUSES:
            try:
                return await client.put(request.url, headers=headers, content=body)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                await asyncio.sleep(pause)
        return await client.put(request.url, headers=headers, content=body)


async def _exactly(chunks: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """Yield what comes; raises ValueError when it is not so many bytes."""
    left = size
    async for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            break
        yield chunk
    if left:
        message = f"not the {size} bytes that were announced"
        raise ValueError(message)


async def _first(chunks: AsyncIterator[bytes], size: int, rest: bytearray) -> AsyncIterator[bytes]:
    """Yield so many bytes; put into `rest` what the last chunk has beyond."""
    async for chunk in chunks:
        if len(chunk) >= size:
            yield chunk[:size]
            rest += chunk[size:]
            return
        yield chunk
        size -= len(chunk)
