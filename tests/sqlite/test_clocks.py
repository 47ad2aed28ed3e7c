"""Clock changes and sleep: no second is stored twice, and the report notes the event."""

import sqlite3
import time
from contextlib import closing
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
    Feed,
    Recorders,
    answer,
    found,
    intervals,
    numbered,
    rows,
)
from tests.kernel.running import HANG

HOUR = 3600.0
BEFORE = ClockReading(START, 100.0, 500.0)


def watched(*moments: ClockReading) -> list[Event]:
    watch = ClockWatch()
    return [event for moment in moments for event in watch.look(moment)]


def after(wall: float = 1.0, awake: float = 1.0, boot: float = 1.0) -> ClockReading:
    return ClockReading(START + wall, 100.0 + awake, 500.0 + boot)


@pytest.mark.parametrize(
    ("wall", "awake", "boot", "expected"),
    [
        (1.9, 0.0, 0.0, {}),
        (HOUR - 1.9, HOUR, HOUR, {}),
        (1 - HOUR, 1.0, 1.0, {"clock": -HOUR}),
        (3.0, 1.0, 1.0, {"clock": 2.0}),
        (4.456789, 1.0, 1.0, {"clock": 3.5}),
        (601.0, 1.0, 601.0, {"sleep": 600.0}),
        (601 + HOUR, 1.0, 601.0, {"clock": HOUR, "sleep": 600.0}),
    ],
)
def test_jumps_of_two_seconds_or_more_are_events(
    wall: float, awake: float, boot: float, expected: dict[str, float]
) -> None:
    """NTP slews the wall clock by less."""
    events = [Event(START + wall, kind, amount) for kind, amount in expected.items()]
    assert watched(BEFORE, after(wall, awake, boot)) == events


def test_readings_are_compared_with_the_previous_one() -> None:
    moments = [BEFORE, after(1 + HOUR), after(2 + HOUR, 2, 2), after(3, 3, 3)]
    assert [(event.kind, event.amount) for event in watched(*moments)] == [
        ("clock", HOUR),
        ("clock", -HOUR),
    ]


def test_clocks_are_the_kernels() -> None:
    now = clocks.now()
    assert now.wall == pytest.approx(time.time(), abs=HANG)
    assert now.awake == pytest.approx(time.monotonic(), abs=HANG)
    assert now.boot == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=HANG)
    assert watched(now, clocks.now()) == []


# The recorder.


def check(feed: Feed, path: Path) -> list[float]:
    """Return the starts of the intervals; check that each sample is one, in order, exact, and stored once."""
    assert found(path) == feed.expected()
    stored = intervals(path)
    assert [seconds for _, seconds in stored] == [1.0] * len(feed.numbers)
    assert answer(path, now=START + HOUR * 2).seconds == len(feed.numbers)
    assert rows(path, "SELECT count(DISTINCT start) FROM interval") == [(len(feed.numbers),)]
    return [start for start, _ in stored]


@pytest.mark.parametrize(
    ("by", "words"),
    [(HOUR, "forward by 1 hour"), (-HOUR, "back by 1 hour"), (-2.5, "back by 2 seconds")],
)
def test_clock_that_is_set_while_recording(
    by: float, words: str, path: Path, recorders: Recorders
) -> None:
    feed = recorders(path)
    feed.put(10)
    feed.clock.wall += by
    feed.put(10)
    feed.recorder.close()
    assert check(feed, path) == [*range(10), *(n + by for n in range(10, 20))]
    assert rows(path, "SELECT kind, amount FROM event") == [("clock", by)]
    (note,) = notes(answer(path, now=START + HOUR * 2))
    assert note.startswith(f"the clock was set {words}")


def test_late_samples_of_a_minute_whose_sums_are_being_made(
    path: Path, recorders: Recorders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rollup of that minute restarts."""
    monkeypatch.setattr(recorder, "ROLLUP_PERIOD", 0.0)
    monkeypatch.setattr(recorder, "RETRY", 0.001)
    monkeypatch.setattr(rollup, "FLOWS_AT_ONCE", 1)
    monkeypatch.setattr(rollup, "FEW_ROWS", 0)
    monkeypatch.setattr(rollup, "STEP_SECONDS", 0.0)
    feed = recorders(path)
    made = "SELECT count(*) > 10 FROM span WHERE level = 1"
    for number in range(20_000):
        feed.clock.go(5)
        feed.give(numbered(number, feed.clock.wall - number % 3 * 60))
        feed.numbers.append(number)
        time.sleep(0.002)
        if number >= 400 and number % 100 == 0 and rows(path, made) == [(1,)]:
            break
    else:
        pytest.fail("too few minutes were closed")
    feed.wait()
    feed.recorder.close()
    assert found(path) == feed.expected()


def test_clock_change_during_a_fault_is_one_event(path: Path, recorders: Recorders) -> None:
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
def test_suspend(seconds: float, path: Path, recorders: Recorders) -> None:
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


def test_quiet_time_is_not_merged_across_a_clock_change(path: Path, recorders: Recorders) -> None:
    feed = recorders(path)
    feed.quiet(10)
    feed.clock.wall -= HOUR
    feed.quiet(10)
    feed.recorder.close()
    assert intervals(path) == [(0.0, 10.0), (10 - HOUR, 10.0)]


def test_clock_change_while_idle_is_an_event(path: Path, recorders: Recorders) -> None:
    feed = recorders(path)
    feed.put(2)
    feed.wait()
    feed.clock.wall += HOUR
    feed.quiet()
    feed.recorder.close()
    assert rows(path, "SELECT kind, amount FROM event") == [("clock", HOUR)]
