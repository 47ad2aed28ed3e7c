"""Answers beyond plain totals, and ranges by the local clock."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from unittest.mock import patch

import pytest

from bwtop.history.calendar import FIVE_MINUTES, Unit
from bwtop.history.dimensions import labels as of_group
from bwtop.history.query import Answer, History, Peak, bar_unit
from bwtop.history.ranges import Range, parse
from bwtop.model.filter import EVERYTHING, Filter
from bwtop.model.flows import LOOPBACK_V4, UDP, Identity, Loss, Remote, Role
from bwtop.sqlite import connections, retention
from bwtop.sqlite.reader import LocalReader
from bwtop.sqlite.store import Event
from tests.build import typed
from tests.history.keep import (
    CURL,
    DAY,
    HOUR,
    NGINX,
    NOON,
    PROGRAMS,
    REMOTES,
    Kept,
    at,
    by,
    delta,
    instant,
    local,
    move_to,
    passing,
    policy,
)

FIRST = NOON - DAY // 2


@pytest.fixture(autouse=True)
def _utc() -> Iterator[None]:
    with local("UTC"), patch.object(retention, "NEWEST", 0):
        yield


def labels(answer: Answer) -> list[tuple[object, ...]]:
    return [(*row.labels, row.rx) for row in answer.rows]


def amounts(answer: Answer) -> list[tuple[int, int]]:
    """Return (start, received) of the bars with bytes."""
    return [(bar.start, bar.rx) for bar in answer.bars if bar.seconds]


# Percentiles, bars, peaks and projections.


def percentile(values: Sequence[int]) -> float:
    """Return the 95th percentile that a report names for five-minute totals of these values."""
    kept = Kept()
    kept.append(*(delta(NOON + n * FIVE_MINUTES, value, 0, 1.0) for n, value in enumerate(values)))
    usage = kept.ask(NOON, NOON + len(values) * FIVE_MINUTES).usage
    assert usage
    return usage.percentile[0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0], 0),
        ([7], 7),
        ([3, 1, 2], 3),
        (range(1, 21), 19),
        (range(1, 22), 20),
        (range(100, 0, -1), 95),
    ],
)
def test_percentile_is_the_nearest_rank(values: Sequence[int], expected: int) -> None:
    assert percentile(values) == expected


def test_average_over_zero_seconds_is_zero() -> None:
    kept = Kept()
    kept.append(delta(NOON, 100, 50, 0.0))
    kept.append(delta(NOON + FIVE_MINUTES, 100, 50, 2.0))
    usage = kept.ask(NOON, NOON + HOUR).usage
    assert usage
    assert (usage.count, usage.peak, usage.percentile) == (2, (50.0, 25.0), (50.0, 25.0))


@pytest.mark.parametrize(
    ("length", "unit"),
    [
        (1, Unit.MINUTE),
        (90 * 60, Unit.MINUTE),
        (91 * 60 - 1, Unit.MINUTE),
        (91 * 60, Unit.HOUR),
        (50 * HOUR, Unit.HOUR),
        (50 * HOUR + 1, Unit.DAY),
        (93 * DAY + 60, Unit.DAY),
        (93 * DAY + 2 * HOUR, Unit.MONTH),
    ],
)
def test_bar_unit_depends_on_the_range(length: float, unit: Unit) -> None:
    assert bar_unit(Range("", NOON, NOON + length)) is unit


def test_there_are_bars_of_the_whole_range_up_to_now() -> None:
    kept = Kept()
    kept.append(delta(NOON + 2 * HOUR, 5))
    answer = kept.ask(FIRST, FIRST + DAY, now=NOON + 4.5 * HOUR)
    assert [bar.start for bar in answer.bars] == [FIRST + n * HOUR for n in range(17)]
    assert amounts(answer) == [(NOON + 2 * HOUR, 5)]
    assert all(bar.end == bar.start + HOUR for bar in answer.bars)


def test_the_first_bar_has_what_begins_before_the_range() -> None:
    """Half of an hour of which only the total is left; a range may also begin within a minute."""
    kept = Kept(policy(seconds=0, minutes=0))
    kept.append(
        delta(NOON + 60), delta(NOON + HOUR + 1), delta(NOON + 4 * HOUR), delta(NOON + 6 * HOUR)
    )
    kept.steps(NOON + 7 * HOUR)
    answer = kept.ask(NOON + 1800, NOON + 5400)
    assert (answer.start, answer.end, answer.rx) == (NOON, NOON + 2 * HOUR, 200)
    assert amounts(answer) == [(NOON, 100), (NOON + HOUR, 100)]
    assert kept.ask(NOON + 30.5, NOON + 7200).bars[0].start == NOON


def test_part_of_a_rolled_up_span_is_the_whole_span() -> None:
    """Whichever part it is, with or without other spans beside it."""
    kept = Kept(policy(seconds=0, minutes=0, hours=0))
    kept.append(delta(NOON), *[delta(FIRST + 5 * DAY + n * 2 * HOUR) for n in range(3)])
    kept.append(delta(FIRST + 6 * DAY))
    kept.steps(FIRST + 7 * DAY)
    for start, end in ((0, 12), (1, 24), (0, 24), (13, 14), (5, 40), (-5, 5), (11, 12)):
        answer = kept.ask(FIRST + start * HOUR, FIRST + end * HOUR)
        assert answer.rx == 100
        assert answer.start == FIRST + min(start, 0) * HOUR
        assert answer.end == FIRST + max(end, 24) * HOUR


def test_the_peak_is_the_highest_average_of_five_minutes() -> None:
    kept = Kept()
    kept.append(delta(NOON, 3000, 100, 100.0), delta(NOON + 100, 0, 500, 200.0))
    kept.append(
        delta(NOON + 300, 600, 0, 300.0), delta(NOON + 600, 90_000, 0, 300.0, far=REMOTES[4])
    )
    answer = kept.ask(NOON, NOON + HOUR)
    assert answer.usage
    assert answer.peak == Peak(answer.usage.peak, Unit.FIVE_MINUTES)
    assert (answer.usage.peak, answer.usage.percentile) == ((300.0, 2.0), (300.0, 2.0))
    assert (answer.usage.count, answer.usage.seconds) == (3, 900.0)
    hidden = kept.ask(NOON, NOON + HOUR, keep=typed("loopback:hide"))
    assert hidden.usage
    assert (hidden.usage.peak, hidden.usage.percentile) == ((10.0, 2.0), (10.0, 2.0))
    only = kept.ask(NOON, NOON + HOUR, keep=typed("loopback:only"))
    assert only.usage
    assert only.usage.peak == (300.0, 0.0)


def test_five_minutes_that_are_not_over_are_no_peak() -> None:
    kept = Kept()
    kept.append(delta(NOON, 3000, 0, 300.0), delta(NOON + 300, 6000, 0, 10.0))
    for seconds, expected in ((310, 10.0), (599, 10.0), (600, 600.0)):
        answer = kept.ask(NOON, NOON + DAY, now=NOON + seconds)
        assert answer.peak == Peak((expected, 0.0), Unit.FIVE_MINUTES)
    begun = Kept()
    begun.append(delta(NOON, 3000, 0, 10.0))
    assert begun.ask(NOON, NOON + DAY, now=NOON + 299).peak is None
    assert begun.ask(NOON - 3 * HOUR, NOON + DAY, now=NOON + 299).peak is None, "nothing recorded"
    assert begun.ask(NOON, NOON + DAY, keep=typed("curl"), now=NOON + 299).peak is None
    assert begun.ask(NOON, NOON + DAY, now=NOON + 300).peak == Peak((300.0, 0.0), Unit.FIVE_MINUTES)


def test_peak_is_of_the_same_range_as_the_average() -> None:
    """Where six hours are widened to their day, the peak is in the hours that were not asked for."""
    kept = Kept(policy(seconds=0, minutes=0, hours=0))
    kept.append(delta(FIRST, 60_000, 0, 60.0), delta(FIRST + 8 * HOUR, 600, 0, 60.0))
    kept.append(delta(FIRST + 2 * DAY), delta(FIRST + 2 * DAY + 2 * HOUR))
    kept.steps(FIRST + 3 * DAY)
    answer = kept.ask(FIRST + 6 * HOUR, FIRST + 12 * HOUR)
    assert (answer.start, answer.end) == (FIRST, FIRST + DAY)
    assert answer.average == (505.0, 0.0)
    assert answer.peak == Peak((1000.0, 0.0), Unit.FIVE_MINUTES)


def test_peak_of_a_part_of_five_minutes_is_not_below_the_average() -> None:
    kept = Kept()
    kept.append(*(delta(NOON + n, 1000 if n < 150 else 1, 0) for n in range(600)))
    answer = kept.ask(NOON + 60, NOON + 600, now=NOON + HOUR)
    assert answer.usage
    assert answer.usage.peak == (1.0, 0.0)
    assert answer.average == ((90 * 1000 + 450) / 540, 0.0)
    assert answer.peak == Peak((1000.0, 0.0), Unit.MINUTE)


# One set of boundaries.


def test_bars_are_no_finer_than_the_rows() -> None:
    kept = Kept(policy(None, seconds=0, minutes=0, **{"5min": 0.0}))
    kept.append(delta(NOON + 60), delta(NOON + 600), delta(NOON + 7 * HOUR))
    kept.steps(NOON + 9 * HOUR)
    answer = kept.ask(NOON, NOON + HOUR)
    assert (answer.bar_unit, answer.left, answer.is_filled) == (Unit.HOUR, Unit.HOUR, False)
    assert amounts(answer) == [(NOON, 200)]


def test_five_minute_totals_fill_the_bars() -> None:
    kept = Kept(policy(seconds=0, minutes=0, hours=0))
    kept.append(delta(NOON + 60), delta(NOON + 600), delta(NOON + 25 * HOUR, far=REMOTES[4]))
    kept.append(delta(NOON + 3 * DAY))
    kept.steps(NOON + 5 * DAY)
    answer = kept.ask(FIRST, FIRST + DAY)
    assert (answer.bar_unit, answer.left, answer.is_filled) == (Unit.HOUR, Unit.DAY, True)
    assert amounts(answer) == [(NOON, 200)]
    two = kept.ask(FIRST, FIRST + 2 * DAY, "hour", keep=typed("loopback:hide"))
    assert (two.bar_unit, amounts(two)[0]) == (Unit.HOUR, (NOON, 200))
    assert labels(two) == [("2026-09-21", 200)]
    filtered = kept.ask(FIRST, FIRST + DAY, keep=typed("curl"))
    assert (filtered.bar_unit, filtered.is_filled) == (Unit.DAY, False)
    assert amounts(filtered) == [(FIRST, 200)]


def test_rows_of_hours_are_days_where_only_days_are_left() -> None:
    kept = Kept(policy(seconds=0, minutes=0, hours=0))
    kept.append(delta(NOON), *(delta(NOON + DAY + n * HOUR) for n in range(3)))
    kept.steps(NOON + 1.5 * DAY)
    answer = kept.ask(FIRST, FIRST + 2 * DAY, "hour")
    hours = [(f"2026-09-22T{hour}:00:00+00:00", 100) for hour in (12, 13, 14)]
    assert labels(answer) == [("2026-09-21", 100), *hours]
    assert answer.left is Unit.DAY


@pytest.mark.parametrize(
    ("zone", "shift"), [("Asia/Kolkata", 19_800), ("America/New_York", -4 * HOUR)]
)
def test_day_of_another_zone_has_one_number(zone: str, shift: int) -> None:
    """Two days of UTC overlap a day elsewhere: the one with its middle in it counts, for bars, rows and totals."""
    kept = Kept(policy(None, seconds=0, minutes=0, hours=0, **{"5min": 0.0}))
    kept.append(*[delta(FIRST + n * DAY + 3 * HOUR, 2**n) for n in range(9)])
    kept.steps(FIRST + 9 * DAY)
    move_to(zone)
    found = []
    for n in range(1, 4):
        day = parse(f"2026-09-{21 + n}", FIRST + 9 * DAY)
        answer = kept.ask_for(day, by("day"), EVERYTHING, FIRST + 9 * DAY)
        assert labels(answer) == [(f"2026-09-{21 + n}", 2**n)]
        assert (answer.rx, amounts(answer)) == (2**n, [(FIRST + n * DAY, 2**n)])
        assert [bar.label for bar in answer.bars] == [f"2026-09-{21 + n}"]
        assert day.start == FIRST + n * DAY - shift
        assert (answer.start, answer.end) == (FIRST + n * DAY, FIRST + (n + 1) * DAY)
        assert answer.foreign == (3, answer.start, answer.end)
        found.append(answer.rx)
    both = kept.ask_for(parse("2026-09-22..2026-09-25", 0), by("day"), EVERYTHING)
    assert (both.rx, [row.rx for row in both.rows], [bar.rx for bar in both.bars]) == (
        sum(found), found, found,
    )  # fmt: skip


def test_hour_of_a_half_hour_zone_has_one_hour() -> None:
    """And a range that begins within one has no empty bar."""
    kept = Kept(policy(None, seconds=0, minutes=0, **{"5min": 0.0}))
    kept.append(*[delta(FIRST + n * HOUR, 1 + n) for n in range(72)])
    kept.steps(FIRST + 74 * HOUR)
    move_to("Asia/Kolkata")
    day = parse("2026-09-22", 0)
    answer = kept.ask_for(day, by("hour"), EVERYTHING)
    assert [bar.rx for bar in answer.bars] == [row.rx for row in answer.rows] == [*range(19, 43)]
    assert [bar.label for bar in answer.bars] == [row.labels[0] for row in answer.rows]
    assert answer.bars[0].label == "2026-09-22T00:00:00+05:30"
    assert (answer.bars[0].start, answer.bars[0].end) == (FIRST + 18 * HOUR, FIRST + 19 * HOUR)
    part = kept.ask(FIRST + 10 * HOUR + 240, FIRST + 20 * HOUR)
    assert (part.start, [bar.rx for bar in part.bars]) == (FIRST + 10 * HOUR, [*range(11, 21)])


def test_no_usage_for_times_older_than_the_five_minute_totals() -> None:
    kept = Kept(policy(**{"5min": HOUR}))
    kept.append(delta(NOON), delta(NOON + 5 * HOUR))
    kept.steps(NOON + 5.5 * HOUR)
    assert kept.ask(NOON, NOON + 6 * HOUR).usage is None
    assert kept.ask(NOON + 4 * HOUR, NOON + 6 * HOUR).usage


def test_the_projection_goes_on_since_the_first_record() -> None:
    with local("Europe/Berlin"):
        month = parse("2026-11", at("2026-11-20 12:00"))
        kept = Kept()
        kept.append(
            delta(at("2026-11-11 00:00"), 1000, 10), delta(at("2026-11-13 00:00"), 1000, 10)
        )
        answer = kept.ask_for(month, [], EVERYTHING, at("2026-11-16 00:00"))
        assert answer.projection == (8000, 80)
        loopback = delta(at("2026-11-12 00:00"), 500, 0, far=REMOTES[4])
        for now, expected in (("12-01 00:00", None), ("10-31 00:00", None)):
            assert kept.ask_for(month, [], EVERYTHING, at(f"2026-{now}")).projection is expected
        kept.append(loopback)
        for text, expected in (("", (10_000, 80)), ("loopback:hide", (8000, 80)), ("x", (0, 0))):
            answer = kept.ask_for(month, [], typed(text), at("2026-11-16 00:00"))
            assert answer.projection == expected
        before = kept.ask_for(parse("2026-10", NOON), [], EVERYTHING, at("2026-10-05"))
        assert before.projection is None


def test_the_projection_of_a_range_that_begins_within_a_bar() -> None:
    kept = Kept()
    kept.append(delta(NOON - 600, 100, 10))
    answer = kept.ask(NOON - 1800, NOON + 4 * HOUR - 1800, now=NOON + HOUR / 2)
    assert answer.projection == (400, 40)


# What there is.


def test_an_empty_database() -> None:
    kept = Kept()
    answer = kept.ask_for(parse("all", NOON), by("process", "day"), EVERYTHING, NOON)
    assert (answer.rows, answer.rx, answer.tx, answer.seconds, answer.loss) == ([], 0, 0, 0, Loss())
    assert answer.usage is None
    assert answer.events == {}
    past = kept.past()
    assert past.extent() is None
    assert past.pids_since() == 0


def test_the_extent_is_that_of_all_that_is_kept() -> None:
    kept = Kept(policy(seconds=0, minutes=0, hours=0))
    kept.append(delta(NOON), delta(NOON + 2 * DAY, seconds=100.0))
    assert kept.history().extent() == (NOON, NOON + 2 * DAY + 100)
    kept.let_go()
    kept.append(delta(NOON + 2 * DAY + 2 * HOUR), delta(NOON + 3 * DAY))
    kept.steps(NOON + 4 * DAY)
    assert kept.history().extent() == (FIRST, NOON + 3 * DAY + 60)
    kept.let_go()
    answer = kept.ask_for(parse("all", NOON + 4 * DAY), [], EVERYTHING)
    assert (answer.range.start, answer.rx) == (FIRST, 400)


def test_the_extent_begins_with_the_oldest_day_not_with_its_month() -> None:
    kept = Kept(policy(seconds=0, minutes=0, hours=0))
    kept.append(*[delta(NOON + n * 12 * HOUR) for n in range(40)])
    kept.steps(NOON + 21 * DAY)
    assert kept.spans(4)[0][0] < FIRST
    history = kept.history()
    extent = history.extent()
    assert extent
    assert extent[0] == FIRST


def test_pid_filter_works_while_seconds_are_kept() -> None:
    kept = Kept(policy(seconds=HOUR))
    kept.append(delta(NOON, 1, pid=1), delta(NOON, 10, pid=2), delta(NOON + 1, 100, pid=2))
    kept.append(delta(NOON + 3 * HOUR, 1000, pid=1), delta(NOON + 3 * HOUR, 10_000, pid=3))
    only = typed("pid:1,2")
    answer = kept.ask(FIRST, FIRST + DAY, "process", keep=only)
    assert (answer.rx, [bar.rx for bar in answer.bars if bar.rx]) == (1111, [111, 1000])
    assert kept.past().pids_since() == NOON
    kept.let_go()
    kept.steps(NOON + 3 * HOUR + 100)
    assert kept.past().pids_since() == NOON + 3 * HOUR
    kept.let_go()
    assert kept.ask(FIRST, FIRST + DAY, keep=only).rx == 1000
    hours = kept.ask(FIRST, FIRST + DAY, "hour", keep=typed("pid:3"))
    assert [(str(row.labels[0])[11:13], row.rx) for row in hours.rows] == [("15", 10_000)]
    assert kept.ask(FIRST, FIRST + DAY, keep=typed("pid:99")).rx == 0


def test_pids_since_is_not_too_early() -> None:
    kept = Kept(policy(seconds=0))
    kept.append(delta(NOON), delta(NOON + 120))
    kept.steps(NOON + HOUR)
    assert kept.past().pids_since() == NOON + 180


def test_events_of_the_range() -> None:
    kept = Kept()
    events = [
        Event(NOON + n, kind, n)
        for n, kind in ((0, "clock"), (9, "sleep"), (5, "clock"), (10, "x"))
    ]
    kept.store.append([delta()], events)
    assert kept.ask(NOON, NOON + 10).events == {
        "clock": [(NOON, 0.0), (NOON + 5, 5.0)],
        "sleep": [(NOON + 9, 9.0)],
    }


def test_history_is_a_snapshot_during_writes(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    kept = Kept(policy(), path)
    kept.append(delta())
    history = History(LocalReader(connections.open_reader(path)))
    assert history.extent() == (NOON, NOON + 1)
    kept.append(delta(NOON + 1))
    wanted = Range("", NOON, NOON + HOUR)
    assert history.ask(wanted, [], EVERYTHING, NOON + HOUR).rx == 100
    history.close()
    with pytest.raises(sqlite3.ProgrammingError):
        history.extent()
    kept.connection.close()


def test_program_that_is_mounted_anew_at_each_start_has_one_name() -> None:
    """An AppImage runs from /tmp/.mount_XXXXXX, which is another directory each time."""
    kept = Kept()
    for number in range(3):
        who = Identity("editor", 1000, exe=f"/tmp/.mount_Edit{number}a/editor")
        kept.append(delta(NOON + number, 100, who=who, pid=1 + number))
    assert len(kept.ask(FIRST, FIRST + DAY, "process").rows) == 3
    assert labels(kept.ask(FIRST, FIRST + DAY, "process-name")) == [("editor", 300)]


def test_rows_are_sorted_by_size_or_by_time() -> None:
    kept = Kept()
    for hour, rx, who in ((2, 5, CURL), (0, 1, CURL), (0, 7, NGINX), (2, 6, NGINX), (2, 1, NGINX)):
        kept.append(delta(NOON + hour * HOUR, rx, 0, who=who))
    assert labels(kept.ask(FIRST, FIRST + DAY, "exe")) == [
        ("/usr/sbin/nginx", 14), ("/usr/bin/curl", 6),
    ]  # fmt: skip
    found = kept.ask(FIRST, FIRST + DAY, "exe", "hour").rows
    assert [(str(row.labels[1])[11:13], row.rx) for row in found] == [
        ("12", 7), ("12", 1), ("14", 7), ("14", 5),
    ]  # fmt: skip


# The local clock.


def recorded(zone: str, *times: str) -> Kept:
    """Record 100 bytes at each time."""
    with local(zone):
        kept = Kept()
        kept.append(*[delta(at(when)) for when in times])
        kept.steps(at(times[-1]) + DAY)
    return kept


def test_hours_of_the_day_on_which_clocks_are_set_back() -> None:
    """The rows are in the order of time: 02:00 summer time is before 02:00 winter time."""
    times = [f"2026-10-2{d}T{h:02}:30:00+00:00" for d in (4, 5, 6) for h in (0, 1, 2, 23)]
    with local("Europe/Berlin"):
        kept = recorded("Europe/Berlin", *times)
        day = parse("2026-10-25", NOON)
        answer = kept.ask_for(day, by("hour"), EVERYTHING, day.end)
        assert labels(answer) == [
            ("2026-10-25T01:00:00+02:00", 100),
            ("2026-10-25T02:00:00+02:00", 100),
            ("2026-10-25T02:00:00+01:00", 100),
            ("2026-10-25T03:00:00+01:00", 100),
        ]
        assert len(answer.bars) == 25
        days = kept.ask(at("2026-10-24 00:00"), at("2026-10-28 00:00"), "day")
        assert labels(days) == [
            ("2026-10-24", 300), ("2026-10-25", 400), ("2026-10-26", 400), ("2026-10-27", 100),
        ]  # fmt: skip


def test_a_year_ends_by_the_local_clock() -> None:
    times = ("2026-12-30 12:00", "2026-12-31 23:59:59", "2027-01-01 00:00", "2027-01-02 12:00", "2027-02-03 12:00")  # fmt: skip
    for zone in ("America/New_York", "Asia/Kolkata", "UTC"):
        with local(zone):
            kept = recorded(zone, *times)
            start, end = at("2026-12-01 00:00"), at("2027-03-01 00:00")
            assert labels(kept.ask(start, end, "month")) == [
                ("2026-12", 200), ("2027-01", 200), ("2027-02", 100),
            ]  # fmt: skip
            assert kept.ask_for(parse("2026-12", NOON), [], EVERYTHING).rx == 200
            assert labels(kept.ask(at("2026-12-31 00:00"), at("2027-01-02 00:00"), "day")) == [
                ("2026-12-31", 100), ("2027-01-01", 100),
            ]  # fmt: skip
            far = kept.ask(at("2026-01-01 00:00"), end)
            assert far.bar_unit is Unit.MONTH
            assert [bar.rx for bar in far.bars] == [0] * 11 + [200, 200, 100]


def test_half_hour_zones_see_their_own_hours_and_days() -> None:
    """Hours and days recorded in UTC do not fit such a zone, however short the range is."""
    kept = Kept()
    times = [NOON + n * 1200 for n in range(3 * 24 * 7)]
    kept.append(*[delta(when) for when in times])
    kept.steps(NOON + 8 * DAY)
    move_to("Asia/Kolkata")
    begin = NOON + 2 * HOUR
    for end in (begin + hours * HOUR for hours in (1.5, 24, 24 * 9)):
        answer = kept.ask(begin, end, "hour", "day")
        expected: dict[tuple[int, int], int] = {}
        for when in times:
            if begin <= when < end:
                shown = when + 19_800
                key = (shown // HOUR * HOUR - 19_800, shown // DAY * DAY)
                expected[key] = expected.get(key, 0) + 100
        found = {
            (int(at(str(r.labels[0]))), int(at(f"{r.labels[1]}T00:00:00+00:00"))): r.rx
            for r in answer.rows
        }
        assert found == expected
        for bar in kept.ask(begin, end).bars:
            inside = [w for w in times if max(bar.start, begin) <= w < min(bar.end, end)]
            assert bar.rx == 100 * len(inside)


def test_all_has_what_was_recorded_while_the_clock_was_ahead() -> None:
    kept = Kept()
    kept.append(delta(NOON), delta(NOON + 3 * DAY))
    answer = kept.ask_for(parse("all", NOON + HOUR), [], EVERYTHING, NOON + HOUR)
    assert (answer.rx, answer.tx) == (200, 20)
    assert answer.ahead == NOON + 3 * DAY + 1


@pytest.mark.parametrize("retention", [{}, {"seconds": 0, "minutes": 0, "hours": 0}])
def test_an_answer_knows_what_is_in_the_future(retention: dict[str, float]) -> None:
    """The clock was a year ahead, and was set right."""
    kept = Kept(policy(None, **retention))
    year = 365 * DAY
    with local("UTC"):
        kept.append(*[delta(NOON + year + n * 10 * HOUR) for n in range(6)])
        kept.steps(NOON + year + 3 * DAY)
        kept.append(delta(NOON), delta(NOON + HOUR))
        now = NOON + 2.0 * HOUR
        kept.steps(now)

        def ahead(text: str) -> float:
            return kept.ask_for(parse(text, now), [], EVERYTHING, now).ahead

        last = NOON + year + 50 * HOUR + 1
        assert ahead("all") == pytest.approx(last, abs=DAY)
        assert ahead("2026-09-01..2027-12-01") == ahead("2027-09") == ahead("all")
        for text in ("today", "24h", "month", "2026-12", "2026-09-01..2027-08-01", "2027-11"):
            assert ahead(text) == 0.0


def test_a_late_report_has_nothing_in_the_future() -> None:
    """Other hosts' clocks differ a little, and a second is recorded while a report is made."""
    kept = Kept()
    kept.append(delta(NOON), delta(NOON + 50))
    assert kept.ask_for(parse("all", NOON), [], EVERYTHING, float(NOON)).ahead == 0.0


