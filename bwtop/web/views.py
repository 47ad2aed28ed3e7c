"""Views of the live model: the table of processes, and the last minutes."""

import io
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from heapq import nlargest
from itertools import accumulate
from typing import Any, Final

from bwtop.model.conditions import Loopback
from bwtop.model.filter_fields import toggled
from bwtop.model.ledger import CLASSES
from bwtop.model.live import LINGER
from bwtop.model.rates import rate
from bwtop.model.series import Rates, added
from bwtop.model.typed import parse
from bwtop.output import intervals
from bwtop.text import units as fmt
from bwtop.text.escape import inert
from bwtop.view.column import Value, iso, thousandths
from bwtop.view.columns import PROCESS_COLUMNS
from bwtop.view.interval import Interval, moved
from bwtop.view.order import Order
from bwtop.view.rows import Branch, Expansion, Leaf
from bwtop.view.tree import Tree
from bwtop.view.tree import View as TreeView
from bwtop.web.answer import encode
from bwtop.web.broadcaster import BroadcastState, ChartPoint
from bwtop.web.params import Values


@dataclass(frozen=True)
class LiveView:
    """The parameters of a live view."""

    filter: str = ""
    classes: frozenset[str] = frozenset(CLASSES)
    loopback: Loopback = Loopback.SHOW
    order: Order = Order()
    limit: int | None = None
    """Maximum number of processes; totals include all."""
    idle: bool = False
    """True to include processes and remotes that were idle in the interval."""
    remotes: frozenset[int] | None = None
    """Pids to list with remotes; None: all."""
    each: int | None = None
    """Maximum number of remotes per process."""

    def scope(self) -> "LiveView":
        """Return a view of the same flows, with default order and limits."""
        return LiveView(self.filter, self.classes, self.loopback)

    def tree(self, state: BroadcastState) -> Tree:
        """Return the tree of rows."""
        toggles = toggled(self.classes, self.loopback)
        view = TreeView(toggles, parse(self.filter), order=self.order, idle=self.idle)
        return Tree(state.model, view, Expansion(), state.names)

    def remotes_of(self, branch: Branch, tree: Tree) -> list[Leaf] | None:
        """Return all remotes of a process, without the limit; None: not wanted."""
        if self.remotes is not None and (branch.pid or 0) not in self.remotes:
            return None
        return tree.remotes(branch)


def live(values: Values) -> LiveView:
    """Return the view for the parameters."""
    return LiveView(
        filter=values["filter"],
        classes=values["proto"],
        loopback=Loopback(values["loopback"]),
        order=values["sort"],
        limit=values["limit"],
        idle=values["idle"] == "show",
        remotes=values["remotes"],
        each=values["each"],
    )


def interval(
    view: LiveView, tree: Tree, state: BroadcastState
) -> tuple[Interval, list[dict[str, Any]]]:
    """Return the interval with the shown rows, and further fields for each row."""
    tree.sort()
    processes = tree.tops[: view.limit]
    remotes = {branch.id: view.remotes_of(branch, tree) for branch in processes}
    more = [
        {
            "exited": branch.exited,
            "remote_count": None if (found := remotes[branch.id]) is None else len(found),
        }
        for branch in processes
    ]
    shown = Interval(
        time=state.time,
        elapsed=state.elapsed,
        loss=state.loss,
        counted=moved(tree.tops, state.elapsed),
        processes=processes,
        remotes=lambda branch: (remotes[branch.id] or [])[: view.each],
        number=len(tree.tops),
        networks=tree.moved,
    )
    return shown, more


@dataclass(frozen=True)
class Document:
    """An interval as JSON: the schema of --batch, with further fields."""

    view: LiveView

    def draw(self, state: BroadcastState) -> bytes:
        """Draw the view (see broadcaster.BroadcastView)."""
        tree = self.view.tree(state)
        found, more = interval(self.view, tree, state)
        layout = intervals.Layout(state.backend)
        document = intervals.document(found, backend=layout.source, host=socket.gethostname())
        for process, further in zip(document["processes"], more, strict=True):
            process.update(further)
        document["busiest"] = _busiest(tree.tops)
        document["notes"] = [f"lost: {words}" for words in fmt.losses(state.loss)]
        return encode(document)


