"""Which rows answer for a range of time: the coarsest that fit, finer ones at its ends, and none twice."""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bwtop.history.tiers import COARSEST

_FAR: Final = float("inf")


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


@dataclass(frozen=True)
class _Level:
    closed: float
    kept: float


def make(
    connection: sqlite3.Connection, start: float, end: float, coarsest: int = COARSEST
) -> Plan:
    """The plan for a range; with spans above the level `coarsest` only where nothing finer is left."""
    found = connection.execute("SELECT level, closed, kept FROM level")
    levels = {int(level): _Level(closed, kept) for level, closed, kept in found}
    pieces = list(_cover(connection, levels, COARSEST, start, end, coarsest))
    return Plan(
        pieces,
        min([start, *(piece.start for piece in pieces)]),
        max([end, *(piece.end for piece in pieces)]),
    )


def _cover(
    connection: sqlite3.Connection,
    levels: dict[int, _Level],
    level: int,
    start: float,
    end: float,
    coarsest: int,
) -> Iterator[Piece]:
    if start >= end:
        return
    if level == 0:
        yield Piece(0, start, end)
        return
    forgotten = levels[level - 1].kept
    last = end if level <= coarsest else min(end, forgotten)
    bounds = [
        _inside(connection, level, start, last),
        _widened(connection, level, start, forgotten),
        _widened(connection, level, end, forgotten),
    ]
    first, after = min(first for first, _ in bounds), max(after for _, after in bounds)
    if first < after:
        yield from _cover(connection, levels, level - 1, start, first, coarsest)
        yield Piece(level, first, after)
        yield from _cover(connection, levels, level - 1, after, end, coarsest)
    else:
        yield from _cover(connection, levels, level - 1, start, end, coarsest)


def _inside(
    connection: sqlite3.Connection, level: int, start: float, end: float
) -> tuple[float, float]:
    """The bounds of all spans that are wholly within a range; (inf, -inf) where there are none."""
    first = connection.execute(
        "SELECT min(start) FROM span WHERE level = ? AND start >= ? AND start < ? AND end <= ?",
        (level, start, end, end),
    ).fetchone()[0]
    if first is None:
        return _FAR, -_FAR
    last: Any = connection.execute(
        "SELECT end FROM span WHERE level = ? AND start >= ? AND start < ? AND end <= ?"
        " ORDER BY start DESC LIMIT 1",
        (level, start, end, end),
    ).fetchone()[0]
    return first, last


def _widened(
    connection: sqlite3.Connection, level: int, when: float, forgotten: float
) -> tuple[float, float]:
    """The bounds of the span around a time, if nothing finer is left of it; (inf, -inf) otherwise.

    Spans of a level do not overlap: it is the last that begins before, and none of the years before need be looked at.
    """
    found = connection.execute(
        "SELECT start, end FROM span WHERE level = ? AND start < ? ORDER BY start DESC LIMIT 1",
        (level, when),
    ).fetchone()
    if found and found[1] > when and found[0] < forgotten:
        return found[0], found[1]
    return _FAR, -_FAR
