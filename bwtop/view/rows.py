"""The rows of the tree in a live view, and their expansion."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

from bwtop.model.flows import ProcessKey, Remote
from bwtop.model.ledger import Flow, Process
from bwtop.model.meter import ProcessRow, RemoteRow


class RowId(NamedTuple):
    """The identity of a row, which survives each rebuild of the tree."""

    group: str | None = None
    process: ProcessKey | None = None
    remote: Remote | None = None


@dataclass(slots=True)
class Branch(ProcessRow):
    """A process or a group of processes; `rx` and `tx` are the bytes in the averaging window."""

    id: RowId
    process: Process | None = None
    """None: a group."""
    flows: list[Flow] | None = None
    """The shown flows; None: all flows of the process or of the members in the shown categories."""
    members: list["Branch"] = field(default_factory=list)
    address: bytes | None = None
    """The address of the remote that a group stands for."""
    exited: bool = False
    children: "Sequence[Row] | None" = None
    """Sorted; None until first used."""


@dataclass(slots=True)
class Leaf(RemoteRow):
    """One remote of a process."""

    id: RowId = field(default_factory=RowId)


Row = Branch | Leaf
AnyRow = TypeVar("AnyRow", Branch, Leaf)

Path = tuple[int, ...]
"""The place of a row: its index at the top level, then among the children of that row, and so on."""

FIRST: Final[Path] = (0,)


@dataclass
class Expansion:
    """The set of expanded rows: a rule and its exceptions, so that it covers future rows."""

    rule: bool = False
    exceptions: set[RowId] = field(default_factory=set)

    def __contains__(self, row: RowId) -> bool:
        return self.rule != (row in self.exceptions)

    def set(self, row: RowId, *, expanded: bool) -> None:
        """Expand or collapse one row."""
        if expanded == self.rule:
            self.exceptions.discard(row)
        else:
            self.exceptions.add(row)

    def set_all(self, *, expanded: bool) -> None:
        """Expand or collapse all rows, including future ones."""
        self.rule = expanded
        self.exceptions.clear()
