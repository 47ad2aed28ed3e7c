"""Clocks, and samples of intervals, as used by every view."""

import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Final, NoReturn, Protocol

from bwtop.capture.session import Fill
from bwtop.identity.names import Names
from bwtop.identity.users import ContainerSource, Describer
from bwtop.measure.heap import Heap
from bwtop.model.sample import Sample

READING_PERIOD: Final = 1.0
"""Seconds between readings of the kernel's maps, also within a longer interval: the maps hold about one second."""

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

GRACE: Final = 5.0
"""Seconds without CPU time, after the signal to stop, until the output is given up: its reader is stuck."""


class Clock(Protocol):
    """A clock that waits for deadlines."""

    def wait(self, deadline: float) -> bool:
        """Wait until the deadline (time.monotonic()) and return True, or return False as soon as bwtop must stop."""


class Readings(Protocol):
    """A source of samples, such as a capture."""

    def read(self) -> Sample:
        """Return the traffic since the last reading; a sample of zero length if it is not yet known."""


class NameLookup(Protocol):
    """A source of host names."""

    def get(self, address: bytes) -> str | None:
        """Return the host name of a packed address, None if it is unknown."""


@dataclass(frozen=True)
class Status:
    """The status of the recorder or of the followed source, for the header."""

    words: str
    warning: str = ""
    """A problem to show to the user; empty: none."""


def with_trouble(status: Callable[[], Status], names: Names | None) -> Callable[[], Status]:
    """Return the status with the trouble of the resolver as its warning if it has no other."""

    def found() -> Status:
        told = status()
        trouble = names.trouble if names else ""
        return told if told.warning or not trouble else Status(told.words, trouble)

    return found


OnReading = Callable[[Sample], None]
"""A callback for each reading, before it is merged into an interval."""


class AbandonedError(BaseException):
    """The output is given up, after a second signal or because its reader is stuck."""

    def __init__(self, number: int) -> None:
        """Keep the signal to end by, once all is recorded."""
        super().__init__(number)
        self._number = number

    def leave(self) -> NoReturn:
        """End this process by the signal."""
        signal.signal(self._number, signal.SIG_DFL)
        signal.raise_signal(self._number)
        # The first process of a PID namespace, such as a container's, lives on.
        sys.exit(128 + self._number)


class StopSignals:
    """The handling of the signals that end bwtop, except those ignored at its start (nohup).

    After the first signal bwtop finishes, however long that takes.  A second signal raises AbandonedError in the main
    thread, and so does a timer if bwtop uses no CPU time for GRACE seconds.
    """

    def __init__(
        self,
        stop: Callable[[], None],
        abandon: Callable[[], None] = lambda: None,
        numbers: Collection[signal.Signals] = STOP_SIGNALS,
        cpu_time: Callable[[], float] = time.process_time,
    ) -> None:
        """Take the signals, in the main thread: `stop` is called at the first one, `abandon` before AbandonedError.

        `cpu_time` returns the CPU time, in seconds, of what has to finish.
        """
        self._stop = stop
        self._abandon = abandon
        self._cpu_time = cpu_time
        self.is_last = False
        """True if the next signal raises AbandonedError."""
        self._worked = 0.0
        for number in numbers:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._take)
        signal.signal(signal.SIGURG, lambda *_: None)  # see interrupt_main_thread

    def _take(self, number: int, _: FrameType | None) -> None:
        if self.is_last:
            self._give_up(number)
        self.is_last = True
        self._stop()
        signal.signal(signal.SIGALRM, self._check)
        self._worked = self._cpu_time()
        signal.setitimer(signal.ITIMER_REAL, GRACE, GRACE)

    def _check(self, number: int, _: FrameType | None) -> None:
        """Give up the output if no CPU time was used since the last check."""
        if self._cpu_time() - self._worked < GRACE / 1000:
            self._give_up(number)
        self._worked = self._cpu_time()

    def _give_up(self, number: int) -> NoReturn:
        self._abandon()
        raise AbandonedError(number)


