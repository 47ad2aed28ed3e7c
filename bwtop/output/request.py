"""What was asked of a report."""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bwtop.history.dimensions import Dimension, Label, finest
from bwtop.history.query import Answer, Row
from bwtop.history.ranges import Range
from bwtop.identity.names import Names
from bwtop.identity.users import user_name
from bwtop.model.filter import Filter

SORTS: Final[dict[str, Callable[[Row], int]]] = {
    "total": lambda row: row.rx + row.tx,
    "rx": lambda row: row.rx,
    "tx": lambda row: row.tx,
}
"""Columns to sort by, the largest first."""


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    range: Range
    by: Sequence[Dimension] = ()
    """Empty: a table has processes with their remotes, anything else processes."""
    keep: Filter = field(default_factory=Filter)
    sort: str = ""
    """One of SORTS; empty: rows of time in its order, others by their total."""
    reverse: bool = False
    limit: int | None = None
    bits: bool = False
    names: Names | None = None
    """Names of remotes, for tables."""
    host: str | None = field(default_factory=socket.gethostname)
    """Whose past it is; None: that of many."""

    def sorted(self, rows: Sequence[Row]) -> list[Row]:
        """As asked."""
        if not self.sort and finest(self.by):
            return list(rows)
        return sorted(rows, key=SORTS[self.sort or "total"], reverse=not self.reverse)


def user_of(answer: Answer, uid: Label) -> str | None:
    """The name of a row's uid: as this machine has it, or those whose past it is."""
    if not isinstance(uid, int):
        return None
    return user_name(uid) if answer.users is None else answer.users.get(uid)
