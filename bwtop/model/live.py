"""The live model: the ledger, and its latest frames."""

from collections import deque
from collections.abc import Callable, Container, Iterable
from dataclasses import replace
from itertools import groupby, islice
from typing import Final

from bwtop.model.flows import (
    Identity,
    Loss,
    ProcessKey,
    Remote,
    nowhere,
)
from bwtop.model.largest import MAX_REMOTES, Largest
from bwtop.model.ledger import Category, Flow, Frame, Ledger, Process, Tally, add
from bwtop.model.rates import rate
from bwtop.model.sample import Sample
from bwtop.model.series import Rates, Series, Timeline, added

AVERAGES: Final = (1.0, 2.0, 10.0, 40.0)
"""Seconds over which rates can be averaged."""

GRAPH_SECONDS: Final = 120.0

LINGER: Final = AVERAGES[-1]
"""Seconds for which an exited process stays listed: until its bytes have left every average."""

MAX_LINGERING: Final = 2000
"""Exited processes that stay listed; beyond that the oldest leave early."""

MAX_ENTRIES: Final = 400_000
"""Flows times frames kept for averages, 24 bytes each; beyond that averages cover less time."""

MAX_PENDING: Final = 120
"""Frames kept during a pause; beyond that the oldest are merged."""

MAX_WAITING: Final = 100_000
"""Flows in those frames together; beyond that the oldest are merged: resuming takes at most 0.2 s."""

MAX_GONE: Final = 1024
"""Distinct identities of exited processes whose totals are kept."""

MAX_GONE_REMOTES: Final = 1024
"""Remotes kept per exited identity."""

MAX_GONE_FLOWS: Final = 65536
"""Flows kept for all exited identities: some 25 MB."""

_SLACK: Final = 0.95
"""Clock tolerance: a window filled to this part counts as full."""

_OTHERS: Final = Identity(name="(others)")
"""The identity of the rest; each host has its own."""


