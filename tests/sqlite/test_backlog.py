"""The backlog is bounded; it merges the oldest deltas before it drops a byte."""

from collections import Counter
from collections.abc import Iterable
from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bwtop.history.calendar import DAY, HOUR, MINUTE, Unit, floor
from bwtop.model.flows import TCP, UDP, Identity, Loss, Remote, Role, Traffic, nowhere
from bwtop.model.ledger import category
from bwtop.model.sample import Sample
from bwtop.sqlite import backlog
from bwtop.sqlite.backlog import Backlog
from bwtop.sqlite.delta import Delta, Moved, Who
from tests.build import KEYS, REMOTES, key, remote, sample
from tests.examples import examples
from tests.history.recording import START
from tests.strategies import samples

WHO: tuple[Who, ...] = tuple((k, Identity(name)) for k in KEYS for name in ("sh", "curl"))

moved = st.tuples(st.integers(0, 1000), st.integers(1, 1000))
flows = st.dictionaries(
    st.sampled_from(WHO), st.dictionaries(st.sampled_from(REMOTES), moved, min_size=1)
)
gaps = st.sampled_from([1.0, 1.0, 1.0, 20.0, 700.0, 9000.0, 86400.0, 40 * 86400.0, -3600.0])


@st.composite
def timelines(draw: st.DrawFn, max_size: int = 40) -> list[Delta]:
    """Draw consecutive deltas, some after a gap or a clock that was set back."""
    now, made = START, []
    for gap in draw(st.lists(gaps, max_size=max_size)):
        now += gap
        made.append(
            Delta(now, 1.0, draw(flows), set(draw(st.sets(st.sampled_from(KEYS), max_size=1))))
        )
    return made


def delta(start: float, count: int = 1, first: int = 0) -> Delta:
    """Return a delta of `count` flows of ten bytes each."""
    far = {remote(f"192.0.2.{n}"): (4, 6) for n in range(first, first + count)}
    return Delta(START + start, 1.0, {WHO[0]: far})


def total(deltas: Iterable[Delta]) -> int:
    return sum(each.amount() for each in deltas)


def filled(deltas: Iterable[Delta], max_flows: int, max_deltas: int) -> Backlog:
    waiting = Backlog(max_flows, max_deltas)
    for each in deltas:
        waiting.add(deepcopy(each))
    return waiting


Sums = dict[tuple[int, Who, Remote], Moved]


def sums(deltas: Iterable[Delta], unit: Unit, *, everywhere: bool = False) -> Sums:
    """Return the bytes by unit of time and flow, or by unit of time and forgotten remote."""
    rx: Counter[tuple[int, Who, Remote]] = Counter()
    tx: Counter[tuple[int, Who, Remote]] = Counter()
    for each in deltas:
        for who, remotes in each.flows.items():
            for far, (received, sent) in remotes.items():
                place = floor(unit, each.start), who, nowhere(far) if everywhere else far
                rx[place] += received
                tx[place] += sent
    return {place: (rx[place], tx[place]) for place in rx}


# Bounds.


@given(timelines(), st.integers(1, 40), st.integers(1, 12), st.integers(0, 12))
def test_backlog_is_bounded_and_accounts_for_every_byte(
    timeline: list[Delta], max_flows: int, max_deltas: int, takes: int
) -> None:
    waiting, taken, put = Backlog(max_flows, max_deltas), list[Delta](), 0
    for number, each in enumerate(timeline):
        put += each.amount()
        waiting.add(deepcopy(each))
        if takes and number % takes == takes - 1:
            taken += waiting.take(2)
        assert total([*waiting, *taken]) + waiting.dropped == put
        assert len(waiting) <= max_deltas
        assert len(waiting) <= 1 or sum(d.size() for d in waiting) <= max_flows


@given(timelines(), st.integers(1, 30), st.integers(1, 12))
def test_newest_delta_is_never_merged(
    timeline: list[Delta], max_flows: int, max_deltas: int
) -> None:
    waiting = Backlog(max_flows, max_deltas)
    for each in timeline:
        waiting.add(deepcopy(each))
        assert list(waiting)[-1] == each


