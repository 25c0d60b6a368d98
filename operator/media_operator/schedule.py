"""When the sweep of a day begins."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import structlog

from media_operator.sweepsettings import SweepSettings

#: A clock may be set, and a machine sleep: it is looked at again after so many seconds.
_LOOK_SECONDS = 60.0

_LOG = structlog.get_logger(__name__)


def next_time(now: datetime, at: time, zone: ZoneInfo) -> datetime:
    """Return the first moment after `now` at which the clock of the zone shows `at`: one a day, whatever clocks do.

    A time that the change leaves out counts as an hour later, one that it repeats as the first of both (PEP 495).
    """
    today = now.astimezone(zone).date()
    # In UTC, for two times of one zone are compared as their clocks show them.
    days = (datetime.combine(today + timedelta(days=days), at, tzinfo=zone).astimezone(UTC) for days in (0, 1))
    return next(moment for moment in days if moment > now)


async def daily(
    settings: SweepSettings,
    act: Callable[[], Awaitable[object]],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Act each day at the time that is set, until cancelled; what goes wrong is in the log, and tried the next day."""
    while settings.sweep_time:
        moment = next_time(now(), time.fromisoformat(settings.sweep_time), ZoneInfo(settings.sweep_time_zone))
        moment += timedelta(seconds=random.uniform(0, settings.sweep_jitter_seconds))  # noqa: S311 - jitter is no secret
        while (left := (moment - now()).total_seconds()) > 0:  # noqa: ASYNC110 - time is no event
            await asyncio.sleep(min(left, _LOOK_SECONDS))
        try:
            await act()
        except Exception as error:  # noqa: BLE001 - whatever it is, tomorrow is another day
            _LOG.error("The sweep could not be done; the next one is tomorrow.", error=repr(error))
    await asyncio.Event().wait()
