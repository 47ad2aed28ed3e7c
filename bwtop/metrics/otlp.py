"""Send the table of metrics to an OpenTelemetry collector: OTLP over HTTP in JSON.

A thread of its own sends; measuring never waits for it.  Nothing is queued: counters go on from the start, so a document
that could not be sent is superseded by the next one.
"""

import contextlib
import gzip
import http.client
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from bwtop import __version__
from bwtop.identity.machine import this_machine
from bwtop.metrics.otlp_target import OtlpTarget
from bwtop.metrics.table import METRICS, Metric, MetricValue, Type
from bwtop.metrics.watch import ERRORS, ExportFigures, Figures, Watch
from bwtop.text.escape import printable

PERIOD: Final = 15.0
"""Seconds between two documents."""

PATIENCE: Final = 10.0
"""Longest wait for the collector, in seconds, in each step of an exchange."""

CLOSE_SECONDS: Final = 3.0
"""Time limit of the last document, when bwtop ends."""

MOST: Final = 65_536
"""Bytes of an answer that are read."""

_UNITS: Final = {"_bytes": "By", "_seconds": "s"}
"""Units (UCUM) by the end of a name without "_total".

The others have none: Prometheus would append "_ratio" to the name of a gauge with the unit 1.
"""

_CUMULATIVE: Final = 2  # AGGREGATION_TEMPORALITY_CUMULATIVE


def document(figures: Figures, created: float, now: float, mode: str) -> dict[str, Any]:
    """Return a request of metrics (ExportMetricsServiceRequest); counters count from `created`, in UTC seconds.

    Numbers of 64 bits are texts, as JSON of Protocol Buffers has them.  Prometheus tells the hosts and modes that send to
    it apart by the instance alone.
    """
    host = this_machine()
    resource = {
        "service.name": "bwtop",
        "service.version": __version__,
        "service.instance.id": str(
            uuid.uuid5(uuid.NAMESPACE_OID, f"bwtop {mode} {host.id} {host.name}")
        ),
        "host.name": host.name,
        "host.id": host.id,
    }
    found = (_metric(one, figures, created, now) for one in METRICS)
    scope = {
        "scope": {"name": "bwtop", "version": __version__},
        "metrics": [one for one in found if one],
    }
    return {
        "resourceMetrics": [
            {"resource": {"attributes": _attributes(resource.items())}, "scopeMetrics": [scope]}
        ]
    }


def _metric(metric: Metric, figures: Figures, created: float, now: float) -> dict[str, Any] | None:
    """Return a metric with its points; None: its value is unknown."""
    since = figures.own.started if metric.is_own and figures.own.started else created
    times = {"startTimeUnixNano": _nanoseconds(since), "timeUnixNano": _nanoseconds(now)}
    points = list(metric.points(figures))
    if not points:
        return None
    name = metric.name.removesuffix("_total")
    unit = next((unit for end, unit in _UNITS.items() if name.endswith(end)), "")
    found: dict[str, Any] = {"name": name, "description": metric.help, "unit": unit}
    if metric.type is Type.HISTOGRAM:
        value = {"dataPoints": [{**times, **_buckets(points)}]}
        return found | {"histogram": {**value, "aggregationTemporality": _CUMULATIVE}}
    names = metric.names(figures)
    value = {
        "dataPoints": [
            {
                **times,
                "attributes": _attributes(zip(names, point.labels, strict=True)),
                **_number(point.value),
            }
            for point in points
        ]
    }
    if metric.type is Type.GAUGE:
        return found | {"gauge": value}
    return found | {"sum": {**value, "aggregationTemporality": _CUMULATIVE, "isMonotonic": True}}


