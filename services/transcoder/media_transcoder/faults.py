"""Which reason an exception stands for."""

import errno
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from media_transcoder.complaints import clean
from mediaasset.reasons import MediaError, Reason

T = TypeVar("T")

_BY_ERRNO = {
    errno.ENOSPC: Reason.DISK_FULL,
    errno.EDQUOT: Reason.DISK_FULL,
    errno.ENOMEM: Reason.OUT_OF_MEMORY,
    # RLIMIT_FSIZE: an output grew beyond what any sane source makes.
    errno.EFBIG: Reason.LIMIT_EXCEEDED,
}

#: What the kernel ends a decoder for. Nobody else sends SIGKILL but to a process that outlived its use.
_BY_SIGNAL = {
    signal.SIGKILL: Reason.OUT_OF_MEMORY,
    signal.SIGXCPU: Reason.DEADLINE_EXCEEDED,
    signal.SIGXFSZ: Reason.LIMIT_EXCEEDED,
    signal.SIGTERM: Reason.INTERRUPTED,
}


def of_signal(number: int) -> Reason:
    """Return why a decoder was ended by this signal; one that crashes on a file crashes on it again."""
    return _BY_SIGNAL.get(signal.Signals(number), Reason.UNDECODABLE)


def media_error(error: BaseException) -> MediaError:
    """Give any exception its reason; Internal when it says nothing about the machine or the media."""
    if isinstance(error, MediaError):
        return error
    if isinstance(error, MemoryError):
        # What is refused is address space, of which a decoder gets as much as media within the limits can take (see
        # confine.limit). A container that is short of memory refuses nothing: it kills.
        return MediaError(Reason.LIMIT_EXCEEDED, "Decoding it takes more memory than media within the limits do.")
    reason = _BY_ERRNO.get(error.errno or 0) if isinstance(error, OSError) else None
    return MediaError(reason) if reason else MediaError(Reason.INTERNAL, f"{type(error).__name__}.")


@contextmanager
def blaming(reason: Reason) -> Iterator[None]:
    """Turn whatever the block raises into `reason`, unless it is about the machine.

    Decoders raise nearly every class of exception on damaged files (struct errors, SyntaxError, warnings), and trying
    again gives the same.
    """
    try:
        yield
    except Exception as error:
        known = media_error(error)
        if known.reason is Reason.INTERNAL:
            raise MediaError(reason, log=(clean(f"{type(error).__name__}: {error}"),)) from error
        raise known from error


def present(value: T | None) -> T:
    """Return what an earlier step left; raises MediaError (Internal) if that step did not run."""
    if value is None:
        raise MediaError(Reason.INTERNAL, "A step ran before the one that it needs.")
    return value
