"""Usage of a range: the peak and the percentile of its five-minute totals."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from bwtop.history.calendar import Unit, ceiling, floor
from bwtop.model.series import Rates

PERCENTILE: Final = 0.95
"""Of the five-minute averages: the industry bills transit by it."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Averages over five minutes, of the flows that pass the filter.

    Only those count that lie within the range as a whole and are over: an average that is still being measured can fall.
    """

    peak: Rates
    """Highest averages."""
    count: int
    """Number of averages."""
    seconds: float
    """Recorded in the five minutes that lie within the range as a whole, those that are not over included.

    Of many hosts it is at most that: how much of a total is of the same time is not known.
    """
    find_percentile: Callable[[], Rates] = field(compare=False, repr=False)

    @property
    def percentile(self) -> Rates:
        """Find the 95th percentile of the averages (nearest rank), while the store is open.

        The averages of a year are 100,000; sorting them takes longer than the rest of a report, and few show it.
        """
        return self.find_percentile()


def percentile(rates: Sequence[Rates]) -> Rates:
    """Return the 95th percentile of each direction."""
    rx, tx = (sorted(one[way] for one in rates)[rank(len(rates))] for way in (0, 1))
    return rx, tx


class FiveMinutes(NamedTuple):
    """The five-minute totals that lie within a range as a whole."""

    start: int
    """Start of the first one, in UTC seconds."""
    end: int
    """End of the last one."""
    unfinished: int
    """Start of the one that is not over."""


def five_minutes(start: float, end: float, now: float) -> FiveMinutes:
    """Return the five-minute totals of a range."""
    first, last, current = (floor(Unit.FIVE_MINUTES, when) for when in (start, end, now))
    return FiveMinutes(
        first if first == start else ceiling(Unit.FIVE_MINUTES, start), last, current
    )


def rank(count: int) -> int:
    """Return the index of the 95th percentile among `count` ascending values (nearest rank)."""
    return max(math.ceil(PERCENTILE * count), 1) - 1