# A filter that somebody typed.

PREDICATES: dict[str, Callable[[Identity, Remote], bool]] = {
    "": lambda _, __: True,
    "port:443": lambda _, far: far.port == 443,
    "-port:443": lambda _, far: far.port != 443,
    "nginx": lambda who, _: "nginx" in f"{who.name} {who.exe} {who.unit}",
    "process:nginx": lambda who, _: who.name == "nginx",
    "user:33 proto:udp": lambda who, far: who.uid == 33 and far.protocol == UDP,
    "unit:docker": lambda who, _: bool(who.container),
    "role:server": lambda _, far: far.role == Role.SERVER,
    "remote:127.0.0.0/8": lambda _, far: far.address[:13] == LOOPBACK_V4[:13],
    "-remote:192.0.2.1 -curl": lambda who, far: (
        far.address != REMOTES[0].address and who.name != "curl"
    ),
    "nobody-has-this": lambda _, __: False,
}


@pytest.fixture(scope="module")
def many() -> Kept:
    """Record all programs with all remotes, some only as totals of hours and days."""
    with local("UTC"), patch.object(retention, "NEWEST", 0):
        kept = Kept(policy(seconds=HOUR, minutes=DAY, hours=2 * DAY))
        for number, (who, far) in enumerate(product(PROGRAMS, REMOTES)):
            when = FIRST + number % 4 * DAY + number * 600
            kept.append(delta(when, 1000 + number, 7 * number, pid=number, who=who, far=far))
        kept.steps(FIRST + 5 * DAY)
    return kept


