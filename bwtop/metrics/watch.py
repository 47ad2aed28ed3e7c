"""Count for Prometheus while bwtop measures, and hand out consistent copies."""

import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Protocol

from bwtop.capture.session import Fill
from bwtop.clickhouse.shipper import SendingFigures
from bwtop.measure.sources import Measurement
from bwtop.metrics.own import OwnFigures, own_figures, started
from bwtop.metrics.totals import Labels, MetricsLabel, Moved, Totals, by_labels
from bwtop.model.flows import Loss
from bwtop.model.sample import Sample
from bwtop.sqlite.recorder import Recorder, RecorderBacklog

BOUNDS: Final = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Bounds of the histogram of reading times, in seconds: most readings wait some milliseconds for the kernel."""

READINGS: Final = 60
"""Readings over which the fullest map is reported: scrapes are further apart than readings."""


class Sender(Protocol):
    """The sender of the history to a server."""

    def figures(self) -> SendingFigures:
        """Return its figures; callable from any thread, raises nothing."""


ERRORS: Final = ("connection", "refused", "rejected")
"""Kinds of errors of an export: no connection, refused by the collector, points rejected."""


class ExportFigures(NamedTuple):
    """Figures of the export to a collector since the start."""

    documents: int
    """Documents that it has taken."""
    errors: Mapping[str, int]
    """Those that it has not, by kind."""


class MetricsExporter(Protocol):
    """The exporter to a collector."""

    def figures(self) -> ExportFigures:
        """Return its figures; callable from any thread, raises nothing."""


class Durations(NamedTuple):
    """The durations of readings."""

    counts: tuple[int, ...]
    """Readings per bucket: one for each of BOUNDS, and one beyond the last."""
    seconds: float
    """The sum of all durations."""


@dataclass(frozen=True)
class Figures:
    """The values of all metrics, as of one moment."""

    backend: str
    """ "history" while another bwtop measures, "none" while none does."""
    labels: Sequence[MetricsLabel]
    """The labels of the totals besides the name of the process."""
    totals: dict[Labels, Moved]
    loss: Loss
    durations: Durations
    measured: float
    """Seconds covered by the readings."""
    fill: Fill | None
    """The fullest of the last READINGS readings."""
    recorder: Recorder | None
    """None without a recorder in this bwtop."""
    waiting: RecorderBacklog | None
    """The intervals that the recorder has not committed yet."""
    sending: SendingFigures | None
    """None without --ship."""
    exported: ExportFigures | None
    """None without --otlp."""
    own: OwnFigures


class Watch:
    """Counters fed by the measuring thread; readers never block it for long."""

    def __init__(self, labels: Sequence[MetricsLabel] = ()) -> None:
        """Take the labels of the totals besides the name of the process."""
        self._labels = tuple(dict.fromkeys(labels))
        self._started = started()
        self.sender: Sender | None = None
        """None without --ship."""
        self.exporter: MetricsExporter | None = None
        """None without --otlp."""
        self._mutex = threading.Lock()
        self._measurement: Measurement | None = None
        self._totals = Totals(len(self._labels))
        self._loss = Loss()
        self._counts = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0
        self._measured = 0.0
        self._fills: deque[Fill] = deque(maxlen=READINGS)
        self._read_at = time.monotonic()

    def over(self, measurement: Measurement) -> Measurement:
        """Return the measurement with its readings counted; it replaces the previous one."""
        with self._mutex:
            self._measurement = measurement
            self.sender = measurement.shipper
            self._fills.clear()
        return replace(measurement, readings=_Watched(measurement, self))

    def take(self, sample: Sample, seconds: float, fill: Fill | None = None) -> None:
        """Count a reading that took `seconds`; called by the measuring thread."""
        moved = by_labels(sample, self._labels)
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
        """Return the seconds since the last reading, or since the start."""
        return time.monotonic() - self._read_at

    def figures(self) -> Figures:
        """Return all values; callable from any thread.

        It takes no foreign lock while it holds its own, which the measuring thread may need.
        """
        found = self._measurement
        recorder = found.recorder if found else None
        waiting = recorder.waiting() if recorder else None
        sending = self.sender.figures() if self.sender else None
        exported = self.exporter.figures() if self.exporter else None
        backend = "none" if found is None or found.why else found.backend or "history"
        with self._mutex:
            return Figures(
                backend=backend,
                labels=self._labels,
                totals=self._totals.copy(),
                loss=self._loss,
                durations=Durations(tuple(self._counts), self._seconds),
                measured=self._measured,
                fill=max(self._fills, default=None),
                recorder=recorder,
                waiting=waiting,
                sending=sending,
                exported=exported,
                own=own_figures(self._started),
            )


class _Watched:
    """Readings that a Watch counts."""

    def __init__(self, measurement: Measurement, watch: Watch) -> None:
        self._measurement = measurement
        self._watch = watch

    def read(self) -> Sample:
        """Read and count (see bwtop.measure.intervals.Readings), except where nothing is measured."""
        began, fill = time.monotonic(), self._measurement.fill
        sample = self._measurement.readings.read()
        seconds = time.monotonic() - began
        if sample.traffic or any(sample.loss) or not self._measurement.why:
            self._watch.take(sample, seconds, fill() if fill else None)
        return sample
