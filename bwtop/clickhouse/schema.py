"""The tables in ClickHouse, also for servers before 21.3, which have no TTL for a part of the rows.

The engine of each table keeps one row per key, that of the highest version.  A row that is sent twice has the same key,
so it counts once.  Queries need FINAL, because the server merges rows at times of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bwtop.clickhouse.client import FleetServer
from bwtop.history.tiers import FOREVER, TIERS
from bwtop.sqlite.schema import pulse_columns

TODAY: Final = (21, 3)
"""The first version that accepts the schema as it is printed."""

KEPT: Final = {
    "seconds": 7 * 86400.0,
    "minutes": 30 * 86400.0,
    "hours": 730 * 86400.0,
    "5min": 730 * 86400.0,
}
"""Default retention by tier, in seconds; other tiers are kept for ever."""

LOCAL: Final = "_local"
"""Suffix of the table of a single shard."""


@dataclass(frozen=True)
class ServerColumn:
    """A column of a table."""

    name: str
    type: str
    help: str = ""
    codec: str = ""
    old_type: str = ""
    """Type for servers before TODAY, where it differs."""


@dataclass(frozen=True)
class ServerTable:
    """A table; its key identifies the rows and sorts them."""

    name: str
    help: str
    key: tuple[str, ...]
    columns: tuple[ServerColumn, ...]
    version: str = ""
    """Column of the version: the row with the highest counts."""

    def names(self) -> list[str]:
        """Return the names of all columns."""
        return [column.name for column in self.columns]


_TEXT: Final = "LowCardinality(String)"

_WHERE: Final = (
    ServerColumn("host_id", "UUID", "id of the host; stays when its name changes"),
    ServerColumn("host", _TEXT, "name of the host at that time"),
    ServerColumn("spool", "Int64", "id of the SQLite database on the host"),
)
"""Columns of the host of a row."""

_ROW: Final = (
    ServerColumn(
        "level", "UInt8", "0 an interval of about a second, 1 minute, 2 hour, 3 day, 4 month"
    ),
    *_WHERE,
    ServerColumn("span_id", "UInt64", "id of the interval, minute, ... in that database"),
    ServerColumn("time", "DateTime('UTC')", "start of the span", "DoubleDelta, ZSTD"),
    ServerColumn("start", "Float64", "start in seconds with fractions", "Gorilla, ZSTD"),
)

_MORE: Final = (
    ServerColumn("version", "UInt64", "a span that is sent again has a higher version"),
)

TABLES: Final = (
    ServerTable(
        "traffic",
        "bytes by host, time, process and remote; each level has all bytes: query one level",
        ("level", "host_id", "time", "spool", "span_id", "flow", "process"),
        (
            *_ROW,
            ServerColumn("flow", "UInt64", "id of program and remote in that database"),
            ServerColumn(
                "process", "UInt64", "id of the process in that database; 0 in levels above 0"
            ),
            ServerColumn("pid", "UInt32", "process id; 0 in levels above 0"),
            ServerColumn("name", _TEXT, "name of the process"),
            ServerColumn("exe", _TEXT, "path of the program; empty if unknown"),
            ServerColumn("user", _TEXT, "name of the uid on that host"),
            ServerColumn("uid", "Int64", "user id; -1 if unknown"),
            ServerColumn("unit", _TEXT, "systemd unit"),
            ServerColumn("container", _TEXT, "runtime:id"),
            ServerColumn("pod", _TEXT, "Kubernetes pod"),
            ServerColumn("kernel", "UInt8", "1: a kernel thread"),
            ServerColumn("protocol", "UInt8", "IANA protocol number"),
            ServerColumn("role", "UInt8", "role of the process: 0 client, 1 server"),
            ServerColumn("port", "UInt16", "port of the service"),
            ServerColumn(
                "address",
                "IPv6",
                "remote address; IPv4 as ::ffff:a.b.c.d, :: if unknown",
                "",
                "FixedString(16)",
            ),
            ServerColumn("loopback", "UInt8", "1: 127.0.0.0/8 or ::1"),
            ServerColumn("rx", "UInt64", "bytes received", "T64, ZSTD"),
            ServerColumn("tx", "UInt64", "bytes sent", "T64, ZSTD"),
            *_MORE,
        ),
        "version",
    ),
    ServerTable(
        "span",
        "recorded time and losses",
        ("level", "host_id", "time", "spool", "span_id"),
        (
            *_ROW,
            ServerColumn("end", "Float64", "end in seconds, UTC", "Gorilla, ZSTD"),
            ServerColumn("seconds", "Float64", "recorded seconds"),
            ServerColumn("spilled", "UInt64", "flows without a remote"),
            ServerColumn("spilled_bytes", "UInt64"),
            ServerColumn("unattributed", "UInt64", "updates without a process"),
            ServerColumn("unattributed_bytes", "UInt64"),
            ServerColumn("unnamed", "UInt64", "processes without a name"),
            ServerColumn("missed_events", "UInt64", "events that the kernel skipped"),
            *_MORE,
        ),
        "version",
    ),
    ServerTable(
        "fives",
        "five-minute totals by protocol category, for percentiles and peaks",
        ("host_id", "time", "spool"),
        (
            *_WHERE,
            ServerColumn(
                "time", "DateTime('UTC')", "start of the five minutes", "DoubleDelta, ZSTD"
            ),
            ServerColumn("seconds", "Float64", "recorded seconds"),
            *(ServerColumn(name, "UInt64", codec="T64, ZSTD") for name in pulse_columns()),
            *_MORE,
        ),
        "version",
    ),
    ServerTable(
        "event",
        "events that affect the totals: the clock was set, the machine slept, bytes were dropped",
        ("host_id", "time", "spool", "event_id"),
        (
            *_WHERE,
            ServerColumn("event_id", "UInt64", "id in that database"),
            ServerColumn("time", "DateTime('UTC')"),
            ServerColumn("moment", "Float64", "time in seconds with fractions"),
            ServerColumn("kind", _TEXT),
            ServerColumn("amount", "Float64"),
        ),
    ),
)

TRAFFIC, SPAN, FIVES, EVENT = TABLES


def create(
    server: FleetServer,
    database: str,
    retention: Mapping[str, float] = KEPT,
    cluster: str | None = None,
) -> None:
    """Create the missing database and tables on a server; raise FleetError."""
    for _, statement in statements(database, server.version, retention, cluster):
        server.query(statement)


def statements(
    database: str,
    version: tuple[int, int] = TODAY,
    retention: Mapping[str, float] = KEPT,
    cluster: str | None = None,
) -> Iterator[tuple[str, str]]:
    """Yield (comment, statement) to create the database and its tables where they are missing.

    With a cluster, tables are replicated within a shard by the servers' macros {shard} and {replica}.  Beside each, a
    table is distributed over all shards by host: that one is written and read.
    """
    on = f" ON CLUSTER '{cluster}'" if cluster else ""
    yield (
        "written by bwtop --ship, read by bwtop --from",
        f"CREATE DATABASE IF NOT EXISTS {database}{on}",
    )
    for table in TABLES:
        yield table.help, _table(table, database, version, retention, cluster)
        if cluster:
            name = f"{database}.{table.name}"
            yield (
                "all shards together: write and read this table",
                f"CREATE TABLE IF NOT EXISTS {name}{on} AS {name}{LOCAL}\n"
                f"ENGINE = Distributed('{cluster}', '{database}', '{table.name}{LOCAL}', cityHash64(toString(host_id)))",
            )


def printed(
    database: str,
    version: tuple[int, int] = TODAY,
    retention: Mapping[str, float] = KEPT,
    cluster: str | None = None,
) -> Iterator[str]:
    """Yield the statements as a script."""
    for about, statement in statements(database, version, retention, cluster):
        yield f"-- {about}\n{statement};\n\n"


def _table(
    table: ServerTable,
    database: str,
    version: tuple[int, int],
    retention: Mapping[str, float],
    cluster: str | None,
) -> str:
    is_old = version < TODAY
    name, on = f"{database}.{table.name}", ""
    if cluster:
        name, on = name + LOCAL, f" ON CLUSTER '{cluster}'"
    lines = [
        f"CREATE TABLE IF NOT EXISTS {name}{on}\n(",
        ",\n".join(_column(column, is_old=is_old) for column in table.columns),
        ")",
        f"ENGINE = {_engine(table, database, is_replicated=cluster is not None)}",
        "PARTITION BY toYYYYMM(time)",
        f"ORDER BY ({', '.join(table.key)})",
    ]
    if not is_old:
        lines += _ttl(table, retention)
        lines += (
            [] if cluster else ["SETTINGS fsync_after_insert = 1"]
        )  # a cluster has replicas instead
    return "\n".join(lines)


def _column(column: ServerColumn, *, is_old: bool) -> str:
    if is_old:
        plain = (
            "String" if column.type == _TEXT else column.type
        )  # LowCardinality was experimental then
        return f"    {column.name} {column.old_type or plain}"
    codec = f" CODEC({column.codec})" if column.codec else " CODEC(ZSTD)"
    text = column.help.replace("'", "''")
    comment = f" COMMENT '{text}'" if text else ""
    return f"    {column.name} {column.type}{comment}{codec}"


_REPLICA: Final = "'{replica}'"


def _engine(table: ServerTable, database: str, *, is_replicated: bool) -> str:
    arguments = [table.version] if table.version else []
    if not is_replicated:
        return f"ReplacingMergeTree({', '.join(arguments)})"
    path = f"'/clickhouse/tables/{{shard}}/{database}/{table.name}'"
    return f"ReplicatedReplacingMergeTree({', '.join([path, _REPLICA, *arguments])})"


def _ttl(table: ServerTable, retention: Mapping[str, float]) -> Sequence[str]:
    """Return the TTL clause; the server deletes old rows at times of its own."""
    kept = {tier.level: retention.get(tier.name, FOREVER) for tier in TIERS}
    conditions = {level: f" DELETE WHERE level = {level}" for level in kept if level >= 0}
    if table is FIVES:
        conditions = {-1: ""}
    elif table is EVENT:
        conditions = {}
    rules = [
        f"time + INTERVAL {kept[level]:.0f} SECOND{condition}"
        for level, condition in conditions.items()
        if kept[level] != FOREVER
    ]
    return [f"TTL {', '.join(rules)}"] if rules else []
