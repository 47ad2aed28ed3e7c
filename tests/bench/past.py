"""A past of many hosts, written into a server by its own SQL in the schema's shape: shipping as much takes days.

All hosts record without a pause, in UTC.  The sums of the levels are of one shape with real ones, not of the same bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from bwtop.clickhouse.client import FleetServer
from bwtop.clickhouse.schema import FIVES, HOST, SPAN, TRAFFIC, ServerTable
from bwtop.history.calendar import DAY, FIVE_MINUTES, HOUR, MINUTE
from bwtop.sqlite.schema import pulse_columns
from bwtop.text.escape import count

LENGTHS: Final = {0: 1, 1: MINUTE, 2: HOUR, 3: DAY}

FLOWS: Final = {0: 1, 1: 3, 2: 10, 3: 30, 4: 60}
"""Flows of a host in a span of each level; of seconds, one in ten has any."""

STEP: Final = 10_000_000
"""Rows of an insert, at most."""


@dataclass(frozen=True)
class Past:
    """The size of a past; all but `hosts` are days."""

    hosts: int
    seconds: float
    minutes: float
    hours: float

    def words(self) -> str:
        """Return the size, for a title."""
        return (
            f"{self.hosts:,} hosts, {self.seconds:g} days of seconds, {count(round(self.minutes), 'day')} of minutes,"
            f" {self.hours:g} days of hours"
        )


def host_id(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-{number:012x}"


LAST: Final = 60
"""Seconds that are written again."""


def write(server: FleetServer, past: Past, now: float) -> None:
    """Write all of it, up to now."""
    server.query("CREATE TABLE fleet (n UInt32, host_id UUID, host String) ENGINE = Memory")
    numbers = range(past.hosts)
    server.insert(
        "fleet",
        ("n", "host_id", "host"),
        [list(numbers), [host_id(n) for n in numbers], [f"host{n}" for n in numbers]],
    )
    for level, days in enumerate((past.seconds, past.minutes, past.hours, past.hours)):
        unit = LENGTHS[level]
        first, last = (int(when // unit * unit) for when in (now - days * DAY, now))
        _write_level(server, past, level, first, last)
    months = ", ".join(map(str, _months(now - past.hours * DAY, now)))
    spans = f"SELECT tupleElement(m, 1) AS t, tupleElement(m, 2) AS e FROM (SELECT arrayJoin([{months}]) AS m)"
    _insert(server, SPAN, _span(4), spans)
    _insert(server, TRAFFIC, _traffic(4), spans, FLOWS[4])
    first, last = (
        int(when // FIVE_MINUTES * FIVE_MINUTES) for when in (now - past.hours * DAY, now)
    )
    for spans in _numbers(past.hosts, first, last, FIVE_MINUTES):
        _insert(server, FIVES, _fives(), spans)
    addresses = "[concat('10.0.', toString(intDiv(n, 256)), '.', toString(n % 256))]"
    report = {
        "addresses": addresses,
        "bwtop": "'bench'",
        "first": "0",
        "last": f"{now}",
        "clock": "0",
    }
    _insert(server, HOST, {"spool": "toInt64(n)", **report}, "SELECT 0 AS t, 0 AS e")


def write_again(server: FleetServer, past: Past, now: float) -> None:
    """Write the last minute of seconds again: hosts are live as long as the server has just received rows of them."""
    _write_level(server, past, 0, int(now) - LAST, int(now))


def _write_level(server: FleetServer, past: Past, level: int, first: int, last: int) -> None:
    unit, every = LENGTHS[level], 10 if level == 0 else 1
    for spans in _numbers(past.hosts, first, last, unit):
        _insert(server, SPAN, _span(level), spans)
    first = first // (unit * every) * unit * every  # which flows move depends on it
    for spans in _numbers(past.hosts * FLOWS[level], first, last, unit * every):
        _insert(server, TRAFFIC, _traffic(level), spans, FLOWS[level])


def _numbers(rows: int, first: int, last: int, unit: int) -> Iterator[str]:
    """Yield queries for the times of spans as `t` and `e`, in pieces: a server that is stopped for memory has written nothing."""
    at_once = max(STEP // rows, 1) * unit
    for start in range(first, last, at_once):
        many = -(-(min(start + at_once, last) - start) // unit)
        yield f"SELECT {start} + number * {unit} AS t, t + {unit} AS e FROM system.numbers LIMIT {many}"


def _months(start: float, end: float) -> Iterator[tuple[int, int]]:
    first = datetime.fromtimestamp(start, UTC).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    while True:
        after = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
        if after.timestamp() > end:
            return
        yield int(first.timestamp()), int(after.timestamp())
        first = after


def _row(level: int) -> dict[str, str]:
    return {
        "level": f"toUInt8({level})",
        "spool": "toInt64(n)",
        "span_id": "toUInt64(t)",
        "time": "toDateTime(t)",
        "start": "toFloat64(t)",
        "version": "toUInt64(0)",
    }


def _span(level: int) -> dict[str, str]:
    return {**_row(level), "end": "toFloat64(e)", "seconds": "toFloat64(e - t)"}


def _traffic(level: int) -> dict[str, str]:
    """Return the columns of a flow; a host has 60 flows of 12 processes."""
    address = "concat('::ffff:203.', toString(flow % 5), '.', toString(n % 7), '.', toString(flow))"
    return {
        **_row(level),
        "flow": "toUInt64((t + f * 7) % 60) AS flow",
        "process": "flow % 12" if level == 0 else "toUInt64(0)",
        "pid": "toUInt32(1000 + n * 12 + flow % 12)" if level == 0 else "toUInt32(0)",
        "name": "concat('process', toString(flow % 12))",
        "exe": "concat('/usr/bin/process', toString(flow % 12))",
        "user": "'root'",
        "uid": "toInt64(0)",
        "unit": "concat('process', toString(flow % 12), '.service')",
        "protocol": "toUInt8(6)",
        "port": "toUInt16(443)",
        "address": f"IPv6StringToNum({address})",
        "rx": "cityHash64(t, n) % 100000",
        "tx": "cityHash64(n, t) % 10000",
    }


def _fives() -> dict[str, str]:
    moved = {
        name: "cityHash64(t, n) % 100000" for name in pulse_columns() if "loopback" not in name
    }
    return {
        "spool": "toInt64(n)",
        "time": "toDateTime(t)",
        "seconds": "toFloat64(300)",
        "version": "toUInt64(0)",
        **moved,
    }


def _insert(
    server: FleetServer, table: ServerTable, values: dict[str, str], spans: str, flows: int = 1
) -> None:
    """Insert the spans of all hosts, each with so many flows."""
    columns = {"host_id": "host_id", "host": "host", **values}
    server.query(
        f"INSERT INTO {table.name} ({', '.join(columns)}) SELECT {', '.join(columns.values())} FROM"
        f" (SELECT t, e, n, host_id, host, arrayJoin(range({flows})) AS f FROM ({spans}) AS s CROSS JOIN fleet)"
    )
