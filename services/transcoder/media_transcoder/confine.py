"""What the transcoder's processes ask of the kernel: end with the parent, give no memory away, stay within limits."""

import ctypes
import os
import resource
import signal
import sys

from mediaasset.media import Kind
from mediaasset.task import CPUS_VARIABLE, MEMORY_VARIABLE, Limits

# prctl(2).
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4

MIB = 1024 * 1024
GIB = 1024 * MIB

#: What stands for maxPixels where a profile sets none: Pillow's own hard stop, twice its warning.
DEFAULT_MAX_PIXELS = 178_956_970
#: An image lies in memory at 4 bytes per pixel and up to three times at once: decoded, converted, flattened.
_IMAGE_BYTES_PER_PIXEL = 3 * 4
#: The interpreter, its libraries and the renditions. Address space, not memory: most of it is never touched.
_IMAGE_SLACK_BYTES = 512 * MIB
#: ffmpeg maps far more than it uses: threads' stacks, frame pools for each of them, 200 shared libraries.
_FFMPEG_BYTES = 8 * GIB
_DOCUMENT_BYTES = 1 * GIB
#: No output of a sane source within the byte limits comes near these.
_IMAGE_FILE_BYTES = 1 * GIB
_FFMPEG_FILE_BYTES = 4 * GIB
#: Between SIGXCPU, which a process may handle, and SIGKILL.
_CPU_GRACE_SECONDS = 5


def hide_memory() -> None:
    """Keep other processes of the same user from reading this one's memory and environment. Linux only."""
    _prctl(_PR_SET_DUMPABLE, 0)


def die_with_parent(number: signal.Signals, parent: int) -> bool:
    """Have the kernel send a signal to this process when `parent` ends; False when it is gone already. Linux only."""
    _prctl(_PR_SET_PDEATHSIG, number)
    # A parent that ended before the call above sends no signal any more.
    return os.getppid() == parent


def limit(kind: Kind, limits: Limits, deadline_seconds: int) -> None:
    """Bound this process and those it starts: address space, CPU time, size of each file, no core dumps."""
    is_image = kind is Kind.IMAGE
    space = {
        Kind.IMAGE: _IMAGE_BYTES_PER_PIXEL * (limits.max_pixels or DEFAULT_MAX_PIXELS) + _IMAGE_SLACK_BYTES,
        Kind.DOCUMENT: _DOCUMENT_BYTES,
    }.get(kind, _FFMPEG_BYTES)
    # CPU time is counted over all threads of a process.
    seconds = deadline_seconds * cpu_count()
    _set(resource.RLIMIT_CORE, 0)
    _set(resource.RLIMIT_AS, space)
    _set(resource.RLIMIT_FSIZE, _IMAGE_FILE_BYTES if is_image else _FFMPEG_FILE_BYTES)
    _set(resource.RLIMIT_CPU, seconds, seconds + _CPU_GRACE_SECONDS)


def cpu_count() -> int:
    """Return how many CPUs this process may use: those it may run on, and no more than its container is given."""
    available = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(available, _whole(CPUS_VARIABLE) or available)


def memory_bytes() -> int | None:
    """Return how much memory the container may use, None where nobody says."""
    return _whole(MEMORY_VARIABLE)


def _whole(variable: str) -> int | None:
    text = os.environ.get(variable, "")
    # Zero is no limit, and what is no number was not written by the platform.
    return int(text) or None if text.isdecimal() else None


def _set(what: int, soft: int, hard: int | None = None) -> None:
    # An inherited limit may be lower than ours, and may not be raised.
    _, ceiling = resource.getrlimit(what)
    wanted = (soft, soft if hard is None else hard)
    if ceiling != resource.RLIM_INFINITY:
        wanted = (min(wanted[0], ceiling), min(wanted[1], ceiling))
    resource.setrlimit(what, wanted)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
