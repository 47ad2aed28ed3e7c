"""The tables in ClickHouse: in today's dialect, and in that of servers before 21.3, which have no TTL of some rows.

Every table's engine keeps one row of those with the same key, that of the highest version.  What is sent twice has the
same key, so it counts once; who reads says FINAL, because rows are merged when the server finds the time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bwtop.clickhouse.client import Server
from bwtop.history.tiers import FOREVER, TIERS
from bwtop.sqlite.schema import pulse_columns

TODAY: Final = (21, 3)
"""The first version that takes the schema as it is printed."""

KEPT: Final = {
    "seconds": 7 * 86400.0,
    "minutes": 30 * 86400.0,
    "hours": 730 * 86400.0,
    "5min": 730 * 86400.0,
}
"""Seconds by tier, unless --retention says otherwise; what is not named is kept for ever."""

LOCAL: Final = "_local"
"""What a table of a single shard has behind its name."""


@dataclass(frozen=True)
class Column:
    """One of them."""

    name: str
    type: str
    help: str = ""
    codec: str = ""
    old_type: str = ""
    """Where a server before TODAY has another."""


@dataclass(frozen=True)
class Table:
    """One of them; its key tells its rows apart, and they lie in its order."""

    name: str
    help: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    version: str = ""
    """The column of which the highest counts."""

    def names(self) -> list[str]:
        """All columns."""
        return [column.name for column in self.columns]


_TEXT: Final = "LowCardinality(String)"

_WHERE: Final = (
    Column("host_id", "UUID", "of the machine; stays when its name changes"),
    Column("host", _TEXT, "the machine's name then"),
    Column("spool", "Int64", "the database that it came from"),
)
"""Which host a row is of."""

_ROW: Final = (
    Column("level", "UInt8", "0 an interval of about a second, 1 minute, 2 hour, 3 day, 4 month"),
    *_WHERE,
    Column("span_id", "UInt64", "of the interval, minute, ... in that database"),
    Column("time", "DateTime('UTC')", "where that begins", "DoubleDelta, ZSTD"),
    Column("start", "Float64", "the same, in seconds with their fractions", "Gorilla, ZSTD"),
)

_MORE: Final = (Column("version", "UInt64", "a span that was sent again has a higher one"),)

TABLES: Final = (
    Table(
        "traffic",
        "who moved how many bytes, when, on which host; each level has all bytes: ask for one",
        ("level", "host_id", "time", "spool", "span_id", "flow", "process"),
        (
            *_ROW,
            Column("flow", "UInt64", "of the program and its remote in that database"),
            Column("process", "UInt64", "in that database; 0 in levels above 0"),
            Column("pid", "UInt32", "0 in levels above 0"),
            Column("name", _TEXT, "of the process"),
            Column("exe", _TEXT, "path; empty where it is not known"),
            Column("user", _TEXT, "the uid's name on that machine"),
            Column("uid", "Int64", "-1 where it is not known"),
            Column("unit", _TEXT, "of systemd"),
            Column("container", _TEXT, "runtime:id"),
            Column("pod", _TEXT, "of Kubernetes"),
            Column("kernel", "UInt8", "1: a kernel thread"),
            Column("protocol", "UInt8", "IANA's number"),
            Column("role", "UInt8", "of the process: 0 client, 1 server"),
            Column("port", "UInt16", "the service's"),
            Column(
                "address",
                "IPv6",
                "remote; IPv4 as ::ffff:a.b.c.d, :: unknown",
                "",
                "FixedString(16)",
            ),
            Column("loopback", "UInt8", "1: 127.0.0.0/8 or ::1"),
            Column("rx", "UInt64", "bytes received", "T64, ZSTD"),
            Column("tx", "UInt64", "bytes sent", "T64, ZSTD"),
            *_MORE,
        ),
        "version",
    ),
    Table(
        "span",
        "what was recorded at all, and what was lost",
        ("level", "host_id", "time", "spool", "span_id"),
        (
            *_ROW,
            Column("end", "Float64", "seconds, UTC", "Gorilla, ZSTD"),
            Column("seconds", "Float64", "recorded of it"),
            Column("spilled", "UInt64", "updates without a remote"),
            Column("spilled_bytes", "UInt64"),
            Column("unattributed", "UInt64", "updates without a process"),
            Column("unattributed_bytes", "UInt64"),
            Column("unnamed", "UInt64", "processes without a name"),
            Column("missed_events", "UInt64", "that the kernel skipped"),
            *_MORE,
        ),
        "version",
    ),
    Table(
        "fives",
        "five-minute totals by protocol category, for percentiles and peaks",
        ("host_id", "time", "spool"),
        (
            *_WHERE,
            Column("time", "DateTime('UTC')", "where they begin", "DoubleDelta, ZSTD"),
            Column("seconds", "Float64", "recorded of them"),
            *(Column(name, "UInt64", codec="T64, ZSTD") for name in pulse_columns()),
            *_MORE,
        ),
        "version",
    ),
    Table(
        "event",
        "what readers of the sums should know: the clock was set, the machine slept, bytes were dropped",
        ("host_id", "time", "spool", "event_id"),
        (
            *_WHERE,
            Column("event_id", "UInt64", "in that database"),
            Column("time", "DateTime('UTC')"),
            Column("moment", "Float64", "the same, in seconds with their fractions"),
            Column("kind", _TEXT),
            Column("amount", "Float64"),
        ),
    ),
)

TRAFFIC, SPAN, FIVES, EVENT = TABLES


def create(
    server: Server,
    database: str,
    retention: Mapping[str, float] = KEPT,
    cluster: str | None = None,
) -> None:
    """Makes what is missing on a server; raises FleetError."""
    for _, statement in statements(database, server.version, retention, cluster):
        server.query(statement)


def statements(
    database: str,
    version: tuple[int, int] = TODAY,
    retention: Mapping[str, float] = KEPT,
    cluster: str | None = None,
) -> Iterator[tuple[str, str]]:
    """What makes the database and its tables where they are missing, each with a word about it.

    With a cluster they are replicated within a shard, and each gets a table beside it that is distributed over all
    shards by host; it is that table which is written and read.  The servers' macros {shard} and {replica} tell them
    apart.
    """
    on = f" ON CLUSTER '{cluster}'" if cluster else ""
    yield (
        "what bwtop --ship sends, and bwtop --from reads",
        f"CREATE DATABASE IF NOT EXISTS {database}{on}",
    )
    for table in TABLES:
        yield table.help, _table(table, database, version, retention, cluster)
        if cluster:
            name = f"{database}.{table.name}"
            yield (
                "the same of all shards: this is the one to write and to read",
                f"CREATE TABLE IF NOT EXISTS {name}{on} AS {name}{LOCAL}\n"
                f"ENGINE = Distributed('{cluster}', '{database}', '{table.name}{LOCAL}', cityHash64(toString(host_id)))",
            )


def printed(
    database: str,
    version: tuple[int, int] = TODAY,
    retention: Mapping[str, float] = KEPT,
    cluster: str | None = None,
) -> Iterator[str]:
    """The same as a script."""
    for about, statement in statements(database, version, retention, cluster):
        yield f"-- {about}\n{statement};\n\n"


def _table(
    table: Table,
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
        lines += [] if cluster else ["SETTINGS fsync_after_insert = 1"]  # there replicas have it
    return "\n".join(lines)


def _column(column: Column, *, is_old: bool) -> str:
    if is_old:
        plain = "String" if column.type == _TEXT else column.type  # that was an experiment then
        return f"    {column.name} {column.old_type or plain}"
    codec = f" CODEC({column.codec})" if column.codec else " CODEC(ZSTD)"
    text = column.help.replace("'", "''")
    comment = f" COMMENT '{text}'" if text else ""
    return f"    {column.name} {column.type}{comment}{codec}"


_REPLICA: Final = "'{replica}'"


def _engine(table: Table, database: str, *, is_replicated: bool) -> str:
    arguments = [table.version] if table.version else []
    if not is_replicated:
        return f"ReplacingMergeTree({', '.join(arguments)})"
    path = f"'/clickhouse/tables/{{shard}}/{database}/{table.name}'"
    return f"ReplicatedReplacingMergeTree({', '.join([path, _REPLICA, *arguments])})"


def _ttl(table: Table, retention: Mapping[str, float]) -> Sequence[str]:
    """Old rows go when the server finds the time."""
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
