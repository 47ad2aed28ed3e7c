"""From deltas to rates and totals: the one place where bytes per second are made."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from bwtop.model.flows import UNKNOWN_IDENTITY, Identity, Loss, ProcessKey, Remote, Traffic
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


@dataclass(slots=True)
class _Total:
    """Bytes since bwtop started."""

    rx: int = 0
    tx: int = 0

    def advance(self, rx: int, tx: int, elapsed: float) -> tuple[int, int, float, float, int, int]:
        """Adds an interval's bytes; returns the fields of Counted."""
        self.rx += rx
        self.tx += tx
        return rx, tx, rate(rx, elapsed), rate(tx, elapsed), self.rx, self.tx


@dataclass(slots=True)
class _Process:
    """What is remembered of a process."""

    identity: Identity
    total: _Total = field(default_factory=_Total)
    remotes: dict[Remote, _Total] = field(default_factory=dict)


MAX_REMOTES: Final = 65536
"""Remotes remembered of a process: some 25 MB.  Beyond it the oldest that are idle are forgotten; the process's own
totals keep their bytes."""


class Meter:
    """Turns samples into intervals, remembering totals."""

    def __init__(self) -> None:
        self._total = _Total()
        self._processes: dict[ProcessKey, _Process] = {}

    def advance(self, sample: Sample) -> Interval:
        """The interval that ends with this sample; what moved no byte in it is left out."""
        for key, identity in sample.identities.items():
            if key in self._processes:
                self._processes[key].identity = identity
        rows = [
            self._process(key, moved, sample)
            for key, remotes in sample.traffic.items()
            if (moved := {r: t for r, t in remotes.items() if t.rx or t.tx})
        ]
        for key in sample.exited:
            self._processes.pop(key, None)
        counted = self._total.advance(*_sums(rows), sample.elapsed)
        return Interval(*counted, sample.time, sample.elapsed, rows, sample.loss)

    def _process(self, key: ProcessKey, moved: dict[Remote, Traffic], sample: Sample) -> ProcessRow:
        process = self._processes.get(key)
        if process is None:
            identity = sample.identities.get(key, UNKNOWN_IDENTITY)
            process = self._processes[key] = _Process(identity)
        rows = []
        for remote, traffic in moved.items():
            total = process.remotes.setdefault(remote, _Total())
            rows.append(RemoteRow(*total.advance(traffic.rx, traffic.tx, sample.elapsed), remote))
        _forget_idle(process.remotes, moved)
        counted = process.total.advance(*_sums(rows), sample.elapsed)
        return ProcessRow(*counted, key, process.identity, rows)


def _forget_idle(remotes: dict[Remote, _Total], moved: dict[Remote, Traffic]) -> None:
    if len(remotes) > MAX_REMOTES:
        idle = [remote for remote in remotes if remote not in moved]
        for remote in idle[: len(remotes) - MAX_REMOTES]:
            del remotes[remote]


def _sums(rows: "list[RemoteRow] | list[ProcessRow]") -> tuple[int, int]:
    return sum(row.rx for row in rows), sum(row.tx for row in rows)


def rate(amount: int, elapsed: float) -> float:
    """Bytes per second; 0 for an interval of no length."""
    return amount / elapsed if elapsed > 0 else 0.0
