"""The decoding child as its parent sees it: started early, asked once, believed nothing, and ended in any case."""

import contextlib
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from media_transcoder.faults import of_signal
from media_transcoder.messages import LINE_BYTES, Message, Outcome, Rendered, Request, dump, load
from media_transcoder.progress import Reporter
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import CPUS_VARIABLE, MEMORY_VARIABLE, Format, Rendition, Task

#: What a rendition of each format may be; a document keeps its type.
MIME_TYPES: dict[Format, tuple[str, ...]] = {
    Format.JPEG: ("image/jpeg",),
    Format.PNG: ("image/png",),
    Format.WEBP: ("image/webp",),
    Format.AVIF: ("image/avif",),
    Format.ORIGINAL: ("image/jpeg", "image/png"),
    Format.MP4: ("video/mp4",),
    Format.HLS: ("application/vnd.apple.mpegurl",),
    Format.STORYBOARD: ("text/vtt",),
    Format.MP3: ("audio/mpeg",),
    Format.OPUS: ("audio/ogg",),
}

#: More files than this are in no directory of ours: each size of a ladder is one file and one playlist.
_MAX_FILES = 64
_FILE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\.(m3u8|mp4|vtt|jpg)\Z")
#: What the child is told of its container. Nothing else of our environment reaches it.
_TOLD = (CPUS_VARIABLE, MEMORY_VARIABLE)
_MIME = re.compile(r"(image|video|audio|application|text)/[a-z0-9.+-]{1,100}\Z")


class Decoder:
    """Runs media_transcoder.child in a fresh interpreter without our environment, in a session of its own."""

    def __init__(self, scratch: Path) -> None:
        """Start the child: its imports run while the source is fetched. It finds nothing of ours in its environment."""
        # -I: neither the current directory nor PYTHON* variables may lead it to other code.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-m", "media_transcoder.child", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=scratch,
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "LANG": "C.UTF-8",
                "TMPDIR": str(scratch),
                **{name: os.environ[name] for name in _TOLD if name in os.environ},
            },
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        """Do nothing: the child runs already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the child and all that it started."""
        self.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()

    def kill(self) -> None:
        """End the child and all that it started, at once and from any thread."""
        # As long as it is not reaped, its process group cannot be another's.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def decode(self, request: Request, reporter: Reporter) -> Outcome:
        """Have a file decoded and rendered; return what came of it, checked in form but not in substance.

        Raises MediaError when the child ends without saying how.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            message = "the decoding child runs without pipes"
            raise RuntimeError(message)
        with contextlib.suppress(BrokenPipeError):  # It ended early; why, its exit status tells.
            stdin.write(dump(request))
            stdin.close()
        while line := stdout.readline(LINE_BYTES):
            try:
                message = load(Message, line)
            except (TypeError, ValueError, KeyError, RecursionError):
                break
            if message.outcome:
                outcome: Outcome = message.outcome
                return outcome
            if message.progress:
                progress = message.progress
                reporter.report(progress.stage, progress.percent or 0.0, progress.speed)
        raise self._cause_of_death()

    def _cause_of_death(self) -> MediaError:
        # WNOWAIT leaves it unreaped, so that its process group can still be ended.
        ended = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        if ended is None or ended.si_code == os.CLD_EXITED:
            return MediaError(Reason.INTERNAL, "The decoder ended without an answer.")
        number = ended.si_status
        return MediaError(of_signal(number), log=(f"The decoder was ended by signal {number}.",))


def renditions_of(task: Task, outcome: Outcome) -> list[tuple[Rendition, Rendered]]:
    """Pair what the child says it made with what was asked for, in the order of the task.

    Raises MediaError (InvalidOutput) unless exactly the renditions of the found kind are there, each required one made.
    """
    info = outcome.source_info
    if info is None or not _MIME.match(info.mime_type):
        raise MediaError(Reason.INVALID_OUTPUT, "The decoder does not say what the source is.")
    wanted = [rendition for rendition in task.renditions if rendition.kind is info.type]
    made = {rendered.name: rendered for rendered in outcome.renditions}
    if [rendition.name for rendition in wanted] != [rendered.name for rendered in outcome.renditions]:
        raise MediaError(Reason.INVALID_OUTPUT, "The decoder made other renditions than it was asked for.")
    pairs = [(rendition, made[rendition.name]) for rendition in wanted]
    for rendition, rendered in pairs:
        if rendered.reason is Reason.NOT_APPLICABLE or (rendered.reason is not None and rendition.optional):
            continue
        if rendered.file is None or rendered.mime_type not in MIME_TYPES.get(rendition.format, (info.mime_type,)):
            raise MediaError(Reason.INVALID_OUTPUT, f"The decoder did not make {rendition.name}.")
    return pairs


def open_output(directory: Path, name: str) -> int:
    """Open an output of the child for reading; return the descriptor.

    Raises MediaError (InvalidOutput) for what is not a regular file directly inside `directory`.
    """
    descriptor = _open(directory, name, os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise MediaError(Reason.INVALID_OUTPUT, "The decoder names something that is no file.")
    return descriptor


def files_of(directory: Path, name: str) -> list[str]:
    """Return the names of the files of a rendition that is a directory directly inside `directory`, sorted.

    Raises MediaError (InvalidOutput) for what is no directory, and for a name that may not stand in a key.
    """
    descriptor = _open(directory, name, os.O_DIRECTORY)
    try:
        names = sorted(os.listdir(descriptor))  # noqa: PTH208 - pathlib has no listing by descriptor
    finally:
        os.close(descriptor)
    if len(names) > _MAX_FILES or not all(_FILE_NAME.match(each) for each in names):
        raise MediaError(Reason.INVALID_OUTPUT, "The decoder made files of other names or numbers than it should.")
    return names


def _open(directory: Path, name: str, flags: int) -> int:
    if not name or "/" in name or "\0" in name or name in (".", ".."):
        raise MediaError(Reason.INVALID_OUTPUT, "The decoder names a file outside its directory.")
    try:
        return os.open(directory / name, os.O_RDONLY | os.O_NOFOLLOW | flags)
    except OSError as error:
        raise MediaError(Reason.INVALID_OUTPUT, "The decoder names a file that is not there.") from error
