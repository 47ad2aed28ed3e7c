"""Query the history: the bytes of a range of time, exact as far as detail is kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from bwtop.history import internet
from bwtop.history.bars import Bar, Bars
from bwtop.history.boundaries import Span
from bwtop.history.calendar import DAY, HOUR, MINUTE, Unit, ceiling, floor, longest
from bwtop.history.dimensions import (
    CONVERSATION,
    DOMAIN,
    NET,
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
    with_peers,
)
from bwtop.history.ends import Compared, once
from bwtop.history.internet import NetworkUsage
from bwtop.history.names import RowNames
from bwtop.history.ranges import Range
from bwtop.history.store import (
    Ends,
    Flow,
    FlowNames,
    FlowSums,
    HistoryStore,
    Moved,
    Selection,
)
from bwtop.history.usage import Usage, five_minutes
from bwtop.model.conditions import HostNames
from bwtop.model.filter import Filter
from bwtop.model.filter_fields import HOST
from bwtop.model.flows import Host, Loss
from bwtop.model.named import REMOTE_NAME
from bwtop.model.rates import rate
from bwtop.model.series import Rates, peak
from bwtop.text.domains import suffixes

SKEW: Final = 60.0
"""Seconds by which the clocks of hosts may differ, and by which a report may be late."""

SLACK: Final = 0.05
"""Seconds by which sums of recorded time may differ when added in another order."""


@dataclass(frozen=True, slots=True)
class ReportRow:
    """The bytes of one group; its labels are those of all dimensions, in their order."""

    labels: tuple[Label, ...]
    rx: int
    tx: int


@dataclass(frozen=True, slots=True)
class Peak:
    """The highest averages over a unit of time."""

    rates: Rates
    unit: Unit


@dataclass
class Answer:
    """The answer to a query of a range."""

    range: Range
    start: float
    """Start of the covered range: where detail is deleted, it is the start of the recording host's hour or day."""
    end: float
    now: float
    bar_unit: Unit
    """Never shorter than the spans that the bars are made of."""
    left: Unit | None = None
    """The unit of the bars or rows where only longer spans are left than asked for."""
    is_filled: bool = False
    """The bars are of five-minute totals: longer spans are left of the rows."""
    foreign: Span | None = None
    """A span of the recording host that crosses the end of a local unit."""
    rows: list[ReportRow] = field(default_factory=list)
    """Sorted by bytes, the largest first; with a dimension of time, by time, the oldest first."""
    bars: list[Bar] = field(default_factory=list)
    rx: int = 0
    tx: int = 0
    seconds: float = 0.0
    """Recorded within the range, by the monotonic clock."""
    loss: Loss = Loss()
    losing: Sequence[Host] = ()
    """The hosts that the loss is of, where the answer is of several; most bytes first."""
    usage: Usage | None = None
    """None with filters on processes or remotes, and where five-minute totals are missing."""
    networks: Mapping[str, Moved] | None = None
    """Bytes by network; None with filters on processes or remotes, and where they would take too long."""
    network_usage: NetworkUsage | None = None
    """Of the internet, or of the networks that the filter names, of a period."""
    events: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """Events by kind: (UTC seconds, amount)."""
    compared: Sequence[Compared] = ()
    """The conversations that both ends have recorded, where rows are conversations."""
    users: Mapping[int, str] | None = None
    """User names by uid from the recording hosts; None: use the names of this host."""
    since: float = 0.0
    """With a filter by pid: the time from which pids are stored; the answer has nothing before."""
    clocks: Mapping[Host, float] = field(default_factory=dict)
    """Seconds by which wrong clocks of hosts are ahead now."""
    names: RowNames | None = None
    """The names of the remotes of its rows, while the store is open; None: they are not shown."""
    has_suffixes: bool = True
    """False: it is by domain, and the public suffix list is missing."""
    ahead: float = 0.0
    """End of what the range has after now: the clock was ahead when it was recorded.  0: it has nothing after now."""

    @property
    def average(self) -> Rates:
        """Return the rates over the recorded time."""
        return rate(self.rx, self.seconds), rate(self.tx, self.seconds)

    @property
    def peak(self) -> Peak | None:
        """Return the highest average rates: over five minutes, or over a recorded bar; None while none is over.

        Five minutes at the ends of the range may lie in it only in part and do not count.  In a range that is over, the
        bars count where the others are below the average.
        """
        if self.usage:
            is_highest = all(map(float.__ge__, self.usage.peak, self.average))
            if is_highest or self.end >= self.now:
                return Peak(self.usage.peak, Unit.FIVE_MINUTES)
        over = [bar.rates for bar in self.bars if bar.seconds and self._is_over(bar)]
        return Peak(peak(over), self.bar_unit) if over else None

    def _is_over(self, bar: Bar) -> bool:
        return bar.end <= self.now or self.end < self.now or bar.start > self.now

    @property
    def projection(self) -> tuple[int, int] | None:
        """Return the (rx, tx) bytes of the whole range at the average rate since its first record.

        None: the range is over, or nothing is recorded.
        """
        return self.projected(self.rx, self.tx)

    def projected(self, rx: int, tx: int) -> Moved | None:
        """Return the projection of a part of the bytes."""
        known = [bar for bar in self.bars if bar.seconds]
        if not known or not self.range.start <= self.now < self.range.end:
            return None
        passed = self.now - max(known[0].start, self.range.start)
        factor = 1 + (self.range.end - self.now) / max(passed, 1)
        return round(rx * factor), round(tx * factor)


