"""The content of both sides, to be compared: the local database and the server."""

import sqlite3
from dataclasses import dataclass
from typing import Final

from bwtop.clickhouse.client import FleetServer

LEVELS: Final = (0, 1, 2, 3, 4)

Sums = tuple[int, int, int, int, float]
"""Rows of traffic, bytes received and sent; intervals or spans, and their seconds."""


@dataclass(frozen=True)
class Side:
    """All content of a side."""

    by_level: dict[int, Sums]
    events: int


def here(connection: sqlite3.Connection) -> Side:
    """Return the content of SQLite, without unfinished spans."""
    traffic = connection.execute(
        "SELECT 0, count(*), sum(rx), sum(tx) FROM delta UNION ALL SELECT level, count(*), sum(rx), sum(tx)"
        " FROM traffic JOIN span ON span.id = span WHERE level > 0 GROUP BY level"
    ).fetchall()
    spans = connection.execute(
        "SELECT 0, count(*), sum(seconds) FROM interval"
        " UNION ALL SELECT level, count(*), sum(seconds) FROM span WHERE level > 0 GROUP BY level"
    ).fetchall()
    (events,) = connection.execute("SELECT count(*) FROM event").fetchone()
    return _side(traffic, spans, events)


def there(server: FleetServer, where: str = "1", final: str = "FINAL", table: str = "") -> Side:
    """Return the rows that count on a server; `table` is the suffix of its tables."""
    traffic = server.query(
        f"SELECT level, count(), sum(rx), sum(tx) FROM traffic{table} {final} WHERE {where} GROUP BY level"
    )
    spans = server.query(
        f"SELECT level, count(), sum(seconds) FROM span{table} {final} WHERE {where} GROUP BY level"
    )
    ((events,),) = server.query(f"SELECT count() FROM event{table} {final} WHERE {where}")
    return _side(traffic, spans, events)


def _side(traffic: object, spans: object, events: int) -> Side:
    moved = {level: (count, rx or 0, tx or 0) for level, count, rx, tx in traffic}  # type: ignore[attr-defined]
    found = {
        level: (*moved.get(level, (0, 0, 0)), count, round(seconds, 3))
        for level, count, seconds in spans  # type: ignore[attr-defined]
        if count
    }
    assert {level for level, (count, *_) in moved.items() if count} <= set(found), (
        "no traffic without its span"
    )
    return Side(found, events)
