"""Running ffmpeg and ffprobe: by an argument list of ours, with progress, and with what they complained of."""

import json
import selectors
import signal
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from math import isfinite
from os import getpid, read
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_CPU, RUSAGE_CHILDREN, getrlimit, getrusage
from typing import Any

from media_transcoder.complaints import Complaints, telling
from media_transcoder.confine import cpu_count, die_with_parent
from media_transcoder.faults import of_signal
from mediaasset.reasons import MediaError, Reason

#: The demuxers that may open a file of each type, and no other: a playlist or script never does, whatever its name.
DEMUXERS = {
    "video/mp4": "mov",
    "video/quicktime": "mov",
    "video/3gpp": "mov",
    "audio/mp4": "mov",
    "video/x-msvideo": "avi",
    "video/x-matroska": "matroska",
    "video/webm": "matroska",
    "video/mp2t": "mpegts",
    # MPEG audio, ADTS and FLAC may all begin with ID3.
    "audio/mpeg": "mp3,aac,flac",
    "audio/wav": "wav",
    "audio/ogg": "ogg",
    "audio/aac": "aac",
    "audio/amr": "amr,amrnb,amrwb",
    "audio/flac": "flac",
}

_CHUNK_BYTES = 64 * 1024
_MAX_PENDING_BYTES = 64 * 1024
#: What ffprobe says of a file with as many streams as we take stays far below.
_MAX_PROBE_BYTES = 4 * 1024 * 1024

_BY_TEXT = {
    "No space left on device": Reason.DISK_FULL,
    "Disk quota exceeded": Reason.DISK_FULL,
    # Address space, as with Pillow (see faults.media_error); damaged sizes ask for the most of it.
    "Cannot allocate memory": Reason.LIMIT_EXCEEDED,
    # x264's own words, after which ffmpeg speaks of an error in an external library.
    "malloc of size": Reason.LIMIT_EXCEEDED,
    "File too large": Reason.LIMIT_EXCEEDED,
}


def input_options(demuxers: str) -> dict[str, str]:
    """Return the options that must stand before each input of ffmpeg.

    They are what may open it, and that nothing else is opened. Decoders start a thread for each CPU of the node if they
    are not told how many the container has.
    """
    return _guards(demuxers) | {"threads": str(cpu_count())}


def _guards(demuxers: str) -> dict[str, str]:
    return {"format_whitelist": demuxers, "protocol_whitelist": "file"}


def ffprobe(path: Path, demuxers: str) -> dict[str, Any]:
    """Return what ffprobe says of a file, as its JSON. Raises MediaError, Undecodable when it refuses the file."""
    output = bytearray()

    def keep(chunk: bytes) -> None:
        if len(output) > _MAX_PROBE_BYTES:
            raise MediaError(Reason.LIMIT_EXCEEDED, "The file describes too many streams.")
        output.extend(chunk)

    _run([*_ffprobe(demuxers), "-show_format", "-show_streams", "-of", "json", str(path)], keep)
    found: dict[str, Any] = json.loads(output or b"{}")
    return found


def packets(
    path: Path,
    demuxers: str,
    stream: int,
    on_packet: Callable[[list[bytes]], None],
    fields: Sequence[str] = ("pts", "duration", "size"),
) -> None:
    """Give the packets of a stream away, in their order and without decoding: the fields of each, as text.

    `fields` must be in ffprobe's own order. Times are in ticks of the stream and may be N/A. Raises MediaError,
    Undecodable when ffprobe refuses the file, and what `on_packet` raises, which ends it.
    """
    pending = b""

    def follow(chunk: bytes) -> None:
        nonlocal pending
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            # A packet that carries more than its data ends in an empty field, and empty lines follow it.
            if len(found := line.split(b",")) >= len(fields):
                on_packet(found[: len(fields)])

    shown = ["-select_streams", str(stream), "-show_entries", f"packet={','.join(fields)}", "-of", "csv=p=0"]
    _run([*_ffprobe(demuxers), *shown, str(path)], follow)