class History:
    """Queries to a history store: select the rows, group them, add them up."""

    def __init__(self, store: HistoryStore, *, names: bool = True) -> None:
        """Take the store; names: False for answers without recorded names of remotes."""
        self.store = store
        self._is_named = names

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def hosts(self) -> Sequence[Host]:
        """Return the recorded hosts."""
        return self.store.hosts()

    def extent(self) -> tuple[float, float] | None:
        """Return the start and end of the recorded time, in UTC seconds; None: nothing is recorded."""
        return self.store.extent()

    @property
    def ranks_remotes(self) -> bool:
        """Return whether the store can pick the largest remotes."""
        return self.store.ranks_remotes

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
        by = with_peers(by, self.store.peers)
        is_future = wanted.end > now + SKEW
        extent = self.extent() if wanted.text == "all" or is_future else None
        if extent and wanted.text == "all":
            first, last = floor(Unit.DAY, extent[0]), ceiling(Unit.DAY, extent[1])
            wanted = replace(wanted, start=first, end=max(wanted.end, last))
        bounds, needs = (wanted.start, wanted.end), needed(by) | keep.needs()
        ahead = self._ahead(wanted, keep, now, extent[1]) if extent else 0.0
        # Coarser totals have fewer remotes: of these, a filter would not take the same.
        is_once = CONVERSATION in by
        is_one = is_once or (bool(keep.terms) and not needs.isdisjoint(OF_REMOTE))
        of_rows = shortest({finest(by), bar_unit(wanted) if is_one else None})
        found = self.store.select(bounds, of_rows, needs, keep)
        if NET in needs and (finer := internet.unit_of_remotes(self.store, bounds, found, keep)):
            of_rows = shortest({of_rows, finer})
            found = self.store.select(bounds, of_rows, needs, keep)
        covered = replace(wanted, start=found.start, end=found.end)
        answer = Answer(wanted, found.start, found.end, now, bar_unit(covered), ahead=ahead)

        def select(unit: Unit) -> Selection:
            if is_one or unit is of_rows:
                return found
            return self.store.select(bounds, unit, needs, keep)

        if self._is_named:
            answer.names = RowNames(self.store.names, found.end, keep)
        answer.has_suffixes = DOMAIN not in by or bool(suffixes())
        answer.clocks = self.store.clocks()
        answer.since = self.store.pids_since() if keep.only("pid").terms else 0.0
        sums = found.sums()
        is_named = self._is_named and REMOTE_NAME in needs
        names = found.names(sums.keys()) if is_named else {}
        taken, is_all = _taken(found.ends(sums.keys()), names, keep)
        counted = once(by, taken, sums, self.store.peers)
        by, taken, answer.compared = counted.by, counted.taken, counted.compared
        is_all = is_all and not is_once
        sums = {flow: sums[flow] for flow in taken}
        answer.users = found.users()
        answer.rx = sum(rx for rx, _ in sums.values())
        answer.tx = sum(tx for _, tx in sums.values())
        answer.rows = _rows(found, by, sums, taken, names)
        fives, in_fives = five_minutes(answer.start, answer.end, now), 0.0
        for span, seconds, loss in found.coverage():
            answer.seconds += seconds
            in_fives += seconds if fives.start <= span.start < fives.end else 0.0
            answer.loss = answer.loss.plus(loss)
            if unit := finest(by):
                _note_span(answer, span, unit)
        answer.losing = found.losing() if any(answer.loss) else ()
        self._draw(answer, select, None if is_all else dict.fromkeys(taken, 0), keep)
        for when, kind, amount in self.store.events(answer.start, answer.end):
            answer.events.setdefault(kind, []).append((when, amount))
        if self._rest(keep).is_of_categories and not is_once:
            usage = self.store.usage(fives, keep.categories())
            if usage and usage.seconds > in_fives - SLACK:
                answer.usage = usage  # five-minute totals for all the recorded time
        if internet.is_answered(self._rest(keep)) and not is_once:
            if wanted.is_period and (figures := internet.ask(self.store, bounds, keep, now)):
                answer.networks, answer.network_usage = figures
            else:
                answer.networks = internet.totals(self.store, bounds, found, keep)
        return answer, found, taken

    def _rest(self, keep: Filter) -> Filter:
        """Return the filter without its terms on hosts, if selections have applied them or all hosts pass."""
        is_applied = self.store.selects_hosts or all(map(keep.takes_host, self.store.hosts()))
        return keep.without(HOST.name) if is_applied else keep

    def _ahead(self, wanted: Range, keep: Filter, now: float, last: float) -> float:
        """Return the end of what a range has after now; 0: it has nothing. `last`: the end of the history."""
        if last <= now + SKEW or wanted.end <= now + SKEW:
            return 0.0
        first = max(wanted.start, now + SKEW)
        later = self.store.select((first, wanted.end), None, frozenset(), keep.only("host"))
        if any(seconds for span, seconds, _ in later.coverage() if span.start >= first):
            return min(last, wanted.end)
        return 0.0

    def _draw(
        self,
        answer: Answer,
        select: Callable[[Unit], Selection],
        groups: dict[Flow, Flow] | None,
        keep: Filter,
    ) -> None:
        """Add the bars: of the unit that suits the range, of five-minute totals, or as long as the spans that are left."""
        unit = answer.bar_unit
        bars = Bars(answer.range, unit, answer.now)
        bars.add(select(unit), groups)
        if bars.left is not unit:
            answer.left = longest(bars.left, answer.left or unit)
            answer.bar_unit = longest(unit, Unit.FIVE_MINUTES)
            filled = self._filled(answer, keep)
            if filled is None:
                answer.bar_unit = bars.left
                bars = Bars(answer.range, bars.left, answer.now)
                bars.add(select(answer.bar_unit), groups)
            else:
                bars, answer.is_filled = filled, True
        answer.foreign = answer.foreign or bars.foreign
        answer.bars = bars.all(answer.start, answer.end)

    def _filled(self, answer: Answer, keep: Filter) -> Bars | None:
        """Return bars of five-minute totals; None unless these have all bytes and all recorded time of the answer."""
        if not self._rest(keep).is_of_categories:
            return None
        covered = replace(answer.range, start=answer.start, end=answer.end)
        bars = Bars(covered, answer.bar_unit, answer.now)
        totals = self.store.five_minutes(answer.start, answer.end, keep.categories())
        for start, seconds, rx, tx in totals:
            bars.put(Span(0, start, start), seconds, rx, tx)
        rx, tx, seconds = bars.sums()
        is_whole = (rx, tx) == (answer.rx, answer.tx) and abs(seconds - answer.seconds) < SLACK
        return bars if is_whole else None


