"""Query the history: the bytes of a range of time, exact as far as detail is kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from bwtop.history.calendar import DAY, HOUR, MINUTE, Unit, ceiling, floor
from bwtop.history.dimensions import (
    OF_REMOTE,
    TIMES,
    Dimension,
    Label,
    fields,
    finest,
    labels,
    moment,
    needed,
    shortest,
)
from bwtop.history.ranges import Range
from bwtop.history.store import Ends, Flow, FlowSums, HistoryStore, Selection
from bwtop.history.usage import Usage
from bwtop.model.filter import Filter
from bwtop.model.flows import Host, Loss
from bwtop.model.rates import rate
from bwtop.model.series import Rates, peak

SKEW: Final = 60.0
"""Seconds by which the clocks of hosts may differ, and by which a report may be late."""


@dataclass(frozen=True, slots=True)
class ReportRow:
    """The bytes of one group; its labels are those of all dimensions, in their order."""

    labels: tuple[Label, ...]
    rx: int
    tx: int


@dataclass(slots=True)
class Bar:
    """The bytes of a minute, hour, day or month."""

    start: int
    end: int
    rx: int = 0
    tx: int = 0
    seconds: float = 0.0
    """Recorded time within it."""


@dataclass
class Answer:
    """The answer to a query of a range."""

    range: Range
    start: float
    """Start of the covered range: where detail is deleted, it is the start of a whole hour or day."""
    end: float
    bar_unit: Unit
    rows: list[ReportRow] = field(default_factory=list)
    """Sorted by bytes, the largest first; with a dimension of time, by time, the oldest first."""
    bars: list[Bar] = field(default_factory=list)
    rx: int = 0
    tx: int = 0
    seconds: float = 0.0
    """Recorded within the range, by the monotonic clock."""
    loss: Loss = Loss()
    usage: Usage | None = None
    """None with filters on processes or remotes, and for times older than the five-minute totals."""
    events: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """Events by kind: (UTC seconds, amount)."""
    users: Mapping[int, str] | None = None
    """User names by uid from the recording hosts; None: use the names of this host."""
    since: float = 0.0
    """With a filter by pid: the time from which pids are stored; the answer has nothing before."""
    ahead: float = 0.0
    """End of what the range has after now: the clock was ahead when it was recorded.  0: it has nothing after now."""

    @property
    def peak(self) -> Rates:
        """Return the highest average rates: over five minutes, or over one bar where those are not known."""
        if self.usage:
            return self.usage.peak
        return peak((rate(b.rx, b.seconds), rate(b.tx, b.seconds)) for b in self.bars)

    def projection(self, now: float) -> tuple[int, int] | None:
        """Return the (rx, tx) bytes of the whole month at the average rate since its first record.

        None: the month is over, or there is no usage.  Like `usage`, it counts billed categories only.
        """
        known = [bar for bar in self.bars if bar.seconds]
        if not self.usage or not known or not self.range.start <= now < self.range.end:
            return None
        passed = now - max(known[0].start, self.range.start)
        factor = 1 + (self.range.end - now) / max(passed, 1)
        return round(self.usage.rx * factor), round(self.usage.tx * factor)


class History:
    """Queries to a history store: select the rows, group them, add them up."""

    def __init__(self, store: HistoryStore) -> None:
        self._store = store

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def hosts(self) -> Sequence[Host]:
        """Return the recorded hosts."""
        return self._store.hosts()

    def extent(self) -> tuple[float, float] | None:
        """Return the start and end of the recorded time, in UTC seconds; None: nothing is recorded."""
        return self._store.extent()

    @property
    def ranks_remotes(self) -> bool:
        """Return whether the store can pick the largest remotes."""
        return self._store.ranks_remotes

    def ask(
        self,
        wanted: Range,
        by: Sequence[Dimension],
        keep: Filter,
        now: float,
    ) -> Answer:
        """Answer for a range: rows by dimensions, of the flows that pass the filter."""
        return self.choose(wanted, by, keep, now)[0]

    def choose(
        self,
        wanted: Range,
        by: Sequence[Dimension],
        keep: Filter,
        now: float,
    ) -> tuple[Answer, Selection, Ends]:
        """Return the answer to ask() with its selection, and the flows in it that pass the filter."""
        is_future = wanted.end > now + SKEW
        extent = self.extent() if wanted.text == "all" or is_future else None
        if extent and wanted.text == "all":
            first, last = floor(Unit.DAY, extent[0]), ceiling(Unit.DAY, extent[1])
            wanted = replace(wanted, start=first, end=max(wanted.end, last))
        bounds, needs = (wanted.start, wanted.end), needed(by) | keep.needs()
        ahead = self._ahead(wanted, keep, now, extent[1]) if extent else 0.0
        # Coarser totals have fewer remotes: of these, a filter would not take the same.
        is_one = bool(keep.terms) and not needs.isdisjoint(OF_REMOTE)
        unit = shortest({finest(by), bar_unit(wanted) if is_one else None})
        found = self._store.select(bounds, unit, needs, keep)
        answer = Answer(wanted, found.start, found.end, bar_unit(wanted), ahead=ahead)
        answer.since = self._store.pids_since() if keep.only("pid").terms else 0.0
        sums = found.sums()
        taken, is_all = _taken(found.ends(sums.keys()), keep)
        sums = {flow: sums[flow] for flow in taken}
        answer.users = found.users()
        answer.rx = sum(rx for rx, _ in sums.values())
        answer.tx = sum(tx for _, tx in sums.values())
        answer.rows = _rows(found, by, sums, taken)
        for _, seconds, loss in found.coverage():
            answer.seconds += seconds
            answer.loss = answer.loss.plus(loss)
        in_bars = found if is_one else self._store.select(bounds, answer.bar_unit, needs, keep)
        answer.bars = _bars(answer, in_bars, None if is_all else dict.fromkeys(taken, 0), now)
        for when, kind, amount in self._store.events(answer.start, answer.end):
            answer.events.setdefault(kind, []).append((when, amount))
        if keep.is_of_categories:
            answer.usage = self._usage(answer, keep)
        return answer, found, taken

    def _ahead(self, wanted: Range, keep: Filter, now: float, last: float) -> float:
        """Return the end of what a range has after now; 0: it has nothing. `last`: the end of the history."""
        if last <= now + SKEW or wanted.end <= now + SKEW:
            return 0.0
        first = max(wanted.start, now + SKEW)
        later = self._store.select((first, wanted.end), None, frozenset(), keep.only("host"))
        if any(seconds for start, seconds, _ in later.coverage() if start >= first):
            return min(last, wanted.end)
        return 0.0

    def _usage(self, answer: Answer, keep: Filter) -> Usage | None:
        """Return the usage, if there are five-minute totals for the whole range."""
        oldest = self._store.usage_since()
        known = [bar.start for bar in answer.bars if bar.seconds]
        if oldest is None or not known or known[0] < floor(answer.bar_unit, oldest):
            return None
        return self._store.usage(answer.range.start, answer.range.end, keep.categories())


def _taken(ends: Ends, keep: Filter) -> tuple[Ends, bool]:
    """Return the flows that pass, and whether all pass."""
    flows = keep.without("pid")  # the selection has filtered by pid
    taken = {flow: end for flow, end in ends.items() if flows.takes(*end)}
    return taken, len(taken) == len(ends)


def _bars(
    answer: Answer, selection: Selection, groups: dict[Flow, Flow] | None, now: float
) -> list[Bar]:
    unit, wanted = answer.bar_unit, answer.range
    bars: dict[int, Bar] = {}
    start = floor(unit, wanted.start)
    while start < min(wanted.end, max(now, wanted.start + 1)):
        bars[start] = Bar(start, ceiling(unit, start))
        start = ceiling(unit, start)

    def at(when: float) -> Bar:
        """Return the bar of a time; a span that begins before the range belongs to the first bar."""
        place = floor(unit, max(when, wanted.start))
        return bars.setdefault(place, Bar(place, ceiling(unit, place)))

    for when, _, rx, tx in selection.timeline(groups):
        at(when).rx += rx
        at(when).tx += tx
    for when, seconds, _ in selection.coverage():
        at(when).seconds += seconds
    return [bars[start] for start in sorted(bars)]


def bar_unit(wanted: Range) -> Unit:
    """Return the unit of a range's bars."""
    length = wanted.end - wanted.start
    if length < 91 * MINUTE:  # an hour and a half, plus a partial minute
        return Unit.MINUTE
    if length <= 2 * DAY + 2 * HOUR:  # two days when clocks are set back
        return Unit.HOUR
    return Unit.DAY if length < 93 * DAY + 2 * HOUR else Unit.MONTH


