"""When the sweep of a day begins."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from media_operator.schedule import daily, next_time
from media_operator.sweepsettings import SweepSettings

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("now", "clock", "expected"),
    [
        ("2026-01-10T00:59:59Z", "02:00", "2026-01-10T01:00:00Z"),
        ("2026-01-10T01:00:00Z", "02:00", "2026-01-11T01:00:00Z"),
        ("2026-07-10T00:30:00Z", "02:00", "2026-07-11T00:00:00Z"),
        # It is the next day there already.
        ("2026-01-10T23:30:00Z", "02:00", "2026-01-11T01:00:00Z"),
        # At 02:00 clocks go to 03:00: half past two is half past three.
        ("2026-03-29T00:30:00Z", "02:30", "2026-03-29T01:30:00Z"),
        ("2026-03-29T01:30:00Z", "02:30", "2026-03-30T00:30:00Z"),
        # At 03:00 they go back to 02:00: the first half past two is the one.
        ("2026-10-24T23:00:00Z", "02:30", "2026-10-25T00:30:00Z"),
        ("2026-10-25T00:30:00Z", "02:30", "2026-10-26T01:30:00Z"),
        ("2026-10-25T01:15:00Z", "02:30", "2026-10-26T01:30:00Z"),
    ],
)
def test_next_time_in_berlin(now: str, clock: str, expected: str) -> None:
    assert next_time(at(now), time.fromisoformat(clock), BERLIN) == at(expected)


ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Pacific/Apia", "Pacific/Kiritimati", "Australia/Lord_Howe")


@given(
    st.datetimes(datetime(2011, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds it
    st.times().map(lambda clock: clock.replace(second=0, microsecond=0)),
    st.sampled_from(ZONES).map(ZoneInfo),
)
def test_it_is_once_a_day_everywhere(now: datetime, clock: time, zone: ZoneInfo) -> None:
    first = next_time(now, clock, zone)
    second = next_time(first, clock, zone)
    assert now < first < second
    days = (second.astimezone(zone).date() - first.astimezone(zone).date()).days
    # Samoa left out a day.
    assert days == 1 or (days == 2 and zone.key == "Pacific/Apia")


class Clock:
    """Time that passes when somebody sleeps, and a jump of it."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(at("2026-01-10T00:00:00Z"))
    monkeypatch.setattr(asyncio, "sleep", clock.sleep)
    return clock


async def acted(
    settings: SweepSettings, clock: Clock, times: int, act: Callable[[], None] = lambda: None
) -> list[datetime]:
    begun: list[datetime] = []

    async def once() -> None:
        begun.append(clock.now)
        if len(begun) == times:
            raise asyncio.CancelledError
        act()

    with pytest.raises(asyncio.CancelledError):
        await daily(settings, once, lambda: clock.now)
    return begun


async def test_it_begins_each_day_within_the_jitter(clock: Clock) -> None:
    settings = SweepSettings(sweep_time_zone="Europe/Berlin", sweep_jitter_seconds=600)
    begun = await acted(settings, clock, 5)
    for day, moment in enumerate(begun):
        expected = at("2026-01-10T01:00:00Z") + timedelta(days=day)
        assert expected <= moment <= expected + timedelta(seconds=601)
    assert len({moment.timestamp() % 86400 for moment in begun}) == 5
    # A clock that was set is noticed within a minute.
    assert max(clock.slept) <= 60


async def test_an_error_ends_no_schedule(clock: Clock) -> None:
    def act() -> None:
        message = "the store is away"
        raise ValueError(message)

    assert len(await acted(SweepSettings(), clock, 3, act)) == 3


async def test_no_time_is_never() -> None:
    async def act() -> None:
        raise AssertionError

    task = asyncio.create_task(daily(SweepSettings(sweep_time=""), act))
    done, _ = await asyncio.wait([task], timeout=0.05)
    assert not done
    task.cancel()


@pytest.mark.parametrize(
    "wrong",
    [
        {"sweep_time": "24:00"},
        {"sweep_time": "2 o'clock"},
        {"sweep_time_zone": "Europe/Nowhere"},
        {"sweep_time_zone": ""},
        {"sweep_age_seconds": 60},
        {"sweep_max_percent": 0},
    ],
)
def test_settings_that_are_wrong_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SweepSettings.model_validate(wrong)