def _note_span(answer: Answer, span: Span, unit: Unit) -> None:
    """Note where the rows of a unit have longer spans, or spans of another time zone."""
    shown = span.shown_by(unit)
    if shown is not unit:
        answer.left = longest(shown, answer.left or shown)
    if answer.foreign is None and span.crosses(shown):
        answer.foreign = span


def _taken(ends: Ends, names: FlowNames, keep: Filter) -> tuple[Ends, bool]:
    """Return the flows that pass, and whether all pass."""
    flows = keep.without("pid")  # the selection has filtered by pid
    if not names:
        taken = {flow: end for flow, end in ends.items() if flows.takes(*end)}
    else:

        def known(flow: Flow) -> HostNames:
            found = names.get(flow)
            return lambda _: (found,) if found else ()

        taken = {flow: end for flow, end in ends.items() if flows.takes(*end, known(flow))}
    return taken, len(taken) == len(ends)


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
    names: FlowNames,
) -> list[ReportRow]:
    found: dict[tuple[Label, ...], tuple[int, int]] = {}

    def add(group: tuple[Label, ...], rx: int, tx: int) -> None:
        before = found.get(group, (0, 0))
        found[group] = (before[0] + rx, before[1] + tx)

    if finest(by) is None:
        for flow, (rx, tx) in sums.items():
            add(labels(by, *taken[flow], None, names.get(flow)), rx, tx)
    else:
        _by_time(selection, by, taken, names, add)
    rows = [ReportRow(group, rx, tx) for group, (rx, tx) in found.items()]
    rows.sort(key=lambda row: -(row.rx + row.tx))
    times = [place for place, name in enumerate(fields(by)) if name in TIMES]
    rows.sort(key=lambda row: [moment(str(row.labels[place])) for place in times])
    return rows


def _by_time(
    selection: Selection,
    by: Sequence[Dimension],
    taken: Ends,
    names: FlowNames,
    add: Callable[[tuple[Label, ...], int, int], None],
) -> None:
    """Group flows whose labels differ in time alone: there are far fewer groups than flows."""
    flowing = [dimension for dimension in by if not dimension.unit]
    examples: dict[tuple[Label, ...], Flow] = {}
    groups = {
        flow: examples.setdefault(labels(flowing, *end, None, names.get(flow)), flow)
        for flow, end in taken.items()
    }
    for when, example, rx, tx in selection.timeline(groups):
        add(labels(by, *taken[example], when, names.get(example)), rx, tx)
