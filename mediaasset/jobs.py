"""The port to the transcoders: Jobs in a cluster, subprocesses in standalone."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from mediaasset.reasons import Reason
from mediaasset.task import Progress, Queue, Task


class JobsError(Exception):
    """The Jobs cannot be reached; trying again later may help."""


class NameTakenError(Exception):
    """A Job of this name exists but works on something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hindrance:
    """What keeps a transcoder from beginning, since when, and how the platform says it.

    reason is one of those that the platform itself tries again (`Retry.PLATFORM`).
    """

    reason: Reason
    message: str
    since: datetime


class JobPhase(StrEnum):
    """How far a Job is. A Job that retries its pod is Running."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is known of one attempt's Job.

    reason is what the platform itself knows of a failure (a deadline, a kill for memory), else what the exit code says.
    waiting is what keeps an active one from beginning, where there is something to say.
    """

    name: str
    namespace: str
    uid: str
    attempt: int
    inputs_hash: str
    phase: JobPhase
    reason: Reason | None = None
    waiting: Hindrance | None = None
    finished_at: datetime | None = None
    queue: Queue = Queue.INTERACTIVE

    @property
    def is_active(self) -> bool:
        """Tell whether a pod of it runs or may yet run."""
        return self.phase in (JobPhase.PENDING, JobPhase.RUNNING)


class Jobs(Protocol):
    """Start and stop transcoders. Every method may raise JobsError."""

    async def create(self, name: str, task: Task) -> None:
        """Start the Job of this name, or accept the one that is there if it has the same uid and inputs.

        Raises NameTakenError. When this returns, the Job survives a crash of the caller.
        """

    async def of_asset(self, uid: str, named: str | None = None) -> tuple[Job, ...]:
        """Return all Jobs of an asset that still exist, read live; uid is the asset's.

        With named, which is the Job that the asset itself tells of and empty if it tells of none, others that have
        succeeded may be left out: an adapter then need not look for them among thousands.
        """

    async def active(self) -> tuple[Job, ...]:
        """Return the Jobs of all assets that are not finished."""

    async def stop(self, uid: str, name: str) -> None:
        """End a Job and remove it; when this returns, no pod of it runs. A Job that is gone is fine."""


class ProgressReader(Protocol):
    """Live progress: comfort, never truth, and allowed to know nothing."""

    async def progress(self, uid: str) -> Progress | None:
        """Return how far the running attempt of an asset is."""
