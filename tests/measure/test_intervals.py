"""Samples of intervals made from readings.  A fake clock avoids waiting."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from bwtop.capture.session import Fill
from bwtop.measure import intervals as live
from bwtop.measure.heap import Heap
from bwtop.measure.intervals import (
    STOP_SIGNALS,
    AbandonedError,
    SignalClock,
    Source,
    Status,
    ThreadClock,
    limited,
    samples,
    warner,
)
from bwtop.model.flows import UDP, Identity, Loss, Traffic
from bwtop.model.sample import Sample
from tests.build import key, remote, sample
from tests.kernel.running import HANG, LAUNCHER

START = 1000.0


class Time:
    """A replacement for the time module in bwtop.measure.intervals."""

    def __init__(self) -> None:
        self.now = START

    def monotonic(self) -> float:
        return self.now


class Clock:
    """A clock that jumps to each deadline and stops at a given time."""

    def __init__(self, time: Time, stop: float) -> None:
        self.deadlines: list[float] = []
        self._time = time
        self._stop = START + stop

    def wait(self, deadline: float) -> bool:
        self.deadlines.append(deadline - START)
        self._time.now = min(deadline, self._stop)
        return deadline < self._stop


class Readings:
    """A capture whose readings grow by one byte each."""

    def __init__(self, time: Time) -> None:
        self.count = 0
        self._time = time
        self._since = time.now

    def read(self) -> Sample:
        self.count += 1
        elapsed, self._since = self._time.now - self._since, self._time.now
        return sample(
            {
                key(1): {remote(): Traffic(rx=self.count)},
                key(2): {remote("192.0.2.53", 53, UDP): Traffic(tx=self.count)},
            },
            elapsed=elapsed,
            identities={
                key(1): Identity("curl", uid=0, cgroup="/system.slice/cron.service"),
                key(2): Identity("named"),
            },
            loss=Loss(missed_events=1),
        )


@pytest.fixture
def fake_time(monkeypatch: pytest.MonkeyPatch) -> Time:
    stand_in = Time()
    monkeypatch.setattr(live, "time", stand_in)
    return stand_in


def measure(
    time: Time,
    seconds: float,
    clock: Clock,
    readings: Readings | None = None,
    **how: Any,
) -> Iterator[Sample]:
    source = Source(readings=readings or Readings(time), **how)
    return samples(source, lambda: seconds, clock)


def lengths(intervals: Iterable[Sample]) -> list[float]:
    return [interval.elapsed for interval in intervals]


def received(reading: Sample) -> int:
    """Return the bytes that process 1 received."""
    return reading.traffic[key(1)][remote()].rx


@pytest.mark.parametrize(
    ("seconds", "stop", "expected"),
    [
        (1.0, 3.5, [1.0, 1.0, 1.0, 0.5]),
        (2.5, 5.75, [2.5, 2.5, 0.75]),
        (0.25, 0.75, [0.25, 0.25, 0.25]),
        (60.0, 61.0, [60.0, 1.0]),
        (3600.0, 10.0, [10.0]),
    ],
)
def test_intervals_have_the_given_length_except_the_last(
    fake_time: Time, seconds: float, stop: float, expected: list[float]
) -> None:
    assert lengths(measure(fake_time, seconds, Clock(fake_time, stop))) == expected


def test_long_interval_is_made_of_several_readings(fake_time: Time) -> None:
    """The kernel's maps hold about one second."""
    clock = Clock(fake_time, stop=5.5)
    first, second, last = measure(fake_time, 2.5, clock)
    assert clock.deadlines == [1.0, 2.0, 2.5, 3.5, 4.5, 5.0, 6.0]
    assert list(map(received, (first, second, last))) == [1 + 2 + 3, 4 + 5 + 6, 7]
    assert (first.loss.missed_events, last.loss.missed_events) == (3, 1)


def test_slow_source_is_read_once_per_interval(fake_time: Time) -> None:
    readings, clock = Readings(fake_time), Clock(fake_time, stop=45.5)
    found = measure(fake_time, 5.0, clock, readings, period=10.0)
    assert lengths(found) == [5.0] * 9 + [0.5]
    assert readings.count == 10
    readings, clock = Readings(fake_time), Clock(fake_time, stop=145.5)
    assert lengths(measure(fake_time, 25.0, clock, readings, period=10.0)) == [25.0] * 4
    assert readings.count == 12, "and a long one within ten seconds"


