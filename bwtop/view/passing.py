"""The filter of a view: the processes and flows that it passes, as rows of processes."""

from collections.abc import Iterable, Iterator
from functools import partial

from bwtop.model.filter import Either, Filter, Term
from bwtop.model.ledger import Flow, Process, Tally
from bwtop.model.rates import Counted
from bwtop.model.remote_names import RemoteNames
from bwtop.view.grouping import KEYS, Grouping
from bwtop.view.rows import Branch, RowId
from bwtop.view.shown import Shown


class Passing:
    """The shown processes and flows that a filter passes."""

    def __init__(self, shown: Shown, keep: Filter, names: RemoteNames) -> None:
        self._shown = shown
        self._keep = keep
        self._names = names
        self._whole: set[Process] = set()
        """With a filter: the processes of which all flows pass."""
        self._some: set[Flow] = set()
        """The passing flows of the others."""

    def __contains__(self, flow: Flow) -> bool:
        """Return True if the filter passes a flow; without a filter, False."""
        return flow.process in self._whole or flow in self._some

    def rows(self, grouping: Grouping, *, idle: bool) -> Iterator[Branch]:
        """Yield a row for each process of which traffic is shown; with `idle` also for those that are idle."""
        key_of = KEYS.get(grouping)
        for process in self._shown.processes(gone=grouping is not Grouping.PROCESS):
            group = f"{grouping.value} {key_of(process.identity)}" if key_of else None
            row = self._row(process, RowId(group))
            if row and (any(row.counted) if idle else row.counted.rx or row.counted.tx):
                yield row

    def gone(self) -> Iterator[Counted]:
        """Yield the numbers of what passes of the processes that are no longer listed.

        They are kept by program: what passes by numbers, by id or by command line is not known of them.
        """
        if self._keep.is_live or self._keep.mentions("pid") or self._keep.mentions("cmd"):
            return
        for process in self._shown.gone():
            if row := self._row(process, RowId()):
                yield row.counted

    def _row(self, process: Process, parent: RowId) -> Branch | None:
        """Return the row of the process; None if the filter hides it."""
        live = self._shown.live(process) if self._keep.is_live else None
        terms = self._keep.undecided(process.key, process.identity, live)
        if terms is None:
            return None
        flows: list[Flow] | None = None
        tallies: Iterable[Tally]
        if terms:
            matching = self._matching(process, terms)
            self._some.update(matching)
            tallies = flows = [flow for flow in matching if self._shown.shows(flow)]
        else:
            tallies = self._shown.sums(process)
            if self._keep.terms:
                self._whole.add(process)
        return self._shown.row(process, self._shown.counted(tallies), parent, flows)

    def _matching(self, process: Process, terms: tuple[Term | Either, ...]) -> list[Flow]:
        """Return the flows that match, also those of hidden categories: a graph has them once they are shown."""
        flows = list(process.flows.values())
        names = partial(self._names.of, process.key)
        for term in terms:
            flows = [flow for flow in flows if term.of_remote(flow.remote, names)]
        return flows
