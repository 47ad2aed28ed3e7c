"""The model as a tree of rows: filtered, grouped, sorted, expanded. A row is made on demand."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from bwtop.model.filter import EVERYTHING, Filter, HostNames, Term
from bwtop.model.flows import Identity, ProcessKey, format_address
from bwtop.model.ledger import Flow, Process, Tally
from bwtop.model.live import LiveModel
from bwtop.model.meter import rate
from bwtop.model.series import Rates, added
from bwtop.view.columns import Order
from bwtop.view.rows import FIRST, AnyRow, Branch, Expansion, Leaf, Path, Row, RowId


class Grouping(StrEnum):
    """The property that the rows of the top level stand for."""

    PROCESS = "process"
    EXECUTABLE = "executable"
    USER = "user"
    UNIT = "unit"
    REMOTE = "remote"
    HOST = "host"


def _executable(identity: Identity) -> str:
    if identity.exe:
        return identity.exe
    return f"[{identity.name}]" if identity.kernel else identity.name


def _user(identity: Identity) -> str:
    return identity.user or ("(no user)" if identity.uid is None else str(identity.uid))


def _unit(identity: Identity) -> str:
    return identity.container or identity.unit or "(no unit)"


def _host(identity: Identity) -> str:
    return identity.host.name or identity.host.id if identity.host else "(this machine)"


def _host_id(identity: Identity) -> str:
    return identity.host.id if identity.host else ""


_LABELS: Final[dict[Grouping, Callable[[Identity], str]]] = {
    Grouping.EXECUTABLE: _executable,
    Grouping.USER: _user,
    Grouping.UNIT: _unit,
    Grouping.HOST: _host,
}

_KEYS: Final = {**_LABELS, Grouping.HOST: _host_id}
"""The common property of a group: its label, or the id of a host, because host names may repeat."""


@dataclass(frozen=True)
class View:
    """The settings that make rows of a model: filters, grouping, order."""

    toggles: Filter = EVERYTHING
    """Decides about categories."""
    filter: Filter = EVERYTHING
    """Decides about processes and flows."""
    grouping: Grouping = Grouping.PROCESS
    order: Order = Order()


class Tree:
    """The rows of a model in a view. A tree is a snapshot: build another one when either has changed."""

    def __init__(
        self, model: LiveModel, view: View, expansion: Expansion, hosts: HostNames
    ) -> None:
        self._model = model
        self._view = view
        self._expansion = expansion
        self._hosts = hosts
        self.categories = view.toggles.categories()
        self._places: dict[RowId, int] | None = None
        self._kept: dict[RowId, list[RowId]] = {}
        self._opened: list[Branch] = []
        self._graphs: dict[tuple[RowId, int], list[Rates]] = {}
        self._made = list(self._group(self._branches()))
        self.tops = self._made

    @property
    def order(self) -> Order:
        """The sort order."""
        return self._view.order

    @property
    def grouping(self) -> Grouping:
        """The property that the rows of the top level stand for."""
        return self._view.grouping

    def sort(self, before: "Tree | None" = None) -> None:
        """Sort by the order of the view; or keep the order of another tree, with new rows last."""
        self._places = None
        self.tops = self._view.order.processes(self._made)
        if before:
            self.tops = _like([row.id for row in before.tops], self.tops)
            self._kept = before.places()

    def places(self) -> dict[RowId, list[RowId]]:
        """Return the order of the children of all rows that were opened."""
        seen = {row.id: [child.id for child in row.children or ()] for row in self._opened}
        return self._kept | seen

    def reorder(self, order: Order) -> None:
        """Sort the same rows by another order."""
        self._view = replace(self._view, order=order)
        self._kept = {}
        for branch in self._opened:
            branch.children = None
        self._opened.clear()
        self.sort()

    # Making rows.

    def _branches(self) -> Iterator[Branch]:
        for key, process in self._model.ledger.processes.items():
            yield from self._branch(process, exited=key in self._model.exited)
        if self._view.grouping is not Grouping.PROCESS:
            for process in self._model.gone.values():
                yield from self._branch(process, exited=True)

    def _branch(self, process: Process, *, exited: bool) -> Iterator[Branch]:
        """Yield the row of the process if any of its traffic is shown."""
        flows: list[Flow] | None = None
        terms = self._view.filter.undecided(process.key, process.identity)
        if terms is None:
            return
        tallies: Iterable[Tally]
        if terms:
            tallies = flows = self._matching(process, terms)
        else:
            tallies = [tally for of, tally in process.sums.items() if of in self.categories]
        numbers = self._numbers(tallies)
        if any(numbers):
            row = RowId(process=process.key)
            yield Branch(
                *numbers, process.key, process.identity, [], row, process, flows, exited=exited
            )

    def _shown(self, process: Process) -> Iterator[Flow]:
        for flow in process.flows.values():
            if flow.category in self.categories and any(flow.amounts()):
                yield flow

    def _matching(self, process: Process, terms: tuple[Term, ...]) -> list[Flow]:
        flows = list(self._shown(process))
        for term in terms:
            flows = [f for f in flows if term.of_remote(f.remote, self._hosts)]
        return flows

    def _numbers(self, tallies: Iterable[Tally]) -> tuple[int, int, float, float, int, int]:
        """Return the fields of Counted."""
        rx = tx = rx_total = tx_total = 0
        for tally in tallies:
            rx += tally.rx_window
            tx += tally.tx_window
            rx_total += tally.rx
            tx_total += tally.tx
        seconds = self._model.covered
        return rx, tx, rate(rx, seconds), rate(tx, seconds), rx_total, tx_total

    def _group(self, branches: Iterable[Branch]) -> Iterable[Branch]:
        grouping = self._view.grouping
        if grouping is Grouping.PROCESS:
            return branches
        if grouping is Grouping.REMOTE:
            return self._by_remote(branches)
        key_of = _KEYS[grouping]
        groups: dict[str, list[Branch]] = {}
        for branch in branches:
            groups.setdefault(key_of(branch.identity), []).append(branch)
        return [self._make_group(key, members) for key, members in groups.items()]

    def _by_remote(self, branches: Iterable[Branch]) -> Iterator[Branch]:
        """Yield a group for each remote address; the processes in it are made on demand."""
        found: dict[bytes, list[Flow]] = {}
        for branch in branches:
            for flow in self._flows(branch):
                found.setdefault(flow.remote.address, []).append(flow)
        for address, flows in found.items():
            processes = {flow.process for flow in flows}
            label = format_address(address)
            yield Branch(
                *self._numbers(flows),
                ProcessKey(0, sum(process.count for process in processes)),
                _common(label, [process.identity for process in processes]),
                [],
                RowId(f"{self._view.grouping.value} {label}"),
                flows=flows,
                address=address,
                exited=all(self._is_gone(process) for process in processes),
            )

    def _parts(self, group: Branch) -> list[Branch]:
        """Return the processes of a remote, with their traffic to it only."""
        found: dict[Process, list[Flow]] = {}
        for flow in group.flows or ():
            found.setdefault(flow.process, []).append(flow)
        return [
            Branch(
                *self._numbers(flows),
                process.key,
                process.identity,
                [],
                RowId(group.id.group, process.key),
                process,
                flows,
                exited=self._is_gone(process),
            )
            for process, flows in found.items()
        ]

    def _is_gone(self, process: Process) -> bool:
        return process.key in self._model.exited or process.key.pid < 0

    def _make_group(self, key: str, members: list[Branch]) -> Branch:
        group = f"{self._view.grouping.value} {key}"
        label = _LABELS[self._view.grouping](members[0].identity)
        for member in members:
            member.id = RowId(group, member.key)
        count = sum(member.process.count for member in members if member.process)
        return Branch(
            sum(m.rx for m in members),
            sum(m.tx for m in members),
            sum(m.rx_rate for m in members),
            sum(m.tx_rate for m in members),
            sum(m.rx_total for m in members),
            sum(m.tx_total for m in members),
            ProcessKey(0, count),
            _common(label, [member.identity for member in members]),
            [],
            RowId(group),
            members=members,
            exited=all(member.exited for member in members),
        )

    def _flows(self, branch: Branch) -> Iterable[Flow]:
        if branch.flows is not None:
            return branch.flows
        assert branch.process, "only groups have no process, and those have members"
        return self._shown(branch.process)

    def children(self, branch: Branch) -> Sequence[Row]:
        """Return the children of a row, sorted."""
        if branch.children is None:
            kept = self._kept.get(branch.id, [])
            if branch.process is None:
                branch.children = _like(kept, self._sorted_members(branch))
            else:
                branch.children = _like(kept, self._sorted_leaves(branch))
            self._opened.append(branch)
        return branch.children

    def _sorted_members(self, branch: Branch) -> list[Branch]:
        return self._view.order.processes(branch.members or self._parts(branch))

    def _sorted_leaves(self, branch: Branch) -> list[Leaf]:
        leaves = [
            Leaf(
                *self._numbers([flow]),
                flow.remote,
                id=RowId(branch.id.group, branch.key, flow.remote),
            )
            for flow in self._flows(branch)
        ]
        return self._view.order.remotes(leaves)

    def graph(self, branch: Branch, count: int) -> list[Rates] | None:
        """Return the rates of the last intervals; None if the row covers only part of a process."""
        rows = branch.members or [branch]
        if branch.address is not None or any(row.flows is not None for row in rows):
            return None
        key = (branch.id, count)
        if key not in self._graphs:
            processes = [row.process for row in rows if row.process]
            graphs = [self._model.graph(p, self.categories, count) for p in processes]
            self._graphs[key] = added(graphs)
        return self._graphs[key]

    # Walking.

    def row(self, path: Path) -> Row:
        """Return the row at a path; raise IndexError if there is none."""
        row: Row = self.tops[path[0]]
        for place in path[1:]:
            if isinstance(row, Leaf):
                raise IndexError
            row = self.children(row)[place]
        return row

    def is_expanded(self, row: Row) -> bool:
        """Return True if the children of the row are shown."""
        return isinstance(row, Branch) and row.id in self._expansion

    def walk(self, path: Path) -> Iterator[tuple[Path, Row]]:
        """Yield the listed rows from a path on."""
        place: Path | None = path if self.tops else None
        while place is not None:
            yield place, self.row(place)
            place = self.after(place)

    def after(self, path: Path) -> Path | None:
        """Return the next path in the list."""
        row = self.row(path)
        if isinstance(row, Branch) and self.is_expanded(row) and self.children(row):
            return (*path, 0)
        while path:
            if path[-1] + 1 < len(self._siblings(path)):
                return (*path[:-1], path[-1] + 1)
            path = path[:-1]
        return None

    def before(self, path: Path) -> Path | None:
        """Return the previous path in the list."""
        if path[-1] == 0:
            return path[:-1] or None
        return self._last_below((*path[:-1], path[-1] - 1))

    def last(self) -> Path:
        """Return the last path in the list; FIRST if it is empty."""
        return self._last_below((len(self.tops) - 1,)) if self.tops else FIRST

    def _last_below(self, path: Path) -> Path:
        row = self.row(path)
        while isinstance(row, Branch) and self.is_expanded(row):
            children = self.children(row)
            if not children:
                break
            path, row = (*path, len(children) - 1), children[-1]
        return path

    def _siblings(self, path: Path) -> Sequence[Row]:
        if len(path) == 1:
            return self.tops
        parent = self.row(path[:-1])
        return self.children(parent) if isinstance(parent, Branch) else []

    def find(self, wanted: RowId) -> Path | None:
        """Return the path of a row, listed or hidden in a collapsed one; None if there is no such row."""
        top = RowId(wanted.group) if wanted.group else RowId(process=wanted.process)
        if self._places is None:
            self._places = {branch.id: place for place, branch in enumerate(self.tops)}
        place = self._places.get(top)
        return None if place is None else self._find_below((place,), wanted)

    def _find_below(self, path: Path, wanted: RowId) -> Path | None:
        row = self.row(path)
        if row.id == wanted:
            return path
        if isinstance(row, Leaf):
            return None
        for place, child in enumerate(self.children(row)):
            if child.id == wanted:
                return (*path, place)
            if child.id == wanted._replace(remote=None):
                return self._find_below((*path, place), wanted)
        return None


def _like(before: list[RowId], rows: list[AnyRow]) -> list[AnyRow]:
    """Return rows in their previous order, new ones last."""
    if not before:
        return rows
    places = {row: place for place, row in enumerate(before)}
    return sorted(rows, key=lambda row: places.get(row.id, len(places)))


def _common(label: str, identities: list[Identity]) -> Identity:
    """Return the identity of a group: the properties that all its processes share."""
    first = identities[0]
    if len(identities) == 1:
        return replace(first, name=label)
    shared = {
        name: getattr(first, name)
        for name in ("uid", "exe", "user", "unit", "container", "pod", "kernel", "host")
        if all(getattr(other, name) == getattr(first, name) for other in identities)
    }
    return Identity(label, **shared)
