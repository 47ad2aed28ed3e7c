"""The latest rates, as shown in graphs."""

from array import array
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import add
from typing import Final

from bwtop.model.ledger import Category, Frame
from bwtop.model.rates import rate

Rates = tuple[float, float]
"""Bytes per second: (received, sent)."""

LENGTH: Final = 120
"""Intervals in the graph of a process."""


class Series:
    """Rates of the last LENGTH intervals, numbered; intervals without traffic cost nothing. About 1 KiB."""

    __slots__ = ("_high", "_high_at", "_last", "_rx", "_tx")

    def __init__(self) -> None:
        self._rx = array("f", bytes(4 * LENGTH))
        self._tx = array("f", bytes(4 * LENGTH))
        self._last = 0
        self._high: float | None = None
        """The highest rate, both directions together, of the interval `_high_at`; None if it must be looked for."""
        self._high_at = 0

    def put(self, number: int, rates: Rates) -> None:
        """Set the rates of an interval; call in the order of the numbers."""
        self._clear_to(number)
        place = number % LENGTH
        self._rx[place], self._tx[place] = rates
        if number == self._high_at:
            self._high = None
        elif self._high is not None and self._rx[place] + self._tx[place] >= self._high:
            self._high, self._high_at = self._rx[place] + self._tx[place], number

    def _clear_to(self, number: int) -> None:
        """Zero the intervals since the last one; their slots still hold the rates of the previous lap."""
        for passed in range(max(self._last + 1, number - LENGTH + 1), number + 1):
            self._rx[passed % LENGTH] = self._tx[passed % LENGTH] = 0.0
        self._last = max(self._last, number)

    def last(self, number: int, count: int) -> list[Rates]:
        """Return the rates of `count` intervals (at most LENGTH) up to `number`, the oldest first."""
        self._clear_to(number)
        places = [place % LENGTH for place in range(number - count + 1, number + 1)]
        return [(self._rx[place], self._tx[place]) for place in places]

    def absorb(self, other: "Series", number: int) -> None:
        """Add the rates of another one up to interval `number`."""
        self._clear_to(number)
        other._clear_to(number)
        self._rx = array("f", map(add, self._rx, other._rx))
        self._tx = array("f", map(add, self._tx, other._tx))
        self._high = None

    def _highest(self, number: int) -> float:
        """Look for the highest rate only if the one that is known is too old."""
        if self._high is None or number - self._high_at >= LENGTH:
            self._clear_to(number)
            both = [*map(add, self._rx, self._tx)]
            self._high = max(both)
            self._high_at = number - (number - both.index(self._high)) % LENGTH
        return self._high

    @staticmethod
    def highest(series: "Sequence[Series]", number: int) -> float:
        """Return the highest rate, both directions of all together, in the last LENGTH intervals up to `number`."""
        if len(series) == 1:
            return series[0]._highest(number)
        for one in series:
            one._clear_to(number)
        both = (map(add, one._rx, one._tx) for one in series)
        return max(map(sum, zip(*both, strict=True)), default=0.0)


def added(series: Iterable[Sequence[Rates]]) -> list[Rates]:
    """Return the sum of several series, interval by interval."""
    listed = list(series)
    if len(listed) == 1:  # most have one category
        return list(listed[0])
    return [
        (sum(rx for rx, _ in rates), sum(tx for _, tx in rates))
        for rates in zip(*listed, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Point:
    elapsed: float
    sums: dict[Category, tuple[int, int]] | None
    """None: not known."""


class Timeline:
    """The traffic of all processes together, by category, over a number of seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._points: deque[_Point] = deque()
        self._covered = 0.0

    def add(self, frame: Frame) -> None:
        """Append a frame and drop those that are too old."""
        self._append(_Point(frame.elapsed, frame.sums()))

    def skip(self, seconds: float) -> None:
        """Append seconds of which the traffic is not known."""
        self._append(_Point(seconds, None))

    def _append(self, point: _Point) -> None:
        self._points.append(point)
        self._covered += point.elapsed
        while len(self._points) > 1 and self._covered - self._points[0].elapsed >= self.seconds:
            self._covered -= self._points.popleft().elapsed

    def columns(self, count: int, categories: Iterable[Category]) -> list[Rates | None]:
        """Return the highest rates in each of `count` equal time spans, the oldest first; None: not known."""
        wanted = frozenset(categories)
        found: list[Rates | None] = [None] * count
        span = self.seconds / count
        age = 0.0
        for point in reversed(self._points):
            first = int(age / span + min(point.elapsed / span, 1) / 2)  # the middle of a short one
            age += point.elapsed
            if point.sums is None:
                continue
            rates = _rates(point.sums, point.elapsed, wanted)
            for column in range(first, min(max(int(age / span + 0.5), first + 1), count)):
                before = found[-1 - column] or (0.0, 0.0)
                found[-1 - column] = (max(before[0], rates[0]), max(before[1], rates[1]))
        return found


def _rates(
    sums: Mapping[Category, tuple[int, int]], elapsed: float, categories: frozenset[Category]
) -> Rates:
    moved = [amounts for of, amounts in sums.items() if of in categories]
    rx, tx = sum(rx for rx, _ in moved), sum(tx for _, tx in moved)
    return rate(rx, elapsed), rate(tx, elapsed)


def peak(columns: Iterable[Rates | None]) -> Rates:
    """Return the highest rate of each direction."""
    known = [rates for rates in columns if rates is not None]
    return (max((rx for rx, _ in known), default=0.0), max((tx for _, tx in known), default=0.0))
