"""The table of metrics: name, help, and source of each."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import Final, NamedTuple, TypeVar

from bwtop import __version__
from bwtop.capture.session import Fill
from bwtop.clickhouse.shipper import SendingFigures
from bwtop.metrics.own import OwnFigures
from bwtop.metrics.totals import OTHER, TOP
from bwtop.metrics.watch import BOUNDS, READINGS, Figures
from bwtop.sqlite.recorder import Recorder, RecorderBacklog, RecorderState

T = TypeVar("T")

NEEDED: Final = "prometheus_client: apt install python3-prometheus-client"
"""The library that writes the table as text, and its package."""


class Type(StrEnum):
    """The types of metrics, with the names that Prometheus uses."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class MetricValue(NamedTuple):
    """One number of a metric."""

    value: float
    """Exact up to 2**53 (Prometheus stores doubles): for bytes, 9 petabytes."""
    labels: tuple[str, ...] = ()
    """Values of Metric.labels."""
    suffix: str = ""
    """Appended to the name by a histogram."""


@dataclass(frozen=True)
class Metric:
    """A metric."""

    name: str
    type: Type
    help: str
    points: Callable[[Figures], Iterable[MetricValue]]
    """Yields no point for an unknown value: absent, never a false 0."""
    labels: tuple[str, ...] = ()
    is_by_process: bool = False
    """It has the labels of --metrics-labels, too."""
    is_own: bool = False
    """It counts from the start of the process, not from that of the measurement."""

    def names(self, figures: Figures) -> tuple[str, ...]:
        """Return the names of its labels, with those of --metrics-labels."""
        return (*self.labels, *(figures.labels if self.is_by_process else ()))


def _bytes(figures: Figures) -> Iterator[MetricValue]:
    for (name, *further), moved in figures.totals.items():
        for (protocol, loopback), traffic in moved.items():
            for direction, amount in zip(("rx", "tx"), traffic, strict=True):
                kind = (direction, protocol, "true" if loopback else "false")
                yield MetricValue(amount, (name, *kind, *further))


def _durations(figures: Figures) -> Iterator[MetricValue]:
    counts, seconds = figures.durations
    bounds = (*map(str, BOUNDS), "+Inf")
    for bound, count in zip(bounds, accumulate(counts), strict=True):
        yield MetricValue(count, (bound,), "_bucket")
    yield MetricValue(sum(counts), (), "_count")
    yield MetricValue(seconds, (), "_sum")


def _measured(
    points: Callable[[Figures], Iterable[MetricValue]],
) -> Callable[[Figures], Iterable[MetricValue]]:
    """Return points only where something was measured: a server that shows the past alone has no counters."""
    return lambda figures: points(figures) if figures.backend != "none" or figures.measured else ()


def _known(
    find: Callable[[Figures], T | None], value: Callable[[T], float]
) -> Callable[[Figures], Iterator[MetricValue]]:
    """Return the points of a value that may be absent."""

    def points(figures: Figures) -> Iterator[MetricValue]:
        found = find(figures)
        if found is not None:
            yield MetricValue(value(found))

    return points


def _filled(value: Callable[[Fill], float]) -> Callable[[Figures], Iterator[MetricValue]]:
    return _known(lambda figures: figures.fill, value)


def _recorded(value: Callable[[Recorder], float]) -> Callable[[Figures], Iterator[MetricValue]]:
    return _known(lambda figures: figures.recorder, value)


def _writing(figures: Figures) -> RecorderState | None:
    """Return the state of this bwtop's recorder; None: it leaves the history to another."""
    state = figures.recorder.state if figures.recorder else None
    return None if state is None or state.other else state


def _waiting(
    value: Callable[[RecorderBacklog], float],
) -> Callable[[Figures], Iterator[MetricValue]]:
    return _known(lambda figures: figures.waiting, value)


def _sending(
    value: Callable[[SendingFigures], float | None],
) -> Callable[[Figures], Iterator[MetricValue]]:
    """Return the points of a figure of the shipping that may be unknown."""

    def points(figures: Figures) -> Iterator[MetricValue]:
        found = value(figures.sending) if figures.sending else None
        if found is not None:
            yield MetricValue(found)

    return points


def _own(
    value: Callable[[OwnFigures], float | None],
) -> Callable[[Figures], Iterator[MetricValue]]:
    return _known(lambda figures: value(figures.own), lambda found: found)


def _errors(figures: Figures) -> Iterator[MetricValue]:
    for kind, number in (figures.sending.errors if figures.sending else {}).items():
        yield MetricValue(number, (kind,))


def _unexported(figures: Figures) -> Iterator[MetricValue]:
    for kind, number in (figures.exported.errors if figures.exported else {}).items():
        yield MetricValue(number, (kind,))