class Late(Readings):
    """Readings of which the second has late data."""

    def read(self) -> Sample:
        found = super().read()
        if self.count == 2:
            found.late = sample({key(1): {remote(): Traffic(rx=500)}}, elapsed=0.0)
        return found


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, [1.0]),
        (2, [1.0, 1.0, 0.0]),
        (3, [1.0, 1.0, 0.0, 1.0]),
        (None, [1.0, 1.0, 0.0, 1.0, 0.5]),
    ],
)
def test_late_data_is_no_interval_of_a_limited_number(
    fake_time: Time, count: int | None, expected: list[float]
) -> None:
    clock = Clock(fake_time, stop=3.5)
    found = limited(measure(fake_time, 1.0, clock, Late(fake_time)), count)
    assert lengths(found) == expected
    assert len(clock.deadlines) == sum(map(bool, expected)), "it waits for no further interval"


def test_late_data_follows_with_zero_length(fake_time: Time) -> None:
    found = list(measure(fake_time, 1.0, Clock(fake_time, stop=2.5), Late(fake_time)))
    assert [(one.elapsed, received(one)) for one in found] == [
        (1.0, 1),
        (1.0, 2),
        (0.0, 500),
        (0.5, 3),
    ]
    fake_time.now = START
    joined, late, _ = measure(fake_time, 2.0, Clock(fake_time, stop=2.5), Late(fake_time))
    assert (received(joined), received(late), late.elapsed) == (3, 500, 0.0)


def test_unknown_traffic_yields_no_interval(fake_time: Time) -> None:
    class Away(Readings):
        def read(self) -> Sample:
            if fake_time.now - START in (2.0, 3.0):
                return sample(elapsed=0.0)
            return super().read()

    found = measure(fake_time, 1.0, Clock(fake_time, stop=5.0), Away(fake_time))
    assert [(one.elapsed, received(one)) for one in found] == [(1.0, 1), (3.0, 2), (1.0, 3)]


def test_without_to_the_end_there_is_no_partial_interval(fake_time: Time) -> None:
    readings, clock = Readings(fake_time), Clock(fake_time, stop=2.5)
    found = measure(fake_time, 1.0, clock, readings, to_the_end=False)
    assert (lengths(found), readings.count) == ([1.0, 1.0], 2)


def test_new_length_applies_to_the_current_interval(fake_time: Time) -> None:
    """Shortening intervals of an hour takes effect without waiting for the hour to end."""
    lengths_wanted = iter([10.0] * 8 + [2.0] * 100)
    clock = Clock(fake_time, stop=7.5)
    source = Source(readings=Readings(fake_time))
    found = samples(source, lambda: next(lengths_wanted), clock)
    assert sum(reading.elapsed for reading in found) == 7.5
    assert next(lengths_wanted) == 2.0


def test_thread_clock_waits_until_deadline_or_stop() -> None:
    clock = ThreadClock()
    deadline = time.monotonic() + 0.03
    assert clock.wait(deadline)
    assert time.monotonic() >= deadline
    threading.Timer(0.03, clock.stop).start()
    assert not clock.wait(time.monotonic() + 60)
    assert not clock.wait(time.monotonic())


def test_delays_do_not_add_up(fake_time: Time) -> None:
    clock = Clock(fake_time, stop=4.5)
    for _ in measure(fake_time, 1.0, clock):
        fake_time.now += 0.25  # the time it takes to print
    assert clock.deadlines[:4] == [1.0, 2.0, 3.0, 4.0]


def test_missed_deadlines_are_skipped(fake_time: Time) -> None:
    clock = Clock(fake_time, stop=9.5)
    intervals = measure(fake_time, 1.0, clock)
    next(intervals)
    fake_time.now += 5.5
    assert next(intervals).elapsed == 6.5
    assert clock.deadlines == [1.0, 7.5]
    assert next(intervals).elapsed == 1.0


def test_processes_are_identified(fake_time: Time) -> None:
    (reading,) = measure(fake_time, 1.0, Clock(fake_time, stop=0.5))
    identity = reading.identities[key(1)]
    assert (identity.name, identity.user, identity.unit) == ("curl", "root", "cron.service")


def test_warning_is_reported_when_it_changes() -> None:
    warnings = iter(["", "a host is late", "a host is late", "", ""])
    told: list[str] = []
    on_reading = warner(lambda: Status("3 hosts", next(warnings)), told.append)
    for _ in range(5):
        on_reading(sample())
    assert told == ["a host is late", "back to normal"]


