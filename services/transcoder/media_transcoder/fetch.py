"""The source into a file: counted, hashed and compared with what was announced."""

import time
from dataclasses import dataclass
from pathlib import Path

from media_transcoder.bucket import Bucket
from media_transcoder.progress import Reporter
from media_transcoder.sources.incoming import Incoming, digest_of
from mediaasset import keys
from mediaasset.media import Kind
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Source, Task, WhatsAppMedia

#: In bytes: what a URL may give where the profile sets no limit. What lies in the store was measured when it was
#: uploaded, but a server elsewhere may send without end, and the disk is the node's. A larger limit in the profile
#: is somebody's decision and goes before this one.
URL_MAX_BYTES = 5 * 1024**3

#: Who reads what was sent as it came gets it as a file, never as a page.
_ORIGINAL = {
    "Content-Type": "application/octet-stream",
    "Content-Disposition": "attachment",
    "Cache-Control": "private, max-age=3600",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The source as a file of ours; sha256 is hexadecimal."""

    path: Path
    size_bytes: int
    sha256: str


def fetch(task: Task, bucket: Bucket, path: Path, reporter: Reporter) -> Fetched:
    """Write the source of a task to `path`.

    Raises MediaError: EmptySource, SourceNotFound, SourceForbidden, SourceUnauthorized, SourceTooLarge, SourceMismatch,
    SourceUnavailable and those of the store; OSError when the scratch directory is full.
    """
    source = task.source
    if [source.key, source.url, source.whatsapp].count(None) != 2:  # noqa: PLR2004 - all but one
        raise MediaError(Reason.INVALID_TASK, "The task does not name exactly one source.")
    with path.open("xb") as file:
        into = Incoming(file, _max_bytes(task), reporter)
        is_kept = _receive(task, bucket, into)
    _compare(source, into)
    if source.whatsapp and not is_kept:
        # Before anybody looks at the bytes: Graph forgets them, and whatever they are, they must not be lost.
        with path.open("rb") as file:
            bucket.write(source.whatsapp.original_key, file, _ORIGINAL)
    return Fetched(path=path, size_bytes=into.size, sha256=into.sha256)


def _receive(task: Task, bucket: Bucket, into: Incoming) -> bool:
    """Receive the source; tell whether it came from the store."""
    source = task.source
    if source.key is not None:
        # The operator checked it; whoever holds the credentials checks again.
        if not keys.may_read_source(source.key, task.namespace, task.foreign_prefixes):
            raise MediaError(Reason.SOURCE_FORBIDDEN, "The key of the source lies outside the namespace's uploads.")
        _copy(bucket, source.key, into)
        return True
    if source.whatsapp is not None and _is_kept(source.whatsapp, bucket, into):
        return True
    # HTTP and TLS cost as much start-up time as all else together, and most sources lie in the store.
    from media_transcoder.sources import download, whatsapp  # noqa: PLC0415
    from media_transcoder.sources.connect import Way  # noqa: PLC0415

    way = Way(allowed_cidrs=task.allowed_cidrs, deadline=time.monotonic() + task.deadline_seconds)
    if source.whatsapp is not None:
        whatsapp.fetch(source.whatsapp, task.namespace, into, way)
    else:
        download.download(source.url or "", into, way)
    return False


def _is_kept(media: WhatsAppMedia, bucket: Bucket, into: Incoming) -> bool:
    """Take what an earlier attempt kept; tell whether it was there and whole."""
    try:
        _copy(bucket, media.original_key, into)
    except MediaError as error:
        # Who may not list a bucket of S3 is told that a missing object is forbidden.
        if error.reason in (Reason.SOURCE_NOT_FOUND, Reason.SOURCE_FORBIDDEN):
            return False
        raise
    return media.sha256 is None or digest_of(media.sha256) == into.sha256


def _copy(bucket: Bucket, key: str, into: Incoming) -> None:
    size, chunks = bucket.read(key)
    into.begin(size)
    for chunk in chunks:
        into.write(chunk)


def _max_bytes(task: Task) -> int | None:
    """Return the limit in bytes; while the kind is unknown, the largest of all kinds.

    A kind without a limit counts as URL_MAX_BYTES for what a server gives; for an object of the store, it means None:
    no limit.
    """
    kinds = [task.type] if task.type else list(Kind)
    sizes = [limit.max_bytes if (limit := task.limits.get(kind)) else None for kind in kinds]
    if task.source.key is None:
        return max(URL_MAX_BYTES if size is None else size for size in sizes)
    return max((size for size in sizes if size is not None), default=None) if None not in sizes else None


def _compare(source: Source, into: Incoming) -> None:
    if source.size_bytes is not None and source.size_bytes != into.size:
        message = f"{source.size_bytes} bytes were announced, {into.size} were found."
        raise MediaError(Reason.SOURCE_MISMATCH, message)
    if source.sha256 is not None and source.sha256.lower() != into.sha256:
        raise MediaError(Reason.SOURCE_MISMATCH, "The sha256 of the source is not the announced one.")
    if into.size == 0:
        raise MediaError(Reason.EMPTY_SOURCE)
