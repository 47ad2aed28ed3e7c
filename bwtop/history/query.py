"""What was moved in a range of time, exact as far as the detail is kept."""

import math
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from bwtop.history import plan
from bwtop.history.calendar import DAY, HOUR, MINUTE, Unit, ceiling, floor
from bwtop.history.dimensions import TIMES, Dimension, Label, fields, finest, labels, moment
from bwtop.history.plan import Piece, Plan
from bwtop.history.ranges import Range
from bwtop.history.schema import pulse_column
from bwtop.history.source import Source, ends
from bwtop.history.store import PULSE, FlowSums
from bwtop.history.tiers import COARSEST, DAYS
from bwtop.model.filter import Filter, Loopback
from bwtop.model.flows import UNATTRIBUTED, Identity, Loss, Remote
from bwtop.model.ledger import CATEGORIES, Category
from bwtop.model.meter import rate
from bwtop.model.query import Query
from bwtop.model.series import Rates, peak

PERCENTILE: Final = 0.95
"""Of five-minute averages: what transit is billed by."""


_WAYS: Final = ("rx", "tx")

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


@dataclass(frozen=True, slots=True)
class Usage:
    """What bills and caps are about, from averages over five minutes.

    Loopback is left out of all but the peak, unless it is all that is asked for.
    """

    peak: Rates
    """The highest averages, of all that passes the filter."""
    percentile: Rates
    """95 % of the averages are not above it (nearest rank)."""
    count: int
    """Averages there are."""
    rx: int
    tx: int


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
    """A database as it is at one moment, whatever is written meanwhile."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute("BEGIN")

    def close(self) -> None:
        """Lets go of the moment, and of the database."""
        self._connection.close()

    def extent(self) -> tuple[float, float] | None:
        """When what is recorded begins and ends, as far as is known; None: nothing is."""
        start, end = self._connection.execute(
            "SELECT min(first), max(last) FROM ("
            "SELECT min(start) AS first, max(end) AS last FROM span WHERE level BETWEEN 1 AND ?"
            " UNION ALL SELECT min(start), max(start + seconds) FROM interval)",
            (DAYS,),
        ).fetchone()
        months = self._connection.execute(
            "SELECT min(start), max(end) FROM span WHERE level > ? AND (?2 IS NULL OR end <= ?2)",
            (DAYS, start),
        ).fetchone()
        if start is None:
            start, end = months
        elif months[0] is not None:
            start = months[0]
        return None if start is None else (start, end)

    def pids_since(self) -> float:
        """From when on processes are told apart by pid."""
        found = self._connection.execute(
            "SELECT max(kept, coalesce((SELECT min(start) FROM interval), 0)) FROM level WHERE level = 0"
        )
        return float(found.fetchone()[0])

    def ask(
        self,
        wanted: Range,
        by: Sequence[Dimension],
        keep: Filter,
        now: float,
        query: Query = EVERYTHING,
    ) -> Answer:
        """All about a range: rows by dimensions, of the flows that pass both the filter and the query."""
        extent = self.extent()
        if wanted.text == "all" and extent:
            first, last = floor(Unit.DAY, extent[0]), ceiling(Unit.DAY, extent[1])
            wanted = replace(wanted, start=first, end=max(wanted.end, last))
        rows_plan = self._plan(wanted, finest(by), keep)
        answer = Answer(wanted, rows_plan.start, rows_plan.end, bar_unit(wanted))
        answer.since = self.pids_since() if keep.pids else 0.0
        source = Source(self._connection, rows_plan, keep.pids)
        sums = source.sums()
        found = ends(self._connection, sums)
        flows = replace(keep, pids=frozenset())  # that of pids is for the rows below
        taken = {f: e for f, e in found.items() if takes(flows, *e) and query.takes(*e)}
        sums = {flow: sums[flow] for flow in taken}
        answer.rx = sum(rx for rx, _ in sums.values())
        answer.tx = sum(tx for _, tx in sums.values())
        answer.rows = _rows(source, by, sums, taken)
        for _, seconds, loss in source.coverage():
            answer.seconds += seconds
            answer.loss = answer.loss.plus(loss)
        everything = None if len(taken) == len(found) else dict.fromkeys(taken, 0)
        answer.bars = self._bars(answer, everything, keep, now)
        answer.events = self._events(answer)
        if not query.terms and keep == Filter(classes=keep.classes, loopback=keep.loopback):
            answer.usage = self._usage(answer, keep)
        return answer

    def _plan(self, wanted: Range, unit: Unit | None, keep: Filter) -> Plan:
        if keep.pids:
            return Plan([Piece(0, wanted.start, wanted.end)], wanted.start, wanted.end)
        too_coarse = (
            level
            for level in range(2, COARSEST + 1)
            if unit and not self._fits(wanted, level, unit)
        )
        coarsest = next(too_coarse, COARSEST + 1) - 1
        return plan.make(self._connection, wanted.start, wanted.end, coarsest)

    def _fits(self, wanted: Range, level: int, unit: Unit) -> bool:
        """Whether no span of a level reaches over a unit's end: where it was recorded, days may begin elsewhere."""
        first, last = self._connection.execute(
            "SELECT min(start), max(end) FROM span WHERE level = ? AND start >= ? AND end <= ?",
            (level, wanted.start, wanted.end),
        ).fetchone()
        if first is None:
            return True
        edge = ceiling(unit, first)
        while edge < last:
            (end,) = self._connection.execute(
                "SELECT end FROM span WHERE level = ? AND start < ? ORDER BY start DESC LIMIT 1",
                (level, edge),
            ).fetchone()
            if end > edge:
                return False
            edge = ceiling(unit, edge)
        return True

    def _bars(
        self, answer: Answer, groups: dict[int, int] | None, keep: Filter, now: float
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

        source = Source(self._connection, self._plan(wanted, unit, keep), keep.pids)
        for when, _, rx, tx in source.timeline(groups):
            at(when).rx += rx
            at(when).tx += tx
        for when, seconds, _ in source.coverage():
            at(when).seconds += seconds
        return [bars[start] for start in sorted(bars)]

    def _events(self, answer: Answer) -> dict[str, list[tuple[float, float]]]:
        found: dict[str, list[tuple[float, float]]] = {}
        for when, kind, amount in self._connection.execute(
            "SELECT time, kind, amount FROM event WHERE time >= ? AND time < ? ORDER BY id",
            (answer.start, answer.end),
        ):
            found.setdefault(kind, []).append((when, amount))
        return found

    def _usage(self, answer: Answer, keep: Filter) -> Usage | None:
        """From the totals of five minutes, if there are any for the whole range."""
        oldest = self._connection.execute("SELECT min(start) FROM pulse").fetchone()[0]
        known = [bar.start for bar in answer.bars if bar.seconds]
        if oldest is None or not known or known[0] < floor(answer.bar_unit, oldest):
            return None
        start = answer.range.start // PULSE * PULSE
        return _Pulses(self._connection, start, answer.range.end).usage(keep)


class _Pulses:
    """The totals of five minutes in a range.  A year has 100,000: they stay in the database."""

    def __init__(self, connection: sqlite3.Connection, start: float, end: float) -> None:
        self._connection = connection
        self._bounds = (start, end)

    def usage(self, keep: Filter) -> Usage:
        passing, billed = _passing(keep), _billed(keep)
        terms = [
            "count(*)",
            *(f"max({_rate(passing, way)})" for way in _WAYS),
            *(f"sum({_amount(billed, way)})" for way in _WAYS),
        ]
        count, rx_peak, tx_peak, rx, tx = self._first(", ".join(terms))
        if not count:
            return Usage((0.0, 0.0), (0.0, 0.0), 0, 0, 0)
        # The smallest that 95 % of them do not exceed, by nearest rank.
        place = f"ORDER BY 1 DESC LIMIT 1 OFFSET {count - math.ceil(PERCENTILE * count)}"
        rx_high, tx_high = (self._first(_rate(billed, way), place)[0] for way in _WAYS)
        return Usage(
            (rx_peak or 0.0, tx_peak or 0.0), (rx_high or 0.0, tx_high or 0.0), count, rx, tx
        )

    def _first(self, terms: str, rest: str = "") -> tuple[Any, ...]:
        found: tuple[Any, ...] = self._connection.execute(
            f"SELECT {terms} FROM pulse WHERE start >= ? AND start < ? {rest}",  # noqa: S608 - our own names
            self._bounds,
        ).fetchone()
        return found


def _amount(categories: Sequence[Category], way: str) -> str:
    """In SQL, what these categories received or sent."""
    return " + ".join(pulse_column(of, way) for of in categories)


def _rate(categories: Sequence[Category], way: str) -> str:
    """In SQL, what rate() says of it; but NULL, which is below everything, for a time of no length."""
    return f"({_amount(categories, way)}) / seconds"


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


def _passing(keep: Filter) -> list[Category]:
    """Categories that pass a filter."""
    return [
        of
        for of, (name, loopback) in CATEGORIES.items()
        if (not keep.classes or name in keep.classes)
        and (keep.loopback is Loopback.SHOW or loopback == (keep.loopback is Loopback.ONLY))
    ]


def _billed(keep: Filter) -> list[Category]:
    """Those of them that a bill is about."""
    return _passing(
        replace(keep, loopback=Loopback.HIDE) if keep.loopback is Loopback.SHOW else keep
    )


def _rows(
    source: Source,
    by: Sequence[Dimension],
    sums: FlowSums,
    taken: dict[int, tuple[Identity, Remote]],
) -> list[Row]:
    found: dict[tuple[Label, ...], tuple[int, int]] = {}

    def add(group: tuple[Label, ...], rx: int, tx: int) -> None:
        before = found.get(group, (0, 0))
        found[group] = (before[0] + rx, before[1] + tx)

    if finest(by) is None:
        for flow, (rx, tx) in sums.items():
            add(labels(by, *taken[flow], None), rx, tx)
    else:
        _by_time(source, by, taken, add)
    rows = [Row(group, rx, tx) for group, (rx, tx) in found.items()]
    rows.sort(key=lambda row: -(row.rx + row.tx))
    times = [place for place, name in enumerate(fields(by)) if name in TIMES]
    rows.sort(key=lambda row: [moment(str(row.labels[place])) for place in times])
    return rows


def _by_time(
    source: Source,
    by: Sequence[Dimension],
    taken: dict[int, tuple[Identity, Remote]],
    add: Callable[[tuple[Label, ...], int, int], None],
) -> None:
    """Flows that have the same labels but for the time are a group: there are far fewer of those."""
    flowing = [dimension for dimension in by if dimension.of_flow]
    examples: dict[tuple[Label, ...], int] = {}
    groups = {
        flow: examples.setdefault(labels(flowing, *end, None), flow) for flow, end in taken.items()
    }
    for when, example, rx, tx in source.timeline(groups):
        add(labels(by, *taken[example], when), rx, tx)
