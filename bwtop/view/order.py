"""Sorting rows by a column."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

from bwtop.model.rates import Counted
from bwtop.text.invalid import invalid
from bwtop.view.column import Column, Row, Value
from bwtop.view.columns import ALL_COLUMNS, REMOTE_COLUMNS, shown_pid
from bwtop.view.rows import Branch, Leaf

DEFAULT_SORT: Final = "rate"


@dataclass(frozen=True)
class Order:
    """The sort order of rows: a column of processes, in its natural direction or reversed."""

    column: str = DEFAULT_SORT
    reverse: bool = False

    def text(self) -> str:
        """Return the text that parse_order() parses to this order."""
        return f"-{self.column}" if self.reverse else self.column

    @property
    def descending(self) -> bool:
        """True if the largest values come first."""
        return self._descends(_PROCESS_COLUMNS.get(self.column, _PROCESS_COLUMNS[DEFAULT_SORT]))

    def _descends(self, column: Column[Any]) -> bool:
        return column.descending != (self.reverse and column.id == self.column)

    def processes(self, rows: Iterable[Branch]) -> list[Branch]:
        """Return process rows, sorted; equal ones with the most traffic first, exited ones last, then by pid."""
        return self._sorted(sorted(rows, key=_place), _PROCESS_COLUMNS)

    def remotes(self, rows: Iterable[Leaf]) -> list[Leaf]:
        """Return remote rows, sorted by the same column, or by rate if remotes lack it; equal ones by traffic."""
        return self._sorted(sorted(rows, key=_remote_place), _REMOTE_COLUMNS)

    def _sorted(self, rows: list[Row], columns: Mapping[str, Column[Row]]) -> list[Row]:
        """Return rows, sorted; those without a value come last."""
        if len(rows) < 2:
            return rows
        column = columns.get(self.column) or columns[DEFAULT_SORT]
        values = [column.get(row) for row in rows]
        unknown = [row for row, value in zip(rows, values, strict=True) if value is None]
        known = [
            (_sortable(value), row)
            for row, value in zip(rows, values, strict=True)
            if value is not None
        ]
        known.sort(key=itemgetter(0), reverse=self._descends(column))
        return [*(row for _, row in known), *unknown]


_PROCESS_COLUMNS: Final = {column.id: column for column in ALL_COLUMNS}
_REMOTE_COLUMNS: Final = {column.id: column for column in REMOTE_COLUMNS if not column.in_csv}


def _traffic(counted: Counted) -> tuple[float, int]:
    """Return the sort key that puts the highest rate first, then the largest total."""
    return -(counted.rx_rate + counted.tx_rate), -(counted.rx_total + counted.tx_total)


def _place(row: Branch) -> tuple[Any, ...]:
    which = (row.key.start, row.key.exec) if row.key else (0, 0)
    return row.exited, *_traffic(row.counted), shown_pid(row), *which


def _remote_place(row: Leaf) -> tuple[Any, ...]:
    return *_traffic(row.counted), row.remote


def _sortable(value: Value) -> Any:
    """Return a sort key that ignores case. A column has values of one type: plain numbers sort fastest."""
    return value.casefold() if isinstance(value, str) else value


def parse_order(text: str) -> Order:
    """Return the order of "COLUMN" or "-COLUMN"; raise ValueError with the valid columns."""
    name = text.removeprefix("-")
    ids = [column.id for column in ALL_COLUMNS]
    if name not in ids:
        raise invalid("column", name, ", ".join(ids))
    return Order(name, reverse=text.startswith("-"))
