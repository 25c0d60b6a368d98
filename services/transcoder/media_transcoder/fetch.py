"""The source into a file: counted, hashed and compared with what was announced."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from media_transcoder.bucket import Bucket
from media_transcoder.progress import Reporter
from mediaasset import keys
from mediaasset.media import Kind
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Task

#: In bytes: what a URL may give where the profile sets no limit. What lies in the store was measured when it was
#: uploaded, but a server elsewhere may send without end, and the disk is the node's. A larger limit in the profile
#: is somebody's decision and goes before this one.
URL_MAX_BYTES = 5 * 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The source as a file of ours; sha256 is hexadecimal."""

    path: Path
    size_bytes: int
    sha256: str


def fetch(task: Task, bucket: Bucket, path: Path, reporter: Reporter) -> Fetched:
    """Write the source of a task to `path`.

    Raises MediaError: EmptySource, SourceNotFound, SourceForbidden, SourceTooLarge, SourceMismatch, SourceUnavailable
    and those of the store; OSError when the scratch directory is full.
    """
    limit = _max_bytes(task)
    announced, chunks = _open(task, bucket)
    if announced is not None and limit is not None and announced > limit:
        raise _too_large(limit)
    size, digest = 0, hashlib.sha256()
    with path.open("xb") as file:
        for chunk in chunks:
            size += len(chunk)
            if limit is not None and size > limit:
                raise _too_large(limit)
            digest.update(chunk)
            file.write(chunk)
            if announced:
                reporter.report("fetch", 100 * size / announced)
    fetched = Fetched(path=path, size_bytes=size, sha256=digest.hexdigest())
    _compare(task, fetched)
    return fetched


def _open(task: Task, bucket: Bucket) -> tuple[int | None, Iterator[bytes]]:
    source = task.source
    if (source.key is None) == (source.url is None):
        raise MediaError(Reason.INVALID_TASK, "The task names no source, or two.")
    if source.key is not None:
        # The operator checked it; whoever holds the credentials checks again.
        if not keys.may_read_source(source.key, task.namespace, task.foreign_prefixes):
            raise MediaError(Reason.SOURCE_FORBIDDEN, "The key of the source lies outside the namespace's uploads.")
        return bucket.read(source.key)
    # HTTP and TLS cost as much start-up time as all else together, and most sources lie in the store.
    from media_transcoder.download import download  # noqa: PLC0415

    return download(source.url or "", task.allowed_cidrs, task.deadline_seconds)


def _max_bytes(task: Task) -> int | None:
    """Return the limit in bytes; while the kind is unknown, the largest of all kinds.

    A kind without a limit counts as URL_MAX_BYTES for a URL; for an object of the store, it means None: no limit.
    """
    kinds = [task.type] if task.type else list(Kind)
    sizes = [limit.max_bytes if (limit := task.limits.get(kind)) else None for kind in kinds]
    if task.source.url is not None:
        return max(URL_MAX_BYTES if size is None else size for size in sizes)
    return max((size for size in sizes if size is not None), default=None) if None not in sizes else None


def _compare(task: Task, fetched: Fetched) -> None:
    source = task.source
    if source.size_bytes is not None and source.size_bytes != fetched.size_bytes:
        raise MediaError(
            Reason.SOURCE_MISMATCH, f"{source.size_bytes} bytes were announced, {fetched.size_bytes} were found."
        )
    if source.sha256 is not None and source.sha256.lower() != fetched.sha256:
        raise MediaError(Reason.SOURCE_MISMATCH, "The sha256 of the source is not the announced one.")
    if fetched.size_bytes == 0:
        raise MediaError(Reason.EMPTY_SOURCE)


def _too_large(limit: int) -> MediaError:
    return MediaError(Reason.SOURCE_TOO_LARGE, f"The source has more than {limit} bytes.")
