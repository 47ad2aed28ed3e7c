"""The statements that create the tables in ClickHouse."""

from collections.abc import Iterator, Mapping
from typing import Final

from bwtop import __version__
from bwtop.clickhouse.schema import (
    KEPT,
    NUMBER,
    PRESENCE,
    SCHEMA,
    SPAN,
    TABLES,
    TEXT,
    TODAY,
    ServerColumn,
    ServerTable,
)
from bwtop.history.tiers import FOREVER, TIERS

LOCAL: Final = "_local"
"""Suffix of the table of a single shard."""

VIEW: Final = "presence_of_span"

_VIEW: Final = (
    "SELECT level, multiIf(level < 2, toDate(time), level = 2, toStartOfMonth(time), toStartOfYear(time)) AS period,"
    " host_id, argMaxState(CAST(host AS String), time) AS host, minState(start) AS first, maxState(end) AS last,"
    " maxState(if(skipped > 0, start, 0)) AS whole"
)
"""SQL that keeps the presence up to date: the server runs it over each insert into the spans."""


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
    on = on_cluster(cluster)
    yield (
        "written by bwtop --ship, read by bwtop --from",
        f"CREATE DATABASE IF NOT EXISTS {database}{on}",
    )
    for table in TABLES:
        yield table.help, _table(table, database, version, retention, cluster)
        if cluster and not table.is_common:
            yield (
                "all shards together: write and read this table",
                distributed(f"{database}.{table.name}", cluster),
            )
    suffix = LOCAL if cluster else ""
    yield (
        "keeps the presence up to date",
        f"CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.{VIEW}{on} TO {database}.{PRESENCE.name}{suffix} AS\n"
        f"{_VIEW}\nFROM {database}.{SPAN.name}{suffix} GROUP BY level, period, host_id",
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
    yield f"-- the number of this schema\n{numbered(database)};\n"


def numbered(database: str, number: int = NUMBER) -> str:
    """Return the statement that notes the number of the schema."""
    return f"INSERT INTO {database}.{SCHEMA.name} (number, bwtop) SELECT {number}, '{__version__}'"


def on_cluster(cluster: str | None) -> str:
    """Return the clause that runs a statement on all servers of a cluster."""
    return f" ON CLUSTER '{cluster}'" if cluster else ""


def distributed(name: str, cluster: str) -> str:
    """Return the statement to create the table of all shards, beside that of each."""
    database, _, table = name.partition(".")
    return (
        f"CREATE TABLE IF NOT EXISTS {name}{on_cluster(cluster)} AS {name}{LOCAL}\n"
        f"ENGINE = Distributed('{cluster}', '{database}', '{table}{LOCAL}', cityHash64(toString(host_id)))"
    )


def _table(
    table: ServerTable,
    database: str,
    version: tuple[int, int],
    retention: Mapping[str, float],
    cluster: str | None,
) -> str:
    is_old = version < TODAY
    suffix = LOCAL if cluster and not table.is_common else ""
    lines = [
        f"CREATE TABLE IF NOT EXISTS {database}.{table.name}{suffix}{on_cluster(cluster)}\n(",
        ",\n".join(f"    {described(column, version)}" for column in table.columns),
        ")",
        f"ENGINE = {_engine(table, database, is_replicated=cluster is not None)}",
        f"PARTITION BY {table.partition}",
        f"ORDER BY ({', '.join(table.key)})",
    ]
    if not is_old:
        kept = ttl(table, retention)
        lines += [f"TTL {kept}"] if kept else []
        settings = ["ttl_only_drop_parts = 1"] if kept and table is not PRESENCE else []
        settings += [] if cluster else ["fsync_after_insert = 1"]  # a cluster has replicas instead
        lines += [f"SETTINGS {', '.join(settings)}"] if settings else []
    return "\n".join(lines)


def described(column: ServerColumn, version: tuple[int, int]) -> str:
    """Return the SQL of a column for a version of the server."""
    default = f" DEFAULT {column.default}" if column.default else ""
    if version < TODAY:
        plain = (
            "String" if column.type == TEXT else column.type
        )  # LowCardinality was experimental then
        return f"{column.name} {column.old_type or plain}{default}"
    codec = f" CODEC({column.codec})" if column.codec else " CODEC(ZSTD)"
    text = column.help.replace("'", "''")
    comment = f" COMMENT '{text}'" if text else ""
    return f"{column.name} {column.type}{default}{comment}{codec}"


_REPLICA: Final = "'{replica}'"
_COMMON_REPLICA: Final = "'{shard}-{replica}'"


def _engine(table: ServerTable, database: str, *, is_replicated: bool) -> str:
    arguments = [table.version] if table.version else []
    if not is_replicated:
        return f"{table.engine}({', '.join(arguments)})"
    form = f"{table.name}_{table.since}" if table.since > 1 else table.name
    shard, replica = ("", _COMMON_REPLICA) if table.is_common else ("{shard}/", _REPLICA)
    path = f"'/clickhouse/tables/{shard}{database}/{form}'"
    return f"Replicated{table.engine}({', '.join([path, replica, *arguments])})"


def ttl(table: ServerTable, retention: Mapping[str, float]) -> str:
    """Return the SQL expression of the time until which a row is kept; empty: for ever.

    The server deletes old rows at times of its own.
    """
    kept = {tier.level: retention[tier.name] for tier in TIERS}
    ends = {
        level: f"{end} + {kept[level]:.0f}"
        for level, end in table.ends.items()
        if kept[level] != FOREVER
    }
    if not ends:
        return ""
    cases = [f"level = {level}, {end}" for level, end in ends.items() if level >= 0]
    end = f"multiIf({', '.join(cases)}, {_NEVER})" if cases else next(iter(ends.values()))
    return f"toDateTime(least({end}, {_NEVER}))"


_NEVER: Final = 2**32 - 1
"""The last second of a DateTime."""
