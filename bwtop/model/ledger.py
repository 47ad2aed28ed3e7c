"""Totals of all processes and flows: they only grow, booked reading by reading."""

from array import array
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Final

from bwtop.model import networks
from bwtop.model.flows import (
    UNKNOWN_IDENTITY,
    Identity,
    Loss,
    ProcessKey,
    Remote,
    is_loopback,
    nowhere,
    protocol_class,
)
from bwtop.model.sample import Sample

CLASSES: Final = ("tcp", "udp", "other")

Category = int
"""A class of protocols, loopback or not: the unit of the toggles. Every flow has one."""

CATEGORIES: Final[dict[Category, tuple[str, bool]]] = {
    2 * index + loopback: (name, bool(loopback))
    for index, name in enumerate(CLASSES)
    for loopback in (0, 1)
}
"""(class, loopback or not)."""

_CATEGORY: Final = {what: of for of, what in CATEGORIES.items()}

Scope = tuple[Category, str]
"""A category, and the class of the remotes (see model.networks)."""

MAX_REMOTES: Final = 65536
"""Remotes kept per process: some 25 MB. Beyond that the oldest idle ones are forgotten; the totals of the process
keep their bytes.

"""

MAX_FLOWS: Final = 131072
"""Flows kept in all: some 50 MB. Beyond that the processes with the most flows forget idle ones, an eighth of all at
once.

"""


def category(remote: Remote) -> Category:
    """Return the category of the flows to a remote."""
    return category_of(remote.protocol, loopback=is_loopback(remote.address))


def category_of(protocol: int, *, loopback: bool) -> Category:
    """Return the category of flows of a protocol, on loopback or not."""
    return _CATEGORY[protocol_class(protocol), loopback]


class Tally:
    """Payload bytes: since the start, and within the averaging window."""

    __slots__ = ("rx", "rx_window", "tx", "tx_window")

    def __init__(self) -> None:
        self.rx = self.tx = self.rx_window = self.tx_window = 0

    def amounts(self) -> tuple[int, int, int, int]:
        """Return all four numbers; empty if nothing has been moved."""
        return self.rx, self.tx, self.rx_window, self.tx_window


class Flow(Tally):
    """The traffic of one process with one remote."""

    __slots__ = ("category", "net", "process", "remote", "sum")

    def __init__(self, process: "Process", remote: Remote) -> None:
        super().__init__()
        self.process = process
        self.remote = remote
        self.category = category(remote)
        self.net = networks.current().of(remote.address, process.identity.host)
        """The class of the remote."""
        self.sum = process.sum(self.category)
        """The sum of the process that this flow is part of."""


class Process:
    """A process that has moved bytes; the same object as long as it is known."""

    __slots__ = ("count", "flows", "identity", "key", "sums")

    def __init__(self, key: ProcessKey | None, identity: Identity) -> None:
        self.key = key
        """None: exited processes of one identity, remembered together."""
        self.identity = identity
        self.count = 1
        """The processes that it stands for."""
        self.flows: dict[Remote, Flow] = {}
        self.sums: dict[Category, Tally] = {}

    def sum(self, of: Category) -> Tally:
        """Return the sum of its flows of a category, including forgotten ones."""
        known = self.sums.get(of)
        if known is None:
            known = self.sums[of] = Tally()
        return known

    def total(self) -> int:
        """Return the bytes that it moved, both directions."""
        return sum(tally.rx + tally.tx for tally in self.sums.values())

    def flow(self, remote: Remote) -> Flow:
        """Return its flow to a remote; create it if necessary."""
        known = self.flows.get(remote)
        if known is None:
            known = self.flows[remote] = Flow(self, remote)
        return known


@dataclass(slots=True)
class Frame:
    """A reading in the form that the ledger books: flows with the bytes each has moved."""

    time: datetime
    """Its end, in UTC."""
    elapsed: float
    """Seconds, by the monotonic clock."""
    flows: list[Flow] = field(default_factory=list)
    """The flows of a process are adjacent."""
    rx: "array[int]" = field(default_factory=lambda: array("Q"))
    tx: "array[int]" = field(default_factory=lambda: array("Q"))
    renamed: dict[ProcessKey, Identity] = field(default_factory=dict)
    """New identities of known processes."""
    exited: set[ProcessKey] = field(default_factory=set)
    loss: Loss = Loss()
    _scopes: dict[Scope, tuple[int, int]] | None = None
    _sums: dict[Category, tuple[int, int]] | None = None

    def entries(self) -> Iterator[tuple[Flow, int, int]]:
        """Yield (flow, bytes received, bytes sent)."""
        return zip(self.flows, self.rx, self.tx, strict=True)

    def add(self, flow: Flow, rx: int, tx: int) -> None:
        """Add the bytes moved by a flow."""
        self.flows.append(flow)
        self.rx.append(rx)
        self.tx.append(tx)
        self._sums = self._scopes = None

    def scopes(self) -> dict[Scope, tuple[int, int]]:
        """Return the bytes by category and class of the remote, (received, sent), computed once."""
        if self._scopes is None:
            found: dict[Scope, tuple[int, int]] = {}
            for flow, rx, tx in self.entries():
                scope = (flow.category, flow.net)
                before = found.get(scope, (0, 0))
                found[scope] = (before[0] + rx, before[1] + tx)
            self._scopes = found
        return self._scopes

    def sums(self) -> dict[Category, tuple[int, int]]:
        """Return the bytes by category, (received, sent), computed once."""
        if self._sums is None:
            found: dict[Category, tuple[int, int]] = {}
            for (of, _), (rx, tx) in self.scopes().items():
                before = found.get(of, (0, 0))
                found[of] = (before[0] + rx, before[1] + tx)
            self._sums = found
        return self._sums

    def absorb(self, later: "Frame") -> None:
        """Merge the next frame into this one."""
        moved: dict[Process, dict[Flow, tuple[int, int]]] = {}
        for frame in (self, later):
            for flow, rx, tx in frame.entries():
                flows = moved.setdefault(flow.process, {})
                before = flows.get(flow, (0, 0))
                flows[flow] = (before[0] + rx, before[1] + tx)
        self.flows, self.rx, self.tx = [], array("Q"), array("Q")
        self._sums = self._scopes = None
        for flows in moved.values():
            for flow, (rx, tx) in flows.items():
                self.add(flow, rx, tx)
        self.time = later.time
        self.elapsed += later.elapsed
        self.renamed.update(later.renamed)
        self.exited |= later.exited
        self.loss = self.loss.plus(later.loss)


