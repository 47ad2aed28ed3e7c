"""The model as a tree of rows: filtered, grouped, sorted, expanded. A row is made on demand."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import chain

from bwtop.model.conditions import LiveNumbers
from bwtop.model.conversations import Peers
from bwtop.model.filter import EVERYTHING, Either, Filter, Term
from bwtop.model.flows import Identity, ProcessKey, Remote, format_address
from bwtop.model.ledger import Flow, Process, Tally
from bwtop.model.live import LiveModel
from bwtop.model.rates import Counted, rate, summed
from bwtop.model.remote_names import RemoteNames
from bwtop.model.series import Rates, added
from bwtop.view.columns import Order
from bwtop.view.conversations import OtherEnds, conversations
from bwtop.view.folding import FOLDED, folded, rest
from bwtop.view.grouping import KEYS, LABELS, OF_FLOW, Grouping, common
from bwtop.view.joining import joined
from bwtop.view.rows import FIRST, AnyRow, Branch, Expansion, Leaf, Path, Row, RowId, Top


@dataclass(frozen=True)
class View:
    """The settings that make rows of a model: filters, grouping, order."""

    toggles: Filter = EVERYTHING
    """Decides about categories."""
    filter: Filter = EVERYTHING
    """Decides about processes and flows."""
    grouping: Grouping = Grouping.PROCESS
    order: Order = Order()
    living_first: bool = False
    """True to list exited processes after all others, in any order."""
    peers: Peers = field(default_factory=dict)
    """The hosts of remotes."""
    fold: bool = False
    """True to fold exited processes into one row, unless the filter is about their state."""
    join: bool = False
    """True to show both ends of loopback traffic as one row."""
    apart: RowId | None = None
    """A row that is not folded: that of the selected process."""
    selected: RowId | None = None
    """A remote that is shown among the first."""
    first_remotes: int = 0
    """Remotes of a process that are shown at first, the others below a row of their own; 0: all."""
    idle: bool = True
    """True to show processes and remotes without bytes in the averaging window; groups sum what is shown."""


class Tree:
    """The rows of a model in a view. A tree is a snapshot: build another one when either has changed."""

    def __init__(
        self, model: LiveModel, view: View, expansion: Expansion, names: RemoteNames
    ) -> None:
        self._model = model
        self._view = view
        self._expansion = expansion
        self._names = names
        self.categories = view.toggles.categories()
        self._places: dict[RowId, int] | None = None
        self._kept: dict[RowId, list[RowId]] = {}
        self._children: dict[RowId, Sequence[Row]] = {}
        """The children of the rows that were opened, sorted."""
        self._top: dict[RowId, Top | None] = {}
        self._graphs: dict[tuple[RowId, int], list[Rates]] = {}
        self._highest: float | None = None
        self._ends: OtherEnds | None = None
        self._is_live = view.filter.is_live
        self._whole: set[Process] = set()
        """With a filter: the processes of which all flows pass."""
        self._passing: set[Flow] = set()
        """The passing flows of the others."""
        self._active = None if view.idle else model.active()
        branches = list(self._branches())
        self._branch_counts = [branch.counted for branch in branches]
        if view.join and view.grouping is Grouping.PROCESS:
            branches = joined(branches, self._flows, self._counted, model.covered)
        self._made = list(self._group(branches))
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
        if self._view.living_first:
            self.tops.sort(key=lambda row: row.exited)
        kept = [row.id for row in before.tops] if before else []
        if self._folds:
            self.tops = folded(self.tops, apart={*kept, self._view.apart}, order=self.order)
        if before:
            self.tops = _like(kept, self.tops)
            self._kept = before.places()

    @property
    def _folds(self) -> bool:
        view = self._view
        return view.fold and self.grouping is Grouping.PROCESS and not view.filter.mentions("state")

    def count(self) -> int:
        """Return the number of processes or groups that pass, folded ones included."""
        return len(self._made)

    def counted(self) -> Counted:
        """Return the numbers of all that passes, both ends of loopback traffic included."""
        return summed(self._branch_counts) if self._branch_counts else Counted()

    def places(self) -> dict[RowId, list[RowId]]:
        """Return the order of the children of all rows that were opened."""
        seen = {row: [child.id for child in rows] for row, rows in self._children.items()}
        return self._kept | seen

    def reorder(
        self, order: Order, apart: RowId | None = None, selected: RowId | None = None
    ) -> None:
        """Sort the same rows by another order; see View about the others."""
        self._view = replace(self._view, order=order, apart=apart, selected=selected)
        self._kept = {}
        self._children.clear()
        self.sort()

    # Making rows.

    def _branches(self) -> Iterator[Branch]:
        if self._active is not None:
            processes: Iterable[Process] = self._active
        elif self._view.grouping is Grouping.PROCESS:
            processes = self._model.ledger.processes.values()
        else:
            processes = chain(self._model.ledger.processes.values(), self._model.gone.values())
        return filter(None, map(self._branch, processes))

    def _branch(self, process: Process) -> Branch | None:
        """Return the row of the process; None if none of its traffic is shown."""
        flows: list[Flow] | None = None
        terms = self._view.filter.undecided(
            process.key, process.identity, self._live(process) if self._is_live else None
        )
        if terms is None:
            return None
        tallies: Iterable[Tally]
        if terms:
            tallies = flows = self._matching(process, terms)
            self._passing.update(flows)
        else:
            tallies = [tally for of, tally in process.sums.items() if of in self.categories]
            if self._view.filter.terms:
                self._whole.add(process)
        counted = self._counted(tallies)
        if any(counted) if self._view.idle else counted.rx or counted.tx:
            return self._process(process, counted, self._group_of(process.identity), flows)
        return None

    def passes(self, flow: Flow) -> bool:
        """Return True if the filter of the view passes a flow; without a filter, False."""
        return flow.process in self._whole or flow in self._passing

    @cached_property
    def moved(self) -> dict[str, tuple[int, int]]:
        """The bytes of all shown flows in the averaging window, by class of the remotes."""
        every = not self._view.filter.terms
        return self._model.moved(
            lambda flow: flow.category in self.categories and (every or self.passes(flow))
        )

    def _live(self, process: Process) -> LiveNumbers:
        counted = self._counted(
            tally for of, tally in process.sums.items() if of in self.categories
        )
        total = counted.rx_total + counted.tx_total
        return LiveNumbers(counted.rx_rate + counted.tx_rate, total, self._is_gone(process))

    def _process(
        self,
        process: Process,
        counted: Counted,
        group: str | None,
        flows: Sequence[Flow] | None,
    ) -> Branch:
        exited = self._is_gone(process)
        return Branch(
            id=RowId(group, process.key or process.identity),
            counted=counted,
            identity=process.identity,
            process=process,
            size=process.count,
            living=0 if exited else process.count,
            flows=flows,
            exited=exited,
        )

    def _group_of(self, identity: Identity) -> str | None:
        """Return the group of a process by its identity; None if there is none."""
        key_of = KEYS.get(self._view.grouping)
        return f"{self.grouping.value} {key_of(identity)}" if key_of else None

    def _known(self, process: Process) -> Iterator[Flow]:
        """Yield the flows in the shown categories that have moved bytes."""
        for flow in process.flows.values():
            if flow.category in self.categories and any(flow.amounts()):
                yield flow

    def _shown(self, process: Process) -> Iterable[Flow]:
        """Return the shown flows of a process of which no term hides any."""
        if self._active is None:
            return self._known(process)
        return [flow for flow in self._active[process] if flow.category in self.categories]

    def _matching(self, process: Process, terms: tuple[Term | Either, ...]) -> list[Flow]:
        flows = list(self._known(process))
        names = partial(self._names.of, process.key)
        for term in terms:
            flows = [f for f in flows if term.of_remote(f.remote, names)]
        return flows

    def _counted(self, tallies: Iterable[Tally]) -> Counted:
        rx = tx = rx_total = tx_total = 0
        for tally in tallies:
            rx += tally.rx_window
            tx += tally.tx_window
            rx_total += tally.rx
            tx_total += tally.tx
        seconds = self._model.covered
        return Counted(
            rx,
            tx,
            rx_rate=rate(rx, seconds),
            tx_rate=rate(tx, seconds),
            rx_total=rx_total,
            tx_total=tx_total,
        )

    def _group(self, branches: Iterable[Branch]) -> Iterable[Branch]:
        grouping = self._view.grouping
        if grouping is Grouping.PROCESS:
            return branches
        if grouping is Grouping.REMOTE:
            return self._by_remote(branches)
        if of_flow := OF_FLOW.get(grouping):
            return self._by_flow(branches, of_flow)
        if grouping is Grouping.CONVERSATION:
            return self._by_conversation(branches)
        groups: dict[str | None, list[Branch]] = {}
        for branch in branches:
            groups.setdefault(branch.id.group, []).append(branch)
        return [self._make_group(key, members) for key, members in groups.items()]

    def _by_remote(self, branches: Iterable[Branch]) -> Iterator[Branch]:
        """Yield a group for each remote address; the processes in it are made on demand."""
        found: dict[bytes, list[Flow]] = {}
        for branch in branches:
            for flow in self._flows(branch):
                found.setdefault(flow.remote.address, []).append(flow)
        for address, flows in found.items():
            yield self._of_flows(format_address(address), flows, address)

    def _by_flow(
        self, branches: Iterable[Branch], label_of: Callable[[Flow], str]
    ) -> Iterator[Branch]:
        """Yield a group for each label of flows."""
        found: dict[str, list[Flow]] = {}
        for branch in branches:
            for flow in self._flows(branch):
                found.setdefault(label_of(flow), []).append(flow)
        for label, flows in found.items():
            yield self._of_flows(label, flows)

    def _of_flows(self, label: str, flows: Sequence[Flow], address: bytes | None = None) -> Branch:
        """Return the group of flows, of which a process may have others elsewhere."""
        processes = {flow.process for flow in flows}
        living = [process for process in processes if not self._is_gone(process)]
        return Branch(
            id=RowId(f"{self.grouping.value} {label}"),
            counted=self._counted(flows),
            identity=common(label, [process.identity for process in processes]),
            size=sum(process.count for process in processes),
            living=sum(process.count for process in living),
            flows=flows,
            address=address,
            exited=not living,
        )

    def _by_conversation(self, branches: Iterable[Branch]) -> Iterator[Branch]:
        """Yield a group for each conversation, with the bytes of one end, and the processes of both."""
        flows = chain.from_iterable(map(self._flows, branches))
        grouping = self.grouping.value

        def make(process: Process, own: Sequence[Flow]) -> Branch:
            return self._process(process, self._counted(own), "", own)

        for found in conversations(flows, self._view.peers, make):
            group = f"{grouping} {found.key}"
            members = [one._replace(id=one.id._replace(group=group)) for one in found.members]
            yield Branch(
                id=RowId(group),
                counted=self._counted(found.counted),
                identity=common(found.label, [member.identity for member in members]),
                size=sum(member.size for member in members),
                living=sum(member.living for member in members),
                flows=found.counted,
                members=members,
                exited=all(member.exited for member in members),
            )

    def _parts(self, group: Branch) -> list[Branch]:
        """Return the processes of a group of flows, with their traffic in it only."""
        found: dict[Process, list[Flow]] = {}
        for flow in group.flows or ():
            found.setdefault(flow.process, []).append(flow)
        return [
            self._process(process, self._counted(flows), group.id.group, flows)
            for process, flows in found.items()
        ]

    def _is_gone(self, process: Process) -> bool:
        return process.key is None or self._model.has_exited(process.key)

    def _make_group(self, group: str | None, members: list[Branch]) -> Branch:
        label = LABELS[self.grouping](members[0].identity)
        return Branch(
            id=RowId(group),
            counted=summed(member.counted for member in members),
            identity=common(label, [member.identity for member in members]),
            size=sum(member.size for member in members),
            living=sum(member.living for member in members),
            members=members,
            exited=all(member.exited for member in members),
        )

    def _flows(self, branch: Branch) -> Iterable[Flow]:
        """Return the flows below a row of a process."""
        assert branch.process, "groups have no flows of their own"
        if branch.flows is None:
            return self._shown(branch.process)
        if self._view.idle:
            return branch.flows
        return [flow for flow in branch.flows if flow.rx_window or flow.tx_window]

    def children(self, branch: Branch) -> Sequence[Row]:
        """Return the children of a row, sorted."""
        if branch.id not in self._children:
            kept = self._kept.get(branch.id, [])
            self._children[branch.id] = (
                _like(kept, self._sorted_members(branch))
                if branch.process is None
                else self._first(branch.id, _like(kept, self.remotes(branch)))
            )
        return self._children[branch.id]

    def _first(self, parent: RowId, rows: list[Leaf]) -> Sequence[Row]:
        """Return the first remotes of a process, the selected one, and the row of the others."""
        most, of = self._view.first_remotes, parent._replace(rest=True)
        if not most or len(rows) <= most + 1:
            return rows
        selected = None if of in self._expansion else self._view.selected
        first = [row for place, row in enumerate(rows) if place < most or row.id == selected]
        shown = {row.remote for row in first}
        others = [row for row in rows if row.remote not in shown]
        self._children[of] = _like(self._kept.get(of, []), others)
        return [*first, rest(of, others)]

    def count_remotes(self, branch: Branch) -> int:
        """Return the number of remotes of a process."""
        return sum(1 for _ in self._flows(branch))

    def _sorted_members(self, branch: Branch) -> list[Branch]:
        return self._view.order.processes(branch.members or self._parts(branch))

    def remotes(self, branch: Branch) -> list[Leaf]:
        """Return the remotes of a process, sorted, without keeping them."""
        parent, names, seconds = branch.id, self._names, self._model.covered
        home = branch.identity.host
        return self._view.order.remotes(
            Leaf(_of_flow(flow, seconds), flow.remote, parent, names, home)
            for flow in self._flows(branch)
        )

    def programs(self, leaf: Leaf) -> str:
        """Return the programs at the other end of a remote that is a known host; empty: they are not known."""
        of, peers = leaf.parent.process, self._view.peers
        if leaf.remote.address not in peers or not isinstance(of, ProcessKey):
            return ""
        if self._ends is None:
            processes = self._model.ledger.processes.values()
            flows = chain.from_iterable(process.flows.values() for process in processes)
            self._ends = OtherEnds(flows, peers)
        process = self._model.ledger.processes.get(of)
        return self._ends.programs(process.identity.host, leaf.remote) if process else ""

    def top(self, branch: Branch) -> Top | None:
        """Return the top remote of a row; None if it has none."""
        if branch.id not in self._top:
            self._top[branch.id] = _top(self._all_flows(branch))
        return self._top[branch.id]

    def _all_flows(self, branch: Branch) -> Iterable[Flow]:
        if branch.process is None and branch.flows is None:
            return chain.from_iterable(map(self._all_flows, branch.members))
        return self._flows(branch) if branch.process else branch.flows or ()

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

    def highest(self) -> float:
        """Return the highest rate of a row of the top level, both directions."""
        if self._highest is None:
            rates = (row.counted.rx_rate + row.counted.tx_rate for row in self.tops)
            self._highest = max(rates, default=0.0)
        return self._highest

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
        return self.beyond(path)

    def beyond(self, path: Path) -> Path | None:
        """Return the next path in the list that is not below this one."""
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
        if place is None and wanted != FOLDED:
            place = self._places.get(FOLDED)
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
            parents = (wanted._replace(remote=None, rest=False), RowId(wanted.group))
            if child.id in parents or child.id.rest:
                return self._find_below((*path, place), wanted)
        return None


def _of_flow(flow: Flow, seconds: float) -> Counted:
    rx, tx = flow.rx_window, flow.tx_window
    return Counted(
        rx,
        tx,
        rx_rate=rate(rx, seconds),
        tx_rate=rate(tx, seconds),
        rx_total=flow.rx,
        tx_total=flow.tx,
    )


def _top(flows: Iterable[Flow]) -> Top | None:
    """Return the remote with the most bytes in the averaging window; if none has any, in all."""
    now: dict[Remote, int] = {}
    ever: dict[Remote, int] = {}
    owners: dict[Remote, ProcessKey | None] = {}
    for flow in flows:
        remote = flow.remote
        owners.setdefault(remote, flow.process.key)
        now[remote] = now.get(remote, 0) + flow.rx_window + flow.tx_window
        ever[remote] = ever.get(remote, 0) + flow.rx + flow.tx
    amounts = now if any(now.values()) else ever
    if not amounts:
        return None
    remote = max(amounts, key=amounts.__getitem__)
    return Top(
        owners[remote], remote, amounts[remote] / (sum(amounts.values()) or 1), len(amounts) - 1
    )


def _like(before: list[RowId], rows: list[AnyRow]) -> list[AnyRow]:
    """Return rows in their previous order, new ones last."""
    if not before:
        return rows
    places = {row: place for place, row in enumerate(before)}
    return sorted(rows, key=lambda row: places.get(row.id, len(places)))
