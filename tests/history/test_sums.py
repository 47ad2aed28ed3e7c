"""A rollup keeps totals exact: it changes no answer for any range."""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final
from unittest.mock import patch

from hypothesis import Phase, assume, given, note, settings
from hypothesis import strategies as st

from bwtop.history.calendar import FIVE_MINUTES, Unit, ceiling, floor
from bwtop.history.dimensions import ENDPOINT, Dimension
from bwtop.history.query import Answer, bar_unit
from bwtop.history.ranges import Range, parse
from bwtop.history.tiers import COARSEST, DAYS
from bwtop.history.usage import PERCENTILE
from bwtop.model.conditions import Loopback
from bwtop.model.filter import EVERYTHING, Filter
from bwtop.model.filter_fields import toggled
from bwtop.model.flows import RECORDED_LOSSES, Loss, ProcessKey
from bwtop.model.ledger import CLASSES
from bwtop.output.notes import notes
from bwtop.output.report import document
from bwtop.output.request import ReportRequest
from bwtop.sqlite import checked, fold, retention, rollup, sweep
from bwtop.sqlite.delta import Delta
from tests.build import key, typed
from tests.examples import examples
from tests.history.keep import (
    DAY,
    HOUR,
    NOON,
    OF_FLOWS,
    PROGRAMS,
    REMOTES,
    Kept,
    Sums,
    at,
    grouped,
    local,
    lost,
    move_to,
    passing,
    policy,
    total,
    within,
)

ZONES: Final = ("UTC", "Asia/Kolkata", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe")

BEGINNINGS: Final = (
    at("2026-10-24T20:30:00+00:00"),  # Berlin sets its clocks back at 01:00
    at("2026-03-28T22:10:00+00:00"),  # and forward
    at("2026-04-04T13:50:30+00:00"),  # Lord Howe sets them back by half an hour at 15:00
    at("2026-12-31T21:59:59+00:00"),
    float(NOON),
)

PHASES: Final = (Phase.explicit, Phase.reuse, Phase.generate)
"""Without shrinking: that takes minutes here, and memory."""

# What happens.

eighths = st.integers(1, 24).map(lambda n: n / 8)
"""Lengths whose sums are exact."""

lengths = st.one_of(eighths, st.sampled_from([0.125, 1.0, 59.875, 60.0, 300.0, 1800.0, 3600.0]))
bytes_ = st.one_of(st.integers(0, 2000), st.integers(0, 1 << 40))
losses = st.one_of(
    st.just(Loss()),
    st.builds(Loss, *[st.integers(0, 5) for _ in RECORDED_LOSSES], unheard=st.just(0)),
)
who = st.tuples(st.integers(1, 3).map(key), st.sampled_from(PROGRAMS))
flows = st.dictionaries(
    who,
    st.dictionaries(st.sampled_from(REMOTES), st.tuples(bytes_, bytes_), min_size=1, max_size=4),
    max_size=3,
)
no_exits: set[ProcessKey] = set()
exits = st.one_of(st.just(no_exits), st.sets(st.integers(1, 3).map(key), max_size=2))
readings = st.builds(Delta, st.just(0.0), lengths, flows, exits, losses)
gaps = st.one_of(
    st.just(0.0),
    eighths,
    st.sampled_from([30.0, 70.0, 600.0, 1790.0, 3600.0, 5000.0]),
    st.sampled_from([2.5 * HOUR, 7 * HOUR, 13 * HOUR, DAY, 2.25 * DAY, -HOUR, -HOUR, -3 * DAY]),
)
"""From one reading to the next: none, or the machine slept, or somebody set the clock."""

groupings = st.lists(st.sampled_from((*OF_FLOWS, ENDPOINT)), unique=True, max_size=4)
filters = st.one_of(
    st.just(EVERYTHING),
    st.builds(toggled, st.sets(st.sampled_from(CLASSES), min_size=1), st.sampled_from(Loopback)),
    st.tuples(
        st.sampled_from(["", "proto:tcp", "proto:udp"]),
        st.sampled_from(["", "user:33", "user:0,33"]),
        st.sampled_from(["", "process:NGIN*", "process:curl,(*", "-process:curl"]),
        st.sampled_from(["", "remote:192.0.2.0/24", "remote:2001:db8::/32,127.0.0.0/8"]),
        st.sampled_from(["", "loopback:hide", "loopback:only"]),
    ).map(lambda terms: typed(" ".join(terms))),
)

without_remotes = st.lists(
    st.sampled_from([d for d in OF_FLOWS if {"address", "port"}.isdisjoint(d.needs)]),
    unique=True,
    max_size=4,
)
filters_of_processes = st.one_of(
    st.builds(toggled, st.sets(st.sampled_from(CLASSES), min_size=1), st.sampled_from(Loopback)),
    st.tuples(
        st.sampled_from(["", "proto:tcp", "proto:udp"]),
        st.sampled_from(["", "user:33", "process:NGIN*", "-process:curl"]),
        st.sampled_from(["", "loopback:hide", "loopback:only"]),
    ).map(lambda terms: typed(" ".join(terms))),
)
"""Filters by fields that `*` still has."""


@st.composite
def retentions(draw: st.DrawFn) -> dict[str, float]:
    """Draw the retention of each tier; days are kept for ever."""
    some = st.sampled_from([0.0, 20.0, 130.0, 3600.0, 5.0 * HOUR, DAY, 3.0 * DAY, float("inf")])
    found = sorted(draw(st.lists(some, min_size=3, max_size=3)))
    kept = dict(zip(("seconds", "minutes", "hours"), found, strict=True))
    return kept | {"5min": draw(st.sampled_from([float("inf"), float("inf"), DAY, HOUR]))}


actions = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.lists(st.tuples(gaps, readings), min_size=1, max_size=4)),
        st.tuples(st.just("read"), st.lists(st.tuples(gaps, readings), min_size=1, max_size=4)),
        st.tuples(st.just("step"), st.integers(1, 12)),
        st.tuples(st.just("step"), st.just(100_000)),
        st.tuples(st.just("wait"), st.sampled_from([3.0, 64.0, 4000.0, 100_000.0])),
        st.tuples(st.just("reopen"), st.none()),
        st.tuples(st.just("ask"), st.none()),
    ),
    min_size=2,
    max_size=14,
)


