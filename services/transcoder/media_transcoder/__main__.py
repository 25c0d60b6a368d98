"""`python -m media_transcoder`: one attempt of one asset, as a process with an exit code of the reasons table.

In: the Task as JSON in MEDIA_TASK, the store's URL in MEDIA_STORE_URL, this pod's name in MEDIA_POD_NAME.
Out: renditions and result.json in the store, progress as JSON lines on standard output, the log on standard error.
On failure also the failure's object, and a hint as one line of JSON in the file that MEDIA_TERMINATION_LOG names.
"""

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType

from media_transcoder import confine, pipeline, watchdog
from media_transcoder.bucket import Bucket
from media_transcoder.decoder import Decoder
from media_transcoder.faults import media_error
from media_transcoder.live import Live
from media_transcoder.messages import LOG_CHARACTERS, LOG_LINES, MESSAGE_CHARACTERS
from media_transcoder.progress import Reporter
from mediaasset import keys
from mediaasset.reasons import TABLE, MediaError, Reason
from mediaasset.task import (
    DIE_WITH_PARENT_VARIABLE,
    POD_VARIABLE,
    STORE_VARIABLE,
    TASK_VARIABLE,
    Failure,
    SourceInfo,
    Task,
)

#: Where Kubernetes reads a container's last words: at most 4,096 bytes, so that many characters, each of up to four.
TERMINATION_VARIABLE = "MEDIA_TERMINATION_LOG"
_HINT_CHARACTERS = 900


class Stopped(BaseException):
    """A signal asks to end; no `except Exception` on the way may hold it up."""


def main() -> int:
    """Do one attempt; return the exit code."""
    parent = os.getppid()
    confine.hide_memory()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    clear_up: list[Callable[[], None]] = []
    watchdog.start(partial(_end, clear_up))
    try:
        if os.environ.get(DIE_WITH_PARENT_VARIABLE) and not confine.die_with_parent(signal.SIGTERM, parent):
            raise Stopped  # noqa: TRY301 - the parent's end is a stop like any other
        _attempt(clear_up)
    except Stopped:
        # It may have come while the attempt cleared up, and have ended that.
        _clear(clear_up)
        # Nothing is written: whoever deletes the asset stops us, and must not find objects of ours afterwards.
        return _code(_tell(MediaError(Reason.INTERRUPTED)))
    except MediaError as error:
        return _code(_tell(error))
    return 0


def _attempt(clear_up: list[Callable[[], None]]) -> None:
    """Read the task and run it. Raises MediaError after having left the failure in the store.

    What has to be done before the process may end, wherever this function is then, is added to `clear_up`.
    """
    task = Task.from_json(os.environ.get(TASK_VARIABLE, ""))
    signal.signal(signal.SIGALRM, _expire)
    signal.setitimer(signal.ITIMER_REAL, max(task.deadline_seconds, 1))
    bucket = Bucket(os.environ.get(STORE_VARIABLE, ""))
    if bucket.exists(keys.result(task.uid, task.attempt)):
        _log("info", "The result of this attempt is in the store already.")
        return
    work: pipeline.Run | None = None
    try:
        with (
            tempfile.TemporaryDirectory(prefix="transcode-", ignore_cleanup_errors=True) as scratch,
            Decoder(Path(scratch)) as decoder,
            Live(task.uid, partial(_log, "warning")) as live,
        ):
            clear_up += [decoder.kill, partial(shutil.rmtree, scratch, ignore_errors=True)]
            reporter = Reporter(live.offer)
            work = pipeline.Run(task=task, bucket=bucket, reporter=reporter, scratch=Path(scratch), decoder=decoder)
            pipeline.run(work)
            signal.setitimer(signal.ITIMER_REAL, 0)
    except Exception as error:
        failure = media_error(error)
        if failure.reason is Reason.INTERNAL:
            _log("error", f"{type(error).__name__}: {error}")
        _leave_failure(task, bucket, failure, work.source_info if work else None)
        raise failure from error


def _end(clear_up: list[Callable[[], None]], number: signal.Signals) -> None:
    """End in place of the main thread, which waits for the store and does not hear."""
    _clear(clear_up)
    os._exit(_code(_tell(MediaError(Reason.DEADLINE_EXCEEDED if number is signal.SIGALRM else Reason.INTERRUPTED))))


def _clear(clear_up: list[Callable[[], None]]) -> None:
    for each in clear_up:
        each()


def _leave_failure(task: Task, bucket: Bucket, error: MediaError, info: SourceInfo | None) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
    failure = Failure(
        uid=task.uid,
        attempt=task.attempt,
        inputs_hash=task.inputs_hash,
        reason=error.reason,
        message=error.message[:MESSAGE_CHARACTERS],
        source_info=info,
        log=tuple(line[:LOG_CHARACTERS] for line in error.log[-LOG_LINES:]),
    )
    pod = os.environ.get(POD_VARIABLE) or f"{os.uname().nodename}-{os.getpid()}"
    try:
        bucket.create(keys.failure(task.uid, task.attempt, pod), failure.to_json().encode())
    except MediaError as down:
        # The exit code still tells the reason.
        _log("warning", f"The failure could not be written: {down.message}")


def _tell(error: MediaError) -> Reason:
    _log("error", f"{error.reason}: {error.message}")
    path = os.environ.get(TERMINATION_VARIABLE)
    if path:
        hint = {"reason": error.reason, "message": error.message[:_HINT_CHARACTERS]}
        with contextlib.suppress(OSError):
            Path(path).write_text(json.dumps(hint, ensure_ascii=False) + "\n", encoding="utf-8", errors="replace")
    return error.reason


def _code(reason: Reason) -> int:
    code = TABLE[reason].exit_code
    return code if code is not None else TABLE[Reason.INTERNAL].exit_code or 1


def _log(level: str, text: str) -> None:
    line = " ".join(text.split())
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{level}: {line}\n")


def _stop(_number: int, _frame: FrameType | None) -> None:
    # One stop is enough: a second one must not interrupt the clearing up.
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(each, signal.SIG_IGN)
    raise Stopped


def _expire(_number: int, _frame: FrameType | None) -> None:
    raise MediaError(Reason.DEADLINE_EXCEEDED)


if __name__ == "__main__":
    sys.exit(main())
