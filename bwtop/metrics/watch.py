"""What is counted for Prometheus while bwtop measures, and a copy of it for whoever asks."""

import threading
import time
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Protocol

from bwtop.capture.session import Fill
from bwtop.measure.intervals import Readings
from bwtop.measure.sources import Measurement
from bwtop.metrics.totals import Moved, Totals, by_name
from bwtop.model.flows import Loss
from bwtop.model.sample import Sample
from bwtop.sqlite.recorder import Recorder, Waiting

BOUNDS: Final = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Seconds that divide readings by how long they took: most wait some milliseconds for the kernel."""

READINGS: Final = 60
"""Among how many the fullest map is looked for: scrapes are further apart than readings."""


class Spool(Protocol):
    """What sends the history elsewhere, and keeps what it could not send yet."""

    def behind(self) -> tuple[int, float]:
        """Intervals that wait, and for how many seconds the oldest of them has; from any thread, without an error."""


class Durations(NamedTuple):
    """How long readings took."""

    counts: tuple[int, ...]
    """As many as were in each of BOUNDS, and beyond the last."""
    seconds: float
    """All together."""


@dataclass(frozen=True)
class Figures:
    """All that there is to tell, as it was at one moment."""

    backend: str
    """ "history" where it is another bwtop's that measures, "none" while nobody does."""
    totals: dict[str, Moved]
    loss: Loss
    durations: Durations
    measured: float
    """Seconds that the readings span."""
    fill: Fill | None
    """The fullest of the last READINGS."""
    recorder: Recorder | None
    """None where this bwtop is not to record."""
    waiting: Waiting | None
    """What its recorder has still to write."""
    behind: tuple[int, float] | None
    """Of the spool; None where nothing is sent elsewhere."""


class Watch:
    """Counts what the thread that measures gives it; others are never long in its way."""

    def __init__(self) -> None:
        self.spool: Spool | None = None
        """None where nothing is sent elsewhere."""
        self._mutex = threading.Lock()
        self._measurement: Measurement | None = None
        self._totals = Totals()
        self._loss = Loss()
        self._counts = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0
        self._measured = 0.0
        self._fills: deque[Fill] = deque(maxlen=READINGS)
        self._read_at = time.monotonic()

    def over(self, measurement: Measurement) -> Measurement:
        """The same measurement, counted; in the place of the one before, if there was one."""
        with self._mutex:
            self._measurement = measurement
            self.spool = measurement.shipper
            self._fills.clear()
        return replace(measurement, readings=_Watched(measurement, self))

    def take(self, sample: Sample, seconds: float, fill: Fill | None = None) -> None:
        """Counts a reading that took so many seconds; from the thread that measures."""
        moved = by_name(sample)
        with self._mutex:
            self._totals.add(moved)
            self._loss = self._loss.plus(sample.loss)
            self._counts[bisect_left(BOUNDS, seconds)] += 1
            self._seconds += seconds
            self._measured += sample.elapsed
            self._read_at = time.monotonic()
            if fill:
                self._fills.append(fill)

    def age(self) -> float:
        """Seconds since the last reading, or since the start."""
        return time.monotonic() - self._read_at

    def figures(self) -> Figures:
        """All of it; from any thread.  Others' locks are not waited for while the one that measures could need ours."""
        found = self._measurement
        recorder = found.recorder if found else None
        waiting = recorder.waiting() if recorder else None
        behind = self.spool.behind() if self.spool else None
        with self._mutex:
            return Figures(
                backend=(found.backend or "history") if found else "none",
                totals=self._totals.copy(),
                loss=self._loss,
                durations=Durations(tuple(self._counts), self._seconds),
                measured=self._measured,
                fill=max(self._fills, default=None),
                recorder=recorder,
                waiting=waiting,
                behind=behind,
            )


class _Watched:
    """Readings that are counted as they are made."""

    def __init__(self, measurement: Measurement, watch: Watch) -> None:
        self._readings: Readings = measurement.readings
        self._fill = measurement.fill
        self._watch = watch

    def read(self) -> Sample:
        """See live.Readings."""
        began = time.monotonic()
        sample = self._readings.read()
        self._watch.take(sample, time.monotonic() - began, self._fill() if self._fill else None)
        return sample
