"""Which columns the list has, one row each, and which of them a terminal has room for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # it imports urwid, and flags are read with this
    from bwtop.tui.glyphs import Glyphs


@dataclass(frozen=True)
class Field:
    """One column of the list; widths never depend on what is in it."""

    id: str
    title: str
    """With {down} and {up} for the signs of the directions."""
    column: str
    """Of bwtop.view.columns: what it is sorted by, and where its help stands."""
    width: int
    """Cells; of a column that grows, the least."""
    rank: int
    """Columns come in in this order as the terminal gets wider, and all before it are there; alike, from the left."""
    right: bool = False
    """Whether its content is aligned to the right."""
    grows: int = 0
    """Its part of what room is left over."""
    first: int = 0
    """Cells of that which it gets before others do."""
    most: int = 0
    """Cells beyond which it does not grow, or the eye loses the line on the way to the numbers."""
    help: str = ""
    """Where the column that it is sorted by says too little."""


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
        help="name, or command line; its remotes below it",
    ),
    Field("unit", "UNIT", "unit", 16, 9, grows=2, most=32, help="container, or systemd unit"),
    Field("graph", "LAST 10", "rate", 10, 8, help="both directions in the last ten intervals"),
    Field("rx_rate", "{down}/s", "rx_rate", 10, 1, right=True),
    Field("tx_rate", "{up}/s", "tx_rate", 10, 2, right=True),
    Field("rx_total", "{down} total", "rx_total", 10, 4, right=True),
    Field("tx_total", "{up} total", "tx_total", 10, 5, right=True),
    Field("share", "SHARE", "rate", 6, 7, right=True, help="part of all that is moved now"),
)
"""From left to right.  Texts come before numbers: a remote's name takes the room of all texts."""

HOST_FIELD: Final = Field(
    "host", "HOST", "hostname", 12, 3, grows=2, first=8, most=40, help="the machine that it runs on"
)
"""In front of all others where rows are of many machines; nobody needs it for one's own."""

TEXTS: Final = ("host", "pid", "user", "process", "unit")

MARK: Final = 1
"""Cells for the sign that there is something below."""


@dataclass(frozen=True)
class Placed:
    """A column on the screen."""

    field: Field
    start: int
    """The cell that it begins at."""
    width: int

    @property
    def end(self) -> int:
        """The first cell behind it."""
        return self.start + self.width

    def title(self, glyphs: "Glyphs") -> str:
        """Its title."""
        return self.field.title.format(down=glyphs.down, up=glyphs.up)


def place(fields: Sequence[Field], columns: int, *, wide: bool = False) -> list[Placed]:
    """Those that fit, from left to right; one cell between each two.  Those left out are left out whole.

    With `wide` they take all room there is.
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
    """The column that a cell of the line is in."""
    for placed in shown:
        if placed.start <= cell <= placed.end:
            return placed.field
    return None


def parse_fields(names: Sequence[str]) -> tuple[Field, ...]:
    """Columns by their ids, texts before numbers whatever their order; raises ValueError."""
    by_id = {field.id: field for field in FIELDS}
    for name in names:
        if name not in by_id:
            raise ValueError(f"there is no column {name!r}; there are {', '.join(by_id)}")
        if names.count(name) > 1:
            raise ValueError(f"column {name!r} is there twice")
    if "process" not in names:
        raise ValueError("without column 'process' nobody would know whose numbers they are")
    return tuple(sorted((by_id[name] for name in names), key=lambda field: field.id not in TEXTS))