@pytest.fixture
def signal_clock() -> Iterator[SignalClock]:
    """Yield a signal clock and restore the signal handlers."""
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    clock = SignalClock()
    clock.begin()
    yield clock
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_signal_clock_waits_until_the_deadline(signal_clock: SignalClock) -> None:
    deadline = time.monotonic() + 0.03
    assert signal_clock.wait(deadline)
    assert time.monotonic() >= deadline


@pytest.mark.parametrize("number", sorted(STOP_SIGNALS))
def test_signal_before_the_wait_ends_it(signal_clock: SignalClock, number: signal.Signals) -> None:
    before = time.monotonic()
    signal.pthread_kill(threading.get_ident(), number)
    assert not signal_clock.wait(before + 2 * HANG)
    assert time.monotonic() < before + HANG
    assert not signal_clock.wait(time.monotonic()), "it stays stopped"
    assert signal.getitimer(signal.ITIMER_REAL)[0], "it ends soon, whatever blocks it"
    with pytest.raises(AbandonedError):  # by a second one
        signal.pthread_kill(threading.get_ident(), number)


@pytest.mark.parametrize(
    ("last_words", "status"),
    [
        ("work()", 0),
        ("worker = threading.Thread(target=work); worker.start(); worker.join()", 0),
        ("time.sleep(60)", -signal.SIGALRM),
    ],
    ids=["in the main thread", "in the thread that reads", "not at all"],
)
def test_slow_output_is_finished_and_blocked_output_is_killed(last_words: str, status: int) -> None:
    """A loaded host took six seconds to print the last interval, and lost it."""
    code = f"""
import signal, threading, time
from bwtop.measure import intervals as live

def work():
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        pass

live.GRACE = 0.5
clock = live.SignalClock()
clock.begin()
signal.raise_signal(signal.SIGTERM)
assert not clock.wait(time.monotonic() + 60)
try:
    {last_words}
except live.AbandonedError as end:
    end.leave()
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=50).returncode == status


def test_reading_lets_the_main_thread_handle_the_signals_of_others() -> None:
    """The kernel may give it to any thread, and a blocked write of the main one does not end by that."""
    code = f"""
import os, signal, sys, threading, time
sys.path.insert(0, {str(LAUNCHER.parent)!r})
from bwtop.measure import intervals as live
from tests.build import sample

class Readings:
    def read(self):
        return sample(elapsed=0.1)

source = live.Source(readings=Readings())

def read():
    time.sleep(0.5)  # meanwhile the main thread comes to its write
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    for _ in live.samples(source, lambda: 0.1, live.ThreadClock()):
        pass

clock = live.SignalClock()
reading, writing = os.pipe()
os.write(writing, bytes(65536))
threading.Thread(target=read, daemon=True).start()
try:
    os.write(writing, b"no room for that")
except live.AbandonedError as end:
    end.leave()
"""
    ended = subprocess.run([sys.executable, "-c", code], timeout=HANG)
    assert ended.returncode == -signal.SIGTERM


def test_signal_that_ends_no_process_is_told_by_the_status() -> None:
    """As SIGTERM for the first process of a container."""
    with pytest.raises(SystemExit) as end:
        AbandonedError(signal.SIGWINCH).leave()
    assert end.value.code == 128 + signal.SIGWINCH


def test_ignored_signal_stays_ignored() -> None:
    """nohup(1) starts programs that way."""
    code = """
import signal, time
from bwtop.measure.intervals import SignalClock

signal.signal(signal.SIGHUP, signal.SIG_IGN)
clock = SignalClock()
clock.begin()
signal.raise_signal(signal.SIGHUP)
assert clock.wait(time.monotonic() + 0.01)
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=HANG).returncode == 0


# Memory.


@pytest.mark.parametrize(("fill", "expected"), [(lambda: Fill(7, 9), 7), (None, 2)])
def test_heap_is_told_how_many_flows_there_are(
    fake_time: Time,
    monkeypatch: pytest.MonkeyPatch,
    fill: Callable[[], Fill] | None,
    expected: int,
) -> None:
    """By the kernel's table of flows; when following, by the last reading."""
    told: list[int] = []
    monkeypatch.setattr(Heap, "suit", lambda _, flows: told.append(flows))
    assert len([*measure(fake_time, 1.0, Clock(fake_time, 2.0), fill=fill)]) == len(told)
    assert set(told) == {expected}
