"""The model as a tree of rows: filtered, grouped, sorted, expanded. A row is made on demand."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain

from bwtop.model.conversations import Peers
from bwtop.model.filter import EVERYTHING, Filter
from bwtop.model.flows import ProcessKey, Remote
from bwtop.model.ledger import Flow
from bwtop.model.live import LiveModel
from bwtop.model.rates import Counted, rate, summed
from bwtop.model.remote_names import RemoteNames
from bwtop.model.series import Rates, added
from bwtop.view.conversations import OtherEnds
from bwtop.view.folding import folded, rest
from bwtop.view.grouping import Grouping
from bwtop.view.groups import Groups
from bwtop.view.joining import joined
from bwtop.view.order import Order
from bwtop.view.passing import Passing
from bwtop.view.rows import AnyRow, Branch, Expansion, Leaf, Row, RowId, Top
from bwtop.view.shown import Shown
from bwtop.view.walking import Walked


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
    """True to fold exited processes into one row, in groups too, unless the filter is about their state."""
    join: bool = False
    """True to show both ends of loopback traffic as one row."""
    apart: frozenset[RowId] = frozenset()
    """Rows that are not folded: the selected one and those above it."""
    selected: RowId | None = None
    """A remote that is shown among the first."""
    first_remotes: int = 0
    """Remotes of a process that are shown at first, the others below a row of their own; 0: all."""
    idle: bool = True
    """True to show processes and remotes without bytes in the averaging window; groups sum what is shown."""


class Tree(Walked):
    """The rows of a model in a view. A tree is a snapshot: build another one when either has changed."""

    def __init__(
        self, model: LiveModel, view: View, expansion: Expansion, names: RemoteNames
    ) -> None:
        super().__init__(expansion)
        self.model = model
        self._view = view
        self._names = names
        self.categories = view.toggles.categories()
        self._shown = Shown(model, self.categories, idle=view.idle)
        self._passing = Passing(self._shown, view.filter, names)
        self._kept: dict[RowId, list[RowId]] = {}
        self._children: dict[RowId, Sequence[Row]] = {}
        """The children of the rows that were opened, sorted."""
        self._top: dict[RowId, Top | None] = {}
        self._graphs: dict[tuple[RowId, int], list[Rates]] = {}
        self._highest: float | None = None
        self._ends: OtherEnds | None = None
        branches = list(self._passing.rows(view.grouping, idle=view.idle))
        self._branch_counts = [branch.counted for branch in branches]
        if view.grouping is Grouping.PROCESS and view.filter.terms:
            # They have no rows; without them the total of the header would shrink.
            self._branch_counts += self._passing.gone()
        if view.join and view.grouping is Grouping.PROCESS:
            branches = self._joined(branches)
        join = self._joined if view.join else None
        self._groups = Groups(self._shown, view.grouping, view.peers, join)
        self._made = list(self._groups.of(branches))
        self.tops = self._made

    def _joined(self, branches: Sequence[Branch], group: str | None = None) -> list[Branch]:
        shown = self._shown
        return joined(branches, shown.flows, shown.counted, self.model.covered, group)

    @property
    def order(self) -> Order:
        """The sort order."""
        return self._view.order

    @property
    def filter(self) -> Filter:
        """The filter of processes and flows."""
        return self._view.filter

    @property
    def grouping(self) -> Grouping:
        """The property that the rows of the top level stand for."""
        return self._view.grouping

    def sort(self, before: "Tree | None" = None) -> None:
        """Sort by the order of the view; or keep the order of another tree, with new rows last."""
        self._places = None
        kept = [row.id for row in before.tops] if before else []
        self.tops = self._ordered(self._made)
        if self._folds and self.grouping is Grouping.PROCESS:
            self.tops = folded(self.tops, {*kept, *self._view.apart}, self.order)
        if before:
            self.tops = _like(kept, self.tops)
            self._kept = before.places()

    @property
    def _folds(self) -> bool:
        return self._view.fold and not self._view.filter.mentions("state")

    def _ordered(self, rows: Sequence[Branch]) -> list[Branch]:
        """Return rows in the order of the view."""
        found = self._view.order.processes(rows)
        if self._view.living_first:
            found.sort(key=lambda row: row.exited)
        return found

    def count(self) -> int:
        """Return the number of processes or groups that pass, folded ones included."""
        return len(self._made)

    def counted(self) -> Counted:
        """Return the numbers of all that passes, both ends of loopback traffic included."""
        return summed(self._branch_counts) if self._branch_counts else Counted()

    def places(self) -> dict[RowId, list[RowId]]:
        """Return the order of the children of all rows that were opened."""
        opened = list(self._children.items())  # meanwhile the screen may open others
        seen = {row: [child.id for child in rows] for row, rows in opened}
        return self._kept | seen

    def reorder(
        self,
        order: Order,
        apart: frozenset[RowId] = frozenset(),
        selected: RowId | None = None,
    ) -> None:
        """Sort the same rows by another order; see View about the others."""
        self._view = replace(self._view, order=order, apart=apart, selected=selected)
        self._kept = {}
        self._children.clear()
        self.sort()

    def passes(self, flow: Flow) -> bool:
        """Return True if the filter of the view passes a flow; without a filter, False."""
        return flow in self._passing

    @cached_property
    def moved(self) -> dict[str, tuple[int, int]]:
        """The bytes of all shown flows in the averaging window, by class of the remotes."""
        every = not self._view.filter.terms
        return self.model.moved(
            lambda flow: flow.category in self.categories and (every or self.passes(flow))
        )

    # Rows below others.

    def children(self, branch: Branch) -> Sequence[Row]:
        """Return the children of a row, sorted."""
        if branch.id not in self._children:
            kept = self._kept.get(branch.id, [])
            self._children[branch.id] = (
                _like(kept, self._members(branch, kept))
                if branch.process is None
                else self._first(branch.id, _like(kept, self.remotes(branch)))
            )
        return self._children[branch.id]

    def _members(self, branch: Branch, kept: Iterable[RowId]) -> list[Branch]:
        """Return the processes of a row, the exited ones folded unless all have exited."""
        rows = self._ordered(branch.members or self._groups.parts(branch))
        if not self._folds or branch.exited:
            return rows
        return folded(rows, {*kept, *self._view.apart}, self.order, branch.id._replace(exited=True))

    def processes(self, branch: Branch) -> Iterator[Branch]:
        """Yield the rows of processes at and below a row; one with both ends of traffic has parts of processes."""
        if branch.process:
            yield branch
        else:
            for child in self.children(branch):
                if isinstance(child, Branch):
                    yield from self.processes(child)

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

    def remotes(self, branch: Branch) -> list[Leaf]:
        """Return the remotes of a process, sorted, without keeping them."""
        parent, names, seconds = branch.id, self._names, self.model.covered
        home = branch.identity.host
        return self._view.order.remotes(
            Leaf(_of_flow(flow, seconds), flow.remote, parent, names, home)
            for flow in self._shown.flows(branch)
        )

    def programs(self, leaf: Leaf) -> str:
        """Return the programs at the other end of a remote that is a known host; empty: they are not known."""
        of, peers = leaf.parent.process, self._view.peers
        if leaf.remote.address not in peers or not isinstance(of, ProcessKey):
            return ""
        if self._ends is None:
            processes = self.model.ledger.processes.values()
            flows = chain.from_iterable(process.flows.values() for process in processes)
            self._ends = OtherEnds(flows, peers)
        process = self.model.ledger.processes.get(of)
        return self._ends.programs(process.identity.host, leaf.remote) if process else ""

    def top(self, branch: Branch) -> Top | None:
        """Return the top remote of a row; None if it has none."""
        if branch.id not in self._top:
            self._top[branch.id] = _top(branch.shown_flows())
        return self._top[branch.id]

    def graph(self, branch: Branch, count: int) -> list[Rates] | None:
        """Return the rates of the last intervals; None if the row covers only part of a process."""
        processes = branch.whole
        if processes is None:
            return None
        key = (branch.id, count)
        if key not in self._graphs:
            graphs = [self.model.graph(one, self.categories, count) for one in processes]
            self._graphs[key] = added(graphs)
        return self._graphs[key]

    def highest(self) -> float:
        """Return the highest rate of a row of the top level, both directions."""
        if self._highest is None:
            rates = (row.counted.rx_rate + row.counted.tx_rate for row in self.tops)
            self._highest = max(rates, default=0.0)
        return self._highest


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
