"""Local minutes, five minutes, hours, days, weeks and months as spans of UTC seconds.

Where clocks change, a day has 23 to 25 hours.  Where they change by half an hour (Lord Howe), an hour may be shorter.
"""

import time
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final

MINUTE: Final = 60
FIVE_MINUTES: Final = 5 * MINUTE
"""The industry computes percentiles from totals of five minutes."""
HOUR: Final = 3600
DAY: Final = 86400


class Unit(StrEnum):
    """A unit of local time, from the shortest to the longest."""

    MINUTE = "minute"
    FIVE_MINUTES = "5 min"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"

    @property
    def text(self) -> str:
        """Return one of it, in words: "an hour", "5 min"."""
        return {Unit.FIVE_MINUTES: self.value, Unit.HOUR: "an hour"}.get(self, f"a {self.value}")


_ORDER: Final = {unit: place for place, unit in enumerate(Unit)}


def longest(*units: Unit) -> Unit:
    """Return the longest of some units."""
    return max(units, key=_ORDER.__getitem__)


_FIXED: Final = {Unit.MINUTE: MINUTE, Unit.FIVE_MINUTES: FIVE_MINUTES}
"""Lengths of the units that begin at the same seconds in every time zone."""


def floor(unit: Unit, when: float) -> int:
    """Return the start of the unit that contains `when`, in UTC seconds."""
    if length := _FIXED.get(unit):
        return int(when // length) * length
    if unit is Unit.HOUR:
        return _changed_since(_aligned_hour(when), int(when // 1))
    return midnight(_first_day(unit, local_date(when)))


def ceiling(unit: Unit, when: float) -> int:
    """Return the end of the unit that contains `when`: the start of the next unit."""
    if length := _FIXED.get(unit):
        return floor(unit, when) + length
    if unit is Unit.HOUR:
        return _changed_before(int(when // 1), _aligned_hour(when) + HOUR)
    return midnight(_first_day_after(unit, _first_day(unit, local_date(when))))


def local_date(when: float) -> date:
    """Return the local date; where the clock goes back over midnight, the new day has begun."""
    shown = date.fromtimestamp(when)
    tomorrow = shown + timedelta(days=1)
    return tomorrow if midnight(tomorrow) <= when else shown


def midnight(day: date) -> int:
    """Return the start of a local date, in UTC seconds.

    Where the clock jumps over midnight, the date begins where the clock lands (PEP 495: a time in a gap, with fold=0,
    counts from the offset before it).
    """
    return int(datetime(day.year, day.month, day.day).timestamp())


def _first_day(unit: Unit, day: date) -> date:
    if unit is Unit.WEEK:
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if unit is Unit.MONTH else day


def _first_day_after(unit: Unit, first: date) -> date:
    if unit is Unit.MONTH:
        return (first + timedelta(days=31)).replace(day=1)
    return first + timedelta(days=7 if unit is Unit.WEEK else 1)


def _offset(when: int) -> int:
    return time.localtime(when).tm_gmtoff


def _aligned_hour(when: float) -> int:
    """Return the last full hour by the UTC offset at `when`; the offset may have changed since that hour."""
    seconds = int(when // 1)
    return seconds - (seconds + _offset(seconds)) % HOUR


def _changed_since(start: int, end: int) -> int:
    """Return `start`, or the time between the two at which the UTC offset changed."""
    return start if _offset(start) == _offset(end) else _change(start, end)


def _changed_before(start: int, end: int) -> int:
    """Return `end`, or the time between the two at which the UTC offset changes."""
    return end if _offset(start) == _offset(end - 1) else _change(start, end)


def _change(start: int, end: int) -> int:
    """Return the first second whose UTC offset differs from that of `start`."""
    while end - start > 1:
        middle = (start + end) // 2
        if _offset(middle) == _offset(start):
            start = middle
        else:
            end = middle
    return end
