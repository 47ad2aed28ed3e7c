"""Boundaries of time: the bar, row and range that the bytes of a span belong to.

A span of the rollup may cross the end of a local unit, because it was recorded in another time zone, or because no shorter
span is left.  Its bytes cannot be divided: it belongs to the unit that contains its middle.
"""

from typing import NamedTuple

from bwtop.history.calendar import Unit, ceiling, floor, longest
from bwtop.history.tiers import UNITS


class Span(NamedTuple):
    """A span of the rollup in UTC seconds, or a measured interval (level 0), which counts at its start."""

    level: int
    start: float
    end: float

    @property
    def middle(self) -> float:
        """Return the time that decides to which unit it belongs."""
        return (self.start + self.end) / 2 if self.level else self.start

    def crosses(self, unit: Unit) -> bool:
        """Return whether it crosses the end of a unit."""
        return self.level > 0 and ceiling(unit, self.start) < self.end

    def shown_by(self, unit: Unit) -> Unit:
        """Return the unit to show it by: the given one, or its own if that is longer and the given one divides it."""
        own = longest(unit, UNITS.get(self.level, unit))
        return own if own is not unit and self.crosses(unit) else unit

    def place(self, unit: Unit) -> int:
        """Return the start of the unit that it belongs to, in UTC seconds."""
        return floor(unit, self.middle)


def nearest(when: float, start: float, end: float) -> float:
    """Return the end of a span that a time within it moves to, so that the span is where its middle is."""
    return start if start + end >= 2 * when else end