@given(timelines(), st.integers(2, 12))
def test_merging_keeps_time_exits_and_order(timeline: list[Delta], max_deltas: int) -> None:
    """Without drops: all deltas are of one month."""
    month = floor(Unit.MONTH, START)
    close = [each for each in timeline if floor(Unit.MONTH, each.start) == month]
    left = list(filled(close, 10**6, max_deltas))
    assert sum(d.seconds for d in left) == len(close)
    exited = [set[object]().union(*(d.exited for d in deltas)) for deltas in (left, close)]
    assert exited[0] == exited[1]
    starts = [each.start for each in close]
    if starts == sorted(starts):
        assert [d.start for d in left] == sorted(d.start for d in left)
        assert {d.start for d in left} <= set(starts)


# What is merged.


@pytest.mark.parametrize(
    ("step", "unit"),
    [(10.0, Unit.MINUTE), (5 * MINUTE, Unit.HOUR), (3 * HOUR, Unit.DAY), (DAY, Unit.MONTH)],
)
def test_sums_by_the_unit_stay_right(step: float, unit: Unit) -> None:
    """As long as finer merging suffices."""
    start = floor(Unit.MONTH, START)
    timeline = [delta(start - START + n * step, 2, n % 3) for n in range(24)]
    units = len({floor(unit, d.start) for d in timeline})
    waiting = filled(timeline, 10**6, units + 1)
    assert waiting.dropped == 0
    assert len(waiting) <= units + 1
    assert sums(waiting, unit) == sums(timeline, unit)


def test_minutes_before_hours_before_days_before_months() -> None:
    """Finer merging comes first wherever it is possible, even for newer deltas."""
    base = floor(Unit.DAY, START) - START
    hours, minutes = [0, HOUR], [2 * HOUR, 2 * HOUR + MINUTE]
    days, seconds = [-5 * DAY, -4 * DAY], [3 * HOUR, 3 * HOUR + 1]
    timeline = [delta(base + s) for s in (*days, *hours, *minutes, *seconds, 4 * HOUR)]
    for most, expected in (
        (8, [*days, *hours, *minutes, 3 * HOUR, 4 * HOUR]),
        (7, [*days, *hours, 2 * HOUR, 3 * HOUR, 4 * HOUR]),
        (4, [*days, 0, 4 * HOUR]),
    ):
        assert [d.start - START - base for d in filled(timeline, 10**6, most)] == expected


def test_oldest_minute_is_merged_first() -> None:
    waiting = filled([delta(20.0 * n) for n in range(10)], 10**6, 9)
    assert [d.start - START for d in waiting] == [0, 60, 80, 100, 120, 140, 160, 180]


@given(timelines(), st.integers(6, 20))
def test_merged_flows_keep_their_sums_by_month(timeline: list[Delta], max_flows: int) -> None:
    """By process and kind of remote, if nothing was dropped."""
    waiting = filled(timeline, max_flows, 10**6)
    if not waiting.dropped:
        before, after = (
            sums(each, Unit.MONTH, everywhere=True) for each in (timeline, list(waiting))
        )
        assert after == before


def test_nothing_is_dropped_while_deltas_can_be_merged() -> None:
    """The oldest has one flow; the second, of another month, has too many."""
    timeline = [delta(-60 * DAY), delta(-30 * DAY, 40), delta(0, 20)]
    waiting = filled(timeline, 50, 10**6)
    assert waiting.dropped == 0
    assert [d.size() for d in waiting] == [1, 1, 20]
    assert next(iter(waiting)).flows == timeline[0].flows, "it would not be smaller"


def test_dropped_is_the_oldest_and_its_bytes_are_counted() -> None:
    timeline = [delta(40 * DAY * n, n + 1) for n in range(4)]
    waiting = filled(timeline, 10**6, 2)
    assert waiting.dropped == 10 + 20
    assert [d.amount() for d in waiting] == [30, 40]