def _rows(
    selection: Selection,
    by: Sequence[Dimension],
    sums: FlowSums,
    taken: Ends,
) -> list[ReportRow]:
    found: dict[tuple[Label, ...], tuple[int, int]] = {}

    def add(group: tuple[Label, ...], rx: int, tx: int) -> None:
        before = found.get(group, (0, 0))
        found[group] = (before[0] + rx, before[1] + tx)

    if finest(by) is None:
        for flow, (rx, tx) in sums.items():
            add(labels(by, *taken[flow], None), rx, tx)
    else:
        _by_time(selection, by, taken, add)
    rows = [ReportRow(group, rx, tx) for group, (rx, tx) in found.items()]
    rows.sort(key=lambda row: -(row.rx + row.tx))
    times = [place for place, name in enumerate(fields(by)) if name in TIMES]
    rows.sort(key=lambda row: [moment(str(row.labels[place])) for place in times])
    return rows


def _by_time(
    selection: Selection,
    by: Sequence[Dimension],
    taken: Ends,
    add: Callable[[tuple[Label, ...], int, int], None],
) -> None:
    """Group flows whose labels differ in time alone: there are far fewer groups than flows."""
    flowing = [dimension for dimension in by if dimension.of_flow]
    examples: dict[tuple[Label, ...], Flow] = {}
    groups = {
        flow: examples.setdefault(labels(flowing, *end, None), flow) for flow, end in taken.items()
    }
    for when, example, rx, tx in selection.timeline(groups):
        add(labels(by, *taken[example], when), rx, tx)
