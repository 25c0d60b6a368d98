"""Checks, and what they find. A check is one function, named in the list that people read; it changes nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

from media_cli.doctor.site import Site, UnknownError

#: How many checks run at once.
CONCURRENCY = 8
#: Seconds that a check may take unless it says otherwise.
SECONDS = 30.0


class Severity(StrEnum):
    """How bad it is; what was not looked at is said as well."""

    OK = "ok"
    SKIPPED = "skipped"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    fault is a name for what is wrong, the same in every version; about is the thing; found is a sentence, cause and
    cure are for what is wrong, and empty otherwise.
    """

    severity: Severity
    about: str
    found: str
    fault: str = ""
    cause: str = ""
    cure: str = ""
    check: str = ""

    def record(self) -> dict[str, str]:
        """Return it as a JSON object."""
        return {name: str(value) for name, value in asdict(self).items()}


def ok(about: str, found: str) -> Finding:
    """Return that something is well."""
    return Finding(Severity.OK, about, found)


def skipped(about: str, why: str) -> Finding:
    """Return that something could not be looked at, and why."""
    return Finding(Severity.SKIPPED, about, why)


def warning(fault: str, about: str, found: str, cause: str, cure: str) -> Finding:
    """Return what works, but not as it should."""
    return Finding(Severity.WARNING, about, found, fault, cause, cure)


def error(fault: str, about: str, found: str, cause: str, cure: str) -> Finding:
    """Return what keeps something from working."""
    return Finding(Severity.ERROR, about, found, fault, cause, cure)


Findings = list[Finding]


@dataclass(frozen=True, slots=True)
class Check:
    """A check by its name; look raises UnknownError where what it needs is not known."""

    name: str
    look: Callable[[Site], Awaitable[Findings]]
    seconds: float = SECONDS


async def run(checks: Collection[Check], site: Site) -> Findings:
    """Carry checks out, some at a time; return what they found, in the order of the checks."""
    turn = asyncio.Semaphore(CONCURRENCY)

    async def one(check: Check) -> Findings:
        async with turn:
            return [replace(finding, check=check.name) for finding in await _bounded(check, site)]

    return [finding for found in await asyncio.gather(*map(one, checks)) for finding in found]


async def _bounded(check: Check, site: Site) -> Findings:
    try:
        async with asyncio.timeout(check.seconds):
            return await check.look(site)
    except UnknownError as why:
        return [skipped("", str(why))]
    except TimeoutError:
        found = f"It did not end within {check.seconds:g} s."
        return [error("timeout", "", found, "Something on the way does not answer.", "See the other findings first.")]
    except Exception as surprise:  # noqa: BLE001 - one check that breaks must not hide what the others found
        found = f"The check itself failed: {surprise!r}"
        return [error("internal", "", found, "This is a fault of media doctor.", "Please report it with this line.")]
