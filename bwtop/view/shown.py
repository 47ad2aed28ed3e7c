"""The traffic that rows show: of the processes of a model, the flows in the shown categories, and their numbers."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from bwtop.model.conditions import LiveNumbers
from bwtop.model.ledger import Category, Flow, Process, Tally
from bwtop.model.live import LiveModel
from bwtop.model.rates import Counted, rate
from bwtop.view.rows import Branch, RowId


class Shown:
    """The processes and flows of a model in some categories, at one moment."""

    def __init__(self, model: LiveModel, categories: frozenset[Category], *, idle: bool) -> None:
        """Without `idle`, leave out processes and flows without bytes in the averaging window."""
        self.categories = categories
        self._model = model
        self._active = None if idle else model.active()

    def processes(self, *, gone: bool) -> Iterable[Process]:
        """Return the processes; with `gone` also those that are no longer listed."""
        if self._active is not None:
            return self._active
        listed = self._model.ledger.processes.values()
        return chain(listed, self.gone()) if gone else listed

    def gone(self) -> Iterable[Process]:
        """Return the processes that are no longer listed, as far as they are shown."""
        return self._model.gone.values() if self._active is None else ()

    def is_gone(self, process: Process) -> bool:
        """Return True if the process has exited."""
        return process.key is None or self._model.has_exited(process.key)

    def row(
        self,
        process: Process,
        counted: Counted,
        parent: RowId,
        flows: Sequence[Flow] | None,
    ) -> Branch:
        """Return the row of a process, of all its flows or of some (see Branch), below a row or at the top level."""
        exited = self.is_gone(process)
        return Branch(
            id=parent._replace(process=process.key or process.identity),
            counted=counted,
            identity=process.identity,
            process=process,
            size=process.count,
            living=0 if exited else process.count,
            flows=flows,
            exited=exited,
            source=self,
        )

    # Flows.

    def known(self, process: Process) -> Iterator[Flow]:
        """Return the flows in the shown categories that have moved bytes."""
        return filter(self.shows, process.flows.values())

    def shows(self, flow: Flow) -> bool:
        """Return True if a flow has moved bytes and is in the shown categories."""
        return flow.category in self.categories and any(flow.amounts())

    def flows(self, branch: Branch) -> Iterable[Flow]:
        """Return the flows below a row of a process."""
        assert branch.process, "groups have no flows of their own"
        if branch.flows is None:
            return self._whole(branch.process)
        if self._active is None:
            return branch.flows
        return [flow for flow in branch.flows if flow.rx_window or flow.tx_window]

    def _whole(self, process: Process) -> Iterable[Flow]:
        """Return the shown flows of a process of which no filter hides any."""
        if self._active is None:
            return self.known(process)
        return [flow for flow in self._active[process] if flow.category in self.categories]

    # Numbers.

    def sums(self, process: Process) -> list[Tally]:
        """Return the sums of a process in the shown categories, forgotten flows included."""
        return [tally for of, tally in process.sums.items() if of in self.categories]

    def counted(self, tallies: Iterable[Tally]) -> Counted:
        """Return the numbers of all tallies together."""
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

    def live(self, process: Process) -> LiveNumbers:
        """Return the numbers of a process that filters know."""
        counted = self.counted(self.sums(process))
        total = counted.rx_total + counted.tx_total
        return LiveNumbers(counted.rx_rate + counted.tx_rate, total, self.is_gone(process))

    def peak(self, processes: Iterable[Process]) -> float | None:
        """Return the highest rate of processes together; see LiveModel.peak()."""
        return self._model.peak(processes, self.categories)
