"""An interval as rows: what batch and the browser view write as tables, JSON and CSV."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from bwtop.model.filter import Filter
from bwtop.model.flows import Loss
from bwtop.model.live import LiveModel
from bwtop.model.rates import Counted, rate, summed
from bwtop.model.remote_names import RemoteNames
from bwtop.model.sample import Sample
from bwtop.view.order import Order
from bwtop.view.rows import Branch, Expansion, Leaf
from bwtop.view.tree import Tree, View


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """One interval, to be written before the next one is made; `counted` includes processes that are not listed."""

    time: datetime
    """Its end, in UTC."""
    elapsed: float
    """Seconds, by the monotonic clock."""
    loss: Loss
    counted: Counted
    processes: Sequence[Branch]
    """The listed processes, sorted."""
    remotes: Callable[[Branch], Sequence[Leaf]]
    """Returns the remotes of a listed process, sorted. They are made on demand: there may be 65,536."""
    number: int
    """The processes that moved bytes, listed or not."""
    networks: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """`counted` by class of the remotes: bytes (received, sent)."""


class Intervals:
    """The maker of intervals of samples, which keeps the totals."""

    def __init__(
        self,
        keep: Filter,
        names: RemoteNames,
        order: Order = Order(),
        limit: int | None = None,
    ) -> None:
        """Take the flows to keep, the names of remotes, and the order and largest number of processes."""
        self._keep = keep
        self._names = names
        self._view = View(order=order, idle=False)
        self._limit = limit
        self._model = LiveModel(history=False)

    def advance(self, sample: Sample) -> Interval:
        """Return the interval that ends with a sample."""
        self._names.advance(sample)
        self._model.advance(self._keep.apply(sample, self._names.seen))
        tree = Tree(self._model, self._view, Expansion(), self._names)
        tree.sort()
        totals = self._model.ledger.sums.values()
        return Interval(
            time=sample.time,
            elapsed=sample.elapsed,
            loss=sample.loss,
            counted=moved(tree.tops, sample.elapsed)._replace(
                rx_total=sum(tally.rx for tally in totals),
                tx_total=sum(tally.tx for tally in totals),
            ),
            processes=tree.tops[: self._limit],
            remotes=tree.remotes,
            number=len(tree.tops),
            networks=tree.moved,
        )


def shown(tree: Tree, end: datetime) -> Interval:
    """Return what a tree shows as an interval: the averaging window that ends at `end`, in UTC.

    Its losses are those since the start. Of groups it has the processes; grouped by remote, one for each remote.
    """
    processes = [row for top in tree.tops for row in tree.processes(top)]
    return Interval(
        time=end,
        elapsed=tree.model.covered,
        loss=tree.model.loss,
        counted=summed(row.counted for row in processes) if processes else Counted(),
        processes=processes,
        remotes=tree.remotes,
        number=len(processes),
        networks=tree.moved,
    )


def moved(rows: Iterable[Branch], elapsed: float) -> Counted:
    """Return the bytes of all rows in an interval, and their rates."""
    rx = tx = 0
    for row in rows:
        rx += row.counted.rx
        tx += row.counted.tx
    return Counted(rx, tx, rate(rx, elapsed), rate(tx, elapsed))