METRICS: Final = (
    Metric(
        "bwtop_info",
        Type.GAUGE,
        'Version and backend of bwtop; backend is "history" while another bwtop measures, "none" while none does',
        lambda figures: [MetricValue(1, (__version__, figures.backend))],
        ("version", "backend"),
    ),
    Metric(
        "bwtop_bytes_total",
        Type.COUNTER,
        f'Payload bytes by process name; beyond {TOP} names they count as "{OTHER}", so the sum of all is exact',
        _measured(_bytes),
        ("process", "direction", "protocol", "loopback"),
        is_by_process=True,
    ),
    Metric(
        "bwtop_lost_bytes_total",
        Type.COUNTER,
        "Bytes whose remote or process was lost; bwtop_bytes_total includes them",
        _measured(
            lambda figures: [
                MetricValue(figures.loss.spilled_bytes, ("remote",)),
                MetricValue(figures.loss.unattributed_bytes, ("process",)),
            ]
        ),
        ("kind",),
    ),
    Metric(
        "bwtop_lost_updates_total",
        Type.COUNTER,
        "Flows whose remote was lost, and updates of counters whose process was lost",
        _measured(
            lambda figures: [
                MetricValue(figures.loss.spilled, ("remote",)),
                MetricValue(figures.loss.unattributed, ("process",)),
            ]
        ),
        ("kind",),
    ),
    Metric(
        "bwtop_unnamed_processes_total",
        Type.COUNTER,
        "Processes whose name was lost",
        _measured(lambda figures: [MetricValue(figures.loss.unnamed)]),
    ),
    Metric(
        "bwtop_missed_events_total",
        Type.COUNTER,
        "Traced calls that the kernel skipped; their bytes may be missing from bwtop_bytes_total",
        _measured(lambda figures: [MetricValue(figures.loss.missed_events)]),
    ),
    Metric(
        "bwtop_flow_map_entries",
        Type.GAUGE,
        f"Flows in the kernel's table of flows: the maximum of the last {READINGS} readings",
        _filled(lambda fill: fill.entries),
    ),
    Metric(
        "bwtop_flow_map_max_entries",
        Type.GAUGE,
        "Capacity of the kernel's table of flows, twice --max-flows",
        _filled(lambda fill: fill.room),
    ),
    Metric(
        "bwtop_reading_seconds",
        Type.HISTOGRAM,
        "Duration of a reading of the kernel's maps, or of another bwtop's history; one is due every second",
        _measured(_durations),
        ("le",),
    ),
    Metric(
        "bwtop_measured_seconds_total",
        Type.COUNTER,
        "Seconds of traffic that bwtop has measured, or followed, since it started",
        _measured(lambda figures: [MetricValue(figures.measured)]),
    ),
    Metric(
        "bwtop_recording",
        Type.GAUGE,
        "1 while this bwtop writes the history, 0 while it cannot; absent while another bwtop does",
        _known(_writing, lambda state: state.recording),
    ),
    Metric(
        "bwtop_recorder_lag_seconds",
        Type.GAUGE,
        "Seconds since the oldest interval not yet committed to the history was measured; 0 when none waits",
        _waiting(lambda waiting: waiting.seconds),
    ),
    Metric(
        "bwtop_recorder_waiting_intervals",
        Type.GAUGE,
        "Intervals measured but not yet committed to the history",
        _waiting(lambda waiting: waiting.intervals),
    ),
    Metric(
        "bwtop_recorder_intervals_total",
        Type.COUNTER,
        "Intervals committed to the history; one a minute while all processes are idle",
        _recorded(lambda recorder: recorder.stored),
    ),
    Metric(
        "bwtop_recorder_dropped_bytes_total",
        Type.COUNTER,
        "Bytes dropped because the backlog of the recorder was full; the history does not have them",
        _recorded(lambda recorder: recorder.dropped),
    ),
    Metric(
        "bwtop_history_over_size",
        Type.GAUGE,
        "1 while the history is larger than --max-size and has nothing left to delete",
        _recorded(lambda recorder: recorder.is_over_size),
    ),
    Metric(
        "bwtop_spool_intervals",
        Type.GAUGE,
        "Recorded intervals not yet sent to the server of --ship",
        _sending(lambda sending: sending.intervals),
    ),
    Metric(
        "bwtop_spool_lag_seconds",
        Type.GAUGE,
        "Seconds that the oldest recorded interval has waited to be sent to the server of --ship; 0 when none waits",
        _sending(lambda sending: sending.lag),
    ),
    Metric(
        "bwtop_ship_rows_total",
        Type.COUNTER,
        "Rows that the server of --ship has acknowledged",
        _sending(lambda sending: sending.rows),
    ),
    Metric(
        "bwtop_ship_errors_total",
        Type.COUNTER,
        "Failed attempts to send to the server of --ship: no connection, refused by the server, history not readable",
        _errors,
        ("kind",),
    ),
    Metric(
        "bwtop_ship_last_success_timestamp_seconds",
        Type.GAUGE,
        "Time at which the server of --ship last had everything or acknowledged a batch, in UTC seconds",
        _sending(lambda sending: sending.succeeded),
    ),
    Metric(
        "bwtop_ship_clock_offset_seconds",
        Type.GAUGE,
        "Seconds by which the clock of this host is ahead of that of the server of --ship, to about a second",
        _sending(lambda sending: sending.clock),
    ),
    Metric(
        "bwtop_otlp_documents_total",
        Type.COUNTER,
        "Documents of metrics that the collector of --otlp has taken",
        _known(lambda figures: figures.exported, lambda exported: exported.documents),
    ),
    Metric(
        "bwtop_otlp_errors_total",
        Type.COUNTER,
        "Documents that the collector of --otlp has not taken: no connection, refused, points rejected",
        _unexported,
        ("kind",),
    ),
    Metric(
        "process_cpu_seconds_total",
        Type.COUNTER,
        "Processor time that bwtop has used, user and system, in seconds",
        _own(lambda own: own.cpu),
        is_own=True,
    ),
    Metric(
        "process_resident_memory_bytes",
        Type.GAUGE,
        "Resident memory of bwtop",
        _own(lambda own: own.resident),
    ),
    Metric(
        "process_open_fds",
        Type.GAUGE,
        "Open file descriptors of bwtop",
        _own(lambda own: own.descriptors),
    ),
    Metric(
        "process_start_time_seconds",
        Type.GAUGE,
        "Start of bwtop, in UTC seconds",
        _own(lambda own: own.started),
    ),
)
"""In the order of the exposition."""
