"""The cost of bwtop itself, in every way to run it, by the number of flows that are active in a second.

Each figure is of a bwtop of its own, installed and started as users do, with a reader of its output.  The cost of the
programs in the kernel is part of the work that they measure, and not of these figures.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.flows import flowing
from tests.bench.tables import Effort, Table, middle
from tests.bench.watched import MODES, Mode, Watched, installed, memory, processor_seconds

SIZES: Final = (0, 100, 1000, 10_000, 65_536)
"""Flows active in every second; the last is as many as bwtop has room for."""

QUICK_SIZES: Final = (0, 1000, 10_000)


@dataclass(frozen=True)
class Plan:
    """The times of a measurement in seconds, and the number of its windows."""

    warm: float
    window: float
    windows: int

    @property
    def seconds(self) -> int:
        """The whole measurement, and time to spare."""
        return round(self.warm + self.windows * self.window) + 15


FULL: Final = Plan(12, 10, 3)
"""Long enough for the 40 seconds of flows that the screen keeps for averages."""

QUICK: Final = Plan(3, 3, 1)


@dataclass(frozen=True)
class Cost:
    """The cost of a bwtop."""

    processor: float
    """Percent of a core."""
    memory: float
    """MiB (PSS)."""


def tables(effort: Effort) -> Iterator[Table]:
    """Yield tables of processor time and of memory, by mode and by flows."""
    sizes, plan = (QUICK_SIZES, QUICK) if effort.quick else (SIZES, FULL)
    with installed() as bwtop:
        found = [(mode, [cost(bwtop, mode, size, plan) for size in sizes]) for mode in MODES]
    heads = ["", *(f"{size:,} flows/s" if size else "idle" for size in sizes)]
    yield Table(
        "Processor time, % of a core",
        heads,
        [[mode.name, *(f"{each.processor:.2f}" for each in costs)] for mode, costs in found],
        f"All of bwtop's processes; medians of {plan.windows} x {plan.window:.0f} s after {plan.warm:.0f} s."
        " An interval a second; the flows are of 50 processes.",
    )
    yield Table(
        "Memory, MiB (PSS)",
        heads,
        [[mode.name, *(f"{each.memory:.1f}" for each in costs)] for mode, costs in found],
        "All of bwtop's processes, at the end of that.",
    )


def cost(bwtop: Path, mode: Mode, flows: int, plan: Plan) -> Cost:
    """Return the cost of a bwtop that sees so many flows in every second."""
    with Watched(bwtop, mode) as watched, flowing(flows, plan.seconds):
        time.sleep(plan.warm)
        shares = [share(watched.pid, plan.window) for _ in range(plan.windows)]
        return Cost(middle(shares), memory(watched.pid))


def share(pid: int, seconds: float) -> float:
    """Return the processor time of a process tree in so many seconds from now, in percent of a core."""
    begun, before = time.monotonic(), processor_seconds(pid)
    time.sleep(seconds)
    return 100 * (processor_seconds(pid) - before) / (time.monotonic() - begun)