@contextmanager
def in_small_steps(flows_at_once: int = 3, newest: int = 1) -> Iterator[None]:
    """Run one piece of work of a few flows per step, so that steps end anywhere."""
    with ExitStack() as stack:
        for module, name, value in (
            (rollup, "STEP_SECONDS", -1.0),
            (rollup, "FLOWS_AT_ONCE", flows_at_once),
            (rollup, "FEW_ROWS", 2 * flows_at_once),
            (retention, "NEWEST", newest),
            (rollup, "FEW", 0),
            (fold, "ROWS_AT_ONCE", flows_at_once),
            (fold, "RANKED_AT_ONCE", 2),
            (sweep, "ROWS_AT_ONCE", flows_at_once),
        ):
            stack.enter_context(patch.object(module, name, value))
        yield


class World:
    """A clock, and a database written by it."""

    def __init__(self, kept: Kept, now: float) -> None:
        self.kept = kept
        self.now = self.latest = now
        self.marked = [0] * (COARSEST + 1)
        """Time before which rows of each level were ever deletable: a clock that was ahead has marked later ones."""
        self.ahead = math.inf
        """Time after which detail may be deleted: with --max-size, what is in the future, as of a clock that was ahead."""

    def read(self, gap: float, reading: Delta) -> Delta:
        self.now += gap
        found = Delta(self.now, reading.seconds, reading.flows, reading.exited, reading.loss)
        self.now += reading.seconds
        self.latest = max(self.latest, self.now)
        return found

    def do(self, what: str, how: Any) -> None:
        if what == "read":
            self.kept.append(*[self.read(*each) for each in how])
        elif what == "step":
            self.step(self.now, how)
        elif what == "wait":
            self.now += how
            self.latest = max(self.latest, self.now)
        elif what == "reopen":
            self.kept.reopen()
        elif what == "zone":
            move_to(how)

    def step(self, now: float, count: int = 100_000) -> None:
        if self.kept.policy.max_size is not None:
            self.ahead = min(self.ahead, now)
        for _ in range(count):
            more = self.kept.rollup.step(now)
            self.marked = [max(m, self.kept.kept(level)) for level, m in enumerate(self.marked)]
            if not more:
                return
        assert count < 100_000, "it never ends"

    def everything(self) -> Sums:
        answer = self.kept.ask_for(parse("all", self.latest + DAY), [], EVERYTHING)
        return answer.rx, answer.tx


