"""Ranges of local time: the argument of --history."""

import re
import time
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from bwtop.history.calendar import DAY, HOUR, MINUTE, Unit, ceiling, floor, local_date, midnight
from bwtop.text.invalid import invalid

HELP: Final = (
    "today, yesterday, week, last-week, month, last-month, 24h, 7d, 2026-11, 2026-11-01,"
    " 2026-11-01..2026-11-03, '2026-11-01 08:00..12:00', 08:00..12:00, all"
)


@dataclass(frozen=True)
class Range:
    """A range from `start` until before `end`, both UTC seconds."""

    text: str
    start: float
    end: float

    @property
    def is_period(self) -> bool:
        """Return whether it is several whole local days, as bills have them: then it has an estimate while it lasts."""
        dates = ((when, datetime.fromtimestamp(when).date()) for when in (self.start, self.end))
        is_whole = all(midnight(day) == when for when, day in dates)
        return self.text != "all" and is_whole and ceiling(Unit.DAY, self.start) < self.end


class RangeError(ValueError):
    """An invalid range; the text says why."""


def parse(text: str, now: float) -> Range:
    """Parse a range in one of the forms of HELP; raise RangeError."""
    word = " ".join(text.split()).lower()
    try:
        found = _parse(word, now)
        if found.end <= 0 or found.start < -DAY:
            raise _invalid(text, "1970 or later")
        for end in (found.start, found.end):
            datetime.fromtimestamp(end).astimezone()  # raises for a time out of range
        return found
    except (ValueError, OverflowError, OSError) as error:
        if isinstance(error, RangeError):
            raise
        raise _invalid(text, "a date and time that exist") from None


MOMENT_HELP: Final = "10m, 14:30, yesterday 20:00, 2026-11-01 08:00, or a range such as yesterday"


def parse_moment(text: str, now: float) -> float | Range:
    """Parse a point in time: so long ago, a time of day, a date and time; or a range. Raise RangeError.

    A time of day that is still to come is that of yesterday.
    """
    word = " ".join(text.split()).lower().removeprefix("-")
    if found := re.fullmatch(r"([0-9]{1,6})([smhdw])", word, re.ASCII):
        return now - int(found[1]) * {"s": 1, **_LENGTHS}[found[2]]
    day, _, clock = word.rpartition(" ")
    if not re.fullmatch(r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?", clock, re.ASCII):
        try:
            return parse(text, now)
        except RangeError:
            raise RangeError(str(invalid("time", text, MOMENT_HELP))) from None
    try:
        start = local_date(now) if day in ("", "today") else local_date(parse(day, now).start)
        when = datetime.fromisoformat(f"{start} {clock.zfill(5 + 3 * (clock.count(':') > 1))}")
    except (ValueError, OverflowError):
        raise RangeError(str(invalid("time", text, MOMENT_HELP))) from None
    if not day and when.timestamp() > now:
        when -= timedelta(days=1)  # the same time by the clock, as it has no zone
    return when.timestamp()


def parse_now(text: str) -> Range:
    """Parse a range, seen from now; raise RangeError."""
    return parse(text, time.time())


def _invalid(text: str, expected: str) -> RangeError:
    return RangeError(str(invalid("range", text, expected)))


def _parse(word: str, now: float) -> Range:
    if word in _WORDS:
        unit, back = _WORDS[word]
        start = floor(unit, floor(unit, now) - 1) if back else floor(unit, now)
        return Range(word, start, ceiling(unit, start))
    if word == "all":
        return Range(word, 0, ceiling(Unit.DAY, now))
    if found := re.fullmatch(r"([0-9]{1,6})([mhdw])", word, re.ASCII):
        length = int(found[1]) * _LENGTHS[found[2]]
        if not length:
            raise _invalid(word, "a length above zero")
        return Range(word, max(floor(Unit.MINUTE, now - length), 0), now)
    if found := re.fullmatch(_MONTH, word, re.ASCII):
        first = midnight(date(int(found[1]), int(found[2]), 1))
        return Range(word, first, ceiling(Unit.MONTH, first))
    if ".." in word:
        return _between(word, now)
    day = midnight(_date(word))
    return Range(word, day, ceiling(Unit.DAY, day))


_WORDS: Final = {
    "today": (Unit.DAY, False),
    "yesterday": (Unit.DAY, True),
    "week": (Unit.WEEK, False),
    "last-week": (Unit.WEEK, True),
    "month": (Unit.MONTH, False),
    "last-month": (Unit.MONTH, True),
}
"""(unit, whether it is the previous one)."""

_LENGTHS: Final = {"m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}


def _between(word: str, now: float) -> Range:
    left, right = (part.strip() for part in word.split("..", 1))
    if not left:
        raise _invalid(word, "a time before '..'")
    if re.fullmatch(f"{_TIME}(?:{_OFFSET})?", left, re.ASCII):
        left = f"{local_date(now)} {left}"
    start = _point(left, now, fold=0)
    if not right:
        end = now
    elif re.fullmatch(_TIME, right, re.ASCII):
        offset = re.search(rf"(?:{_OFFSET})$", left)
        end = _point(f"{left[:10]} {right}{offset[0] if offset else ''}", now, fold=1)
    else:
        end = _point(right, now, fold=1)
    if end <= start:
        raise _invalid(word, "an end after its start")
    return Range(word, start, end)


_MONTH: Final = r"([0-9]{4})-([0-9]{2})"
_DATE: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_OFFSET: Final = r"z|[+-][0-9]{2}:[0-9]{2}"
_TIME: Final = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2})?"


def _point(text: str, now: float, *, fold: int) -> float:
    """Return a time in UTC seconds; the text is local time unless it has a UTC offset.

    A local time that occurs twice is the first one or (`fold` 1) the second.  Words, months and dates stand for their
    start.
    """
    if text in _WORDS or re.fullmatch(_MONTH, text, re.ASCII):
        return _parse(text, now).start
    if found := re.fullmatch(rf"({_DATE})[ t]({_TIME})({_OFFSET})?", text, re.ASCII):
        day, clock, offset = found.groups()
        when = datetime.fromisoformat(f"{day} {clock}{offset or ''}".upper())
        if offset:
            return when.timestamp()
        return max(when.replace(fold=each).timestamp() for each in {0, fold})
    return midnight(_date(text))


def _date(text: str) -> date:
    if not re.fullmatch(_DATE, text, re.ASCII):
        raise _invalid(text, HELP)
    return date.fromisoformat(text)
