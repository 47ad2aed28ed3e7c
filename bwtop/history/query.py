"""What was moved in a range of time, exact as far as the detail is kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from bwtop.history.calendar import DAY, HOUR, MINUTE, Unit, ceiling, floor
from bwtop.history.dimensions import (
    ENDS,
    TIMES,
    Dimension,
    Label,
    fields,
    finest,
    labels,
    moment,
    needed,
)
from bwtop.history.ranges import Range
from bwtop.history.store import Ends, Flow, FlowSums, HistoryStore, Selection
from bwtop.history.usage import Usage
from bwtop.model.filter import Filter
from bwtop.model.flows import UNATTRIBUTED, Host, Identity, Loss, Remote
from bwtop.model.meter import rate
from bwtop.model.query import Query
from bwtop.model.series import Rates, peak

EVERYTHING: Final = Query()


@dataclass(frozen=True, slots=True)
class Row:
    """The bytes of one group; its labels are those of the dimensions, one after the other."""

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
    """Recorded of it."""


@dataclass
class Answer:
    """What is known of a range."""

    range: Range
    start: float
    """The range as far as it could be kept to: where detail is forgotten, a whole hour or day is in it."""
    end: float
    bar_unit: Unit
    rows: list[Row] = field(default_factory=list)
    """The largest first; of time, the oldest."""
    bars: list[Bar] = field(default_factory=list)
    rx: int = 0
    tx: int = 0
    seconds: float = 0.0
    """Recorded within the range, by the monotonic clock."""
    loss: Loss = Loss()
    usage: Usage | None = None
    """None where totals do not tell: with filters on processes or remotes, or of times long ago."""
    events: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """(UTC seconds, amount) by kind."""
    users: Mapping[int, str] | None = None
    """Names of uids, where this machine's are not those that are meant."""
    since: float = 0.0
    """With a filter by pid: from when on pids are known; nothing before is in it."""

    @property
    def peak(self) -> Rates:
        """The highest average rates: of five minutes, or where that is not known of a bar."""
        if self.usage:
            return self.usage.peak
        return peak((rate(b.rx, b.seconds), rate(b.tx, b.seconds)) for b in self.bars)

    def projection(self, now: float) -> tuple[int, int] | None:
        """Bytes at the end of a month that has not ended, if it goes on as it has since its first record.

        None where it has ended or nothing is known; like `usage` it is about what bills are about.
        """
        known = [bar for bar in self.bars if bar.seconds]
        if not self.usage or not known or not self.range.start <= now < self.range.end:
            return None
        passed = now - max(known[0].start, self.range.start)
        factor = 1 + (self.range.end - now) / max(passed, 1)
        return round(self.usage.rx * factor), round(self.usage.tx * factor)


class History:
    """Questions to a store of the past: which rows count, what they are added up by, and what is told of them."""

    def __init__(self, past: HistoryStore) -> None:
        self._past = past

    def close(self) -> None:
        """Lets go of the store."""
        self._past.close()

    def hosts(self) -> Sequence[Host]:
        """Whose past it is."""
        return self._past.hosts()

    def extent(self) -> tuple[float, float] | None:
        """When what is recorded begins and ends, as far as is known; None: nothing is."""
        return self._past.extent()

    def ask(
        self,
        wanted: Range,
        by: Sequence[Dimension],
        keep: Filter,
        now: float,
        query: Query = EVERYTHING,
    ) -> Answer:
        """All about a range: rows by dimensions, of the flows that pass both the filter and the query."""
        extent = self.extent() if wanted.text == "all" else None
        if extent:
            first, last = floor(Unit.DAY, extent[0]), ceiling(Unit.DAY, extent[1])
            wanted = replace(wanted, start=first, end=max(wanted.end, last))
        bounds, needs = (wanted.start, wanted.end), _needs(by, keep, query)
        found = self._past.select(bounds, finest(by), needs, keep)
        answer = Answer(wanted, found.start, found.end, bar_unit(wanted))
        answer.since = self._past.pids_since() if keep.pids else 0.0
        sums = found.sums()
        taken, is_all = _taken(found.ends(sums.keys()), keep, query)
        sums = {flow: sums[flow] for flow in taken}
        answer.users = found.users()
        answer.rx = sum(rx for rx, _ in sums.values())
        answer.tx = sum(tx for _, tx in sums.values())
        answer.rows = _rows(found, by, sums, taken)
        for _, seconds, loss in found.coverage():
            answer.seconds += seconds
            answer.loss = answer.loss.plus(loss)
        in_bars = self._past.select(bounds, answer.bar_unit, needs, keep)
        answer.bars = _bars(answer, in_bars, None if is_all else dict.fromkeys(taken, 0), now)
        for when, kind, amount in self._past.events(answer.start, answer.end):
            answer.events.setdefault(kind, []).append((when, amount))
        if not query.terms and keep == Filter(classes=keep.classes, loopback=keep.loopback):
            answer.usage = self._usage(answer, keep)
        return answer

    def _usage(self, answer: Answer, keep: Filter) -> Usage | None:
        """If there are averages for the whole range."""
        oldest = self._past.usage_since()
        known = [bar.start for bar in answer.bars if bar.seconds]
        if oldest is None or not known or known[0] < floor(answer.bar_unit, oldest):
            return None
        return self._past.usage(answer.range.start, answer.range.end, keep)


