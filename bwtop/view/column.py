"""A column: its value, its place in tables, its cell in the full screen."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar

Value = str | int | float | bool | None

Row = TypeVar("Row", contravariant=True)


class CellKind(StrEnum):
    """The way the full screen draws a value."""

    TEXT = "text"
    """Texts are left of all others; the name of a remote spans all of them."""
    NUMBER = "number"
    SIZE = "size"
    RATE = "rate"
    SHARE = "share"
    """The share of the rate in that of all processes."""
    GRAPH = "graph"
    """The rates of the last intervals."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A column of the full screen; its width never depends on its content."""

    title: str
    """Title; {down} and {up} stand for the symbols of the directions."""
    width: int
    """Cells; the minimum if the column grows."""
    _: KW_ONLY
    place: int
    """Columns are in this order from left to right, texts first."""
    rank: int
    """Columns appear in this order as the terminal gets wider."""
    kind: CellKind = CellKind.TEXT
    right: bool = False
    """True if the content is aligned to the right."""
    grows: int = 0
    """Its share of the spare cells."""
    first: int = 0
    """Spare cells that it gets before the others; those of the lowest rank come first."""
    most: int = 0
    """Its maximum in cells: with a wider gap the eye loses the line on the way to the numbers."""
    spare: int = 0
    """Cells that the columns before it grow by before it appears."""
    groups: bool = False
    """True for a text that rows of groups have; the other texts are not shown while rows are grouped."""
    id: str = ""
    """Name in configuration files; empty: the id of the column."""
    help: str = ""
    """Help; empty: that of the column."""


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """One column; its `id` never changes once released."""

    id: str
    help: str
    get: Callable[[Row], Value]
    descending: bool = False
    """True if it is sorted with the largest values first."""
    exported: bool = True
    """True if JSON and CSV have it; the others are sums of exported columns, or values of remotes."""
    cells: tuple[Cell, ...] = ()
    """Its columns in the full screen."""
    in_csv: str = ""
    """Its header in CSV, where a column of processes has its id; rows are not sorted by it."""

    @property
    def header(self) -> str:
        """Return its header in CSV."""
        return self.in_csv or self.id


def iso(time: datetime | None) -> str | None:
    """Return a time in UTC with milliseconds, as ISO 8601."""
    return None if time is None else time.isoformat(timespec="milliseconds")


def thousandths(number: float) -> float:
    """Round rates and durations to a thousandth: more digits would be noise of the clock."""
    return round(number, 3)
