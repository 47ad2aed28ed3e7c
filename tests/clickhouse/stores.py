"""Both kinds of ClickHouse with shipped rows, and the same queries to them and to the hosts' databases."""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from bwtop.clickhouse.client import Client, FleetServer
from bwtop.clickhouse.migrations import install
from bwtop.clickhouse.reader import FleetReader
from bwtop.clickhouse.schema import HOST
from bwtop.clickhouse.spool import Spool
from bwtop.clickhouse.target import Target
from bwtop.history.dimensions import Dimension
from bwtop.history.internet import NetworkUsage
from bwtop.history.query import Answer, History
from bwtop.history.ranges import Range
from bwtop.history.tiers import FOREVER, TIERS
from bwtop.model.filter import EVERYTHING, Filter
from bwtop.model.flows import Host
from tests.clickhouse.servers import ClickHouse, Library
from tests.history.keep import Kept

SCHEMAS: Final = Path(__file__).parent / "schemas"

Make = Callable[[], FleetServer]
"""Makes a database with empty tables."""

_numbers = itertools.count(1)


def of_server(server: ClickHouse) -> Make:
    def make() -> FleetServer:
        target = Target("127.0.0.1", server.port, database=f"db{next(_numbers)}")
        with closing(Client(target, "", database=False)) as client:
            install(client, target.database)
        return Client(target, "")

    return make


def of_library(session: Any) -> Make:
    def make() -> FleetServer:
        name = f"db{next(_numbers)}"
        forever = dict.fromkeys((tier.name for tier in TIERS), FOREVER)
        install(Library(session, "default"), name, forever)  # else it lets go of the past
        return Library(session, name)

    return make


@dataclass(frozen=True)
class Place:
    """A database, and a connection to it."""

    server: FleetServer
    database: str


def former_script(kind: str, database: str) -> list[str]:
    """Return the statements that created the tables of schema 1, for a kind of server or a cluster; all is kept."""
    text = re.sub("(?m)^TTL .*\n", "", (SCHEMAS / f"1-{kind}.sql").read_text()).replace(
        "bwtop", database
    )
    return [part for part in re.sub("(?m)^--.*\n", "", text).split(";\n") if part.strip()]


class Former:
    """A server as a bwtop of schema 1 sees it: it knows nothing of later columns."""

    def __init__(self, server: FleetServer) -> None:
        self._server = server
        self.version, self.query, self.close = server.version, server.query, server.close

    def insert(self, table: str, columns: Sequence[str], values: Sequence[Sequence[Any]]) -> None:
        """Insert what such a bwtop sends."""
        known = [place for place, name in enumerate(columns) if name != "skipped"]
        self._server.insert(table, [columns[n] for n in known], [values[n] for n in known])


def ship(
    kept: Kept,
    server: FleetServer,
    host: Host,
    rows: int = 20_000,
    target: str = "",
    times: int = 1,
) -> None:
    """Ship all unsent rows, each batch so many times."""
    spool = Spool(kept.connection, target or f"{id(server)}", host)
    while batch := spool.batch(rows):
        for _ in range(times):
            for table, columns in batch.tables:
                server.insert(table.name, table.names(), columns)
        spool.move(batch.after)


def report_host(
    server: FleetServer,
    host: Host,
    addresses: Sequence[str] = (),
    networks: Sequence[str] = (),
    clock: float = 0.0,
) -> None:
    """Report a host as it does itself once a minute; one of an older bwtop reports no networks."""
    where: tuple[object, ...] = (UUID(host.id), host.name, 1)
    row = (*where, list(addresses), list(networks), "0.2", 0.0, 0.0, clock)
    server.insert(HOST.name, HOST.names(), [[value] for value in row])


def ask(
    server: FleetServer,
    wanted: Range,
    by: Sequence[Dimension],
    keep: Filter = EVERYTHING,
    now: float = 0.0,
) -> Answer:
    return History(FleetReader(server)).ask(wanted, by, keep, now or wanted.end)


def told(answer: Answer) -> dict[str, Any]:
    """Return a whole answer with sorted rows, and of times only what no order of addition changes."""
    usage, peak = answer.usage, answer.peak and _rounded(answer.peak.rates)
    return {
        "range": (answer.range, answer.start, answer.end, answer.bar_unit, answer.since),
        "boundaries": (answer.left, answer.is_filled, answer.foreign),
        "projection": answer.projection,
        "bytes": (answer.rx, answer.tx),
        "seconds": round(answer.seconds, 6),
        "loss": answer.loss,
        "rows": sorted(((row.labels, row.rx, row.tx) for row in answer.rows), key=repr),
        "bars": [
            (bar.start, bar.end, bar.label, bar.rx, bar.tx, round(bar.seconds, 6))
            for bar in answer.bars
        ],
        "usage": usage and (_rounded(usage.peak), _rounded(usage.percentile), usage.count, peak),
        "network usage": answer.network_usage and _of_networks(answer.network_usage),
        "networks": answer.networks
        and {name: moved for name, moved in answer.networks.items() if any(moved)},
        "events": answer.events,
    }


def _of_networks(usage: NetworkUsage) -> tuple[Any, ...]:
    high = usage.percentile and _rounded(usage.percentile)
    return usage.names, usage.rx, usage.tx, high, usage.unit, usage.count


def _rounded(rates: Iterable[float]) -> list[float]:
    return [round(rate, 6) for rate in rates]


def differences(one: dict[str, Any], other: dict[str, Any]) -> Iterator[str]:
    for name, value in one.items():
        if value != other[name]:
            yield f"{name}: {value!r:.500} is not {other[name]!r:.500}"