@st.composite
def spans(draw: st.DrawFn, world: World) -> Range:
    """Draw a range to ask for."""
    words = ["today", "yesterday", "week", "month", "90m", "24h", "3d", "all"]
    if draw(st.booleans()):
        return parse(draw(st.sampled_from(words)), draw(st.sampled_from([world.now, world.latest])))
    marks = [delta.start for delta in world.kept.deltas] or [world.now]

    def mark() -> float:
        when = draw(st.sampled_from(marks))
        unit = draw(st.sampled_from([None, *Unit]))
        side = draw(st.sampled_from([floor, ceiling]))
        return (side(unit, when) if unit else when) + draw(
            st.sampled_from([0.0, 0.0, 0.125, -30.0, 600.0, 1800.0, -5.0 * HOUR])
        )

    start, end = sorted([max(mark(), 0.0), max(mark(), 0.0)])
    assume(start < end)
    return Range("", start, end)


# What must hold.


def check(
    world: World, wanted: Range, by: Sequence[Dimension], keep: Filter, *, moved: bool
) -> None:
    """Compare an answer with plain totals; `moved`: the zone has changed, and labels may be coarser."""
    kept = world.kept
    note(f"{wanted} by {[d.name for d in by]} {keep}")
    answer = kept.ask_for(wanted, by, keep, world.now)
    note(f"answered {answer.start}..{answer.end}")
    inside = within(kept.deltas, answer.start, answer.end)
    assert (answer.rx, answer.tx) == total(inside, keep)
    check_range(world, answer, moved=moved)
    assert answer.seconds == sum(delta.seconds for delta in inside)
    assert answer.loss == lost(inside)
    check_rows(world, answer, inside, by, keep, moved=moved)
    check_bars(answer, inside, keep)
    check_labels(answer, by)
    check_usage(kept, answer, keep)
    check_figures(answer)
    check_document(answer, inside, by, keep)


def check_range(world: World, answer: Answer, *, moved: bool) -> None:
    """Check that the answer covers the requested range, exactly where all detail is kept, or says what it covers.

    Of another time zone, a full hour or midnight may move to the recording host's nearest.
    """
    wanted = answer.range
    bounds = ((wanted.start, answer.start, wanted.start), (answer.end, wanted.end, wanted.end))
    for later, earlier, asked in bounds:
        if earlier > later:
            assert moved
            assert earlier - later <= 13 * HOUR
            assert floor(Unit.HOUR, asked) == asked
    for level, most in enumerate((0.0, 60.0, HOUR)):  # by which a bound moves at most
        known = max(world.marked[level:3])
        if wanted.start >= known:
            assert abs(wanted.start - answer.start) <= most
        if wanted.end >= known:
            assert abs(answer.end - wanted.end) <= most
    told = list(notes(answer))
    if any(abs(one - other) > 60 for one, other, _ in bounds):
        assert any("this report covers" in note for note in told)
    assert (answer.left is not None) == any("only totals by" in note for note in told)
    assert (answer.foreign is not None) == any("recording host" in note for note in told)
    assert moved or answer.foreign is None


def check_rows(
    world: World,
    answer: Answer,
    inside: list[Delta],
    by: Sequence[Dimension],
    keep: Filter,
    *,
    moved: bool,
) -> None:
    rows = {row.labels: (row.rx, row.tx) for row in answer.rows}
    assert len(rows) == len(answer.rows)
    assert sum(rx for rx, _ in rows.values()) == answer.rx
    assert sum(tx for _, tx in rows.values()) == answer.tx
    units = {dimension.unit for dimension in by} - {None}
    whole = (
        not any(world.marked[1:3])
        if moved
        else (not units & {Unit.HOUR} or not world.marked[2])  # else only days know
    )
    if whole or not units:
        assert rows == grouped(inside, by, keep)
    else:
        flowing = [dimension for dimension in by if not dimension.unit]
        timeless: dict[tuple[Any, ...], Sums] = {}
        for group, (rx, tx) in rows.items():
            known = iter(group)
            parts = [(d, [next(known) for _ in d.fields]) for d in by]
            label = tuple(part for d, found in parts if not d.unit for part in found)
            before = timeless.get(label, (0, 0))
            timeless[label] = (before[0] + rx, before[1] + tx)
        assert timeless == grouped(inside, flowing, keep)


def check_bars(answer: Answer, inside: list[Delta], keep: Filter) -> None:
    """Check that each bar has the bytes between its ends, whatever is deleted, and that there is no gap."""
    bars = answer.bars
    assert sum(bar.rx for bar in bars) == answer.rx
    assert sum(bar.tx for bar in bars) == answer.tx
    assert sum(bar.seconds for bar in bars) == answer.seconds
    assert all(one.end == other.start for one, other in pairwise(bars))
    assert (
        bar_unit(answer.range) is answer.bar_unit
        or answer.left
        or answer.start < answer.range.start
        or answer.end > answer.range.end
    )
    for bar in bars:
        mine = within(inside, bar.start, bar.end)
        assert (bar.rx, bar.tx, bar.seconds) == (*total(mine, keep), sum(d.seconds for d in mine))


