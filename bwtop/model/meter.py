"""From deltas to rates and totals: the one place where bytes per second are made."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from bwtop.model.flows import Identity, Loss, ProcessKey, Remote
from bwtop.model.ledger import Flow, Ledger, Process, Tally
from bwtop.model.sample import Sample


@dataclass(slots=True)
class Counted:
    """The numbers of every row: bytes of the interval, bytes per second, bytes since bwtop started."""

    rx: int
    tx: int
    rx_rate: float
    tx_rate: float
    rx_total: int
    tx_total: int


@dataclass(slots=True)
class RemoteRow(Counted):
    """One remote of one process."""

    remote: Remote
    host: str | None = None
    """The remote's name by reverse DNS, once known."""


@dataclass(slots=True)
class ProcessRow(Counted):
    """One process; its numbers are the sums of its remotes'."""

    key: ProcessKey
    identity: Identity
    remotes: list[RemoteRow]


@dataclass(slots=True)
class Interval(Counted):
    """What every view shows of one interval; its totals include processes that are gone."""

    time: datetime
    """Its end, in UTC."""
    elapsed: float
    """Seconds, by the monotonic clock."""
    processes: list[ProcessRow]
    loss: Loss


class Meter:
    """Turns samples into intervals, remembering totals."""

    def __init__(self) -> None:
        self._ledger = Ledger()

    def advance(self, sample: Sample) -> Interval:
        """The interval that ends with this sample; what moved no byte in it is left out."""
        frame = self._ledger.take(sample)
        self._ledger.book(frame)
        rows = [
            _process_row(process, list(entries), frame.elapsed)
            for process, entries in groupby(frame.entries(), key=lambda entry: entry[0].process)
        ]
        for key in frame.exited:
            self._ledger.forget(key)
        total = added(self._ledger.sums.values())
        rx, tx = sum(row.rx for row in rows), sum(row.tx for row in rows)
        counted = _counted(rx, tx, total, frame.elapsed)
        return Interval(*counted, frame.time, frame.elapsed, rows, frame.loss)


def _process_row(
    process: Process, entries: list[tuple[Flow, int, int]], elapsed: float
) -> ProcessRow:
    remotes = [
        RemoteRow(*_counted(rx, tx, (flow.rx, flow.tx), elapsed), flow.remote)
        for flow, rx, tx in entries
    ]
    rx, tx = sum(row.rx for row in remotes), sum(row.tx for row in remotes)
    counted = _counted(rx, tx, added(process.sums.values()), elapsed)
    return ProcessRow(*counted, process.key, process.identity, remotes)


def _counted(
    rx: int, tx: int, total: tuple[int, int], elapsed: float
) -> tuple[int, int, float, float, int, int]:
    """The fields of Counted."""
    return rx, tx, rate(rx, elapsed), rate(tx, elapsed), *total


def added(tallies: Iterable[Tally]) -> tuple[int, int]:
    """The totals of them all: (received, sent)."""
    rx = tx = 0
    for tally in tallies:
        rx += tally.rx
        tx += tally.tx
    return rx, tx


def rate(amount: int, elapsed: float) -> float:
    """Bytes per second; 0 for an interval of no length."""
    return amount / elapsed if elapsed > 0 else 0.0
