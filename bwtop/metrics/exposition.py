"""The table of metrics in Prometheus' text format.  The only importer of prometheus_client, which may be missing."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Metric as Family
from prometheus_client.registry import Collector

from bwtop.metrics.table import METRICS, Metric
from bwtop.metrics.watch import Figures, Watch


class Exposition(Collector):
    """What one bwtop exposes; in a registry of its own, with nothing of the interpreter's."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def collect(self) -> Iterator[Family]:
        """See prometheus_client; all of it is of one moment."""
        figures = self._watch.figures()
        return filter(lambda family: family.samples, (_family(one, figures) for one in METRICS))

    def text(self) -> bytes:
        """Text format 0.0.4."""
        return generate_latest(self._registry)


def _family(metric: Metric, figures: Figures) -> Family:
    family = Family(metric.name.removesuffix("_total"), metric.help, metric.type)
    for value, labels, suffix in metric.points(figures):
        named = dict(zip(metric.labels, labels, strict=False))  # a histogram's sum has no label
        family.add_sample(metric.name + suffix, named, value)
    return family