class Ledger:
    """All known processes and flows, and the sums over all that ever existed."""

    def __init__(self) -> None:
        self.processes: dict[ProcessKey, Process] = {}
        self.sums = {of: Tally() for of in CATEGORIES}
        """Sums over all processes, including exited ones."""
        self.scopes: dict[Scope, Tally] = {}
        """The same by the class of the remotes, too."""
        self._size = 0

    def take(self, sample: Sample) -> Frame:
        """Return a reading as a frame, without changing any total. Flows without bytes are left out."""
        frame = Frame(sample.time, sample.elapsed, loss=sample.loss, exited=set(sample.exited))
        for key, identity in sample.identities.items():
            if key in self.processes:
                frame.renamed[key] = identity
        for key, remotes in sample.traffic.items():
            moved = [(r, t.rx, t.tx) for r, t in remotes.items() if t.rx or t.tx]
            if moved:
                process = self._process(key, sample)
                self._size -= len(process.flows)
                for remote, rx, tx in moved:
                    frame.add(process.flow(remote), rx, tx)
                _forget_idle(process, remotes.keys(), len(process.flows) - MAX_REMOTES)
                self._size += len(process.flows)
        if self._size > MAX_FLOWS:
            self._make_room(sample)
        return frame

    def _make_room(self, sample: Sample) -> None:
        wanted = MAX_FLOWS - MAX_FLOWS // 8
        by_size = sorted(self.processes.items(), key=lambda item: -len(item[1].flows))
        for key, process in by_size:
            active = sample.traffic.get(key, {}).keys()
            self._size -= _forget_idle(process, active, self._size - wanted)

    def _process(self, key: ProcessKey, sample: Sample) -> Process:
        known = self.processes.get(key)
        if known is None:
            identity = sample.identities.get(key, UNKNOWN_IDENTITY)
            known = self.processes[key] = Process(key, identity)
        return known

    def book(self, frame: Frame) -> None:
        """Add a frame to the totals."""
        for key, identity in frame.renamed.items():
            if key in self.processes:
                self.processes[key].identity = identity
        for flow, rx, tx in frame.entries():
            flow.rx += rx
            flow.tx += tx
            of_process = flow.sum
            of_process.rx += rx
            of_process.tx += tx
        for of, (rx, tx) in frame.sums().items():
            of_all = self.sums[of]
            of_all.rx += rx
            of_all.tx += tx
        for scope, (rx, tx) in frame.scopes().items():
            tally = self.scope(scope)
            tally.rx += rx
            tally.tx += tx

    def scope(self, of: Scope) -> Tally:
        """Return the sum of a scope."""
        known = self.scopes.get(of)
        if known is None:
            known = self.scopes[of] = Tally()
        return known

    def merge(self, process: Process, most: int) -> None:
        """Keep the largest remotes of an idle process; the others become the unknown one of their category."""
        self._size -= len(process.flows)
        by_size = sorted(process.flows.values(), key=lambda flow: -(flow.rx + flow.tx))
        for flow in by_size[most:]:
            del process.flows[flow.remote]
            add(process.flow(nowhere(flow.remote)), flow)
        self._size += len(process.flows)

    def size(self) -> int:
        """Return the number of known flows."""
        return self._size

    def forget(self, key: ProcessKey) -> Process | None:
        """Remove a process; the sums over all keep its bytes."""
        process = self.processes.pop(key, None)
        if process:
            self._size -= len(process.flows)
        return process


def add(into: Tally, more: Tally) -> None:
    """Add the totals of a tally to another one."""
    into.rx += more.rx
    into.tx += more.tx


def _forget_idle(process: Process, active: Set[Remote], excess: int) -> int:
    """Forget the oldest idle remotes, at most `excess`; return how many."""
    if excess <= 0:
        return 0
    idle = list(islice((remote for remote in process.flows if remote not in active), excess))
    for remote in idle:
        del process.flows[remote]
    return len(idle)