def knows(kind: str, name: str) -> bool:
    """Tell whether this ffmpeg was built with something, by the kind and the name of ffmpeg -h."""
    output = bytearray()
    _run(["ffmpeg", "-v", "error", "-h", f"{kind}={name}"], output.extend)
    # Of what it does not know, it says so in the same place.
    return output.startswith(f"{kind.capitalize()} {name}".encode())


def _ffprobe(demuxers: str) -> list[str]:
    options = [word for name, value in _guards(demuxers).items() for word in (f"-{name}", value)]
    return ["ffprobe", "-v", "error", *options]


def ffmpeg(arguments: Sequence[str], report: Callable[[float, float | None], None]) -> float:
    """Run ffmpeg; return the seconds of output that it made.

    About twice a second `report` is given the seconds so far, and the speed in seconds of media per second if known.
    `arguments` is what ffmpeg-python compiled, "ffmpeg" first. Raises MediaError, Undecodable when ffmpeg refuses.
    """
    seconds, speed, pending = 0.0, None, b""

    def follow(chunk: bytes) -> None:
        nonlocal seconds, speed, pending
        *lines, pending = (pending + chunk).split(b"\n")
        pending = pending[-_MAX_PENDING_BYTES:]
        for line in lines:
            name, _, value = line.partition(b"=")
            # In microseconds, and N/A before the first packet.
            if name == b"out_time_us":
                seconds = max(seconds, (_number(value) or 0.0) / 1_000_000)
            elif name == b"speed":
                # Zero until the first packet comes out.
                speed = _number(value.strip().removesuffix(b"x")) or None
            # The last line of each block.
            elif name == b"progress":
                report(seconds, speed)

    _run([arguments[0], "-nostdin", "-v", "error", "-progress", "pipe:1", *arguments[1:]], follow)
    return seconds


def _number(text: bytes) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) else None


def _run(arguments: list[str], on_output: Callable[[bytes], None]) -> None:
    """Run to the end, giving away what comes on standard output. The deadline is the parent's, and the CPU limit."""
    complaints, before = Complaints(), _cpu_seconds()
    with subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # This process has one thread, so code between fork and exec is safe, and it is the thread that must live on.
        preexec_fn=partial(die_with_parent, signal.SIGKILL, getpid()),  # noqa: PLW1509
    ) as process:
        try:
            _pump(process, on_output, complaints)
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        # ffmpeg handles SIGXCPU and ends as if somebody had asked it to, with a code that says nothing.
        most, _ = getrlimit(RLIMIT_CPU)
        if most != RLIM_INFINITY and _cpu_seconds() - before >= most:
            raise MediaError(Reason.DEADLINE_EXCEEDED, log=complaints.lines)
        raise _refused(process.returncode, complaints.lines)


def _cpu_seconds() -> float:
    """Return the CPU time of all programs that have ended; they run one after the other."""
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _pump(process: "subprocess.Popen[bytes]", on_output: Callable[[bytes], None], complaints: Complaints) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout or -1, selectors.EVENT_READ, on_output)
        selector.register(process.stderr or -1, selectors.EVENT_READ, complaints.add)
        while selector.get_map():
            for key, _ in selector.select():
                chunk = read(key.fd, _CHUNK_BYTES)
                if chunk:
                    key.data(chunk)
                else:
                    selector.unregister(key.fileobj)


def _refused(code: int, lines: tuple[str, ...]) -> MediaError:
    if code < 0:
        return MediaError(of_signal(-code), log=lines)
    text = "\n".join(lines)
    reason = next((reason for part, reason in _BY_TEXT.items() if part in text), Reason.UNDECODABLE)
    # The machine's own trouble is told by the table; what is wrong with a file, by whoever read it.
    return MediaError(reason, telling(lines) if reason is Reason.UNDECODABLE else "", log=lines)
