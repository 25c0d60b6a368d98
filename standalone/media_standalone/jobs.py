"""The Jobs of standalone: rows of the SQLite file, and a bounded pool of transcoder processes."""

import asyncio
import errno
import json
import os
import secrets
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from media_standalone.database import Database, translated
from media_standalone.process import Runner
from mediaasset.jobs import Job, JobPhase, JobsError, NameTakenError
from mediaasset.reasons import TABLE, MediaError, Reason, Retry, from_exit_code
from mediaasset.task import Progress, Queue, Task

_LOG = structlog.get_logger(__name__)

#: How many more times a Job's pod is run for a reason that the table retries so; backoffLimit of the real Jobs.
BACKOFF_LIMIT = 2
#: How long a finished Job is remembered unless its asset goes before; ttlSecondsAfterFinished of the real ones.
KEPT = timedelta(hours=24)
#: The pause before a change of a row is tried again when the database fails, in seconds.
_DATABASE_PAUSE = 5.0


class ProcessJobs:
    """Implements the ports `Jobs` and `ProgressReader`.

    `on_change` is called with (namespace, asset name) after every change of a phase. At most `slots` processes run at
    once; `pause_seconds` is the pause before the first retry, it doubles with each further one.
    """

    def __init__(
        self,
        database: Database,
        runner: Runner,
        on_change: Callable[[str, str], None],
        *,
        slots: int | None = None,
        pause_seconds: float = 2.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Take the open file, how a process is run, and who is to be woken; slots defaults to the cores."""
        self._database = database
        self._runner = runner
        self._on_change = on_change
        self.slots = slots or len(os.sched_getaffinity(0))
        self._free = asyncio.Semaphore(self.slots)
        self._pause_seconds = pause_seconds
        self._now = now
        self._running: dict[str, asyncio.Task[None]] = {}
        self._progress: dict[str, Progress] = {}

    @translated(JobsError)
    async def resume(self) -> None:
        """Run again what a crash or a stop left unfinished; call it once, before anything else.

        For a Job this is the loss of a node, which does not count as a retry.
        """
        rows = await self._database.rows("SELECT * FROM jobs WHERE finished_at IS NULL ORDER BY created_at")
        for row in rows:
            try:
                task = Task.from_json(row["task"])
            except MediaError as error:
                # Written by another version. The asset finds its Job gone, and starts another attempt.
                _LOG.warning("A Job that cannot be read is dropped.", job=row["name"], error=error.message)
                async with self._database.transaction() as connection:
                    await connection.execute("DELETE FROM jobs WHERE name = ?", (row["name"],))
            else:
                self._start(row["name"], task, row["retries"])

    async def close(self) -> None:
        """End all processes and leave the rows as they are; `resume` goes on from them."""
        running = list(self._running.values())
        for supervisor in running:
            supervisor.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    @translated(JobsError)
    async def create(self, name: str, task: Task) -> None:
        """Start a Job, or accept the one that is there."""
        async with self._database.transaction() as connection:
            await connection.execute(
                "DELETE FROM jobs WHERE finished_at < ? AND name != ?", (_text(self._now() - KEPT), name)
            )
            created = await connection.execute(
                "INSERT INTO jobs (name, uid, namespace, asset, attempt, inputs_hash, task, phase, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (
                    name,
                    task.uid,
                    task.namespace,
                    task.name,
                    task.attempt,
                    task.inputs_hash,
                    task.to_json(),
                    JobPhase.PENDING.value,
                    _text(self._now()),
                ),
            )
            (row,) = await connection.execute_fetchall("SELECT * FROM jobs WHERE name = ?", (name,))
        if (row["uid"], row["inputs_hash"]) != (task.uid, task.inputs_hash):
            message = f"the Job {name} works on something else"
            raise NameTakenError(message)
        if row["finished_at"] is None and name not in self._running:
            self._start(name, task, row["retries"])
        if created.rowcount == 1:
            self._on_change(task.namespace, task.name)

    @translated(JobsError)
    async def of_asset(self, uid: str, named: str | None = None) -> tuple[Job, ...]:  # noqa: ARG002 - all are known
        """Return the Jobs of an asset."""
        rows = await self._database.rows("SELECT * FROM jobs WHERE uid = ? ORDER BY attempt, name", (uid,))
        return tuple(_job(row) for row in rows)

    @translated(JobsError)
    async def active(self) -> tuple[Job, ...]:
        """Return the Jobs that are not finished."""
        rows = await self._database.rows("SELECT * FROM jobs WHERE finished_at IS NULL ORDER BY created_at, name")
        return tuple(_job(row) for row in rows)

    @translated(JobsError)
    async def stop(self, uid: str, name: str) -> None:
        """End a Job and remove its row."""
        rows = await self._database.rows("SELECT namespace, asset FROM jobs WHERE name = ? AND uid = ?", (name, uid))
        if not rows:
            return
        supervisor = self._running.get(name)
        if supervisor is not None:
            supervisor.cancel()
            await asyncio.wait([supervisor])
        async with self._database.transaction() as connection:
            await connection.execute("DELETE FROM jobs WHERE name = ? AND uid = ?", (name, uid))
        self._on_change(rows[0]["namespace"], rows[0]["asset"])

    async def progress(self, uid: str) -> Progress | None:
        """Return the last progress line of the process that works on an asset."""
        return self._progress.get(uid)

    def _start(self, name: str, task: Task, retries: int = 0) -> None:
        supervisor = asyncio.create_task(self._supervise(name, task, retries), name=name)
        self._running[name] = supervisor
        supervisor.add_done_callback(lambda _: self._running.pop(name, None))

    async def _supervise(self, name: str, task: Task, retries: int) -> None:
        """Run one Job to its end; a cancellation ends the process and leaves the row."""
        code: int | None = None
        reason: Reason | None
        try:
            # Like activeDeadlineSeconds, it counts from the first run on, for the Job with all its retries.
            async with asyncio.timeout(None) as deadline:
                code, reason = await self._run(name, task, deadline)
                while reason and TABLE[reason].retry is Retry.POD and retries < BACKOFF_LIMIT:
                    await asyncio.sleep(self._pause_seconds * 2**retries)
                    retries += 1
                    await self._record(name, task, retries=retries)
                    code, reason = await self._run(name, task, deadline)
        except TimeoutError:
            reason = Reason.DEADLINE_EXCEEDED
        except Exception:  # noqa: BLE001 - whatever it is, it is logged and recorded
            # An error of our own must not leave a Job that is Running for ever.
            _LOG.exception("The supervision of a Job failed.", job=name)
            reason = Reason.INTERNAL
        await self._record(
            name,
            task,
            phase=(JobPhase.FAILED if reason else JobPhase.SUCCEEDED).value,
            exit_code=code,
            reason=reason.value if reason else None,
            finished_at=_text(self._now()),
        )

    async def _run(self, name: str, task: Task, deadline: asyncio.Timeout) -> tuple[int | None, Reason | None]:
        """Run one process once a slot is free; return its exit code, and the reason unless it succeeded."""
        async with self._free:
            if deadline.when() is None:
                deadline.reschedule(asyncio.get_running_loop().time() + task.deadline_seconds)
                await self._record(name, task, phase=JobPhase.RUNNING.value, started_at=_text(self._now()))
            # Two runs of one Job must not share the key of their failures.
            pod = f"{name}-{secrets.token_hex(4)}"
            try:
                code = await self._runner.run(pod, task, lambda progress: self._note(task.uid, progress))
            except TimeoutError:
                raise  # It is an OSError too, but here it can only be the deadline.
            except OSError as error:
                _LOG.warning("A transcoder could not be started.", pod=pod, error=str(error))
                return None, Reason.DISK_FULL if error.errno == errno.ENOSPC else Reason.INTERNAL
            finally:
                self._progress.pop(task.uid, None)
        return code, None if code == 0 else from_exit_code(code)

    def _note(self, uid: str, progress: Progress) -> None:
        self._progress[uid] = progress

    async def _record(self, name: str, task: Task, **columns: Any) -> None:
        """Change a row; a database that fails (a full disk) is tried until it works, for the fact would be lost."""
        assignments = ", ".join(f"{column} = ?" for column in columns)
        while True:
            try:
                async with self._database.transaction() as connection:
                    await connection.execute(
                        f"UPDATE jobs SET {assignments} WHERE name = ?",  # noqa: S608 - our own column names
                        (*columns.values(), name),
                    )
                break
            except sqlite3.Error as error:
                _LOG.warning("A Job could not be recorded; trying again.", job=name, error=str(error))
                await asyncio.sleep(_DATABASE_PAUSE)
        if "phase" in columns:
            self._on_change(task.namespace, task.name)


def _text(moment: datetime) -> str:
    # One zone and one width, so that texts compare as times do.
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _job(row: sqlite3.Row) -> Job:
    return Job(
        name=row["name"],
        namespace=row["namespace"],
        uid=row["uid"],
        attempt=row["attempt"],
        inputs_hash=row["inputs_hash"],
        phase=JobPhase(row["phase"]),
        reason=Reason(row["reason"]) if row["reason"] else None,
        finished_at=datetime.fromisoformat(row["finished_at"]) if row["finished_at"] else None,
        queue=Queue(json.loads(row["task"]).get("queue", Queue.INTERACTIVE)),
    )
