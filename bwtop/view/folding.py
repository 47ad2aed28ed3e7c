"""Rows that stand for several: exited processes, and the remotes beyond the first ones."""

from collections.abc import Collection, Sequence
from typing import Final

from bwtop.model.flows import Identity
from bwtop.model.largest import LEAST
from bwtop.model.rates import summed
from bwtop.view.order import Order
from bwtop.view.rows import Branch, Leaf, RowId

FOLDED: Final = RowId(exited=True)
"""The row of the exited processes of the top level."""

TOTALS: Final = ("total", "rx_total", "tx_total")
"""Orders in which large processes stay apart after their end."""


def folded(
    rows: Sequence[Branch], apart: Collection[RowId], order: Order, row: RowId = FOLDED
) -> list[Branch]:
    """Return process rows with the exited ones as a single row at the end; a single one stays as it is.

    Rows of `apart` stay in any case.
    """
    large = order.column in TOTALS

    def is_folded(one: Branch) -> bool:
        if not one.exited or one.id in apart:
            return False
        return not (large and _total(one) >= LEAST)

    exited = [one for one in rows if is_folded(one)]
    if len(exited) < 2:
        return list(rows)
    others = [one for one in rows if not is_folded(one)]
    return [*others, _fold(row, exited)]


def _total(row: Branch) -> int:
    return row.counted.rx_total + row.counted.tx_total


def _fold(row: RowId, rows: Sequence[Branch]) -> Branch:
    return Branch(
        id=row,
        counted=summed(row.counted for row in rows),
        identity=Identity("exited"),
        size=sum(row.size for row in rows),
        members=rows,
        exited=True,
    )


def rest(of: RowId, rows: Sequence[Leaf]) -> Branch:
    """Return the row of some remotes of a process."""
    return Branch(
        id=of, counted=summed(row.counted for row in rows), identity=Identity(f"+{len(rows)} more")
    )