class LiveModel:
    """Known processes and flows with totals, rates over a window, and graphs."""

    def __init__(self, *, history: bool = True) -> None:
        """Start empty; without `history` there are no averages and graphs, only the last interval."""
        self._history = history
        self.has_peaks = history
        """False if the graphs have too few intervals for a peak."""
        self.ledger = Ledger()
        self.timeline = Timeline(GRAPH_SECONDS)
        self.loss = Loss()
        """Losses since the start."""
        self.exited: dict[ProcessKey, float] = {}
        """Exited processes that are still listed, with their exit time in measured seconds."""
        self._largest = Largest()
        """Those that stay listed after that."""
        self.gone: dict[Identity, Process] = {}
        """Processes that are no longer listed, equal identities merged, so that sums over groups never shrink."""
        self._gone_flows = 0
        self.average = AVERAGES[0]
        self.covered = 0.0
        """Seconds covered by the averaging window."""
        self.paused = False
        self.number = 0
        """Frames booked so far."""
        self.time = 0.0
        """Seconds measured so far."""
        self._series: dict[Tally, Series] = {}
        self._frames: deque[Frame] = deque()
        self._entries = 0
        self._window = 0  # number of latest frames in the window
        self._pending: deque[Frame] = deque()

    def advance(self, sample: Sample) -> None:
        """Book a reading; during a pause, keep it for later."""
        if not self._history:
            self._forget_exited()
        self._pending.append(self.ledger.take(sample))
        if not self.paused:
            self.resume()
        else:
            self._merge_pending()

    def _merge_pending(self) -> None:
        while len(self._pending) > MAX_PENDING or (
            len(self._pending) > 2 and sum(len(f.flows) for f in self._pending) > MAX_WAITING
        ):
            oldest = self._pending.popleft()
            oldest.absorb(self._pending.popleft())
            self._pending.appendleft(oldest)

    def pause(self) -> None:
        """Freeze all numbers until `resume`."""
        self.paused = True

    def resume(self) -> None:
        """End a pause and book the readings that came meanwhile."""
        self.paused = False
        self._book_pending()

    def _book_pending(self) -> None:
        while self._pending:
            self._book(self._pending.popleft())

    def _book(self, frame: Frame) -> None:
        self.loss = self.loss.plus(frame.loss)
        if not self._history:
            self._show(frame)
        elif frame.elapsed:
            self._measure(frame)
        else:  # late: counts in totals but in no rate
            self.ledger.book(frame)
        for key in frame.exited:
            if key in self.ledger.processes:
                self.exited.setdefault(key, self.time)
        if self._history:
            self._let_go()

    def _show(self, frame: Frame) -> None:
        """Book a frame and make it the whole window."""
        self.number += 1
        self.time += frame.elapsed
        for before in self._frames:
            self._leave(before)
        self._frames.clear()
        self.ledger.book(frame)
        self._frames.append(frame)
        self._enter(frame)
        self.covered = frame.elapsed

    def _measure(self, frame: Frame) -> None:
        self.number += 1
        self.time += frame.elapsed
        before = {tally: (tally.rx, tally.tx) for tally in {flow.sum for flow in frame.flows}}
        self.ledger.book(frame)
        for tally, (rx, tx) in before.items():
            rates = rate(tally.rx - rx, frame.elapsed), rate(tally.tx - tx, frame.elapsed)
            self._series_of(tally).put(self.number, rates)
        self.timeline.add(frame)
        self._frames.append(frame)
        self._entries += len(frame.flows)
        self._enter(frame)
        self._trim()

    def _series_of(self, tally: Tally) -> Series:
        known = self._series.get(tally)
        if known is None:
            known = self._series[tally] = Series()
        return known

    def set_average(self, seconds: float) -> None:
        """Average rates over this many seconds from now on, and over at least one interval."""
        self.average = seconds
        while self._window < len(self._frames) and self.covered < seconds * _SLACK:
            self._enter(self._frames[-1 - self._window])
        self._trim()

    def _enter(self, frame: Frame) -> None:
        self._shift(frame, 1)

    def _leave(self, frame: Frame) -> None:
        self._shift(frame, -1)

    def _shift(self, frame: Frame, sign: int) -> None:
        """Add a frame to the window, or remove it."""
        self._window += sign
        self.covered += sign * frame.elapsed
        for flow, rx, tx in frame.entries():
            tally = flow.sum
            flow.rx_window += sign * rx
            flow.tx_window += sign * tx
            tally.rx_window += sign * rx
            tally.tx_window += sign * tx
        for of, (rx, tx) in frame.sums().items():
            of_all = self.ledger.sums[of]
            of_all.rx_window += sign * rx
            of_all.tx_window += sign * tx
        for scope, (rx, tx) in frame.scopes().items():
            tally = self.ledger.scope(scope)
            tally.rx_window += sign * rx
            tally.tx_window += sign * tx

    def _trim(self) -> None:
        """Remove frames from the window that it no longer needs, and forget frames that no window needs."""
        while self._window > 1:
            oldest = self._frames[-self._window]
            if self.covered - oldest.elapsed < self.average * _SLACK:
                break
            self._leave(oldest)
        if self._window == 1:
            self.covered = self._frames[-1].elapsed  # without the rounding of sums
        while len(self._frames) > 1 and self._is_spare(self._frames[0]):
            frame = self._frames[0]
            if self._window == len(self._frames):
                self._leave(frame)
            self._frames.popleft()
            self._entries -= len(frame.flows)

    def _is_spare(self, frame: Frame) -> bool:
        kept = sum(known.elapsed for known in self._frames)
        return self._entries > MAX_ENTRIES or kept - frame.elapsed >= AVERAGES[-1]

    def window_sums(self, categories: Iterable[Category]) -> list[Tally]:
        """Return the traffic of all processes together, by category."""
        return [self.ledger.sums[of] for of in categories]

    def networks(self, categories: Iterable[Category]) -> dict[str, list[Tally]]:
        """Return the traffic of all processes together by the class of the remotes, as far as any moved bytes."""
        shown, found = frozenset(categories), dict[str, list[Tally]]()
        for (of, name), tally in self.ledger.scopes.items():
            if of in shown and any(tally.amounts()):
                found.setdefault(name, []).append(tally)
        return found

    def moved(self, passes: Callable[[Flow], bool]) -> dict[str, tuple[int, int]]:
        """Return the bytes of some flows in the window, by class of the remotes: (received, sent)."""
        found: dict[str, tuple[int, int]] = {}
        for frame in islice(self._frames, len(self._frames) - self._window, None):
            for flow, rx, tx in frame.entries():
                if passes(flow):
                    before = found.get(flow.net, (0, 0))
                    found[flow.net] = (before[0] + rx, before[1] + tx)
        return found

    def rates(self, tallies: Iterable[Tally]) -> Rates:
        """Return the average rates of all tallies together."""
        rx = tx = 0
        for tally in tallies:
            rx += tally.rx_window
            tx += tally.tx_window
        return rate(rx, self.covered), rate(tx, self.covered)

    def active(self) -> dict[Process, dict[Flow, None]]:
        """Return the processes that moved bytes in the window, each with the flows that did."""
        found: dict[Process, dict[Flow, None]] = {}
        for frame in islice(self._frames, len(self._frames) - self._window, None):
            for process, flows in groupby(frame.flows, key=_process_of):
                if process.key in self.ledger.processes:  # not removed since
                    found.setdefault(process, {}).update(dict.fromkeys(flows))
        return found

    def graph(self, process: Process, categories: Iterable[Category], count: int) -> list[Rates]:
        """Return the rates of a process over the last `count` intervals (at most series.LENGTH), the oldest first."""
        tallies = [process.sums[of] for of in categories if of in process.sums]
        series = [self._series[tally] for tally in tallies if tally in self._series]
        if not series:
            return [(0.0, 0.0)] * count
        return added([one.last(self.number, count) for one in series])

    def peak(self, processes: Iterable[Process], categories: Container[Category]) -> float | None:
        """Return the highest rate of processes together in an interval of their graphs, both directions; None: unknown."""
        if not self.has_peaks:
            return None
        sums = (item for process in processes for item in process.sums.items())
        tallies = [tally for of, tally in sums if of in categories]
        series = [self._series[tally] for tally in tallies if tally in self._series]
        return Series.highest(series, self.number)

    def frames_since(self, number: int) -> list[Frame]:
        """Return the frames booked after the first `number`, the oldest first, as far as they are kept."""
        newer = max(self.number - number, 0)
        return list(islice(self._frames, max(len(self._frames) - newer, 0), None))

    def size(self) -> int:
        """Return the number of flows, those of processes that are no longer listed included."""
        return self.ledger.size() + self._gone_flows

    def reset(self) -> None:
        """Reset all totals to zero, as if bwtop had just started; rates and graphs continue.

        Readings that wait for the end of a pause are older than the reset, so they are booked before it.

        """
        self._book_pending()
        self.loss = Loss()
        for process in self.gone.values():
            self._forget_series(process)
        self.gone.clear()
        self._gone_flows = 0
        self.exited = self._largest.release() | self.exited
        for tally in (*self.ledger.sums.values(), *self.ledger.scopes.values()):
            tally.rx = tally.tx = 0
        for process in self.ledger.processes.values():
            for tally in (*process.sums.values(), *process.flows.values()):
                tally.rx = tally.tx = 0

    def _let_go(self) -> None:
        """Remove processes that exited long ago from the list. `exited` is in the order of their exits.

        Those of the newest interval stay in any case: their rows are part of its sum.

        """
        while self.exited:
            key, when = next(iter(self.exited.items()))
            age = self.time - when
            if not age or (age < LINGER and len(self.exited) <= MAX_LINGERING):
                break
            del self.exited[key]
            process = self.ledger.processes.get(key)
            leaving = self._largest.add(process, when) if process else None
            if leaving and leaving.key:
                self._drop(leaving.key)
        self._largest.revive()
        for process in self._largest.settle(self.time - LINGER):
            self.ledger.merge(process, MAX_REMOTES)

    def _drop(self, key: ProcessKey) -> None:
        process = self.ledger.forget(key)
        if process:
            self._remember(process)
            self._forget_series(process)
            process.flows.clear()  # break the reference cycle

    def _forget_series(self, process: Process) -> None:
        for tally in process.sums.values():
            self._series.pop(tally, None)

    def has_exited(self, key: ProcessKey) -> bool:
        """Return True if a listed process has exited."""
        return key in self.exited or key in self._largest

    def _forget_exited(self) -> None:
        for key in self.exited:
            process = self.ledger.forget(key)
            if process:
                process.flows.clear()  # break the reference cycle
        self.exited.clear()

    def _remember(self, process: Process) -> None:
        kind = replace(process.identity, cmdline="", started=None)
        if kind not in self.gone and len(self.gone) >= MAX_GONE:
            kind = replace(_OTHERS, host=process.identity.host)
        together = self.gone.get(kind)
        if together is None:
            together = self.gone[kind] = Process(None, kind)
            together.count = 0
        together.count += 1
        for of, tally in process.sums.items():
            add(together.sum(of), tally)
            if tally in self._series:
                self._series_of(together.sum(of)).absorb(self._series[tally], self.number)
        for flow in process.flows.values():
            add(together.flow(self._place(together, flow.remote)), flow)

    def _place(self, process: Process, remote: Remote) -> Remote:
        """Return the remote; beyond the limit the unknown one, on loopback if `remote` is."""
        if remote in process.flows:
            return remote
        if len(process.flows) >= MAX_GONE_REMOTES or self._gone_flows >= MAX_GONE_FLOWS:
            return nowhere(remote)
        self._gone_flows += 1
        return remote


def _process_of(flow: Flow) -> Process:
    return flow.process
