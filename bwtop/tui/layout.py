"""The list's columns: those of view.columns with a cell, and the selection that fits the terminal."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bwtop.text.invalid import invalid
from bwtop.view.column import Cell, CellKind, Column
from bwtop.view.columns import HOST_COLUMNS, PROCESS_COLUMNS

if TYPE_CHECKING:  # glyphs import urwid, which flags do not need
    from bwtop.tui.glyphs import Glyphs


@dataclass(frozen=True)
class ListColumn:
    """One column of the list."""

    column: Column[Any]
    cell: Cell

    @property
    def id(self) -> str:
        """Its name in configuration files."""
        return self.cell.id or self.column.id

    @property
    def help(self) -> str:
        """Its help."""
        return self.cell.help or self.column.help

    @property
    def is_text(self) -> bool:
        """True if it is left of the numbers, and the name of a remote spans it."""
        return self.cell.kind is CellKind.TEXT

    @property
    def sorts(self) -> bool:
        """True if it shows the value that its column sorts by."""
        return self.cell.kind is not CellKind.GRAPH and self.cell.id != "top"

    @property
    def align(self) -> str:
        """The alignment of title and content, as in format()."""
        return ">" if self.cell.right else "<"


def fields_of(columns: Iterable[Column[Any]]) -> tuple[ListColumn, ...]:
    """Return the columns of the list, from left to right: texts, then numbers."""
    found = (ListColumn(column, cell) for column in columns for cell in column.cells)
    return tuple(sorted(found, key=lambda field: (not field.is_text, field.cell.place)))


FIELDS: Final = fields_of(PROCESS_COLUMNS)

(HOST_FIELD,) = fields_of(HOST_COLUMNS)
"""The first column with several hosts; not shown for one host."""

MARK: Final = 1
"""Cells for the symbol of an expandable row."""


MARKED_FROM: Final = 40
"""Cells of a line from which the last one is for the scroll mark."""


def inner(columns: int) -> int:
    """Return the cells of a line of the list without the scroll mark."""
    return columns - 1 if columns >= MARKED_FROM else columns


@dataclass(frozen=True)
class Placed:
    """A column with its place on the screen."""

    field: ListColumn
    start: int
    """The first cell."""
    width: int

    @property
    def end(self) -> int:
        """The first cell after it."""
        return self.start + self.width

    def title(self, glyphs: "Glyphs") -> str:
        """Return its title."""
        return self.field.cell.title.format(down=glyphs.down, up=glyphs.up)


def place(fields: Sequence[ListColumn], columns: int, *, wide: bool = False) -> list[Placed]:
    """Return the columns that fit, from left to right, one cell apart; the others are dropped whole.

    With `wide` they take all cells.

    """
    shown: list[ListColumn] = []
    for field in sorted(fields, key=lambda field: field.cell.rank):
        if shown and _needed([*shown, field]) + field.cell.spare > columns:
            break
        shown.append(field)
    spare = columns - _needed(shown)
    first = {}
    for field in shown:
        first[field.id] = min(field.cell.first, max(spare, 0))
        spare -= first[field.id]
    shown.sort(key=fields.index)
    parts = sum(field.cell.grows for field in shown)
    placed, start = [], MARK
    for field in shown:
        cell = field.cell
        width = cell.width + first[field.id]
        if cell.grows:
            more = spare * cell.grows // parts
            spare, parts = spare - more, parts - cell.grows
            width = width + more if wide else min(width + more, cell.most)
        placed.append(Placed(field, start, max(width, 0)))
        start += max(width, 0) + 1
    return placed


def _needed(fields: list[ListColumn]) -> int:
    return MARK + sum(field.cell.width + 1 for field in fields) - 1


def at(shown: Sequence[Placed], cell: int) -> ListColumn | None:
    """Return the column at a cell of the line, or None."""
    for placed in shown:
        if placed.start <= cell <= placed.end:
            return placed.field
    return None


def parse_fields(names: Sequence[str]) -> tuple[ListColumn, ...]:
    """Return columns by their ids, texts before numbers in any case; raise ValueError."""
    by_id = {field.id: field for field in FIELDS}
    for name in names:
        if name not in by_id:
            raise invalid("column", name, ", ".join(by_id))
        if names.count(name) > 1:
            raise invalid("columns", list(names), f"{name} only once")
    if "process" not in names:
        raise ValueError("column 'process' is required")
    return tuple(sorted((by_id[name] for name in names), key=lambda field: not field.is_text))
