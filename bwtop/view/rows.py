"""The rows of the tree in a live view, and their expansion."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, NamedTuple, Protocol, TypeVar

from bwtop.model import networks
from bwtop.model.flows import Host, Identity, ProcessKey, Remote
from bwtop.model.ledger import Flow, Process
from bwtop.model.named import RemoteName
from bwtop.model.rates import Counted
from bwtop.model.remote_names import RemoteNames


class RowId(NamedTuple):
    """The identity of a row, which survives each rebuild of the tree."""

    group: str | None = None
    process: ProcessKey | Identity | None = None
    """An identity: exited processes that are remembered together."""
    remote: Remote | None = None
    rest: bool = False
    """True for the row of the remotes that are not shown at first."""
    exited: bool = False
    """True for the row that exited processes are folded into."""
    within: str | None = None
    """The group that its group is in."""

    def leads_to(self, other: "RowId") -> bool:
        """Return True if the other row may be below this one."""
        if self.remote:
            return False
        if self.process:
            at, there = (
                (self.process, self.group, self.within),
                (other.process, other.group, other.within),
            )
            return at == there
        if self.group is None:
            return self.exited
        if self.within:
            return (self.group, self.within) == (other.group, other.within)
        return self.group in (other.group, other.within)


class RowSource(Protocol):
    """Knows the flows of rows of processes."""

    def flows(self, branch: "Branch", /) -> Iterable[Flow]:
        """Return the flows below a row of a process."""

    def peak(self, processes: Iterable[Process], /) -> float | None:
        """Return the highest rate of processes together, both directions; None: unknown."""


class Branch(NamedTuple):
    """A process or a group of processes."""

    id: RowId
    counted: Counted
    """Its bytes are those in the averaging window."""
    identity: Identity
    process: Process | None = None
    """None: a group."""
    size: int = 1
    """The processes that it stands for, exited ones included."""
    living: int = 0
    """Those that have not exited."""
    flows: Sequence[Flow] | None = None
    """The shown flows; None: all flows of the process or of the members in the shown categories."""
    members: "Sequence[Branch]" = ()
    address: bytes | None = None
    """The address of the remote that a group stands for."""
    exited: bool = False
    joined: bool = False
    """True if the rows below are both ends of the same bytes, which it counts once."""
    source: RowSource | None = None
    """Set for a process."""

    @property
    def key(self) -> ProcessKey | None:
        """Return the process; None for a group, and for exited processes that are remembered together."""
        return self.process.key if self.process else None

    @property
    def pid(self) -> int | None:
        """Return the process id; None if there is none."""
        return self.key.pid if self.key else None

    def shown_flows(self) -> Iterable[Flow]:
        """Return its flows in the shown categories."""
        if self.source:
            return self.source.flows(self)
        if self.flows is not None:
            return self.flows
        return chain.from_iterable(member.shown_flows() for member in self.members)

    @property
    def whole(self) -> list[Process] | None:
        """Return the processes that it stands for; None if it covers only a part of one."""
        rows = self.members or (self,)
        if self.address is not None or any(row.flows is not None for row in rows):
            return None
        return [row.process for row in rows if row.process]

    @property
    def peak(self) -> float | None:
        """Return the highest rate of one of the last intervals, both directions; None: unknown."""
        processes = self.whole
        source = (self.members or (self,))[0].source
        return source.peak(processes) if source and processes is not None else None

    @property
    def is_unattributed(self) -> bool:
        """Return True for bytes of a host that could not be attributed to a process."""
        return self.key is not None and self.key.pid is None


class Leaf(NamedTuple):
    """One remote of a process."""

    counted: Counted
    remote: Remote
    parent: RowId
    known: RemoteNames
    home: Host | None = None
    """The host of the process; None: this one."""

    @property
    def id(self) -> RowId:
        """Return the identity of the row."""
        return self.parent._replace(remote=self.remote)

    @property
    def host(self) -> str | None:
        """Return the name of the remote by reverse DNS; None until known."""
        return self.known.reverse(self.remote.address)

    @property
    def names(self) -> Sequence[RemoteName]:
        """Return the known names of the remote, the best first."""
        process = self.parent.process
        return self.known.of(process if isinstance(process, ProcessKey) else None, self.remote)

    @property
    def name(self) -> RemoteName | None:
        """Return the best name of the remote; None until known."""
        return next(iter(self.names), None)

    @property
    def net(self) -> str:
        """Return the class of the remote."""
        return networks.current().of(self.remote.address, self.home)


class Top(NamedTuple):
    """The remote of a row with the highest rate, or of an idle row with the largest total."""

    process: ProcessKey | None
    remote: Remote
    share: float
    """Its share of the bytes of all remotes of the row."""
    others: int
    """The other remotes."""


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
        return self._rule(row) != (row in self.exceptions)

    def _rule(self, row: RowId) -> bool:
        """Return the rule for a row; what is not shown at first opens only by itself."""
        return self.rule and not row.rest

    def set(self, row: RowId, *, expanded: bool) -> None:
        """Expand or collapse one row."""
        if expanded == self._rule(row):
            self.exceptions.discard(row)
        else:
            self.exceptions.add(row)

    def set_all(self, *, expanded: bool) -> None:
        """Expand or collapse all rows, including future ones."""
        self.rule = expanded
        self.exceptions.clear()
