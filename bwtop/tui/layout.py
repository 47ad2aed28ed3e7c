"""The columns of the list, one row each, and the choice of those that fit a terminal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # glyphs import urwid, which flags do not need
    from bwtop.tui.glyphs import Glyphs


@dataclass(frozen=True)
class Field:
    """One column of the list; its width never depends on its content."""

    id: str
    title: str
    """Title; {down} and {up} stand for the symbols of the directions."""
    column: str
    """Id in bwtop.view.columns of the sort column, whose help is used too."""
    width: int
    """Cells; the minimum if the column grows."""
    rank: int
    """Columns appear in this order as the terminal gets wider; equal ranks from the left."""
    right: bool = False
    """True if the content is aligned to the right."""
    grows: int = 0
    """Its share of the spare cells."""
    first: int = 0
    """Spare cells that it gets before the others."""
    most: int = 0
    """Its maximum in cells: with a wider gap the eye loses the line on the way to the numbers."""
    help: str = ""
    """Help, if that of the sort column is not enough."""


FIELDS: Final = (
    Field("pid", "PID", "pid", 8, 3, right=True),
    Field("user", "USER", "user", 8, 6),
    Field(
        "process",
        "PROCESS",
        "name",
        16,
        0,
        grows=3,
        first=8,
        most=48,
        help="process name or command line; remotes below",
    ),
    Field("unit", "UNIT", "unit", 16, 9, grows=2, most=32, help="container or systemd unit"),
    Field(
        "graph", "LAST 10", "rate", 10, 8, help="traffic of the last ten intervals, both directions"
    ),
    Field("rx_rate", "{down}/s", "rx_rate", 10, 1, right=True),
    Field("tx_rate", "{up}/s", "tx_rate", 10, 2, right=True),
    Field("rx_total", "{down} total", "rx_total", 10, 4, right=True),
    Field("tx_total", "{up} total", "tx_total", 10, 5, right=True),
    Field("share", "SHARE", "rate", 6, 7, right=True, help="share of the current traffic"),
)
"""From left to right. Texts come before numbers: the name of a remote spans all text columns."""

HOST_FIELD: Final = Field(
    "host", "HOST", "hostname", 12, 3, grows=2, first=8, most=40, help="host of the process"
)
"""The first column with several hosts; not shown for one host."""

TEXTS: Final = ("host", "pid", "user", "process", "unit")

MARK: Final = 1
"""Cells for the symbol of an expandable row."""


@dataclass(frozen=True)
class Placed:
    """A column with its place on the screen."""

    field: Field
    start: int
    """The first cell."""
    width: int

    @property
    def end(self) -> int:
        """The first cell after it."""
        return self.start + self.width

    def title(self, glyphs: "Glyphs") -> str:
        """Return its title."""
        return self.field.title.format(down=glyphs.down, up=glyphs.up)


def place(fields: Sequence[Field], columns: int, *, wide: bool = False) -> list[Placed]:
    """Return the columns that fit, from left to right, one cell apart; the others are dropped whole.

    With `wide` they take all cells.

    """
    shown: list[Field] = []
    for field in sorted(fields, key=lambda field: field.rank):
        if shown and _needed([*shown, field]) > columns:
            break
        shown.append(field)
    shown.sort(key=fields.index)
    spare = columns - _needed(shown)
    first = {field: min(field.first, spare) for field in shown}
    spare -= sum(first.values())
    parts = sum(field.grows for field in shown)
    placed, start = [], MARK
    for field in shown:
        width = field.width + first[field]
        if field.grows:
            more = spare * field.grows // parts
            spare, parts = spare - more, parts - field.grows
            width = width + more if wide else min(width + more, field.most)
        placed.append(Placed(field, start, max(width, 0)))
        start += max(width, 0) + 1
    return placed


def _needed(fields: list[Field]) -> int:
    return MARK + sum(field.width + 1 for field in fields) - 1


def at(shown: Sequence[Placed], cell: int) -> Field | None:
    """Return the column at a cell of the line, or None."""
    for placed in shown:
        if placed.start <= cell <= placed.end:
            return placed.field
    return None


def parse_fields(names: Sequence[str]) -> tuple[Field, ...]:
    """Return columns by their ids, texts before numbers in any case; raise ValueError."""
    by_id = {field.id: field for field in FIELDS}
    for name in names:
        if name not in by_id:
            raise ValueError(f"invalid column {name!r}; expected {', '.join(by_id)}")
        if names.count(name) > 1:
            raise ValueError(f"column {name!r} is given twice")
    if "process" not in names:
        raise ValueError("column 'process' is required")
    return tuple(sorted((by_id[name] for name in names), key=lambda field: field.id not in TEXTS))
