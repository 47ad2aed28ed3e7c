"""The cost of an interval against active flows and against processes that are merely known, and of a report against the past.

Each measurement has a process of its own, so that none has the memory of another.
"""

import gc
import multiprocessing
import os
import shutil
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import log
from pathlib import Path
from typing import Final

from bwtop.history.calendar import DAY
from bwtop.model.filter import Filter
from bwtop.model.flows import Identity, Traffic
from bwtop.model.live import LiveModel
from bwtop.model.remote_names import RemoteNames
from bwtop.model.sample import Sample
from bwtop.tui.app import collect_young_only
from bwtop.view.interval import Intervals
from bwtop.view.rows import Expansion
from bwtop.view.tree import Tree, View
from tests.bench import draining, history, year
from tests.bench.screen import address
from tests.bench.tables import MIB, Effort, Table, middle
from tests.build import key, remote, sample

ACTIVE: Final = (10, 100, 1000, 4096, 16_384, 65_536)
KNOWN: Final = (10, 100, 1000, 10_000, 100_000)
DAYS: Final = (1, 7, 30, 90, 365)

REMOTES: Final = 10
"""Of a process, where flows are made."""

QUICK_ACTIVE: Final = (100, 4096, 16_384)
QUICK_KNOWN: Final = (100, 1000, 10_000)

LEAST_ACTIVE: Final = 1000
"""Flows from which on they cost more than a reading of nothing."""

LEAST_KNOWN: Final = 1000
"""Processes from which on anything that they cost would be seen."""

Costs = dict[str, float]
"""By name; milliseconds of work, or MiB."""


@dataclass(frozen=True)
class Curve:
    """The cost of something against its size; `sizes` ascend."""

    name: str
    sizes: Sequence[float]
    costs: Sequence[float]
    begin: float = 0.0
    """The size from which on a slope means something: below it what is the same for all sizes is most of the cost."""
    wanted: str = ""
    """The expected slope, in words."""

    @property
    def slope(self) -> float:
        """The slope of a straight line through the logarithms: 1 is linear, 0 is flat."""
        known = [
            (log(s), log(c)) for s, c in zip(self.sizes, self.costs, strict=True) if s >= self.begin
        ]
        return statistics.linear_regression(*zip(*known, strict=True)).slope


@dataclass(frozen=True)
class Panel:
    """Curves over the same axis."""

    title: str
    across: str
    up: str
    curves: Sequence[Curve]


def cpu(action: Callable[[], object]) -> float:
    """Return the milliseconds of this thread's work: waiting for the kernel, or for a processor, does not depend on the size."""
    begun = time.thread_time()
    action()
    return 1000 * (time.thread_time() - begun)


def apart(measure: Callable[..., Costs], *arguments: object) -> Costs:
    """Measure in a process of its own."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(measure, arguments)


def curves(
    measure: Callable[..., Costs], sizes: Sequence[int], effort: Effort, begin: float, wanted: str
) -> list[Curve]:
    """Return a curve for each cost."""
    found = [apart(measure, size, effort) for size in sizes]
    return [Curve(name, sizes, [each[name] for each in found], begin, wanted) for name in found[0]]


# Against active flows.


def active(flows: int, effort: Effort) -> Costs:
    """Return the costs of an interval in which so many flows move."""
    collect_young_only()
    rounds = effort.rounds(7)
    with draining.capturing() as capture:
        reads = [_read(capture.read, flows) for _ in range(rounds)]
    moving = _moving(flows)
    batch, model = Intervals(Filter(), RemoteNames()), LiveModel()
    batch.advance(moving)
    model.advance(moving)
    return {
        "read": middle(reads),
        "batch": middle([cpu(lambda: batch.advance(moving)) for _ in range(rounds)]),
        "model": middle([cpu(lambda: model.advance(moving)) for _ in range(rounds)]),
        "rows": middle([cpu(lambda: rows(model)) for _ in range(rounds)]),
    }


def _read(read: Callable[[], Sample], flows: int) -> float:
    read()
    draining.fill(flows)
    return cpu(read)


def rows(model: LiveModel) -> None:
    """Make the rows of the screen."""
    Tree(model, View(), Expansion(), RemoteNames()).sort()


def _moving(flows: int) -> Sample:
    """Return a reading of so many flows."""
    each = min(flows, REMOTES)
    pids = range(1, flows // each + 1)
    return sample(
        {
            key(pid): {
                remote(address(pid * each + n), 443): Traffic(pid + n, n) for n in range(each)
            }
            for pid in pids
        },
        identities={key(pid): Identity(f"worker{pid}") for pid in pids},
    )


# Against processes that are merely known.


def known(processes: int, effort: Effort) -> Costs:
    """Return the costs of an interval in which ten flows move, with so many other processes that have moved bytes before."""
    collect_young_only()
    rounds = effort.rounds(15)
    first, then = _first(processes), _moving(10)
    batch, model = Intervals(Filter(), RemoteNames()), LiveModel()
    batch.advance(first)
    before = _resident()
    model.advance(first)
    grown = _resident() - before
    for _ in range(50):  # seconds, after which no average has the first reading in it
        model.advance(then)
    return {
        "batch": middle([cpu(lambda: batch.advance(then)) for _ in range(rounds)]),
        "model": middle([cpu(lambda: model.advance(then)) for _ in range(rounds)]),
        "rows": middle([cpu(lambda: rows(model)) for _ in range(rounds)]),
        "memory of the model, MiB": max(grown / MIB, 0.01),
    }


def _first(processes: int) -> Sample:
    """Return a reading in which so many processes move bytes, each with one remote."""
    pids = range(100_000, 100_000 + processes)
    return sample(
        {key(pid): {remote(address(pid), 443): Traffic(pid, 1)} for pid in pids},
        identities={key(pid): Identity(f"worker{pid}") for pid in pids},
    )


def _resident() -> int:
    """Return the bytes of this process that are in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# Against the past.


