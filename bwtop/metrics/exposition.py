"""Write the table of metrics in Prometheus' text format.

Only this module imports prometheus_client, which may be missing.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Metric as Family
from prometheus_client.registry import Collector

from bwtop.metrics.table import METRICS, Metric
from bwtop.metrics.watch import Figures, Watch


class Exposition(Collector):
    """The metrics of one bwtop, in a registry of their own: without those of the Python interpreter."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def collect(self) -> Iterator[Family]:
        """Yield all metrics as of one moment (see prometheus_client)."""
        figures = self._watch.figures()
        return filter(lambda family: family.samples, (_family(one, figures) for one in METRICS))

    def text(self) -> bytes:
        """Return the metrics in text format 0.0.4."""
        return generate_latest(self._registry)


def _family(metric: Metric, figures: Figures) -> Family:
    family = Family(metric.name.removesuffix("_total"), metric.help, metric.type)
    for value, labels, suffix in metric.points(figures):
        named = dict(zip(metric.labels, labels, strict=False))  # a histogram's sum has no label
        family.add_sample(metric.name + suffix, named, value)
    return family