# Taking and giving back.


@given(timelines(), st.integers(0, 50))
def test_given_back_deltas_are_the_oldest(timeline: list[Delta], count: int) -> None:
    waiting = filled(timeline, 10**6, 10**6)
    taken = waiting.take(count)
    assert taken == timeline[:count]
    assert list(waiting) == timeline[count:]
    assert len(waiting) == len(timeline[count:])
    waiting.give_back(taken)
    assert list(waiting) == timeline


def test_full_backlog_fits_the_memory_limit() -> None:
    """Two hours of seconds, unless there are very many flows."""
    waiting = Backlog()
    waiting.give_back([delta(float(n)) for n in range(7200)])
    assert len(waiting) == backlog.MAX_DELTAS == 7200
    waiting.add(delta(7200.0))
    assert len(waiting) == 7201 - 58, "one minute, which had begun a second before"
    assert total(waiting) == 72_010
    assert backlog.MAX_FLOWS == 150_000


# Deltas.


@given(samples)
@settings(max_examples=examples(50))
def test_delta_has_what_the_sample_has(reading: Sample) -> None:
    made = Delta.of(reading)
    assert made.amount() == sum(t.rx + t.tx for f in reading.traffic.values() for t in f.values())
    assert all(rx or tx for remotes in made.flows.values() for rx, tx in remotes.values())
    assert all(made.flows.values()), "no process without a flow"
    assert (made.seconds, made.loss, made.exited) == (
        reading.elapsed,
        reading.loss,
        reading.exited,
    )
    assert made.exited is not reading.exited
    assert made.start == max(reading.time.timestamp() - reading.elapsed, 0)


def test_absorbed_deltas_begin_with_the_earlier() -> None:
    first, second = delta(5, 2), delta(3, 2, 1)
    second.exited = {key(1)}
    first.loss, second.loss = Loss(1, 2, 3, 4, 5, 6), Loss(1, 1, 1, 1, 1, 1)
    first.absorb(second)
    assert (first.start, first.seconds) == (START + 3, 2.0)
    assert (first.exited, first.loss) == ({key(1)}, Loss(2, 3, 4, 5, 6, 7))
    assert first.flows == {
        WHO[0]: {
            remote("192.0.2.0"): (4, 6),
            remote("192.0.2.1"): (8, 12),
            remote("192.0.2.2"): (4, 6),
        }
    }


def test_delta_is_quiet_only_without_flows_exits_and_losses() -> None:
    assert Delta(START, 1.0).is_quiet()
    assert Delta.of(sample({key(1): {remote(): Traffic(0, 0)}})).is_quiet()
    assert not delta(0).is_quiet()
    assert not Delta(START, 1.0, exited={key(1)}).is_quiet()
    assert not Delta(START, 1.0, loss=Loss(missed_events=1)).is_quiet()


FARS = [
    remote(address, port, protocol, role)
    for address in ("192.0.2.1", "127.0.0.1", "127.9.9.9", "::1", "2001:db8::1", "*")
    for port in (0, 443)
    for protocol in (TCP, UDP, 1)
    for role in Role
]


def by_kind(remotes: dict[Remote, Moved]) -> Counter[tuple[object, ...]]:
    """Return the sent bytes by category, protocol and role."""
    found: Counter[tuple[object, ...]] = Counter()
    for far, (_, sent) in remotes.items():
        found[category(far), far.protocol, far.role] += sent
    return found


def test_processes_keep_their_bytes_by_kind_when_remotes_are_forgotten() -> None:
    far = {far: (1, number) for number, far in enumerate(FARS)}
    made = Delta(START, 1.0, {WHO[0]: dict(far), WHO[2]: {FARS[0]: (5, 5)}})
    made.forget_remotes()
    assert made.size() == 18 + 1
    assert made.flows[WHO[2]] == {nowhere(FARS[0]): (5, 5)}
    assert by_kind(made.flows[WHO[0]]) == by_kind(far)
