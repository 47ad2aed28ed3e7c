"""Write the table of metrics in Prometheus' text format, or in OpenMetrics.

Only this module imports prometheus_client, which may be missing.
"""

import threading
import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Metric as Family
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from bwtop.metrics.table import METRICS, Metric, Type
from bwtop.metrics.watch import Figures, Watch


class Exposition(Collector):
    """The metrics of one bwtop, in a registry of their own: without those of the Python interpreter."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._created = time.time()
        self._is_open = False
        self._mutex = threading.Lock()
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def collect(self) -> Iterator[Family]:
        """Yield all metrics as of one moment (see prometheus_client)."""
        figures = self._watch.figures()
        created = self._created if self._is_open else None
        families = (_family(one, figures, created) for one in METRICS)
        return filter(lambda family: family.samples, families)

    def text(self, *, is_open: bool = False) -> bytes:
        """Return the metrics in text format 0.0.4, or in OpenMetrics, where counters say since when they count."""
        generate = openmetrics.generate_latest if is_open else generate_latest
        with self._mutex:
            self._is_open = is_open
            return generate(self._registry)


def _family(metric: Metric, figures: Figures, created: float | None) -> Family:
    """Return a metric with its values; `created` is the time in UTC seconds at which counters started, or None."""
    family = Family(metric.name.removesuffix("_total"), metric.help, metric.type)
    names = metric.names(figures)
    created = figures.own.started if created and metric.is_own else created
    for value, labels, suffix in metric.points(figures):
        named = dict(zip(names, labels, strict=False))  # a histogram's sum has no label
        family.add_sample(metric.name + suffix, named, value)
        if created is not None and metric.type is Type.COUNTER:
            family.add_sample(f"{family.name}_created", named, created)
    return family