def _needs(by: Sequence[Dimension], keep: Filter, query: Query) -> frozenset[str]:
    """What of a flow's ends decides where its bytes go."""
    return frozenset(ENDS) if query.terms else needed(by) | keep.needs()


def _taken(ends: Ends, keep: Filter, query: Query) -> tuple[Ends, bool]:
    """The flows that pass, and whether those are all of them."""
    flows = replace(keep, pids=frozenset())  # pids decide which rows are read
    taken = {f: e for f, e in ends.items() if takes(flows, *e) and query.takes(*e)}
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
        """A span that reaches into the range belongs to its first bar."""
        place = floor(unit, max(when, wanted.start))
        return bars.setdefault(place, Bar(place, ceiling(unit, place)))

    for when, _, rx, tx in selection.timeline(groups):
        at(when).rx += rx
        at(when).tx += tx
    for when, seconds, _ in selection.coverage():
        at(when).seconds += seconds
    return [bars[start] for start in sorted(bars)]


def bar_unit(wanted: Range) -> Unit:
    """What a range is shown in bars of."""
    length = wanted.end - wanted.start
    if length < 91 * MINUTE:  # an hour and a half, and what is left of a minute
        return Unit.MINUTE
    if length <= 2 * DAY + 2 * HOUR:  # two days when clocks are set back
        return Unit.HOUR
    return Unit.DAY if length < 93 * DAY + 2 * HOUR else Unit.MONTH


def takes(keep: Filter, who: Identity, remote: Remote) -> bool:
    """Whether a flow passes a filter that does not ask for pids."""
    return keep.takes_process(UNATTRIBUTED, who) and keep.takes_remote(remote)


def _rows(
    selection: Selection,
    by: Sequence[Dimension],
    sums: FlowSums,
    taken: Ends,
) -> list[Row]:
    found: dict[tuple[Label, ...], tuple[int, int]] = {}

    def add(group: tuple[Label, ...], rx: int, tx: int) -> None:
        before = found.get(group, (0, 0))
        found[group] = (before[0] + rx, before[1] + tx)

    if finest(by) is None:
        for flow, (rx, tx) in sums.items():
            add(labels(by, *taken[flow], None), rx, tx)
    else:
        _by_time(selection, by, taken, add)
    rows = [Row(group, rx, tx) for group, (rx, tx) in found.items()]
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
    """Flows that have the same labels but for the time are a group: there are far fewer of those."""
    flowing = [dimension for dimension in by if dimension.of_flow]
    examples: dict[tuple[Label, ...], Flow] = {}
    groups = {
        flow: examples.setdefault(labels(flowing, *end, None), flow) for flow, end in taken.items()
    }
    for when, example, rx, tx in selection.timeline(groups):
        add(labels(by, *taken[example], when), rx, tx)
