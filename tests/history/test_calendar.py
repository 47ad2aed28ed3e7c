"""Units of local time tile it, whatever the clocks do."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest

from bwtop.history.calendar import DAY, HOUR, MINUTE, Unit, ceiling, floor, midnight
from tests.history.keep import local, move_to

Zone = Callable[[str], ZoneInfo]

ODD = (
    ("UTC", date(2026, 3, 29)),
    ("UTC", date(2027, 1, 1)),
    ("Europe/Berlin", date(2026, 3, 29)),
    ("Europe/Berlin", date(2026, 10, 25)),
    ("Asia/Kolkata", date(2026, 11, 1)),
    ("Asia/Kathmandu", date(2026, 2, 28)),
    ("Australia/Lord_Howe", date(2026, 4, 5)),
    ("Australia/Lord_Howe", date(2026, 10, 4)),
    ("America/Sao_Paulo", date(2018, 11, 4)),
    ("America/Sao_Paulo", date(2018, 2, 17)),
    ("America/Havana", date(2026, 11, 1)),
    ("America/St_Johns", date(2010, 11, 7)),  # from one minute after midnight back to before it
    ("Pacific/Apia", date(2011, 12, 30)),
)
"""Zones, and days around which their clocks do something."""


@pytest.fixture(name="zone")
def _zone() -> Iterator[Zone]:
    """Set the time zone of this process, and restore it."""

    def move(name: str) -> ZoneInfo:
        move_to(name)
        return ZoneInfo(name)

    with local("UTC"):
        yield move


def around(day: date, seconds: float) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() + seconds


@cache
def first_second(day: date, zone: ZoneInfo) -> int:
    """Search the first second with this local date or a later one, minute by minute."""
    when = int(around(day, -16 * HOUR))
    while datetime.fromtimestamp(when, zone).date() < day:
        when += MINUTE
    return when


def expected(unit: Unit, when: float, zone: ZoneInfo) -> tuple[int, int]:
    """Return start and end, computed without the local clock."""
    start = int(when // MINUTE) * MINUTE
    if unit is Unit.MINUTE:
        return start, start + MINUTE
    if unit is Unit.FIVE_MINUTES:
        start = int(when // 300) * 300
        return start, start + 300
    if unit is Unit.HOUR:
        shown = _hour(start, zone)
        end = start + MINUTE
        while _hour(start - MINUTE, zone) == shown:
            start -= MINUTE
        while _hour(end, zone) == shown:
            end += MINUTE
        return start, end
    day = datetime.fromtimestamp(when, zone).date()
    if first_second(day + timedelta(1), zone) <= when:  # the clock went back over midnight
        day += timedelta(1)
    if unit is Unit.WEEK:
        day -= timedelta(day.isoweekday() - 1)
        after = day + timedelta(7)
    elif unit is Unit.MONTH:
        day = date(day.year, day.month, 1)
        after = date(day.year + day.month // 12, day.month % 12 + 1, 1)
    else:
        after = day + timedelta(1)
    return first_second(day, zone), first_second(after, zone)


def _hour(when: int, zone: ZoneInfo) -> tuple[date, int, timedelta | None]:
    """Return what identifies an hour: date, hour and offset."""
    shown = datetime.fromtimestamp(when, zone)
    return shown.date(), shown.hour, shown.utcoffset()


@pytest.mark.parametrize("unit", Unit)
@pytest.mark.parametrize(("name", "day"), ODD)
def test_units_follow_the_time_zone(zone: Zone, name: str, day: date, unit: Unit) -> None:
    there = zone(name)
    for seconds in range(-DAY, 2 * DAY, 45 * MINUTE):
        when = around(day, seconds + 0.5)
        assert (floor(unit, when), ceiling(unit, when)) == expected(unit, when, there), when


@pytest.mark.parametrize("unit", Unit)
@pytest.mark.parametrize(("name", "day"), ODD)
def test_units_tile_time(zone: Zone, name: str, day: date, unit: Unit) -> None:
    """Each unit also consists of whole shorter units, so that totals can be rolled up."""
    zone(name)
    when = floor(unit, around(day, -DAY))
    while when < around(day, 2 * DAY):
        end = ceiling(unit, when)
        assert when < end
        assert floor(unit, when) == floor(unit, end - 1) == when
        assert floor(unit, end) == end
        if unit is not Unit.MINUTE:
            shorter = {
                Unit.FIVE_MINUTES: Unit.MINUTE,
                Unit.HOUR: Unit.MINUTE,
                Unit.DAY: Unit.HOUR,
            }.get(unit, Unit.DAY)
            assert floor(shorter, when) == when
            assert ceiling(shorter, end - 1) == end
        when = end


@pytest.mark.parametrize(
    ("unit", "day", "length"),
    [
        (Unit.WEEK, date(2026, 3, 23), 7 * DAY - HOUR),
        (Unit.WEEK, date(2026, 10, 19), 7 * DAY + HOUR),
        (Unit.WEEK, date(2026, 12, 28), 7 * DAY),
        (Unit.MONTH, date(2026, 2, 1), 28 * DAY),
        (Unit.MONTH, date(2028, 2, 1), 29 * DAY),
        (Unit.MONTH, date(2026, 3, 1), 31 * DAY - HOUR),
        (Unit.MONTH, date(2026, 10, 1), 31 * DAY + HOUR),
        (Unit.MONTH, date(2026, 12, 1), 31 * DAY),
    ],
)
def test_weeks_and_months_consist_of_whole_days(
    zone: Zone, unit: Unit, day: date, length: int
) -> None:
    zone("Europe/Berlin")
    start = midnight(day)
    for when in (start, start + length // 2, start + length - 1):
        assert (floor(unit, when), ceiling(unit, when)) == (start, start + length)


@pytest.mark.parametrize(
    ("name", "when", "minutes"),
    [
        ("Europe/Berlin", "2026-03-29T00:30Z", [60, 60]),  # 1, 3
        ("Europe/Berlin", "2026-10-24T23:30Z", [60, 60, 60]),  # 1, 2, 2 again
        ("Asia/Kolkata", "2026-11-01T00:30Z", [60, 60]),
        ("Australia/Lord_Howe", "2026-10-03T15:00Z", [60, 30, 60]),  # 1, 2:30, 3
        ("Australia/Lord_Howe", "2026-04-04T14:30Z", [60, 30, 60]),  # 1, 1:30 again, 2
        ("America/St_Johns", "2010-11-07T01:30Z", [60, 1, 59, 60]),  # 23, 0, 23 again, 0 again
        ("Pacific/Apia", "2011-12-30T09:30Z", [60, 60]),
    ],
)
def test_hours_end_where_the_clock_is_changed(
    zone: Zone, name: str, when: str, minutes: list[int]
) -> None:
    zone(name)
    start = floor(Unit.HOUR, datetime.fromisoformat(when.replace("Z", "+00:00")).timestamp())
    found = []
    for _ in minutes:
        end = ceiling(Unit.HOUR, start)
        found.append((end - start) // MINUTE)
        start = end
    assert found == minutes


def test_skipped_calendar_day_is_empty(zone: Zone) -> None:
    zone("Pacific/Apia")
    assert midnight(date(2011, 12, 30)) == midnight(date(2011, 12, 31))
    assert ceiling(Unit.DAY, midnight(date(2011, 12, 29))) == midnight(date(2011, 12, 31))


def test_repeated_midnight_is_the_first(zone: Zone) -> None:
    there = zone("America/Havana")
    assert midnight(date(2026, 11, 1)) == datetime(2026, 11, 1, tzinfo=there, fold=0).timestamp()


def test_fractions_belong_to_the_second_they_are_in(zone: Zone) -> None:
    zone("Australia/Lord_Howe")
    change = datetime(2026, 10, 3, 15, 30, tzinfo=UTC).timestamp()
    assert ceiling(Unit.HOUR, change - 0.001) == floor(Unit.HOUR, change + 0.001) == change
