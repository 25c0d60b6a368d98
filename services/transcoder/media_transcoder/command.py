"""Running ffmpeg and ffprobe: by an argument list of ours, with progress, and with what they complained of."""

import json
import re
import selectors
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from os import getpid, read
from pathlib import Path
from typing import Any

from media_transcoder.confine import die_with_parent
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
    # MPEG audio and ADTS may both begin with ID3.
    "audio/mpeg": "mp3,aac",
    "audio/wav": "wav",
    "audio/ogg": "ogg",
    "audio/aac": "aac",
    "audio/amr": "amr,amrnb,amrwb",
}

_TAIL_LINES = 20
_CHUNK_BYTES = 64 * 1024
_MAX_PENDING_BYTES = 64 * 1024
#: What ffprobe says of a file with as many streams as we take stays far below.
_MAX_PROBE_BYTES = 4 * 1024 * 1024
#: Paths of ours are nobody's business; they stand in most of ffmpeg's messages.
_PATH = re.compile(r"(?:file:)?/\S*/")

_BY_TEXT = {
    "No space left on device": Reason.DISK_FULL,
    "Cannot allocate memory": Reason.OUT_OF_MEMORY,
    "File too large": Reason.LIMIT_EXCEEDED,
}


def input_options(demuxers: str) -> dict[str, str]:
    """Return the options that must stand before each input: what may open it, and that nothing else is opened."""
    return {"format_whitelist": demuxers, "protocol_whitelist": "file"}


def ffprobe(path: Path, demuxers: str) -> dict[str, Any]:
    """Return what ffprobe says of a file, as its JSON. Raises MediaError, Undecodable when it refuses the file."""
    options = [word for name, value in input_options(demuxers).items() for word in (f"-{name}", value)]
    arguments = ["ffprobe", "-v", "error", *options, "-show_format", "-show_streams", "-of", "json", str(path)]
    output = bytearray()

    def keep(chunk: bytes) -> None:
        if len(output) > _MAX_PROBE_BYTES:
            raise MediaError(Reason.LIMIT_EXCEEDED, "The file describes too many streams.")
        output.extend(chunk)

    _run(arguments, keep)
    found: dict[str, Any] = json.loads(output or b"{}")
    return found


def ffmpeg(arguments: Sequence[str], report: Callable[[float], None]) -> float:
    """Run ffmpeg; `report` is given the seconds of output so far, which are also returned at the end.

    `arguments` is what ffmpeg-python compiled, "ffmpeg" first. Raises MediaError, Undecodable when ffmpeg refuses.
    """
    seconds, pending = 0.0, b""

    def follow(chunk: bytes) -> None:
        nonlocal seconds, pending
        *lines, pending = (pending + chunk).split(b"\n")
        pending = pending[-_MAX_PENDING_BYTES:]
        for line in lines:
            name, _, value = line.partition(b"=")
            # In microseconds, and N/A before the first packet.
            if name == b"out_time_us" and value.strip().lstrip(b"-").isdigit():
                seconds = max(seconds, int(value) / 1_000_000)
                report(seconds)

    _run([arguments[0], "-nostdin", "-v", "error", "-progress", "pipe:1", *arguments[1:]], follow)
    return seconds


def _run(arguments: list[str], on_output: Callable[[bytes], None]) -> None:
    """Run to the end, giving away what comes on standard output. The deadline is the parent's, and the CPU limit."""
    tail: deque[bytes] = deque(maxlen=_TAIL_LINES)
    with subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # This process has one thread, so code between fork and exec is safe, and it is the thread that must live on.
        preexec_fn=partial(die_with_parent, signal.SIGKILL, getpid()),  # noqa: PLW1509
    ) as process:
        try:
            _pump(process, on_output, tail)
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise _refused(process.returncode, _text(tail))


def _pump(process: "subprocess.Popen[bytes]", on_output: Callable[[bytes], None], tail: deque[bytes]) -> None:
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout or -1, selectors.EVENT_READ, "out")
        selector.register(process.stderr or -1, selectors.EVENT_READ, "err")
        while selector.get_map():
            for key, _ in selector.select():
                chunk = read(key.fd, _CHUNK_BYTES)
                if not chunk:
                    selector.unregister(key.fileobj)
                elif key.data == "out":
                    on_output(chunk)
                else:
                    *lines, rest = (rest + chunk).split(b"\n")
                    rest = rest[-_MAX_PENDING_BYTES:]
                    tail.extend(lines)
    if rest:
        tail.append(rest)


def _refused(code: int, text: str) -> MediaError:
    if code < 0:
        return MediaError(of_signal(-code), text)
    return MediaError(next((reason for part, reason in _BY_TEXT.items() if part in text), Reason.UNDECODABLE), text)


def _text(lines: deque[bytes]) -> str:
    text = "; ".join(line.decode(errors="replace").strip()[:500] for line in lines)
    return _PATH.sub("", "".join(letter if letter.isprintable() else " " for letter in text))
