"""The cost of a fleet: the shipping of many hosts' histories to one ClickHouse at once, then the questions about a past.

Each history has a minute of busy seconds; for the past see questions.py.

The hosts are databases that the recorder's own code has written; a process has many of them, one after the other, and
sends them as bwtop does.  Writing them is not measured.
"""

import multiprocessing
import random
import shutil
import statistics
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Final

from bwtop.clickhouse.client import Client
from bwtop.clickhouse.follow import FleetFollower
from bwtop.clickhouse.shipper import PERIOD
from bwtop.clickhouse.spool import Spool
from bwtop.clickhouse.target import Target
from bwtop.model.filter import EVERYTHING
from bwtop.model.flows import Host
from bwtop.sqlite import connections
from bwtop.sqlite.rollup import Policy, Rollup
from bwtop.sqlite.store import Store
from tests.bench import questions, year
from tests.bench.questions import cpu_of
from tests.bench.tables import Effort, Table
from tests.build import open_writer
from tests.clickhouse.servers import ClickHouse

PROCESSES: Final = 4


@dataclass(frozen=True)
class Extent:
    """The size of a fleet."""

    hosts: int = 200
    flows: int = 500
    """Active in every second, of twice as many that there are."""
    seconds: int = 60


FULL: Final = Extent()
QUICK: Final = Extent(hosts=8, flows=100, seconds=20)


def write(path: Path, extent: Extent) -> None:
    """Write a host's history: some seconds, and their minute closed."""
    connection = open_writer(path, 0o600)
    connection.execute("PRAGMA synchronous = OFF")  # it is not what is measured
    store = Store(connection)
    start = time.time() // 60 * 60 - 3600
    pool = year.flows(2 * extent.flows)
    store.append(
        [
            year.delta(start + second, 1.0, random.sample(pool, extent.flows))
            for second in range(extent.seconds)
        ]
    )
    rollup = Rollup(store, Policy())
    while rollup.step(start + 120):
        pass
    connection.close()


def ship(path: Path, port: int, host: Host, rows: int) -> int:
    """Send all of a host's history, so many rows of traffic at once; return the number of rows."""
    sent = 0
    with (
        closing(connections.connect_writer(path, 0o600)) as connection,
        closing(Client(Target("127.0.0.1", port), "")) as client,
    ):
        spool = Spool(connection, "bench", host)
        while batch := spool.batch(rows):
            for table, columns in batch.tables:
                client.insert(table.name, table.names(), columns)
            spool.move(batch.after)
            sent += batch.rows()
    return sent


@dataclass(frozen=True)
class Share:
    """The work of one process."""

    rows: int
    cpu: float
    """Seconds."""


def work(
    paths: list[Path],
    port: int,
    extent: Extent,
    ready: Barrier,
    results: "multiprocessing.Queue[Share]",
) -> None:
    """Write the histories of some hosts, wait for the other processes, ship."""
    for path in paths:
        write(path, extent)
    ready.wait()
    before = time.process_time()
    at_once = int(PERIOD * extent.flows)
    rows = sum(ship(path, port, Host(path.stem, str(uuid.uuid4())), at_once) for path in paths)
    results.put(Share(rows, time.process_time() - before))


@dataclass(frozen=True)
class Load:
    """The work of all processes together."""

    rows: int
    seconds: float
    cpu: float
    """Seconds of the processor that the senders took."""


def loaded(folder: Path, port: int, extent: Extent) -> Load:
    """Ship all hosts from several processes at once; return their load."""
    paths = [folder / f"host{number}.db" for number in range(extent.hosts)]
    ready = multiprocessing.Barrier(PROCESSES + 1)
    results: multiprocessing.Queue[Share] = multiprocessing.Queue()
    workers = [
        multiprocessing.Process(
            target=work, args=(paths[place::PROCESSES], port, extent, ready, results)
        )
        for place in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    ready.wait()
    begun = time.monotonic()
    shares = [results.get() for _ in workers]
    seconds = time.monotonic() - begun
    for worker in workers:
        worker.join()
    return Load(sum(s.rows for s in shares), seconds, sum(s.cpu for s in shares))


def stored(client: Client) -> Iterator[list[str]]:
    """Merge everything; yield the rows and bytes of each table."""
    for table in ("traffic", "span", "fives"):
        client.query(f"OPTIMIZE TABLE {table} FINAL")
        ((rows, size),) = client.query(
            f"SELECT sum(rows), sum(bytes) FROM system.parts WHERE active AND table = '{table}'"
            " AND database = currentDatabase()"
        )
        yield [table, f"{rows:,}", f"{size / 1e6:.1f}", f"{size / max(rows, 1):.1f}"]


READINGS: Final = 10


def watched(client: Client, pid: int) -> Table:
    """Return the cost of a user who looks on, as when the last batch has just come."""
    ((moment,),) = client.query("SELECT max(end) FROM span WHERE level = 0")
    now = [moment + 0.5]
    follower = FleetFollower(client, EVERYTHING, lambda: now[0], lambda: now[0])
    lengths, flows = [], 0
    server, own = cpu_of(pid), time.process_time()
    for _ in range(READINGS):
        now[0] += 1
        begun = time.monotonic()
        sample = follower.read()
        lengths.append(time.monotonic() - begun)
        flows = max(flows, sum(map(len, sample.traffic.values())))
    server, own = cpu_of(pid) - server, time.process_time() - own
    return Table(
        "A second of all of them, live on the screen",
        ["flows told", "s", "watcher, CPU s", "server, CPU s"],
        [
            [
                f"{flows:,}",
                f"{statistics.median(lengths):.2f}",
                f"{own / READINGS:.2f}",
                f"{server / READINGS:.2f}",
            ]
        ],
        f"The median of {READINGS} readings, of a second each; with -d 10 the server is asked every ten.",
    )


def tables(effort: Effort) -> Iterator[Table]:
    """See tables.Part."""
    extent = QUICK if effort.quick else FULL
    folder = year.scratch() / f"fleet-{time.monotonic_ns()}"
    server = ClickHouse(folder / "server")
    server.start()
    try:
        server.init()
        before = cpu_of(server.pid)
        found = loaded(folder, server.port, extent)
        took = cpu_of(server.pid) - before
        million = found.rows / 1e6
        yield Table(
            f"{extent.hosts} hosts with {extent.flows} flows a second, {extent.seconds} seconds of them",
            [
                "rows",
                "s",
                "rows per second",
                "senders, CPU s per million",
                "server, CPU s per million",
            ],
            [
                [
                    f"{found.rows:,}",
                    f"{found.seconds:.1f}",
                    f"{found.rows / found.seconds:,.0f}",
                    f"{found.cpu / million:.1f}",
                    f"{took / million:.1f}",
                ]
            ],
            f"Shipped at once by {PROCESSES} processes, beside the server on the same processors, in the batches of"
            f" {PERIOD:.0f} seconds that bwtop sends.",
        )
        with closing(server.client(patience=600.0)) as client:
            yield watched(client, server.pid)
            yield Table(
                "The same on the server's disk",
                ["table", "rows", "MB", "bytes per row"],
                list(stored(client)),
                "ClickHouse 18.16, LZ4, merged.",
            )
        server.stop()
        yield from questions.tables(folder, effort)
    finally:
        server.stop()
        shutil.rmtree(folder)
