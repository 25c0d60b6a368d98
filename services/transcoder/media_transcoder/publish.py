"""The renditions into the store, and the result after them: that object is the commit mark."""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from io import BufferedReader
from pathlib import Path

from media_transcoder.bucket import Bucket
from media_transcoder.decoder import files_of, open_output
from media_transcoder.messages import MESSAGE_CHARACTERS, Rendered
from media_transcoder.progress import Reporter
from mediaasset import keys
from mediaasset.media import Kind, by_mime, served_mime
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import INDEX, Rendition, RenditionResult, RenditionState, Result, SourceInfo, Task

#: A public key names its content, so what it serves never changes. What is private is not kept by caches of others.
_PUBLIC_CACHE = "public, max-age=31536000, immutable"
_PRIVATE_CACHE = "private, max-age=3600"


def publish(
    task: Task,
    bucket: Bucket,
    *,
    info: SourceInfo,
    renditions: Sequence[tuple[Rendition, Rendered]],
    thumb_hash: str | None,
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
        thumb_hash=thumb_hash,
    )
    return bucket.create(keys.result(task.uid, task.attempt), result.to_json().encode())


def _upload(
    task: Task, bucket: Bucket, kind: Kind, rendition: Rendition, rendered: Rendered, *, directory: Path
) -> RenditionResult:
    if rendered.reason is not None:
        # The child is believed nothing: a message without bounds would make the whole result unreadable.
        message = (rendered.message or "")[:MESSAGE_CHARACTERS] or None
        state = RenditionState.SKIPPED if rendered.reason is Reason.NOT_APPLICABLE else RenditionState.FAILED
        return RenditionResult(name=rendition.name, state=state, reason=rendered.reason, message=message)
    if rendered.file is None or rendered.mime_type is None:
        raise MediaError(Reason.INVALID_OUTPUT, f"{rendition.name} has no file.")
    prefix = task.document_prefix if kind is Kind.DOCUMENT else task.prefix
    index = INDEX.get(rendition.format)
    if index is None:
        key, digest, size = _upload_file(bucket, rendition, rendered, prefix=prefix, directory=directory)
    else:
        tree = directory / rendered.file
        key, digest, size = _upload_tree(bucket, rendition, index, prefix, tree)
    return RenditionResult(
        name=rendition.name,
        state=RenditionState.READY,
        mime_type=rendered.mime_type,
        size_bytes=size,
        width=rendered.width,
        height=rendered.height,
        key=key,
        sha256=digest,
    )


def _upload_file(
    bucket: Bucket, rendition: Rendition, rendered: Rendered, *, prefix: str, directory: Path
) -> tuple[str, str, int]:
    """Return the key, the sha256 and the size of what was uploaded."""
    media = by_mime(rendered.mime_type or "")
    if media is None:
        raise MediaError(Reason.INVALID_OUTPUT, f"{rendition.name} has no type that we serve.")
    # One descriptor for hashing and sending: the key names exactly the bytes that go up.
    with os.fdopen(open_output(directory, rendered.file or ""), "rb") as file:
        digest, size = _digest(file)
        key = keys.rendition(prefix, rendition.name, digest, media.extensions[0])
        bucket.write(key, file, _attributes(key, media.mime))
    return key, digest, size


def _upload_tree(bucket: Bucket, rendition: Rendition, index: str, prefix: str, tree: Path) -> tuple[str, str, int]:
    """Upload a rendition that is a directory, its index last; return the index's key, the digest and size of all."""
    names = files_of(tree.parent, tree.name)
    if index not in names:
        raise MediaError(Reason.INVALID_OUTPUT, f"{rendition.name} has no {index}.")
    with ExitStack() as stack:
        # All are open while their common name is made, and until they are sent: these bytes and no others go up.
        files = {name: stack.enter_context(os.fdopen(open_output(tree, name), "rb")) for name in names}
        found = {name: _digest(file) for name, file in files.items()}
        digest = hashlib.sha256(json.dumps({name: sha256 for name, (sha256, _) in found.items()}).encode()).hexdigest()
        base = keys.rendition_tree(prefix, rendition.name, digest)
        for name in sorted(names, key=lambda name: name == index):
            bucket.write(base + name, files[name], _attributes(base + name, served_mime(name) or ""))
    return base + index, digest, sum(size for _, size in found.values())


def _digest(file: BufferedReader) -> tuple[str, int]:
    """Return the sha256 and the size of a file, which is at its beginning again afterwards."""
    digest, size = hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
    file.seek(0)
    return digest, size


def _attributes(key: str, mime: str) -> dict[str, str]:
    is_public = keys.lies_under(key, keys.PUBLIC + "/")
    attributes = {"Content-Type": mime, "Cache-Control": _PUBLIC_CACHE if is_public else _PRIVATE_CACHE}
    media = by_mime(mime)
    is_document = media is not None and media.kind is Kind.DOCUMENT
    # A browser must never show a document as a page of the media's origin.
    return attributes | ({"Content-Disposition": "attachment"} if is_document else {})
