"""Made-up hosts, each with a history of its own, shipped to a server as bwtop does."""

import random
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from bwtop.clickhouse.client import FleetServer
from bwtop.clickhouse.spool import Spool
from bwtop.history.calendar import HOUR, Unit, ceiling, floor
from bwtop.model.flows import TCP, UDP, Host, Identity, ProcessKey, Role
from bwtop.sqlite.delta import Delta
from tests.build import pass_midnight, remote
from tests.clickhouse.servers import ClickHouse
from tests.history.keep import Kept

WEB: Final = Host("web1.example.org", "11111111-1111-4111-8111-111111111111")
DATABASE: Final = Host("db-2", "22222222-2222-4222-8222-222222222222")
HOSTILE: Final = Host(
    "<img src=x onerror=alert(1)>\x1b[2J\u202e,*", "33333333-3333-4333-8333-333333333333"
)
TWINS: Final = (
    Host("localhost", "44444444-4444-4444-8444-444444444444"),
    Host("localhost", "55555555-5555-4555-8555-555555555555"),
)
"""Two that have the same name."""

FORMULA: Final = Host("=1+2", "66666666-6666-4666-8666-666666666666")


Insert = tuple[list[str], list[list[Any]]]
"""The names of columns, and the columns."""


def send_past(host: Host, deltas: Iterable[Delta], server: FleetServer) -> None:
    """Ship deltas like a host that has recorded them until now."""
    send_pasts({host: deltas}, server)


def send_pasts(pasts: Mapping[Host, Iterable[Delta]], server: FleetServer) -> None:
    """Ship the deltas of many hosts, with one insert for each table."""
    gathered: dict[str, Insert] = {}
    for host, deltas in pasts.items():
        kept = Kept()
        with closing(kept.connection):
            kept.append(*deltas)
            kept.steps(time.time())
            spool = Spool(kept.connection, "", host)
            while batch := spool.batch():
                for table, columns in batch.tables:
                    empty: Insert = (table.names(), [[] for _ in columns])
                    for whole, part in zip(
                        gathered.setdefault(table.name, empty)[1], columns, strict=True
                    ):
                        whole.extend(part)
                spool.move(batch.after)
    for name, (names, columns) in gathered.items():
        server.insert(name, names, columns)


@contextmanager
def clickhouse(folder: Path) -> Iterator[ClickHouse]:
    """Return a server with empty tables."""
    server = ClickHouse(folder)
    try:
        server.start()
        server.init()
        yield server
    finally:
        server.stop()


# Yesterday.

HOSTS: Final = (WEB, DATABASE, HOSTILE, *TWINS, FORMULA)

NGINX: Final = Identity("nginx", 33, exe="/usr/sbin/nginx", unit="nginx.service")
BACKUP: Final = Identity("backup", 0, exe="/usr/bin/restic", unit="backup.service")
POSTGRES: Final = Identity("postgres", 5432, exe="/usr/bin/postgres", unit="postgresql.service")

RUNNING: Final[Mapping[Host, Mapping[Identity, int]]] = {
    WEB: {NGINX: 64, BACKUP: 3},
    DATABASE: {POSTGRES: 16, BACKUP: 40},
    HOSTILE: {NGINX: 8},
    TWINS[0]: {BACKUP: 2},
    TWINS[1]: {BACKUP: 1},
    FORMULA: {NGINX: 4},
}
"""The programs of each host, with factors of the amounts that they move."""

UPLINK: Final = remote("192.0.2.10")
OTHERS: Final = (remote("198.51.100.7", 8443, TCP, Role.SERVER), remote("192.0.2.53", 53, UDP))


def midnight() -> int:
    """Return the start of yesterday."""
    return floor(Unit.DAY, floor(Unit.DAY, time.time()) - 1)


def yesterday(host: Host) -> list[Delta]:
    """Return the deltas of a host: one minute of every hour, with amounts far from rounding limits."""
    randomly = random.Random(host.id)
    return [
        Delta(
            start + 600,
            60.0,
            {
                (ProcessKey(pid, 100 + pid), who): {
                    far: (512 * weight * randomly.randrange(1, 50), 1024 * weight * (place + 1))
                    for place, far in enumerate((UPLINK, *OTHERS))
                }
                for pid, (who, weight) in enumerate(RUNNING[host].items(), 1)
            },
        )
        for start in range(midnight(), ceiling(Unit.DAY, midnight()), HOUR)
    ]


def moved(host: Host, who: Identity | None = None) -> tuple[int, int]:
    """Return (received, sent) of yesterday, of one program or of all."""
    flows = [
        both
        for delta in yesterday(host)
        for (_, each), remotes in delta.flows.items()
        if who in (None, each)
        for both in remotes.values()
    ]
    return sum(rx for rx, _ in flows), sum(tx for _, tx in flows)


def send_yesterday(server: FleetServer) -> None:
    """Ship yesterday of all hosts."""
    pass_midnight()
    for host in HOSTS:
        send_past(host, yesterday(host), server)
