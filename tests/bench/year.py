"""A year of a busy desktop, written by the recorder's own code.

50 processes have 20 remotes each, all of them once a day; 600 flows are active in an hour, 200 in a minute, 50 in a second.
What would be forgotten at the end anyway is written in intervals of what would be left of it to begin with: of a day, and in
the last 90 days of an hour, in the last week of a minute, in the last hour of a second.
"""

import atexit
import functools
import os
import random
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bwtop.history.calendar import DAY, FIVE_MINUTES, HOUR, MINUTE, Unit, ceiling, floor
from bwtop.model.flows import Identity, ProcessKey, Remote
from bwtop.sqlite import schema
from bwtop.sqlite.delta import Delta
from bwtop.sqlite.rollup import Policy, Rollup
from bwtop.sqlite.store import Store
from tests.bench.tables import Effort
from tests.build import open_writer, remote

PROCESSES: Final = 50
REMOTES: Final = 20

Ends = tuple[tuple[ProcessKey, Identity], Remote]
"""A process and its remote."""


@dataclass(frozen=True)
class Extent:
    """The part of the year that is written."""

    days: int = 365
    hours: int = 90
    """Days that are kept by the hour."""
    minutes: int = 7
    """Days that are kept by the minute."""
    hourly: int = 600
    """Flows that are active in an hour."""
    minutely: int = 200


FULL: Final = Extent()
QUICK: Final = Extent(days=30, hours=3, minutes=0, hourly=100, minutely=30)


def flows(count: int) -> list[Ends]:
    """Return so many different flows, of a fiftieth as many processes or more."""
    processes = max(count // (PROCESSES * REMOTES), 1) * PROCESSES
    return [
        (
            (ProcessKey(pid, pid), Identity(f"program{pid}", 1000, exe=f"/usr/bin/program{pid}")),
            remote(f"192.0.{number % 200}.{pid % 250}", 443 + number),
        )
        for pid in range(1, processes + 1)
        for number in range(count // processes)
    ]


def delta(start: float, seconds: float, chosen: list[Ends]) -> Delta:
    """Return an interval in which these flows move bytes."""
    found = Delta(start, seconds)
    for who, far in chosen:
        amount = int(random.paretovariate(0.8) * 500 * seconds**0.5)
        found.flows.setdefault(who, {})[far] = (min(amount, 10**10), min(amount // 9, 10**9))
    return found


def intervals(now: float, extent: Extent) -> Iterator[Delta]:
    """Yield all intervals, the oldest first."""
    everything = flows(PROCESSES * REMOTES)
    by_hour, by_minute = (
        int(floor(Unit.DAY, now - n * DAY)) for n in (extent.hours, extent.minutes)
    )
    start = int(floor(Unit.DAY, now - extent.days * DAY))
    while start < by_hour:
        end = int(ceiling(Unit.DAY, start))
        yield delta(start, end - start, everything)
        start = end
    for start in range(by_hour, by_minute, HOUR):
        is_noon = start % DAY == 12 * HOUR
        yield delta(
            start, HOUR, everything if is_noon else random.sample(everything, extent.hourly)
        )
    for start in range(by_minute, int(now - HOUR), MINUTE):
        yield delta(start, MINUTE, random.sample(everything, extent.minutely))
    for start in range(int(now - HOUR), int(now)):
        yield delta(start, 1.0, random.sample(everything, 50))


def build(connection: sqlite3.Connection, now: float, extent: Extent) -> None:
    """Write the year, with the rollup that belongs to it."""
    store = Store(connection)
    rollup = Rollup(store, Policy())
    connection.execute("PRAGMA synchronous = OFF")
    waiting: list[Delta] = []
    for number, each in enumerate(intervals(now, extent)):
        waiting.append(each)
        if len(waiting) == 60:
            store.append(waiting)
            waiting.clear()
        if number % 600 == 0:
            settle(rollup, each.start)
    store.append(waiting)
    settle(rollup, now)
    fill_five_minutes(connection, now, extent)


def settle(rollup: Rollup, now: float) -> None:
    """Do all rollup that is due."""
    while rollup.step(now):
        pass


def fill_five_minutes(connection: sqlite3.Connection, now: float, extent: Extent) -> None:
    """Write the totals of every five minutes: a long interval has only one."""
    columns = schema.pulse_columns()
    marks = ", ".join("?" * (2 + len(columns)))
    begin = int(floor(Unit.DAY, now - extent.days * DAY)) // FIVE_MINUTES * FIVE_MINUTES
    connection.execute("BEGIN")
    connection.executemany(
        f"INSERT OR IGNORE INTO pulse (start, seconds, {', '.join(columns)}) VALUES ({marks})",
        (
            (start, FIVE_MINUTES, *(random.randrange(10**7) for _ in columns))
            for start in range(begin, int(now) - FIVE_MINUTES, FIVE_MINUTES)
        ),
    )
    connection.execute("COMMIT")


@dataclass(frozen=True)
class Built:
    """A database on the disk."""

    path: Path
    seconds: float
    """The time that writing took; 0 if the database was there."""


@functools.cache
def built(effort: Effort) -> Built:
    """Return the year, made once a run; $BWTOP_BENCH_DB keeps it for other runs."""
    extent = QUICK if effort.quick else FULL
    path = Path(os.environ.get("BWTOP_BENCH_DB") or scratch() / "year.db")
    if path.exists():
        return Built(path, 0.0)
    random.seed(4)
    begun = time.perf_counter()
    connection = open_writer(path, 0o600)
    build(connection, time.time(), extent)
    connection.close()
    return Built(path, time.perf_counter() - begun)


@functools.cache
def scratch() -> Path:
    """Return a directory that is deleted at the end of the run."""
    directory = tempfile.TemporaryDirectory(prefix="bwtop-bench-")
    atexit.register(directory.cleanup)
    return Path(directory.name)


def used(connection: sqlite3.Connection) -> int:
    """Return the bytes of a database that are in use."""
    pages, page, free = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "page_size", "freelist_count")
    )
    return int((pages - free) * page)
