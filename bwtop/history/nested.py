"""Query processes with their largest remotes: of millions, most are only counted."""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from bwtop.history.dimensions import ENDPOINT, OF_REMOTE, Label, labels, parse
from bwtop.history.query import Answer, History, ReportRow
from bwtop.history.ranges import Range
from bwtop.history.store import Flow, Order, RankingSelection
from bwtop.model.filter import Filter

PROCESS: Final = parse("process")

SORTS: Final[dict[str, Callable[[ReportRow], int]]] = {
    "total": lambda row: row.rx + row.tx,
    "rx": lambda row: row.rx,
    "tx": lambda row: row.tx,
}
"""Values to sort rows by, as in store.Order."""

Labels = tuple[Label, ...]


def ordered(rows: Sequence[ReportRow], order: Order) -> list[ReportRow]:
    """Return rows in an order."""
    by, reverse = order
    return sorted(rows, key=SORTS[by], reverse=not reverse)


class Nested(ABC):
    """An answer by process, with the remotes of each."""

    answer: Answer

    @abstractmethod
    def remotes(self, process: Labels, order: Order, most: int) -> tuple[list[ReportRow], int]:
        """Return the first `most` rows of a process by ENDPOINT, and the number of all."""


def ask(history: History, wanted: Range, keep: Filter, now: float) -> Nested:
    """Answer for a range by process."""
    is_quick = history.ranks_remotes and keep.needs().isdisjoint(OF_REMOTE)
    return (_Ranked if is_quick else _Listed)(history, wanted, keep, now)


class _Ranked(Nested):
    """The store picks the largest remotes."""

    def __init__(self, history: History, wanted: Range, keep: Filter, now: float) -> None:
        self.answer, selection, ends = history.choose(wanted, [PROCESS], keep, now)
        assert isinstance(selection, RankingSelection), "see ranks_remotes"
        self._selection = selection
        self._flows: dict[Labels, list[Flow]] = defaultdict(list)
        for flow, end in ends.items():
            self._flows[labels([PROCESS], *end, None)].append(flow)

    def remotes(self, process: Labels, order: Order, most: int) -> tuple[list[ReportRow], int]:
        """See Nested."""
        found, count = self._selection.largest(self._flows[process], order, most)
        return [ReportRow((remote,), *moved) for remote, moved in found], count


class _Listed(Nested):
    """All remotes are in memory."""

    def __init__(self, history: History, wanted: Range, keep: Filter, now: float) -> None:
        whole = history.ask(wanted, [PROCESS, ENDPOINT], keep, now)
        self._rows: dict[Labels, list[ReportRow]] = defaultdict(list)
        for row in whole.rows:
            self._rows[row.labels[:-1]].append(ReportRow(row.labels[-1:], row.rx, row.tx))
        processes = [
            ReportRow(process, sum(row.rx for row in rows), sum(row.tx for row in rows))
            for process, rows in self._rows.items()
        ]
        self.answer = replace(whole, rows=ordered(processes, ("total", False)))

    def remotes(self, process: Labels, order: Order, most: int) -> tuple[list[ReportRow], int]:
        """See Nested."""
        rows = self._rows[process]
        return ordered(rows, order)[:most], len(rows)
