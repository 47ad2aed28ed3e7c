"""The rows of the tree in a live view, and their expansion."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, NamedTuple, TypeVar

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

    @property
    def key(self) -> ProcessKey | None:
        """Return the process; None for a group, and for exited processes that are remembered together."""
        return self.process.key if self.process else None

    @property
    def pid(self) -> int | None:
        """Return the process id; None if there is none."""
        return self.key.pid if self.key else None

    def all_flows(self) -> Iterator[Flow]:
        """Yield its flows, also those in categories that are not shown."""
        if self.flows is not None:
            yield from self.flows
        elif self.process:
            yield from self.process.flows.values()
        else:
            yield from chain.from_iterable(member.all_flows() for member in self.members)

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
