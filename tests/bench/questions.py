"""The time of the documented questions: reports of a week and a year of many hosts, and a look at all of them live."""

import importlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from bwtop.clickhouse.client import FleetServer
from bwtop.clickhouse.follow import FleetFollower
from bwtop.clickhouse.migrations import install
from bwtop.clickhouse.reader import FleetReader
from bwtop.history import dimensions
from bwtop.history.query import History
from bwtop.history.ranges import Range, parse
from bwtop.history.tiers import FOREVER, TIERS
from bwtop.model.filter import EVERYTHING
from tests.bench import past
from tests.bench.past import Past
from tests.bench.tables import Effort, Table
from tests.build import typed
from tests.clickhouse.servers import ClickHouse, Library

WEEK: Final = Past(hosts=200, seconds=7, minutes=30, hours=365)
WIDE: Final = Past(hosts=2000, seconds=0.25, minutes=1, hours=60)
QUICK: Final = Past(hosts=8, seconds=0.02, minutes=1, hours=60)

QUESTIONS: Final = (
    ("last-week", "host,process", ""),
    ("last-week", "process", ""),
    ("7d", "host", ""),
    ("24h", "remote", ""),
    ("today", "process", "host:host1*"),
    ("week", "day,host", ""),
    ("yesterday", "hour", ""),
    ("1h", "process", ""),
    ("7d", "process", "pid:1004"),
    ("month", "process", ""),
    ("month", "process", "host:host1"),
    ("365d", "process", ""),
    ("365d", "month", ""),
    ("365d", "host", ""),
)
"""(range, --by, filter)."""

Cpu = Callable[[], float]
"""The processor time that a server has taken, in seconds."""


@dataclass
class Asked:
    """A server with a past."""

    name: str
    server: FleetServer
    cpu: Cpu
    now: float
    """The end of the past."""

    def cells(self, deed: Callable[[], object]) -> list[str]:
        """Return the elapsed seconds and the processor seconds of a deed."""
        cpu, begun = self.cpu(), time.monotonic()
        deed()
        return [f"{time.monotonic() - begun:.2f}", f"{self.cpu() - cpu:.2f}"]

    def ask(self, text: str, by: str, keep: str) -> None:
        """Ask as a report does."""
        wanted: Range = parse(text, self.now)
        history = History(FleetReader(self.server))
        history.ask(wanted, dimensions.parse_several(by), typed(keep), self.now)

    def look(self) -> None:
        """Look at the last seconds of all hosts, as the full screen does."""
        now = [self.now + 1]
        follower = FleetFollower(self.server, EVERYTHING, lambda: now[0], lambda: now[0])
        now[0] += 10  # one second in ten has traffic
        assert follower.read().traffic, follower.state()


@contextmanager
def _installed(folder: Path) -> Iterator[Asked]:
    """Yield the server of this distribution."""
    server = ClickHouse(folder / "server")
    server.start()
    try:
        server.init()
        with closing(server.client(patience=3600.0)) as client:
            name = ".".join(map(str, client.version))
            yield Asked(name, client, lambda: cpu_of(server.pid), 0.0)
    finally:
        server.stop()


@contextmanager
def _library(folder: Path) -> Iterator[Asked]:
    """Yield the current server, in this process."""
    session = importlib.import_module("chdb.session").Session(str(folder / "library"))
    forever = dict.fromkeys((tier.name for tier in TIERS), FOREVER)
    install(Library(session, "default"), "past", forever)
    library = Library(session, "past")
    yield Asked(".".join(map(str, library.version)), library, time.process_time, 0.0)
    session.close()


def tables(folder: Path, effort: Effort) -> Iterator[Table]:
    """Yield a table of each server; each has a past of its own."""
    was = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    for number, size in enumerate((QUICK,) if effort.quick else (WEEK, WIDE)):
        for made in (_installed, _library):
            (place := folder / f"{made.__name__}{number}").mkdir(parents=True)
            with made(place) as asked:
                yield _table(asked, size)
    os.environ.pop("TZ") if was is None else os.environ.update(TZ=was)
    time.tzset()


def _table(asked: Asked, size: Past) -> Table:
    asked.now = time.time()
    begun = time.monotonic()
    past.write(asked.server, size, asked.now)
    wrote = time.monotonic() - begun
    rows = [
        [
            f"--history {text} --by {by}{f' {keep}' if keep else ''}",
            *asked.cells(partial(asked.ask, text, by, keep)),
        ]
        for text, by, keep in QUESTIONS
        if size.hours >= 365 or not text.startswith("365")
    ]
    past.write_again(asked.server, size, asked.now)
    rows.append(["all hosts live, at the start and ten seconds later", *asked.cells(asked.look)])
    return Table(
        f"Questions to ClickHouse {asked.name}: {size.words()}",
        ["question", "s", "server, CPU s"],
        rows,
        f"{_rows(asked.server)}, written in {wrote:.0f} s by the server's own SQL.",
    )


def _rows(server: FleetServer) -> str:
    counts = {}
    for table in ("traffic", "span", "fives"):
        ((counts[table],),) = server.query(f"SELECT count() FROM {table}")
    return ", ".join(f"{count:,} rows of {table}" for table, count in counts.items())


def cpu_of(pid: int) -> float:
    """Return the seconds of the processor that a process has taken so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
