"""The request for a report."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

from bwtop.history.dimensions import Dimension, Label, finest
from bwtop.history.nested import ordered
from bwtop.history.query import Answer, ReportRow
from bwtop.history.ranges import Range
from bwtop.history.store import Order
from bwtop.identity.names import Names
from bwtop.identity.users import user_name
from bwtop.model.filter import EVERYTHING, Filter
from bwtop.model.ledger import CATEGORIES
from bwtop.model.named import RemoteName


@dataclass(frozen=True)
class ReportRequest:
    """The request for a report: range, grouping, filter, order and format."""

    range: Range
    by: Sequence[Dimension] = ()
    """Empty: processes; in a table, with their remotes."""
    keep: Filter = EVERYTHING
    sort: str = ""
    """One of nested.SORTS; empty: by time where a dimension of time is given, else by total."""
    reverse: bool = False
    limit: int | None = None
    bits: bool = False
    names: Names | None = None
    """Resolver of the names of remotes, for tables."""
    host: str | None = field(default_factory=socket.gethostname)
    """Name of the recording host; None: many hosts."""

    def sorted(self, rows: Sequence[ReportRow]) -> list[ReportRow]:
        """Return the rows in the requested order."""
        if not self.sort and finest(self.by):
            return list(rows)
        return ordered(rows, self.order)

    @property
    def order(self) -> Order:
        """Return the order of rows without a dimension of time."""
        return self.sort or "total", self.reverse


def scope_of(keep: Filter) -> str:
    """Return the networks that a filter names, or else whether its traffic includes loopback, in words."""
    if names := keep.networks():
        return ", ".join(names)
    return {(True, True): "with loopback", (True, False): "loopback only"}.get(
        (
            any(CATEGORIES[of][1] for of in keep.categories()),
            any(not CATEGORIES[of][1] for of in keep.categories()),
        ),
        "without loopback",
    )


def user_of(answer: Answer, uid: Label) -> str | None:
    """Return the user name of a uid, from the recording hosts or else from this host; None: unknown."""
    if not isinstance(uid, int):
        return None
    return user_name(uid) if answer.users is None else answer.users.get(uid)


def remote_names(
    answer: Answer, by: Sequence[Dimension], rows: Sequence[ReportRow]
) -> Sequence[RemoteName | None]:
    """Return the recorded names of the remotes that rows are of; None: a row has none."""
    if answer.names is None:
        return [None] * len(rows)
    return answer.names.of(by, [row.labels for row in rows])
