"""The growth of bwtop in an hour of remotes that never come back and of brief processes, and its memory after a peak of them.

BWTOP_BENCH_SOAK has the seconds, if it is to be shorter or longer.
"""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

from tests.bench.churn import churning, come_and_go
from tests.bench.tables import Effort, Table, middle
from tests.bench.watched import (
    SCREEN,
    SERVE,
    Watched,
    descriptors,
    installed,
    memory,
    own_memory,
    threads,
)

REMOTES: Final = 500
PROCESSES: Final = 20
"""New ones in a second."""

FULL_SECONDS: Final = 3600
QUICK_SECONDS: Final = 30

PEAK_REMOTES: Final = 1_000_000
PEAK_PROCESSES: Final = 100_000
PEAK_SECONDS: Final = 100

BEGINNING: Final = 5.0
"""Seconds after which all helpers have begun."""

QUIET: Final = (0, 30, 60, 120)
"""Seconds after the peak."""

LOOKS: Final = 120
"""Measurements of a run, but at most one a second."""

MODES: Final = (SCREEN, SERVE)
"""Those that run, side by side."""

FIGURES: Final = {"memory, MiB (PSS)": memory, "descriptors": descriptors, "threads": threads}


def tables(effort: Effort) -> Iterator[Table]:
    """Yield a table of each figure at the beginning and at the end, and one of the memory after a peak."""
    seconds = int(os.environ.get("BWTOP_BENCH_SOAK") or 0)
    seconds = seconds or (QUICK_SECONDS if effort.quick else FULL_SECONDS)
    with installed() as bwtop, ExitStack() as running:
        pids = {mode.name: running.enter_context(Watched(bwtop, mode)).pid for mode in MODES}
        running.enter_context(churning(REMOTES, PROCESSES, seconds + 60))
        found = looks(pids, seconds)
    yield Table(
        f"Staying power: {seconds / 60:.3g} minutes",
        ["", "first quarter", "last quarter", "ratio"],
        [[f"{name}: {title}", *ends(values)] for (name, title), values in found.items()],
        f"Medians, while {REMOTES} remotes a second are new, and {PROCESSES} processes come and go.",
    )
    yield after_peak(10 if effort.quick else 1)


def after_peak(part: int) -> Table:
    """Return a table of the memory before, at and after a peak; the remotes and processes of the peak are divided by `part`."""
    remotes, processes = PEAK_REMOTES // part, PEAK_PROCESSES // part
    with installed() as bwtop, Watched(bwtop, SCREEN) as watched:
        time.sleep(BEGINNING)
        found = [(own_memory(watched.pid), memory(watched.pid))]
        seconds = PEAK_SECONDS // part
        come_and_go(remotes // seconds, processes // seconds, seconds)
        over = time.monotonic()
        for rest in QUIET:
            time.sleep(max(over + rest - time.monotonic(), 0))
            found.append((own_memory(watched.pid), memory(watched.pid)))
    names = ("the process that measures, MiB (PSS)", "with its helpers")
    return Table(
        f"After {remotes:,} remotes and {processes:,} processes: {SCREEN.name}",
        ["", "before", *(f"after {rest} s" for rest in QUIET)],
        [
            [name, *(f"{value:.1f}" for value in values)]
            for name, values in zip(names, zip(*found, strict=True), strict=True)
        ],
        "The process that has spoken to all remotes ends with the peak.",
    )


def looks(pids: dict[str, int], seconds: int) -> dict[tuple[str, str], list[float]]:
    """Return all values of each figure, by (mode, figure)."""
    found: dict[tuple[str, str], list[float]] = {
        (name, title): [] for name in pids for title in FIGURES
    }
    begun, period = time.monotonic(), max(seconds / LOOKS, 1)
    while time.monotonic() < begun + seconds:
        time.sleep(period)
        for name, title in found:
            found[name, title].append(FIGURES[title](pids[name]))
    return found


def ends(values: list[float]) -> list[str]:
    """Return the medians of the first and of the last quarter, and their ratio."""
    quarter = max(len(values) // 4, 1)
    first, last = middle(values[:quarter]), middle(values[-quarter:])
    return [f"{first:.1f}", f"{last:.1f}", f"{last / first:.2f}"]
