"""A year of a busy desktop, written by the real recorder's code: how long an interval takes, how long a report, how large.

Run it with `make bench`.  50 processes have 20 remotes each, all of them once a day; 600 flows are active in an hour, 200
in a minute, 50 in a second.  What would be forgotten at the end anyway is written in intervals of an hour (or, in the last
week, of a minute) to begin with.  Figures are medians; the ratio of a report is to a report of a range that has nothing.
"""

import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from bwtop.history import ranges, schema
from bwtop.history.calendar import DAY, HOUR, MINUTE, Unit, floor
from bwtop.history.delta import Delta
from bwtop.history.dimensions import ENDPOINT, parse
from bwtop.history.query import History
from bwtop.history.store import Store
from bwtop.history.upkeep import Policy, Upkeep
from bwtop.model.filter import Filter, parse_network
from bwtop.model.flows import Identity, ProcessKey, Remote
from tests.build import remote
from tests.kernel.running import LAUNCHER

PROCESSES: Final = 50
REMOTES: Final = 20
ROUNDS: Final = 5

RANGES: Final = ("today", "7d", "30d", "365d")


def say(text: str) -> None:
    """A line."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def flows(count: int) -> list[tuple[tuple[ProcessKey, Identity], Remote]]:
    """So many different ones, of a fiftieth as many processes or more."""
    processes = max(count // (PROCESSES * REMOTES), 1) * PROCESSES
    return [
        (
            (ProcessKey(pid, pid), Identity(f"program{pid}", 1000, exe=f"/usr/bin/program{pid}")),
            remote(f"192.0.{number % 200}.{pid % 250}", 443 + number),
        )
        for pid in range(1, processes + 1)
        for number in range(count // processes)
    ]


def delta(
    start: float, seconds: float, chosen: list[tuple[tuple[ProcessKey, Identity], Remote]]
) -> Delta:
    """An interval in which these flows move something."""
    found = Delta(start, seconds)
    for who, far in chosen:
        amount = int(random.paretovariate(0.8) * 500 * seconds**0.5)
        found.flows.setdefault(who, {})[far] = (min(amount, 10**10), min(amount // 9, 10**9))
    return found


def year(now: float) -> Iterator[Delta]:
    """All of its intervals, the oldest first."""
    everything = flows(PROCESSES * REMOTES)
    begin, week, hour = (
        floor(Unit.DAY, now - 365 * DAY),
        floor(Unit.HOUR, now - 7 * DAY),
        now - HOUR,
    )
    for start in range(int(begin), int(week), HOUR):
        active = everything if start % DAY == 12 * HOUR else random.sample(everything, 600)
        yield delta(start, HOUR, active)
    for start in range(int(week), int(hour), MINUTE):
        yield delta(start, MINUTE, random.sample(everything, 200))
    for start in range(int(hour), int(now)):
        yield delta(start, 1.0, random.sample(everything, 50))


def build(connection: sqlite3.Connection, now: float) -> float:
    """Writes the year, with the upkeep that belongs to it; the seconds that it took."""
    store, upkeep = Store(connection), Upkeep(connection, Policy())
    connection.execute("PRAGMA synchronous = OFF")
    begun = time.perf_counter()
    waiting: list[Delta] = []
    for number, each in enumerate(year(now)):
        waiting.append(each)
        if len(waiting) == 60:
            store.append(waiting)
            waiting.clear()
        if number % 600 == 0:
            settle(upkeep, each.start)
    store.append(waiting)
    settle(upkeep, now)
    return time.perf_counter() - begun


def settle(upkeep: Upkeep, now: float) -> None:
    """Does all upkeep there is."""
    while upkeep.step(now):
        pass


def median_ms(action: Callable[[], object]) -> float:
    """Milliseconds that it takes."""
    found = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        action()
        found.append(time.perf_counter() - begun)
    return statistics.median(found) * 1000


def inserts(path: Path) -> None:
    """What an interval of so many active flows takes, with its commit to the disk."""
    say("an interval, committed (fsync and all)            ms   per flow, µs   rows' bytes")
    for count in (50, 1000, 10_000):
        connection = schema.open_writer(path.with_name(f"inserts{count}.db"), 0o600)
        store, active, start = Store(connection), flows(count), time.time()
        store.append([delta(start, 1.0, active)])  # ids are given once
        before = size(connection)
        each = [delta(start + 1 + n, 1.0, active) for n in range(ROUNDS)]
        took = median_ms(lambda store=store, each=each: store.append([each.pop()]))  # type: ignore[misc]
        grown = (size(connection) - before) / (count * ROUNDS)
        say(f"  {count:>6} active flows{took:>31.1f}{took / count * 1000:>15.2f}{grown:>14.1f}")
        connection.close()


def size(connection: sqlite3.Connection) -> int:
    """Bytes of the database."""
    pages, page, free = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "page_size", "freelist_count")
    )
    return int((pages - free) * page)


def reports(path: Path) -> None:
    """What questions take: within the process, and as a command from start to end."""
    nothing = median_ms(lambda: ask(path, "2001-01-01", Filter()))
    say(
        f"\na report                             query, ms   ratio   command, ms   (nothing: {nothing:.1f})"
    )
    narrow = Filter(networks=(parse_network("192.0.7.0/24"),))
    for text in RANGES:
        took = median_ms(lambda text=text: ask(path, text, Filter()))  # type: ignore[misc]
        command = median_ms(lambda text=text: run(path, text))  # type: ignore[misc]
        say(f"  {text:<33}{took:>12.1f}{took / nothing:>8.0f}{command:>14.0f}")
    for text, by, keep in (
        ("365d", "day", Filter()),
        ("365d", "month,user", Filter()),
        ("365d", "process", narrow),
    ):
        took = median_ms(lambda t=text, b=by, k=keep: ask(path, t, k, b))  # type: ignore[misc]
        name = f"{text} --by {by}{' --remote' if keep.networks else ''}"
        say(f"  {name:<33}{took:>12.1f}{took / nothing:>8.0f}")


def ask(path: Path, text: str, keep: Filter, by: str = "") -> None:
    """A question as the command asks it."""
    now = time.time()
    history = History(schema.open_reader(path))
    dimensions = [parse(name) for name in by.split(",")] if by else [parse("process"), ENDPOINT]
    history.ask(ranges.parse(text, now), dimensions, keep, now)
    history.close()


def run(path: Path, text: str) -> None:
    """The whole command."""
    subprocess.run(
        [sys.executable, str(LAUNCHER), "--history", text, "--no-resolve", "--db", str(path)],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def main() -> None:
    """Prints the tables."""
    random.seed(4)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(os.environ.get("BWTOP_BENCH_DB") or Path(directory, "history.db"))
        inserts(Path(directory, "inserts.db"))
        if not path.exists():
            connection = schema.open_writer(path, 0o600)
            took = build(connection, time.time())
            rows = sum(
                connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("delta", "traffic")
            )
            used = size(connection)
            say(
                f"\na year: {rows} rows in {used / 1e6:.1f} MB, {used / rows:.1f} bytes each;"
                f" written in {took:.0f} s"
            )
            connection.close()
        say(f"file: {path.stat().st_size / 1e6:.1f} MB")
        reports(path)


if __name__ == "__main__":
    main()