def past(effort: Effort) -> list[Curve]:
    """Return the curves of reports of today and of everything, over histories of different lengths: the longest, cut shorter and shorter."""
    full = year.QUICK if effort.quick else year.FULL
    days = [length for length in DAYS if length <= full.days]
    path = year.scratch() / "cut.db"
    shutil.copyfile(year.built(effort).path, path)
    found: dict[str, list[float]] = {"today": [], "all": []}
    for length in reversed(days):
        cut(path, time.time() - length * DAY)
        for text, taken in found.items():
            asked = [cpu(partial(history.ask, path, text)) for _ in range(effort.rounds(9))]
            taken.insert(0, middle(asked))
    path.unlink()
    return [
        Curve("--history today", days, found["today"], wanted="flat"),
        Curve("--history all", days, found["all"], wanted="below linear"),
    ]


def cut(path: Path, oldest: float) -> None:
    """Delete everything older, as if it had never been recorded."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    connection.execute(
        "DELETE FROM traffic WHERE span IN (SELECT id FROM span WHERE start < ?)", (oldest,)
    )
    connection.execute("DELETE FROM span WHERE start < ?", (oldest,))
    connection.execute("DELETE FROM pulse WHERE start < ?", (oldest,))
    connection.execute("COMMIT")
    connection.execute("VACUUM")
    connection.close()


# The figures.


def panels(effort: Effort) -> list[Panel]:
    some, many = (QUICK_ACTIVE, QUICK_KNOWN) if effort.quick else (ACTIVE, KNOWN)
    flows = curves(active, some, effort, LEAST_ACTIVE, "linear: 1")
    *times, memory = curves(known, many, effort, LEAST_KNOWN, "flat: 0")
    grows = replace(memory, wanted="linear: 1")
    return [
        Panel("An interval, against active flows", "flows that move in it", "ms of CPU", flows),
        Panel(
            "An interval, against known processes",
            "processes that move nothing",
            "ms of CPU; MiB",
            [*times, grows],
        ),
        Panel("A report, against the past", "days that are recorded", "ms of CPU", past(effort)),
    ]


def _about_slope(begin: float) -> str:
    words = "The slope is of a line through the logarithms"
    return f"{words}, from {begin:,.0f} on." if begin else f"{words}."


def tables(effort: Effort) -> Iterator[Table]:
    """See tables.Part."""
    found = panels(effort)
    for panel in found:
        sizes = panel.curves[0].sizes
        yield Table(
            panel.title,
            [panel.across, *(f"{size:,}" for size in sizes), "slope", "should be"],
            [
                [
                    curve.name,
                    *(f"{cost:.2f}" for cost in curve.costs),
                    f"{curve.slope:.2f}",
                    curve.wanted,
                ]
                for curve in panel.curves
            ],
            f"{panel.up}; medians.  {_about_slope(panel.curves[0].begin)}",
        )
