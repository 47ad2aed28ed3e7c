"""Rates and totals from deltas: the only place that computes bytes per second."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from bwtop.model.flows import Identity, Loss, ProcessKey, Remote
from bwtop.model.ledger import Flow, Ledger, Process, Tally
from bwtop.model.sample import Sample


@dataclass(slots=True)
class Counted:
    """The numbers of a row: bytes of the interval, bytes per second, bytes since bwtop started."""

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
    """Name by reverse DNS; None until known."""


@dataclass(slots=True)
class ProcessRow(Counted):
    """One process; its numbers are the sums over its remotes."""

    key: ProcessKey
    identity: Identity
    remotes: list[RemoteRow]


@dataclass(slots=True)
class Interval(Counted):
    """One interval; its totals include exited processes."""

    time: datetime
    """Its end, in UTC."""
    elapsed: float
    """Seconds, by the monotonic clock."""
    processes: list[ProcessRow]
    loss: Loss


class Meter:
    """A converter of samples to intervals, which keeps the totals."""

    def __init__(self) -> None:
        self._ledger = Ledger()

    def advance(self, sample: Sample) -> Interval:
        """Return the interval that ends with this sample, without rows that moved no byte."""
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
    """Return the fields of Counted."""
    return rx, tx, rate(rx, elapsed), rate(tx, elapsed), *total


def added(tallies: Iterable[Tally]) -> tuple[int, int]:
    """Return the totals of all tallies: (received, sent)."""
    rx = tx = 0
    for tally in tallies:
        rx += tally.rx
        tx += tally.tx
    return rx, tx


def rate(amount: int, elapsed: float) -> float:
    """Return bytes per second; 0 for an interval of zero length."""
    return amount / elapsed if elapsed > 0 else 0.0
