"""Clock changes and sleep: no second is stored twice, and the report notes the event."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bwtop.history.tiers import parse_retention
from bwtop.output.notes import notes
from bwtop.sqlite import clocks, recorder, rollup
from bwtop.sqlite.clocks import ClockReading, ClockWatch
from bwtop.sqlite.rollup import Policy
from bwtop.sqlite.store import Event
from tests.history.recording import (
    START,
    Clock,
    Feed,
    Recorders,
    answer,
    found,
    intervals,
    numbered,
    rows,
)

HOUR = 3600.0
BEFORE = ClockReading(START, 100.0, 500.0)


@pytest.fixture
def recorders() -> Iterator[Recorders]:
    made = Recorders()
    yield made
    made.close()


def watched(*moments: ClockReading) -> list[Event]:
    watch = ClockWatch()
    return [event for moment in moments for event in watch.look(moment)]


def after(wall: float = 1.0, awake: float = 1.0, boot: float = 1.0) -> ClockReading:
    return ClockReading(START + wall, 100.0 + awake, 500.0 + boot)


def test_first_reading_has_no_events() -> None:
    assert watched(BEFORE) == []


@pytest.mark.parametrize("seconds", [0.0, 1.0, 3600.0])
@pytest.mark.parametrize("slew", [-1.9, 0.0, 1.9])
def test_passing_time_is_no_event(seconds: float, slew: float) -> None:
    """However long it is; NTP slews the wall clock."""
    assert watched(BEFORE, after(seconds + slew, seconds, seconds)) == []


@pytest.mark.parametrize("step", [-HOUR, -2.0, 2.0, 2.5, HOUR])
def test_wall_clock_that_was_set(step: float) -> None:
    assert watched(BEFORE, after(1 + step)) == [Event(START + 1 + step, "clock", step)]


def test_sleep() -> None:
    assert watched(BEFORE, after(601.0, 1.0, 601.0)) == [Event(START + 601, "sleep", 600.0)]


def test_sleep_through_which_the_clock_was_set() -> None:
    assert watched(BEFORE, after(601 + HOUR, 1.0, 601.0)) == [
        Event(START + 601 + HOUR, "clock", HOUR),
        Event(START + 601 + HOUR, "sleep", 600.0),
    ]


def test_readings_are_compared_with_the_previous_one() -> None:
    moments = [BEFORE, after(1 + HOUR), after(2 + HOUR, 2, 2), after(3, 3, 3)]
    assert [(event.kind, event.amount) for event in watched(*moments)] == [
        ("clock", HOUR),
        ("clock", -HOUR),
    ]


def test_amount_is_in_tenths() -> None:
    assert [e.amount for e in watched(BEFORE, after(4.456789))] == [3.5]


def test_clocks_are_the_kernels() -> None:
    now = clocks.now()
    assert now.wall == pytest.approx(time.time(), abs=0.5)
    assert now.awake == pytest.approx(time.monotonic(), abs=0.5)
    assert now.boot == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=0.5)
    assert watched(now, clocks.now()) == []


# The recorder.


def stepped(feed: Feed, by: float) -> None:
    feed.put(10)
    feed.clock.wall += by
    feed.put(10)
    feed.recorder.close()


def check(feed: Feed, path: Path) -> list[float]:
    """Return the starts of the intervals; check that each sample is one, in order, exact, and stored once."""
    assert found(path) == feed.expected()
    stored = intervals(path)
    assert [seconds for _, seconds in stored] == [1.0] * len(feed.numbers)
    assert answer(path, now=START + HOUR * 2).seconds == len(feed.numbers)
    assert rows(path, "SELECT count(DISTINCT start) FROM interval") == [(len(feed.numbers),)]
    return [start for start, _ in stored]


def said(path: Path) -> list[str]:
    return list(notes(answer(path, now=START + HOUR * 2)))


@pytest.mark.parametrize(
    ("by", "words"), [(HOUR, "forward by 1 hour"), (-HOUR, "back by 1 hour"), (-3.0, "back by 3 s")]
)
def test_clock_that_is_set_while_recording(
    by: float, words: str, tmp_path: Path, recorders: Recorders
) -> None:
    path = tmp_path / "history.db"
    by += 0.5 if by == -3.0 else 0.0  # or seconds would begin at the same time
    feed = recorders(path)
    stepped(feed, by)
    assert check(feed, path) == [*range(10), *(n + by for n in range(10, 20))]
    assert rows(path, "SELECT kind, amount FROM event") == [("clock", by)]
    (note,) = said(path)
    assert note.startswith("the clock was set " + words.replace("3 s", "2 s"))


def test_clock_that_is_set_forward_and_back(tmp_path: Path, recorders: Recorders) -> None:
    path = tmp_path / "history.db"
    feed = recorders(path)
    feed.put(10)
    feed.clock.wall += HOUR
    feed.put(10)
    feed.clock.wall -= HOUR
    feed.put(10)
    feed.recorder.close()
    assert check(feed, path) == [*range(10), *(HOUR + n for n in range(10, 20)), *range(20, 30)]
    assert rows(path, "SELECT kind, amount FROM event ORDER BY id") == [
        ("clock", HOUR),
        ("clock", -HOUR),
    ]
    forward, back = said(path)
    assert forward.startswith("the clock was set forward by 1 hour at ")
    assert back.startswith("the clock was set back by 1 hour at ")


def test_sums_by_minute_that_were_closed_before_the_clock_was_set_back(
    tmp_path: Path, recorders: Recorders
) -> None:
    """Later samples with an earlier time are added to them."""
    path = tmp_path / "history.db"
    feed = recorders(path, clock=Clock(START + HOUR))
    feed.put(600)
    feed.wait()
    feed.recorder.close()
    again = recorders(path, clock=replace(feed.clock))
    again.next = 600
    again.put()
    again.wait()
    deadline = time.monotonic() + 5
    while not rows(path, "SELECT count(*) FROM span WHERE level = 1")[0][0]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    again.clock.wall -= HOUR / 12 + 0.5
    again.put(100)
    again.recorder.close()
    again.numbers += feed.numbers
    assert check(again, path)
    minutes = rows(
        path,
        "SELECT start, sum(rx) FROM span JOIN traffic ON span = id WHERE level = 1 GROUP BY id",
    )
    for start, rx in minutes:
        inside = f"start >= {start} AND start < {start} + 60"
        of_deltas = f"SELECT sum(rx) FROM delta JOIN interval ON id = interval WHERE {inside}"
        assert rows(path, of_deltas) == [(rx,)]


def test_late_samples_of_a_minute_whose_sums_are_being_made(
    tmp_path: Path, recorders: Recorders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rollup of that minute restarts."""
    monkeypatch.setattr(recorder, "ROLLUP_PERIOD", 0.0)
    monkeypatch.setattr(recorder, "RETRY", 0.001)
    monkeypatch.setattr(rollup, "FLOWS_AT_ONCE", 1)
    monkeypatch.setattr(rollup, "STEP_SECONDS", 0.0)
    path = tmp_path / "history.db"
    feed = recorders(path)
    made = "SELECT count(*) > 10 FROM span WHERE level = 1"
    for number in range(20_000):
        feed.clock.go(5)
        feed.give(numbered(number, feed.clock.wall - number % 3 * 60))
        feed.numbers.append(number)
        time.sleep(0.002)
        if number >= 400 and number % 100 == 0 and rows(path, made) == [(1,)]:
            break
    feed.wait()
    feed.recorder.close()
    assert rows(path, made) == [(1,)]
    assert found(path) == feed.expected()


