"""The renditions into the store, and the result after them: that object is the commit mark."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from media_transcoder.bucket import Bucket
from media_transcoder.decoder import open_output
from media_transcoder.messages import MESSAGE_CHARACTERS, Rendered
from media_transcoder.progress import Reporter
from mediaasset import keys
from mediaasset.media import Kind, by_mime
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Rendition, RenditionResult, RenditionState, Result, SourceInfo, Task

#: A public key names its content, so what it serves never changes. What is private is not kept by caches of others.
_PUBLIC_CACHE = "public, max-age=31536000, immutable"
_PRIVATE_CACHE = "private, max-age=3600"


def publish(
    task: Task,
    bucket: Bucket,
    *,
    info: SourceInfo,
    renditions: Sequence[tuple[Rendition, Rendered]],
    directory: Path,
    reporter: Reporter,
) -> bool:
    """Upload all renditions, then create the result; False when another pod's result was there first.

    Raises MediaError: InvalidOutput, and those of the store.
    """
    reporter.report("publish")
    results = []
    for number, (rendition, rendered) in enumerate(renditions, start=1):
        results.append(_upload(task, bucket, info.type, rendition, rendered, directory=directory))
        reporter.report("publish", 100 * number / (len(renditions) + 1))
    result = Result(
        uid=task.uid,
        attempt=task.attempt,
        inputs_hash=task.inputs_hash,
        source_info=info,
        renditions=tuple(results),
    )
    return bucket.create(keys.result(task.uid, task.attempt), result.to_json().encode())


def _upload(
    task: Task, bucket: Bucket, kind: Kind, rendition: Rendition, rendered: Rendered, *, directory: Path
) -> RenditionResult:
    if rendered.reason is not None:
        # The child is believed nothing: a message without bounds would make the whole result unreadable.
        message = (rendered.message or "")[:MESSAGE_CHARACTERS] or None
        return RenditionResult(
            name=rendition.name, state=RenditionState.FAILED, reason=rendered.reason, message=message
        )
    media = by_mime(rendered.mime_type or "")
    if media is None or rendered.file is None:
        raise MediaError(Reason.INVALID_OUTPUT, f"{rendition.name} has no type that we serve.")
    prefix = task.document_prefix if kind is Kind.DOCUMENT else task.prefix
    # One descriptor for hashing and sending: the key names exactly the bytes that go up.
    with os.fdopen(open_output(directory, rendered.file), "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
        file.seek(0)
        key = keys.rendition(prefix, rendition.name, digest, media.extensions[0])
        bucket.write(key, file, _attributes(key, media.mime, kind))
    return RenditionResult(
        name=rendition.name,
        state=RenditionState.READY,
        mime_type=media.mime,
        size_bytes=size,
        width=rendered.width,
        height=rendered.height,
        key=key,
        sha256=digest,
    )


def _attributes(key: str, mime: str, kind: Kind) -> dict[str, str]:
    is_public = keys.lies_under(key, keys.PUBLIC + "/")
    attributes = {"Content-Type": mime, "Cache-Control": _PUBLIC_CACHE if is_public else _PRIVATE_CACHE}
    # A browser must never show a document as a page of the media's origin.
    return attributes | ({"Content-Disposition": "attachment"} if kind is Kind.DOCUMENT else {})
