"""The time that a user waits for a reading of many flows."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bwtop.identity.users import Describer
from bwtop.model.filter import EVERYTHING
from bwtop.model.live import LiveModel
from bwtop.model.remote_names import RemoteNames
from bwtop.model.sample import Sample
from bwtop.tui.app import collect_young_only
from bwtop.view.interval import Intervals
from tests.bench import draining, history
from tests.bench.tables import Effort, Table, middle


@dataclass(frozen=True)
class Wait:
    """A wait, in milliseconds."""

    what: str
    took: Sequence[float]
    budget: float | None = None

    def cells(self) -> list[str]:
        """Return the row of the table."""
        low, high = min(self.took), max(self.took)
        budget = "" if self.budget is None else f"{self.budget:.0f}"
        over = " (over)" if self.budget is not None and middle(self.took) > self.budget else ""
        return [self.what, f"{middle(self.took):.1f}", f"{low:.1f}-{high:.1f}", f"{budget}{over}"]


# Readings.


@dataclass
class Drained:
    """The times of one reading of many flows, in milliseconds."""

    idle: float
    """Of a reading with nothing in it."""
    first: float
    """Of a reading of flows that are all new."""
    read: float
    """Of the next one, in which all of them have moved again."""
    replaced: float
    """Of one in which all of them are over, and as many others are new."""
    model: float
    known: float
    """Of the next reading on the same model: all its flows are known by then."""
    batch: float
    flows: int


def drains(effort: Effort) -> Iterator[Wait]:
    """Yield the waits from the counters to the model."""
    flows = draining.MOST // 8 if effort.quick else draining.MOST
    with draining.capturing() as capture:
        found = [_drain(capture.read, flows) for _ in range(effort.rounds(9))]
    least = min(each.flows for each in found)
    assert least >= 0.99 * flows, f"only {least} flows of {flows} were read"
    size = f"{flows:,} flows"
    yield Wait(f"{size} known: reading nothing", [each.idle for each in found])
    yield Wait(f"{size}: the screen's model, all new", [each.model for each in found])
    yield Wait(f"{size}: the screen's model, all known", [each.known for each in found])
    yield Wait(f"{size}: the rows of --batch", [each.batch for each in found])
    yield Wait(f"{size}, all new: read to decoded", [each.first for each in found])
    yield Wait(f"{size}, others than before: read to decoded", [each.replaced for each in found])
    yield Wait(f"{size}: read to decoded", [each.read for each in found], 60)
    yield Wait(f"{size}: read to the model", [each.read + each.known for each in found], 180)


def _drain(read: Callable[[], Sample], flows: int) -> Drained:
    read()
    with draining.filling(flows) as send:
        send()
        first = history.timed(read)
        idle = history.timed(read)
        send()
        begun = time.perf_counter()
        sample = read()
        took = 1000 * (time.perf_counter() - begun)
    draining.fill(flows)
    replaced = history.timed(read)
    Describer().describe(sample)
    model = LiveModel()
    new = history.timed(lambda: model.advance(sample))
    known = history.timed(lambda: model.advance(sample))
    batch = history.timed(lambda: Intervals(EVERYTHING, RemoteNames()).advance(sample))
    count = sum(map(len, sample.traffic.values()))
    return Drained(idle, first, took, replaced, new, known, batch, count)


def waits(effort: Effort) -> Iterator[Wait]:
    """Yield all waits.  Probes come first: the loader is forked."""
    collect_young_only()
    yield from drains(effort)


def tables(effort: Effort) -> Iterator[Table]:
    """See tables.Part."""
    yield Table(
        "Latency, ms",
        ["from what to what", "median", "spread", "budget"],
        [wait.cells() for wait in waits(effort)],
        f"Spread: the least and the most of {effort.rounds(9)}.",
    )
