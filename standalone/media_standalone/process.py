"""One run of a transcoder as a subprocess: what a pod is to a Job."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from mediaasset.task import (
    DIE_WITH_PARENT_VARIABLE,
    GRAPH_VARIABLE,
    POD_VARIABLE,
    STORE_VARIABLE,
    TASK_VARIABLE,
    WHATSAPP_VARIABLE,
    Progress,
    Task,
    decode,
)

_LOG = structlog.get_logger(__name__)

#: Where the certificate authorities are that a source's server, or a proxy before it, is trusted by.
_TRUST = ("SSL_CERT_FILE", "SSL_CERT_DIR")

_LINE_BYTES = 64 * 1024
_TAIL_LINES = 20
#: How long the pipes may stay open after the process group is gone, in seconds: only a stray grandchild holds them.
_DRAIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """What all runs share: the store, where scratch directories are made, and the seconds from SIGTERM to SIGKILL.

    accounts is the directory of the WhatsApp accounts, for transcoders that need one.
    """

    store_url: str
    scratch: Path
    accounts: Path | None = None
    grace_seconds: float = 10.0
    # -P: the current directory holds what people sent, and nothing is imported from it.
    command: tuple[str, ...] = (sys.executable, "-P", "-m", "media_transcoder")

    async def run(self, pod: str, task: Task, on_progress: Callable[[Progress], None]) -> int:
        """Run one transcoder to its end; return its exit code, negative for a signal.

        Raises OSError when it cannot be started. When this returns or raises, cancelled or not, no process of the run
        lives and its scratch directory is gone.
        """
        scratch = self.scratch / pod
        await asyncio.to_thread(scratch.mkdir, mode=0o700, parents=True)
        try:
            process = await self._spawn(pod, task, scratch)
            try:
                return await _follow(process, pod, on_progress)
            finally:
                await _finish(_end(process, self.grace_seconds))
        finally:
            await _finish(asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True))

    async def _spawn(self, pod: str, task: Task, scratch: Path) -> asyncio.subprocess.Process:
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=scratch,
                env=self._environment(pod, task, scratch),
                start_new_session=True,
            )
        )
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            # Cancelled between fork and its report, the process would be nobody's.
            with contextlib.suppress(OSError):
                await _end(await starting, self.grace_seconds)
            raise

    def _environment(self, pod: str, task: Task, scratch: Path) -> dict[str, str]:
        # Nothing else of ours goes in: tokens and addresses are none of a transcoder's business.
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "TMPDIR": str(scratch),
            TASK_VARIABLE: task.to_json(),
            STORE_VARIABLE: self.store_url,
            POD_VARIABLE: pod,
            DIE_WITH_PARENT_VARIABLE: "1",
        }
        environment |= {name: os.environ[name] for name in _TRUST if name in os.environ}
        if task.source.whatsapp:
            environment[WHATSAPP_VARIABLE] = str(self.accounts or "")
            environment[GRAPH_VARIABLE] = os.environ.get(GRAPH_VARIABLE, "")
        return environment


async def _follow(process: asyncio.subprocess.Process, pod: str, on_progress: Callable[[Progress], None]) -> int:
    if process.stdout is None or process.stderr is None:
        message = "a transcoder runs without pipes"
        raise RuntimeError(message)
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    readers = asyncio.gather(_read_progress(process.stdout, on_progress), _read_tail(process.stderr, tail))
    try:
        code = await process.wait()
        _signal_group(process, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(readers), _DRAIN_SECONDS)
    finally:
        readers.cancel()
        await asyncio.gather(readers, return_exceptions=True)
    if code != 0 or tail:
        _LOG.info("A transcoder ended.", pod=pod, exit_code=code, stderr="\n".join(tail))
    return code


async def _read_progress(stream: asyncio.StreamReader, on_progress: Callable[[Progress], None]) -> None:
    async for line in _lines(stream):
        # Progress is comfort: a line that is none is no error.
        with contextlib.suppress(ValueError, TypeError, KeyError):
            on_progress(decode(Progress, json.loads(line)))


async def _read_tail(stream: asyncio.StreamReader, tail: deque[str]) -> None:
    async for line in _lines(stream):
        tail.append(line.decode(errors="replace").rstrip()[:1000])


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yield lines; one that never ends is cut, so that memory stays bounded and the pipe never fills."""
    pending = b""
    while chunk := await stream.read(_LINE_BYTES):
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            yield line
        pending = pending[-_LINE_BYTES:]
    if pending:
        yield pending


async def _end(process: asyncio.subprocess.Process, grace_seconds: float) -> None:
    """End the whole process group: SIGTERM, then after the grace SIGKILL; returns when the process is reaped."""
    if process.returncode is None:
        _signal_group(process, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), grace_seconds)
    _signal_group(process, signal.SIGKILL)
    await process.wait()


def _signal_group(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    # It leads its own session, so its group has its id; the group may outlive it.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


async def _finish(work: Coroutine[Any, Any, None]) -> None:
    """Carry a clean-up through even when cancelled meanwhile; the cancellation follows."""
    running = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled:
        raise cancelled
    running.result()