def _attributes(pairs: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return attributes; those without a value are left out."""
    return [{"key": key, "value": {"stringValue": value}} for key, value in pairs if value]


def _number(value: float) -> dict[str, Any]:
    return {"asInt": str(int(value))} if isinstance(value, int) else {"asDouble": value}


def _nanoseconds(when: float) -> str:
    return str(int(when * 1e9))


def _buckets(points: Sequence[MetricValue]) -> dict[str, Any]:
    """Return the fields of a histogram's point: counts of each bucket, where the table adds them up."""
    counts = [int(point.value) for point in points if point.suffix == "_bucket"]
    bounds = [point.labels[0] for point in points if point.suffix == "_bucket"]
    total = next(point.value for point in points if point.suffix == "_sum")
    each = [count - before for count, before in zip(counts, [0, *counts], strict=False)]
    return {
        "count": str(counts[-1]),
        "sum": total,
        "bucketCounts": list(map(str, each)),
        "explicitBounds": [float(bound) for bound in bounds if bound != "+Inf"],
    }


class _Answer(NamedTuple):
    kind: str
    """One of ERRORS; empty: all was taken."""
    words: str = ""


class OtlpExporter:
    """Exporter to a collector."""

    def __init__(
        self,
        target: OtlpTarget,
        watch: Watch,
        notify: Callable[[str], None],
        mode: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Make an exporter of a bwtop in a mode; the sending thread calls `notify` with a message when its state changes."""
        self._mode = mode
        self._target = target
        self._watch = watch
        self._notify = notify
        self._headers = {
            **(headers or {}),
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
            "User-Agent": f"bwtop/{__version__}",
        }
        self._created = time.time()
        self._documents = 0
        self._errors = dict.fromkeys(ERRORS, 0)
        self._fault = ""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="bwtop-otlp", daemon=True)

    def start(self) -> None:
        """Start to send; call it when root is dropped."""
        self._watch.exporter = self
        self._thread.start()

    def figures(self) -> ExportFigures:
        """Return the figures; callable from any thread."""
        return ExportFigures(self._documents, dict(self._errors))

    def close(self) -> None:
        """Send the last document, for at most CLOSE_SECONDS."""
        self._closing.set()
        self._thread.join(CLOSE_SECONDS)

    def _work(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._closing.wait(PERIOD)
            answer = self._attempt()
            if answer.kind:
                self._errors[answer.kind] += 1
            else:
                self._documents += 1
            self._tell(answer)

    def _attempt(self) -> _Answer:
        """Send a document of now."""
        try:
            found = document(self._watch.figures(), self._created, time.time(), self._mode)
            body = gzip.compress(json.dumps(found, separators=(",", ":")).encode(), 3)
            return self._post(body)
        except Exception as error:  # of the socket, or by a hostile answer: the thread goes on
            text = getattr(error, "strerror", None) or str(error) or type(error).__name__
            return _Answer("connection", text)

    def _post(self, body: bytes) -> _Answer:
        target = self._target
        kind = http.client.HTTPSConnection if target.secure else http.client.HTTPConnection
        with contextlib.closing(kind(target.host, target.port, timeout=PATIENCE)) as connection:
            connection.request("POST", target.path, body, self._headers)
            answer = connection.getresponse()
            text = answer.read(MOST)
        if not 200 <= answer.status < 300:
            return _Answer("refused", f"{answer.status} {answer.reason}")
        rejected = _rejected(text)
        return _Answer("rejected", rejected) if rejected else _Answer("")

    def _tell(self, answer: _Answer) -> None:
        """Report a fault once, and that it is over."""
        if answer.kind and not self._fault:
            self._notify(
                f"not exporting: {self._target.url()}: {printable(answer.words)[:200]}; counters go on"
            )
        elif self._fault and not answer.kind:
            self._notify(f"exporting to {self._target.url()} again")
        self._fault = answer.kind


def _rejected(answer: bytes) -> str:
    """Return why points of a document were rejected; empty: none was (ExportMetricsServiceResponse)."""
    try:
        partial = json.loads(answer)["partialSuccess"]
        if int(partial.get("rejectedDataPoints", 0)) > 0:
            return f"points rejected: {partial.get('errorMessage', '')}"
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        pass  # most collectors answer with nothing, or with an empty object
    return ""
