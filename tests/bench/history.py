"""The cost of a year of a busy desktop (see year.py): the time of an interval, the time of a report, the size on the disk."""

import os
import sqlite3
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from bwtop.history import ranges
from bwtop.history.dimensions import ENDPOINT, parse
from bwtop.history.query import History
from bwtop.model.filter import EVERYTHING, Filter
from bwtop.sqlite import connections
from bwtop.sqlite.reader import LocalReader
from bwtop.sqlite.store import Store
from tests.bench import year
from tests.bench.tables import Effort, Table, spread
from tests.bench.watched import ENVIRONMENT, installed
from tests.build import open_writer, typed

RANGES: Final = ("today", "7d", "30d", "365d")

NARROW: Final = typed("remote:192.0.7.0/24")

QUESTIONS: Final = (
    ("365d", "day", EVERYTHING),
    ("365d", "month,user", EVERYTHING),
    ("365d", "process", NARROW),
)


def timed(action: Callable[[], object]) -> float:
    """Return the milliseconds that an action takes."""
    begun = time.perf_counter()
    action()
    return 1000 * (time.perf_counter() - begun)


def inserted(flows: int, rounds: int) -> tuple[list[float], float]:
    """Return the milliseconds that each interval of so many active flows takes, committed to the disk; and the bytes of a row."""
    path = year.scratch() / f"inserts-{flows}-{time.monotonic_ns()}.db"
    connection = open_writer(path, 0o600)
    store, active, start = Store(connection), year.flows(flows), time.time()
    store.append([year.delta(start, 1.0, active)])  # ids are given once
    before = year.used(connection)
    waiting = [year.delta(start + 1 + n, 1.0, active) for n in range(rounds)]
    took = [timed(partial(store.append, [each])) for each in waiting]
    grown = (year.used(connection) - before) / (flows * rounds)
    connection.close()
    path.unlink()
    return took, grown


def inserts(effort: Effort) -> Table:
    """Return a table of the cost of recording."""
    rows = []
    for flows in (50, 1000) if effort.quick else (50, 1000, 10_000):
        took, grown = inserted(flows, effort.rounds(9))
        each = 1000 * statistics.median(took) / flows
        rows.append([f"{flows:,} active flows", spread(took, 1), f"{each:.2f}", f"{grown:.1f}"])
    return Table(
        "An interval that is recorded",
        ["", "ms", "per flow, µs", "bytes per row"],
        rows,
        "Committed to the disk (fsync and all); medians, with quartiles.",
    )


def ask(path: Path, text: str, keep: Filter = EVERYTHING, by: str = "") -> None:
    """Ask a question as the command does."""
    now = time.time()
    history = History(LocalReader(connections.open_reader(path)))
    dimensions = [parse(name) for name in by.split(",")] if by else [parse("process"), ENDPOINT]
    history.ask(ranges.parse(text, now), dimensions, keep, now)
    history.close()


def run(bwtop: Path, *flags: str) -> float:
    """Return the milliseconds of the whole command."""
    environment = {**os.environ, **ENVIRONMENT}
    command = [str(bwtop), *flags]
    return timed(
        lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    )


def reports(bwtop: Path, path: Path, effort: Effort) -> Table:
    """Return a table of the time of questions: within the process, and as a command from start to end."""
    rounds = range(effort.rounds(9))
    rows = []
    for text in RANGES:
        asked = [timed(partial(ask, path, text)) for _ in rounds]
        report = ("--history", text, "--no-resolve", "--db", str(path))
        whole = [run(bwtop, *report) for _ in rounds]
        rows.append([text, spread(asked, 0), spread(whole, 0)])
    for text, by, keep in QUESTIONS:
        asked = [timed(partial(ask, path, text, keep, by)) for _ in rounds]
        rows.append([f"{text} --by {by}{' --remote' if keep.terms else ''}", spread(asked, 0), ""])
    start = [run(bwtop, "--version") for _ in rounds]
    rows.append(["nothing: --version", "", spread(start, 0)])
    return Table(
        "A report of the year",
        ["--history", "question, ms", "command, ms"],
        rows,
        "Budget: 200 ms for the command.  Medians, with quartiles; the command is measured from its start to its end.",
    )


def size(found: year.Built) -> Table:
    """Return a table of the size of the year."""
    connection = sqlite3.connect(found.path)
    rows = sum(
        connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("delta", "traffic")
    )
    used = year.used(connection)
    connection.close()
    return Table(
        "The year on the disk",
        ["rows of bytes", "MB", "bytes per row", "written in, s"],
        [
            [
                f"{rows:,}",
                f"{found.path.stat().st_size / 1e6:.1f}",
                f"{used / rows:.1f}",
                f"{found.seconds:.0f}" if found.seconds else "(was there)",
            ]
        ],
        "Budget: 200 MB.",
    )


def tables(effort: Effort) -> Iterator[Table]:
    """See tables.Part."""
    yield inserts(effort)
    found = year.built(effort)
    yield size(found)
    with installed() as bwtop:
        yield reports(bwtop, found.path, effort)