@dataclass(frozen=True)
class Sheet:
    """An interval as the CSV of --batch."""

    view: LiveView

    def draw(self, state: BroadcastState) -> bytes:
        """Draw the view (see broadcaster.BroadcastView)."""
        found, _ = interval(self.view, self.view.tree(state), state)
        out = io.StringIO()
        writer = intervals.CsvWriter(out, intervals.Layout(state.backend), inert)
        writer.write(found)
        return out.getvalue().encode()


MOST: Final = 12
"""Processes in the chart of the last minutes, and those of each interval that are candidates for it."""

_NAMING: Final = frozenset({"pid", "start", "exec", "name", "kernel"})
"""The columns of a process in the chart."""

_SCANNED: Final = 200
"""Processes considered for the chart: half by bytes now, half by total."""


@dataclass(frozen=True)
class ChartView:
    """The last intervals for a chart: rates of all processes together, and of the busiest ones."""

    view: LiveView

    def draw(self, state: BroadcastState) -> bytes:
        """Draw the view (see broadcaster.BroadcastView)."""
        tree = replace(self.view, idle=True).tree(state)
        points = self._points(state)
        known = {
            row.id: (row, graph)
            for row in _candidates(tree.tops)
            if (graph := tree.graph(row, len(points))) is not None
        }
        total = self._total(tree, points)
        most = nlargest(MOST, known.values(), key=lambda pair: sum(map(sum, pair[1])))
        return encode(
            {
                "points": [
                    {"time": iso(point.time), "interval": round(point.elapsed, 4), **_rates(rates)}
                    for point, rates in zip(points, total, strict=False)
                ],
                "processes": [
                    {
                        **_named(row),
                        "rates": [_rates(rates) for rates in graph],
                    }
                    for row, graph in most
                    if any(map(any, graph))
                ]
                if total
                else [],
            }
        )

    def _points(self, state: BroadcastState) -> list[ChartPoint]:
        """Return the intervals with complete data; with a filter, only those newer than any forgotten process."""
        points = list(state.past)
        if not self.view.filter.strip() or not state.model.gone:
            return points
        ages = accumulate(point.elapsed for point in reversed(points))
        known = sum(age < LINGER for age in ages)
        return points[len(points) - known :]

    def _total(self, tree: Tree, points: Sequence[ChartPoint]) -> list[Rates]:
        """Return the total rates of all shown rows; empty if unknown, because the filter selects single flows."""
        if not self.view.filter.strip():
            return [
                (
                    rate(sum(point.sums[of][0] for of in tree.categories), point.elapsed),
                    rate(sum(point.sums[of][1] for of in tree.categories), point.elapsed),
                )
                for point in points
            ]
        graphs = [tree.graph(row, len(points)) for row in tree.tops[:_SCANNED]]
        known = [graph for graph in graphs if graph is not None]
        return added(known) if len(known) == len(tree.tops) else []


def _busiest(rows: Sequence[Branch]) -> list[dict[str, Any]]:
    """Return the processes that moved most in the interval, for the chart: they need not be among the listed ones."""
    most = nlargest(MOST, rows, key=_moved)
    return [
        {**_named(row), **_rates((row.counted.rx_rate, row.counted.tx_rate))}
        for row in most
        if _moved(row)
    ]


def _named(row: Branch) -> dict[str, Value]:
    """Return the fields of a process that tell it from others, and its name."""
    return {column.id: column.get(row) for column in PROCESS_COLUMNS if column.id in _NAMING}


def _moved(row: Branch) -> int:
    return row.counted.rx + row.counted.tx


def _candidates(rows: Sequence[Branch]) -> Iterable[Branch]:
    half = _SCANNED // 2
    yield from nlargest(half, rows, key=_moved)
    yield from nlargest(half, rows, key=lambda row: row.counted.rx_total + row.counted.tx_total)


def _rates(rates: Rates) -> dict[str, float]:
    return {"rx_rate": thousandths(rates[0]), "tx_rate": thousandths(rates[1])}
