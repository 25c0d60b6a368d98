"""The decoding child in a fork of a process that has its imports behind it: thousands of files in a bearable time.

In all else it is the child that the transcoder starts: its own session, the same steps, limits and messages. What is
told of it besides its outcome is what the kernel knows: its signal, its time, and the largest memory of its processes.
"""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

# The modules that the child imports late.
from media_transcoder import audio, child, document, faults, image, video  # noqa: F401
from media_transcoder.messages import LINE_BYTES, Message, Outcome, Request, dump, load
from media_transcoder.pictures import animation  # noqa: F401
from mediaasset.reasons import Reason
from mediaasset.task import Task

#: How long a file may take before its child counts as hanging.
PATIENCE_SECONDS = 120
_CRASH = "crashed by signal "
_CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a file ended: reason None is success. signal is that of the child, crashes are those of ffmpeg."""

    reason: Reason | None = None
    message: str = ""
    mime_type: str | None = None
    signal: int | None = None
    crashes: tuple[int, ...] = ()
    hung: bool = False
    seconds: float = 0.0
    kib: int = 0
    log: str = ""

    @property
    def is_defect(self) -> bool:
        """Tell whether this is an end that no file may come to. That the kernel ends a child at a limit is none."""
        crashed = self.crashes or self.signal in _CRASHES
        return self.hung or bool(crashed) or self.reason in (Reason.INTERNAL, Reason.INVALID_OUTPUT)


class Server:
    """A process that decodes one file after the other."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            # A run that is interrupted still gets the verdicts that are under way.
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Communicating would close standard input as well, but here nothing is left to be read.
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                stream.close()
        self._process.wait()

    def decode(self, content: bytes, task: Task) -> Verdict:
        """Decode a file in a scratch directory of its own, which is gone afterwards."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with tempfile.TemporaryDirectory(prefix="forked-") as scratch:
            file, outputs = Path(scratch, "source"), Path(scratch, "outputs")
            file.write_bytes(content)
            outputs.mkdir()
            request = Request(
                task=task, file=str(file), directory=str(outputs), size_bytes=len(content), sha256="0" * 64
            )
            stdin.write(dump(request))
            stdin.flush()
            verdict: Verdict = load(Verdict, stdout.readline())
        return verdict


def _decode(line: bytes) -> Verdict:
    """Decode what a request names in a fork; called in the server."""
    scratch = Path(json.loads(line)["file"]).parent
    descriptors = [os.memfd_create(name) for name in ("in", "out", "err")]
    os.pwrite(descriptors[0], line, 0)
    start, parent = time.monotonic(), os.getpid()
    pid = os.fork()
    if pid == 0:
        _be_the_child(descriptors, scratch, parent)
    watch = os.pidfd_open(pid)
    hung = not select.select([watch], [], [], PATIENCE_SECONDS)[0]
    if hung:
        os.killpg(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.monotonic() - start
    os.close(watch)
    output, log = (os.pread(descriptor, LINE_BYTES, 0) for descriptor in descriptors[1:])
    for descriptor in descriptors:
        os.close(descriptor)
    code = os.waitstatus_to_exitcode(status)
    text = log.decode(errors="replace")
    crashes = tuple(int(each.split()[0]) for each in text.split(_CRASH)[1:])
    return replace(
        _outcome(output, code), crashes=crashes, hung=hung, seconds=seconds, kib=usage.ru_maxrss, log=text[-4000:]
    )


def _outcome(output: bytes, code: int) -> Verdict:
    messages = [load(Message, line) for line in output.splitlines()]
    outcome: Outcome | None = messages[-1].outcome if messages else None
    if outcome is None:
        reason = faults.of_signal(-code) if code < 0 else Reason.INTERNAL
        return Verdict(reason=reason, message=f"ended with code {code}", signal=-code if code < 0 else None)
    mime = outcome.source_info.mime_type if outcome.source_info else None
    return Verdict(reason=outcome.reason, message=outcome.message, mime_type=mime)


def _be_the_child(descriptors: list[int], scratch: Path, parent: int) -> None:
    """Do what media_transcoder.child does as a program of its own; never return."""
    code = 1
    try:
        os.setsid()
        for target, descriptor in enumerate(descriptors):
            os.dup2(descriptor, target)
        os.lseek(0, 0, os.SEEK_SET)
        os.chdir(scratch)
        path = os.environ["PATH"]
        os.environ.clear()
        os.environ.update({"PATH": path, "LANG": "C.UTF-8", "TMPDIR": str(scratch)})
        tempfile.tempdir = None
        _tell_crashes()
        sys.argv = ["child", str(parent)]
        code = child.main()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _tell_crashes() -> None:
    """Have every signal that ended a program written to the log: it is Undecodable, but we want to know."""
    known = faults.of_signal

    def telling(number: int) -> Reason:
        reason = known(number)
        if reason is Reason.UNDECODABLE:
            sys.stderr.write(f"{_CRASH}{number} \n")
        return reason

    for module in list(sys.modules.values()):
        if getattr(module, "of_signal", None) is known:
            module.of_signal = telling  # type: ignore[attr-defined]


def main() -> None:
    """Answer each line of standard input, a Request, with one line, a Verdict."""
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(dump(_decode(line)))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