@pytest.mark.parametrize("text", PREDICATES)
@pytest.mark.parametrize("keep", [EVERYTHING, typed("loopback:hide"), typed("proto:tcp")])
@pytest.mark.parametrize("names", [("process",), ("remote", "day"), ("user", "proto"), ("hour",)])
def test_filter_keeps_exactly_its_bytes(
    many: Kept, text: str, keep: Filter, names: tuple[str, ...]
) -> None:
    dimensions, wanted = by(*names), Range("", FIRST, FIRST + 6 * DAY)
    both = keep & typed(text)
    try:
        answer = many.history().ask(wanted, dimensions, both, wanted.end)
    finally:
        many.let_go()
    sums: dict[tuple[object, ...], tuple[int, int]] = {}
    total = (0, 0)
    for one in many.deltas:
        for who, far, (rx, tx) in passing(one, keep):
            if PREDICATES[text](who, far):
                group = of_group(dimensions, who, far, instant(one.start))
                before = sums.get(group, (0, 0))
                sums[group] = (before[0] + rx, before[1] + tx)
                total = (total[0] + rx, total[1] + tx)
    if names != ("hour",):
        assert {row.labels: (row.rx, row.tx) for row in answer.rows} == sums
    assert (answer.rx, answer.tx) == total
    assert (sum(row.rx for row in answer.rows), sum(row.tx for row in answer.rows)) == total
    assert (sum(bar.rx for bar in answer.bars), sum(bar.tx for bar in answer.bars)) == total


def test_usage_is_known_with_filters_on_categories_only() -> None:
    kept = Kept()
    kept.append(delta(NOON, 300))
    wanted = Range("", FIRST, FIRST + DAY)
    for text, is_known in (
        *(("", True), ("port:", True), ("proto:tcp,udp -loopback:only", True)),
        *(
            ("curl", False),
            ("-nobody", False),
            ("-proto:icmp", False),
            ("proto:tcp process:*", False),
        ),
    ):
        history = kept.history()
        answer = history.ask(wanted, by("process"), typed(text), wanted.end)
        kept.let_go()
        assert (answer.usage is not None) == is_known
        assert answer.rx == 300
        assert answer.peak
        assert answer.peak.rates[0] > 0
        assert answer.peak.unit == (Unit.FIVE_MINUTES if is_known else Unit.HOUR)


def test_filter_that_no_category_passes_has_usage_of_nothing() -> None:
    kept = Kept()
    kept.append(delta(NOON, 300))
    answer = kept.ask(FIRST, FIRST + DAY, keep=typed("proto:tcp proto:udp"))
    assert answer.usage
    assert (answer.rx, answer.usage.peak) == (0, (0.0, 0.0))
