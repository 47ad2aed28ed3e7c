"""The rows of the tree that a lasting view shows, and which of them are expanded."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

from bwtop.model.flows import ProcessKey, Remote
from bwtop.model.ledger import Flow, Process
from bwtop.model.meter import ProcessRow, RemoteRow


class RowId(NamedTuple):
    """What a row stands for, however often it is made anew."""

    group: str | None = None
    process: ProcessKey | None = None
    remote: Remote | None = None


@dataclass(slots=True)
class Branch(ProcessRow):
    """A process or a group of them; `rx` and `tx` are the bytes of the averages' window."""

    id: RowId
    process: Process | None = None
    """None: a group."""
    flows: list[Flow] | None = None
    """Those that are shown; None: all of the process, or of the members, in the shown categories."""
    members: list["Branch"] = field(default_factory=list)
    address: bytes | None = None
    """Of the remote that a group stands for."""
    exited: bool = False
    children: "Sequence[Row] | None" = None
    """Sorted; None before anybody asked."""


@dataclass(slots=True)
class Leaf(RemoteRow):
    """One remote of a process."""

    id: RowId = field(default_factory=RowId)


Row = Branch | Leaf
AnyRow = TypeVar("AnyRow", Branch, Leaf)

Path = tuple[int, ...]
"""Where a row is: its place at the highest level, then among that row's children, and so on."""

FIRST: Final[Path] = (0,)


@dataclass
class Expansion:
    """Which rows show their children: a rule and its exceptions, so that it holds for rows yet to come."""

    rule: bool = False
    exceptions: set[RowId] = field(default_factory=set)

    def __contains__(self, row: RowId) -> bool:
        return self.rule != (row in self.exceptions)

    def set(self, row: RowId, *, expanded: bool) -> None:
        """Expands or collapses one row."""
        if expanded == self.rule:
            self.exceptions.discard(row)
        else:
            self.exceptions.add(row)

    def set_all(self, *, expanded: bool) -> None:
        """Expands or collapses all rows, those to come too."""
        self.rule = expanded
        self.exceptions.clear()