def test_clock_change_during_a_fault_is_one_event(tmp_path: Path, recorders: Recorders) -> None:
    path = tmp_path / "history.db"
    feed = recorders(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        feed.put(2)
        feed.clock.wall += HOUR
        feed.put(2)
        feed.wait(lambda: feed.recorder.state.fault)
    feed.wait()
    feed.recorder.close()
    assert rows(path, "SELECT kind, amount FROM event") == [("clock", HOUR)]


@pytest.mark.parametrize("seconds", [30.0, 8 * HOUR])
def test_suspend(seconds: float, tmp_path: Path, recorders: Recorders) -> None:
    path = tmp_path / "history.db"
    policy = Policy(parse_retention("seconds=1d"))
    feed = recorders(path, policy=policy)
    feed.put(10)
    feed.clock.sleep(seconds)
    feed.put(10)
    feed.recorder.close()
    assert found(path) == feed.expected()
    assert [start for start, _ in intervals(path)] == [
        *range(10),
        *(n + seconds for n in range(10, 20)),
    ]
    whole = answer(path, now=START + 9 * HOUR)
    assert whole.seconds == 20, "asleep nothing was measured"
    assert rows(path, "SELECT kind, amount FROM event") == [("sleep", seconds)]
    length = "30 seconds" if seconds == 30 else "8 hours"
    assert list(notes(whole)) == [f"the machine slept for {length}"]


def test_several_sleeps_are_one_note(tmp_path: Path, recorders: Recorders) -> None:
    path = tmp_path / "history.db"
    feed = recorders(path)
    for _ in range(3):
        feed.put(2)
        feed.clock.sleep(600)
    feed.put(2)
    feed.recorder.close()
    assert said(path) == ["the machine slept for 30 minutes"]


def test_quiet_time_is_not_merged_across_a_clock_change(
    tmp_path: Path, recorders: Recorders
) -> None:
    path = tmp_path / "history.db"
    feed = recorders(path)
    feed.quiet(10)
    feed.clock.wall -= HOUR
    feed.quiet(10)
    feed.recorder.close()
    assert intervals(path) == [(0.0, 10.0), (10 - HOUR, 10.0)]


def test_clock_change_while_idle_is_an_event(tmp_path: Path, recorders: Recorders) -> None:
    path = tmp_path / "history.db"
    feed = recorders(path)
    feed.put(2)
    feed.wait()
    feed.clock.wall += HOUR
    feed.quiet()
    feed.recorder.close()
    assert rows(path, "SELECT kind, amount FROM event") == [("clock", HOUR)]
