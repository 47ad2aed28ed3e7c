"""Plan the rows for a range of time: the coarsest spans that fit, finer ones at the ends, no byte twice."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from bwtop.history.boundaries import nearest
from bwtop.history.calendar import Unit, floor
from bwtop.history.tiers import COARSEST, UNITS

Bounds = tuple[float, float]
"""UTC seconds: (from, until before)."""

NOTHING: Final[Bounds] = (float("inf"), float("-inf"))
"""Empty bounds: joining them with other bounds leaves those unchanged."""


@dataclass(frozen=True)
class Piece:
    """All intervals (level 0) or spans of a level that begin from `start` until before `end`."""

    level: int
    start: float
    end: float


@dataclass(frozen=True)
class Plan:
    """Consecutive pieces of time."""

    pieces: Sequence[Piece]
    start: float
    """Start of the first piece.  Where finer detail is deleted, it is the start of the recording host's hour or day."""
    end: float


class Spans(Protocol):
    """The stored spans of one host.  Spans of one level do not overlap."""

    def forgotten(self, level: int, start: float, end: float) -> float:
        """Return the time within a range before which rows finer than this level may be deleted."""

    def inside(self, level: int, start: float, end: float) -> Bounds:
        """Return the bounds of all spans that lie within a range; NOTHING if there is none."""

    def widened(self, level: int, when: float) -> Bounds:
        """Return the bounds of the span that contains a time, if its finer rows are deleted; else NOTHING."""

    def fits(self, level: int, start: float, end: float, unit: Unit) -> bool:
        """Return whether no span in a range crosses the end of a unit: the recording host may use another time zone."""


def make(spans: Spans, start: float, end: float, unit: Unit | None = None) -> Plan:
    """Return the plan for a range; it uses spans that cross the end of a unit only where finer rows are deleted."""
    start, end = _moved(spans, start, end)
    pieces = list(_cover(spans, COARSEST, start, end, _coarsest(spans, start, end, unit)))
    return Plan(
        pieces,
        min([start, *(piece.start for piece in pieces)]),
        max([end, *(piece.end for piece in pieces)]),
    )


def _moved(spans: Spans, start: float, end: float) -> Bounds:
    """Return the bounds of a range, moved to the hours and days of the recording host if only those are left."""
    moved = _bound(spans, start), _bound(spans, end)
    return moved if moved[0] < moved[1] else (start, end)


def _bound(spans: Spans, when: float) -> float:
    """Return a bound, moved out of each span without finer rows if it is a local hour, midnight or first of a month.

    Any other bound stays: the plan then covers the whole span.
    """
    for level in range(COARSEST, 0, -1):
        first, after = spans.widened(level, when)
        if first < after and floor(UNITS[level], when) == when:
            when = nearest(when, first, after)
    return when


def finest(start: float, end: float) -> Plan:
    """Return a plan of measured intervals only: only they have process ids."""
    return Plan([Piece(0, start, end)], start, end)


def _coarsest(spans: Spans, start: float, end: float, unit: Unit | None) -> int:
    """Return the coarsest level whose spans all fit the unit; without a unit, all levels fit."""
    for level in range(2, COARSEST + 1):
        if unit and not spans.fits(level, start, end, unit):
            return level - 1
    return COARSEST


def _cover(spans: Spans, level: int, start: float, end: float, coarsest: int) -> Iterator[Piece]:
    if start >= end:
        return
    if level == 0:
        yield Piece(0, start, end)
        return
    last = end if level <= coarsest else min(end, spans.forgotten(level, start, end))
    bounds = [
        spans.inside(level, start, last) if start < last else NOTHING,
        spans.widened(level, start),
        spans.widened(level, end),
    ]
    first, after = min(first for first, _ in bounds), max(after for _, after in bounds)
    if first < after:
        yield from _cover(spans, level - 1, start, first, coarsest)
        yield Piece(level, first, after)
        yield from _cover(spans, level - 1, after, end, coarsest)
    else:
        yield from _cover(spans, level - 1, start, end, coarsest)
