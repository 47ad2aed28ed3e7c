"""Measuring as every view needs it: intervals, one after the other, with names in them."""

import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Final, Protocol

from bwtop.identity.users import describe
from bwtop.model.filter import Filter
from bwtop.model.meter import Interval, Meter
from bwtop.model.sample import Sample

READING_PERIOD: Final = 1.0
"""Seconds between readings of the kernel's maps, also within a longer interval: their room is for about a second."""

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

GRACE: Final = 5.0
"""Seconds without work, after the signal that ends bwtop, to its end: nobody takes what it still wants to print."""


class Clock(Protocol):
    """Waits for deadlines."""

    def wait(self, deadline: float) -> bool:
        """Returns at the deadline (time.monotonic()): True; or as soon as bwtop is to stop: False."""


class Readings(Protocol):
    """What is measured: a capture's."""

    def read(self) -> Sample:
        """All that has moved since the reading before; of no length where that cannot be known yet."""


class NameSource(Protocol):
    """Names of addresses, as far as they are known."""

    def get(self, address: bytes) -> str | None:
        """The name of a packed address."""


@dataclass(frozen=True)
class Status:
    """How it goes with the history."""

    words: str
    warning: str = ""
    """What somebody should know or do about it."""


Tap = Callable[[Sample], None]
"""Somebody else who takes each reading, before it is joined to others."""


class SignalClock:
    """Waits, and is woken by the signals that end bwtop, but for those that it was started to ignore (nohup).

    The first one lets it finish, however long that takes a slow machine; a second one kills it at once, and so it ends
    when it does nothing but wait for somebody.
    """

    def __init__(self) -> None:
        self._stopping = False
        self._worked = 0.0
        self._wake, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for number in STOP_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._stop)

    def _stop(self, number: int, _: FrameType | None) -> None:
        self._stopping = True
        signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGALRM, self._check)
        self._worked = time.process_time()
        signal.setitimer(signal.ITIMER_REAL, GRACE, GRACE)

    def _check(self, *_: object) -> None:
        """Ends a process that has not worked, in the sense of CPU time, since it was last looked at."""
        if time.process_time() - self._worked < GRACE / 1000:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGALRM)
        self._worked = time.process_time()

    def wait(self, deadline: float) -> bool:
        """See Clock."""
        while not self._stopping:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return True
            if select.select([self._wake], [], [], remaining)[0]:
                os.read(self._wake, 64)
        return False


class ThreadClock:
    """Waits in a thread of its own, until another one says stop."""

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Ends this wait and all that come."""
        self._stopped.set()

    def wait(self, deadline: float) -> bool:
        """See Clock."""
        return not self._stopped.wait(max(deadline - time.monotonic(), 0))


def samples(
    capture: Readings,
    seconds: Callable[[], float],
    clock: Clock,
    tap: Tap | None = None,
    period: float = READING_PERIOD,
    *,
    to_the_end: bool = True,
) -> Iterator[Sample]:
    """Yields what moved in every so many seconds, and in the last, shorter interval when the clock says stop.

    Deadlines follow each other at that distance, so that delays do not add up; those missed while the process was
    stopped are left out.  Another length holds for the interval that has begun, within a reading; those are `period`
    seconds apart at most.  What has come late follows as a sample of no length.  What is not read `to_the_end` has no
    shorter interval as its last.
    """
    begun = time.monotonic()
    going = True
    while going:
        if begun + seconds() <= time.monotonic():
            begun = time.monotonic()
        sample = None
        while going and (sample is None or time.monotonic() < begun + seconds()):
            going = clock.wait(min(begun + seconds(), time.monotonic() + period))
            if not (going or to_the_end):
                return
            sample = _read(capture, sample, tap)
        assert sample is not None, "the inner loop reads at least once"
        begun += seconds()
        if sample.elapsed:  # else nobody knows what moved
            yield sample
        if sample.late:
            yield sample.late


def _read(capture: Readings, before: Sample | None, tap: Tap | None) -> Sample:
    """One reading, joined to those of the same interval that came before it."""
    sample = capture.read()
    for part in (sample, sample.late):
        if part:
            part.identities = {key: describe(known) for key, known in part.identities.items()}
    if tap:
        tap(sample)
    if before is None:
        return sample
    before.absorb(sample)
    return before


class Live:
    """A capture's readings, identified, filtered and metered."""

    def __init__(
        self,
        capture: Readings,
        keep: Filter,
        names: NameSource | None,
        tap: Tap | None = None,
        period: float = READING_PERIOD,
        *,
        to_the_end: bool = True,
    ) -> None:
        """For `period` and `to_the_end` see samples()."""
        self._to_the_end = to_the_end
        self._capture = capture
        self._period = period
        self._tap = tap
        self._filter = keep
        self._names = names
        self._meter = Meter()

    def intervals(self, seconds: float, clock: Clock) -> Iterator[Interval]:
        """Yields an interval for each of `samples`."""
        for sample in samples(
            self._capture,
            lambda: seconds,
            clock,
            self._tap,
            self._period,
            to_the_end=self._to_the_end,
        ):
            interval = self._meter.advance(self._filter.apply(sample))
            if self._names:
                for process in interval.processes:
                    for row in process.remotes:
                        row.host = self._names.get(row.remote.address)
            yield interval


def warner(status: Callable[[], Status], tell: Callable[[str], None]) -> Tap:
    """Tells what somebody should know of where readings come from, when that changes."""
    told = [""]

    def tap(_: Sample) -> None:
        warning = status().warning
        if warning != told[0]:
            tell(warning or "all is well again")
            told[0] = warning

    return tap
