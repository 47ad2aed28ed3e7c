"""Which rows answer for a range of time: the coarsest that fit, finer ones at its ends, and none twice."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from bwtop.history.calendar import Unit
from bwtop.history.tiers import COARSEST

Bounds = tuple[float, float]
"""UTC seconds: from, until before."""

NOTHING: Final[Bounds] = (float("inf"), float("-inf"))
"""Bounds of nothing: whatever they are joined to stays as it is."""


@dataclass(frozen=True)
class Piece:
    """All intervals (level 0) or spans of a level that begin from `start` until before `end`."""

    level: int
    start: float
    end: float


@dataclass(frozen=True)
class Plan:
    """Pieces that follow each other."""

    pieces: Sequence[Piece]
    start: float
    """Where they really begin: detail is forgotten, and then a whole hour or day is in a range or is not."""
    end: float


class Spans(Protocol):
    """Which spans there are of one host.  Those of a level do not overlap."""

    def forgotten(self, level: int) -> float:
        """All that is finer than this level may be gone before that time."""

    def inside(self, level: int, start: float, end: float) -> Bounds:
        """The bounds of all spans that are wholly within a range; NOTHING where there are none."""

    def widened(self, level: int, when: float) -> Bounds:
        """The bounds of the span around a time, if nothing finer is left of it; NOTHING otherwise."""

    def fits(self, level: int, start: float, end: float, unit: Unit) -> bool:
        """Whether no span within a range reaches over a unit's end: where it was recorded, days may begin elsewhere."""


def make(spans: Spans, start: float, end: float, unit: Unit | None = None) -> Plan:
    """The plan for a range; spans that reach over a unit's end are in it only where nothing finer is left."""
    pieces = list(_cover(spans, COARSEST, start, end, _coarsest(spans, start, end, unit)))
    return Plan(
        pieces,
        min([start, *(piece.start for piece in pieces)]),
        max([end, *(piece.end for piece in pieces)]),
    )


def finest(start: float, end: float) -> Plan:
    """What was measured, and nothing else: that alone has process ids."""
    return Plan([Piece(0, start, end)], start, end)


def _coarsest(spans: Spans, start: float, end: float, unit: Unit | None) -> int:
    """The coarsest level whose spans all fit; without a unit, they all do."""
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
    last = end if level <= coarsest else min(end, spans.forgotten(level))
    bounds = [
        spans.inside(level, start, last),
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