def check_labels(answer: Answer, by: Sequence[Dimension]) -> None:
    """Check that the rows of a unit say the same as the bars of that unit."""
    if [dimension.unit for dimension in by] != [answer.bar_unit] or answer.is_filled:
        return
    rows = {row.labels[0]: (row.rx, row.tx) for row in answer.rows}
    bars = {bar.label: (bar.rx, bar.tx) for bar in answer.bars}
    assert {label: bars.pop(str(label)) for label in rows} == rows
    assert not any(map(any, bars.values()))


def percentile(values: Sequence[float]) -> float:
    """Return the percentile by nearest rank."""
    return sorted(values)[max(math.ceil(PERCENTILE * len(values)), 1) - 1] if values else 0.0


def check_usage(kept: Kept, answer: Answer, keep: Filter) -> None:
    usage = answer.usage
    if keep.only("user", "process", "remote").terms:
        assert usage is None
        return
    first, last = -(-answer.start // FIVE_MINUTES), answer.end // FIVE_MINUTES
    five_minutes: dict[float, list[float]] = {}
    for each in kept.deltas:
        number = each.start // FIVE_MINUTES
        if first <= number < last and number != answer.now // FIVE_MINUTES:
            sums = five_minutes.setdefault(number, [0, 0, 0])
            sums[0] += each.seconds
            rx, tx = total([each], keep)
            sums[1] += rx
            sums[2] += tx
    if usage is None:
        assert not five_minutes or kept.policy.retention["5min"] < float("inf")
        return
    columns = list(zip(*five_minutes.values(), strict=True))
    rates = [[n / s for n, s in zip(column, columns[0], strict=True)] for column in columns[1:]]
    assert usage.count == len(five_minutes)
    assert usage.peak == (max(rates[0]), max(rates[1]))
    assert usage.percentile == (percentile(rates[0]), percentile(rates[1]))


def check_figures(answer: Answer) -> None:
    """Check that the figures of a range do not contradict each other."""
    if answer.peak and answer.end < answer.now:
        assert all(
            high >= average * (1 - 1e-9)
            for high, average in zip(answer.peak.rates, answer.average, strict=True)
        )
    if answer.usage:
        pairs = zip(answer.usage.peak, answer.usage.percentile, strict=True)
        assert all(high >= percentile for high, percentile in pairs)
    if answer.projection:
        assert answer.projection >= (answer.rx, answer.tx)
        assert answer.projection[1] >= answer.tx


def check_document(
    answer: Answer, inside: list[Delta], by: Sequence[Dimension], keep: Filter
) -> None:
    """Check the numbers of the JSON, which the page and the API show, against plain sums."""
    found = document(answer, ReportRequest(answer.range, by, keep), by)
    rx, tx = total(inside, keep)
    assert found["total"] == {"rx": rx, "tx": tx}
    assert sum(row["rx"] for row in found["rows"]) == sum(bar["rx"] for bar in found["bars"]) == rx
    assert sum(row["tx"] for row in found["rows"]) == sum(bar["tx"] for bar in found["bars"]) == tx
    for bar in found["bars"]:
        mine = within(inside, at(bar["from"]), at(bar["to"]))
        assert (bar["rx"], bar["tx"]) == total(mine, keep)
    if seconds := sum(delta.seconds for delta in inside):
        expected = {"rx_rate": round(rx / seconds, 3), "tx_rate": round(tx / seconds, 3)}
        assert found["average"] == expected
    if answer.start < answer.range.start - 60 or answer.end > answer.range.end + 60:
        covered = found["covered"]
        assert (at(covered["from"]), at(covered["to"])) == (int(answer.start), int(answer.end))
        assert any("this report covers" in note for note in found["notes"])


def check_spans(world: World) -> None:
    """Check that the spans of a level do not overlap, and that each includes what begins in it."""
    kept = world.kept
    for level in range(1, COARSEST + 1):
        found = kept.rows(
            "SELECT id, start, end, seconds, loss FROM span WHERE level = ? ORDER BY start", level
        )
        end_before = 0
        ahead = world.ahead if level < DAYS else math.inf
        for number, start, end, seconds, loss in found:
            assert end_before <= start < end <= kept.closed(level)
            end_before = end
            if start < world.marked[level] or start > ahead:
                continue  # it was let go of, and this is of what came late: it will go too
            mine = within(kept.deltas, start, end)
            note(f"level {level}: {start}..{end}")
            assert seconds == sum(each.seconds for each in mine)
            assert checked.loss(loss) == lost(mine)
            rows = kept.rows(
                "SELECT sum(rx), sum(tx), count(*) FROM traffic WHERE span = ?", number
            )
            ends = {(who, far) for each in mine for who, far, _ in passing(each, EVERYTHING)}
            ((*moved, count),) = rows
            assert moved == [n if ends else None for n in total(mine)]
            assert count == len(ends) or kept.policy.keep_remotes < len(REMOTES)
        assert all(
            any(s <= each.start < e for _, s, e, _, _ in found)
            for each in kept.deltas
            if world.marked[level] <= each.start < min(kept.closed(level), ahead)
        )


def check_wholes(kept: Kept) -> None:
    """Check that deletable rows have totals above them, and that a total includes all below it."""
    for level in range(COARSEST):
        assert kept.kept(level) <= kept.closed(level + 1)
    for level in range(1, COARSEST):
        for start, end in kept.spans(level):
            for s, e in kept.spans(level + 1):
                assert end <= s or e <= start or (s <= start and end <= e)


def check_references(kept: Kept) -> None:
    """Check that a sweep has deleted nothing that is used."""
    for table, column, parent in (
        *(("delta", "flow", "flow"), ("traffic", "flow", "flow"), ("flow", "remote", "remote")),
        *(("flow", "program", "program"), ("process", "program", "program")),
    ):
        lost = f"SELECT * FROM {table} WHERE {column} NOT IN (SELECT id FROM {parent})"
        assert kept.rows(lost) == []


def live(
    world: World,
    steps: Sequence[tuple[str, Any]],
    data: st.DataObject,
    groupings: st.SearchStrategy[list[Dimension]] = groupings,
    filters: st.SearchStrategy[Filter] = filters,
    *,
    moved: bool = False,
) -> None:
    """Run all actions, and check the totals in between and at the end."""
    asked = 0
    for what, how in steps:
        before = total(world.kept.deltas)
        world.do(what, how)
        if what == "ask" and asked < 2:
            asked += 1
            check(
                world,
                data.draw(spans(world)),
                data.draw(groupings),
                data.draw(filters),
                moved=moved,
            )
        if what in ("step", "reopen"):
            assert world.everything() == before
            check_references(world.kept)
    check_spans(world)
    check_wholes(world.kept)
    for _ in range(3):
        check(world, data.draw(spans(world)), data.draw(groupings), data.draw(filters), moved=moved)
    world.step(world.latest + DAY)
    check_spans(world)
    check_wholes(world.kept)
    assert world.everything() == total(world.kept.deltas)
    for _ in range(2):
        check(world, data.draw(spans(world)), data.draw(groupings), data.draw(filters), moved=moved)


moves = st.tuples(st.just("zone"), st.sampled_from(ZONES))


@settings(max_examples=examples(130), phases=PHASES)
@given(
    st.sampled_from(ZONES),
    st.sampled_from(BEGINNINGS),
    retentions(),
    st.one_of(st.just([]), st.lists(st.tuples(actions, moves), min_size=1, max_size=2)),
    actions,
    st.data(),
)
def test_no_rollup_changes_a_sum(
    zone: str,
    beginning: float,
    retention: dict[str, float],
    before: list[tuple[list[tuple[str, Any]], tuple[str, Any]]],
    after: list[tuple[str, Any]],
    data: st.DataObject,
) -> None:
    """Nor does one after the time zone was changed, once or twice."""
    steps = [step for some, move in before for step in (*some, move)] + after
    with local(zone), in_small_steps():
        live(World(Kept(policy(None, **retention)), beginning), steps, data, moved=bool(before))


@settings(max_examples=examples(110), phases=PHASES)
@given(
    st.sampled_from(ZONES),
    st.sampled_from(BEGINNINGS),
    retentions(),
    st.integers(1, 3),
    st.sampled_from([None, 1, 100_000]),
    actions,
    st.data(),
)
def test_folding_remotes_changes_no_other_sum(
    zone: str,
    beginning: float,
    retention: dict[str, float],
    most: int,
    max_size: int | None,
    steps: list[tuple[str, Any]],
    data: st.DataObject,
) -> None:
    limits = replace(policy(max_size, **retention), keep_remotes=most)
    with local(zone), in_small_steps():
        live(World(Kept(limits), beginning), steps, data, without_remotes, filters_of_processes)