def interrupt_main_thread() -> None:
    """Let the main thread handle signals that the kernel gave to another one: a write that it waits for goes on after that.

    Python handles signals in the main thread alone.
    """
    main = threading.main_thread()
    if main is not threading.current_thread() and main.ident:
        signal.pthread_kill(main.ident, signal.SIGURG)


class SignalClock:
    """A clock that stops at the signals that end bwtop; see StopSignals."""

    def __init__(self) -> None:
        """Take the signals, in the main thread; each raises AbandonedError until `begin` is called."""
        self._stopping = False
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        self._signals = StopSignals(self.stop)
        self._signals.is_last = True

    def begin(self) -> None:
        """Let the first signal stop the clock: from now on there is something to finish."""
        self._signals.is_last = False

    def stop(self) -> None:
        """End the current wait and all later ones, from any thread."""
        self._stopping = True
        os.write(self._waker, b".")

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
    """A clock for a thread, stopped by another thread."""

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the current wait and all later ones."""
        self._stopped.set()

    def wait(self, deadline: float) -> bool:
        """See Clock."""
        return not self._stopped.wait(max(deadline - time.monotonic(), 0))


@dataclass(frozen=True, kw_only=True)
class Source:
    """A source of readings, and how to read it."""

    readings: Readings
    on_reading: OnReading | None = None
    period: float = READING_PERIOD
    """Longest time between readings, in seconds."""
    to_the_end: bool = True
    """True: take a last reading, of a shorter interval, when bwtop stops."""
    containers: ContainerSource | None = None
    """Names of containers; None: they are known from elsewhere, or not wanted."""
    fill: Callable[[], Fill] | None = None
    """Returns the fill of the kernel's table of flows at the last reading; None when following."""


def samples(source: Source, seconds: Callable[[], float], clock: Clock) -> Iterator[Sample]:
    """Yield a sample for each interval of `seconds()`, and for the last, shorter one when the clock stops.

    Deadlines are `seconds()` apart, so delays do not add up.  Deadlines missed while the process was stopped are
    skipped.  A changed length applies to the current interval, after the next reading.  Late data follows as a sample
    of zero length.
    """
    describer, heap = Describer(source.containers), Heap()
    begun = time.monotonic()
    going = True
    while going:
        if begun + seconds() <= time.monotonic():
            begun = time.monotonic()
        sample = None
        while going and (sample is None or time.monotonic() < begun + seconds()):
            going = clock.wait(min(begun + seconds(), time.monotonic() + source.period))
            if not (going or source.to_the_end):
                return
            sample = _read(source, describer, sample)
            interrupt_main_thread()
            heap.suit(_flows(source, sample))
        assert sample is not None, "the inner loop reads at least once"
        begun += seconds()
        if sample.elapsed:  # else the traffic is not yet known
            yield sample
        if sample.late:
            yield sample.late


def limited(found: Iterator[Sample], count: int | None) -> Iterator[Sample]:
    """Yield the first samples: `count` intervals, all if None, each with the late data that follows it."""
    left = math.inf if count is None else count
    for sample in found:
        if sample.elapsed:
            left -= 1
        is_last = not left and not (sample.elapsed and sample.late)
        yield sample
        if is_last:
            return


def _flows(source: Source, sample: Sample) -> int:
    """Return the number of flows that are active, or were a moment ago."""
    return source.fill().entries if source.fill else sum(map(len, sample.traffic.values()))


def _read(source: Source, describer: Describer, before: Sample | None) -> Sample:
    """Take one reading and merge it into the earlier readings of the interval."""
    sample = source.readings.read()
    describer.describe(sample)
    if source.on_reading:
        source.on_reading(sample)
    if before is None:
        return sample
    before.absorb(sample)
    return before


def warner(status: Callable[[], Status], tell: Callable[[str], None]) -> OnReading:
    """Return a callback that reports the warning of a status when it changes."""
    told = [""]

    def on_reading(_: Sample) -> None:
        warning = status().warning
        if warning != told[0]:
            tell(warning or "back to normal")
            told[0] = warning

    return on_reading
