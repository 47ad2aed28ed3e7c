"""The tables in ClickHouse, also for servers before 21.3, which have no TTL that drops whole parts.

The tables of recorded rows keep one row per key, that of the highest version.  A row that is sent twice has the same
key, so it counts once.  Queries need FINAL, because the server merges rows at times of its own.

A partition has one level and one day (or month, or year), so old detail is deleted as whole files.  Within it rows are
sorted by minute, then by host: the last minutes of all hosts are read as one piece.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from bwtop.history.tiers import COARSEST, FOREVER
from bwtop.sqlite.schema import pulse_columns

TODAY: Final = (21, 3)
"""The first version that accepts the schema as it is printed."""

KEPT: Final = {
    "seconds": 7 * 86400.0,
    "minutes": 30 * 86400.0,
    "hours": 730 * 86400.0,
    "days": FOREVER,
    "months": FOREVER,
    "5min": 730 * 86400.0,
}
"""Default retention by tier, in seconds."""


@dataclass(frozen=True)
class ServerColumn:
    """A column of a table."""

    name: str
    type: str
    help: str = ""
    codec: str = ""
    old_type: str = ""
    """Type for servers before TODAY, where it differs."""
    default: str = ""
    """SQL expression of a value that the server finds; hosts do not send the column."""
    since: int = 1
    """The first schema that has it, if its table is older: it is added to existing ones."""


@dataclass(frozen=True, eq=False)
class ServerTable:
    """A table; its key identifies the rows and sorts them."""

    name: str
    help: str
    key: tuple[str, ...]
    columns: tuple[ServerColumn, ...]
    version: str = ""
    """Column of the version: the row with the highest counts."""
    partition: str = "tuple()"
    ends: Mapping[int, str] = field(default_factory=dict)
    """By level, SQL expression of the second after which the retention of a row begins."""
    engine: str = "ReplacingMergeTree"
    since: int = 1
    """The first schema that has the table in this form; each form of a replicated table has a path of its own."""
    is_common: bool = False
    """In a cluster, all shards have the same rows."""

    def names(self) -> list[str]:
        """Return the names of the columns that are sent."""
        return [column.name for column in self.columns if not column.default]


TEXT: Final = "LowCardinality(String)"

_WHERE: Final = (
    ServerColumn("host_id", "UUID", "id of the host; stays when its name changes"),
    ServerColumn("host", TEXT, "name of the host at that time"),
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

_RECEIVED: Final = ServerColumn(
    "received",
    "DateTime('UTC')",
    "when the row arrived, by the clock of the server",
    "DoubleDelta, ZSTD",
    default="now()",
)

_BY_DAY: Final = "multiIf(level < 2, toYYYYMMDD(time), level = 2, toYYYYMM(time), toYear(time))"

_MINUTE: Final = "toStartOfMinute(time)"

_LEVELS: Final = range(COARSEST + 1)

_NAME: Final = ServerColumn("name", TEXT, "name of the process")
_EXE: Final = ServerColumn("exe", TEXT, "path of the program; empty if unknown")
_REST: Final = (
    ServerColumn("uid", "Int64", "user id; -1 if unknown"),
    ServerColumn("unit", TEXT, "systemd unit"),
    ServerColumn("container", TEXT, "runtime:id"),
    ServerColumn("pod", TEXT, "Kubernetes pod"),
    ServerColumn("kernel", "UInt8", "1: a kernel thread"),
)

PROGRAM: Final = (_NAME, _EXE, *_REST)
"""Columns that tell programs of a host apart."""

_ADDRESS: Final = ServerColumn(
    "address",
    "IPv6",
    "remote address; IPv4 as ::ffff:a.b.c.d, :: if unknown",
    "",
    "FixedString(16)",
)

_MORE: Final = (
    ServerColumn("version", "UInt64", "a span that is sent again has a higher version"),
)

TABLES: Final = (
    ServerTable(
        "traffic",
        "bytes by host, time, process and remote; each level has all bytes: query one level",
        ("level", _MINUTE, "host_id", "time", "spool", "span_id", "flow", "process"),
        (
            *_ROW,
            ServerColumn("flow", "UInt64", "id of program and remote in that database"),
            ServerColumn(
                "process", "UInt64", "id of the process in that database; 0 in levels above 0"
            ),
            ServerColumn("pid", "UInt32", "process id; 0 in levels above 0"),
            _NAME,
            _EXE,
            ServerColumn("user", TEXT, "name of the uid on that host"),
            *_REST,
            ServerColumn("protocol", "UInt8", "IANA protocol number"),
            ServerColumn("role", "UInt8", "role of the process: 0 client, 1 server"),
            ServerColumn("port", "UInt16", "port of the service"),
            _ADDRESS,
            ServerColumn("loopback", "UInt8", "1: 127.0.0.0/8 or ::1"),
            ServerColumn("rx", "UInt64", "bytes received", "T64, ZSTD"),
            ServerColumn("tx", "UInt64", "bytes sent", "T64, ZSTD"),
            *_MORE,
        ),
        "version",
        f"(level, {_BY_DAY})",
        dict.fromkeys(_LEVELS, "toUnixTimestamp(time)"),
        since=2,
    ),
    ServerTable(
        "span",
        "recorded time and losses",
        ("level", _MINUTE, "host_id", "time", "spool", "span_id"),
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
            ServerColumn(
                "skipped", "UInt64", "intervals right before it that the host had deleted unsent"
            ),
            *_MORE,
            _RECEIVED,
        ),
        "version",
        f"(level, {_BY_DAY})",
        dict.fromkeys(_LEVELS, "toUnixTimestamp(time)"),
        since=2,
    ),
    ServerTable(
        "fives",
        "five-minute totals by protocol category, for percentiles and peaks",
        ("time", "host_id", "spool"),
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
        "toYYYYMM(time)",
        {-1: "toUnixTimestamp(time)"},
        since=2,
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
            ServerColumn("kind", TEXT),
            ServerColumn("amount", "Float64"),
        ),
        partition="toYYYYMM(time)",
    ),
    ServerTable(
        "host",
        "the hosts that send, each with its last report of itself",
        ("host_id",),
        (
            *_WHERE,
            ServerColumn("addresses", "Array(String)", "its own addresses, without loopback"),
            ServerColumn("networks", "Array(String)", "prefixes of the links of these", since=4),
            ServerColumn("bwtop", "String", "version of bwtop"),
            ServerColumn("first", "Float64", "start of its history, by its clock"),
            ServerColumn("last", "Float64", "time of the report, by its clock"),
            ServerColumn(
                "clock", "Float64", "seconds by which its clock is ahead of that of the server"
            ),
            _RECEIVED,
        ),
        "received",
        since=2,
    ),
    ServerTable(
        "presence",
        "which hosts have spans in a day (levels 0 and 1), month (2) or year (3 and 4)",
        ("level", "period", "host_id"),
        (
            ServerColumn("level", "UInt8"),
            ServerColumn("period", "Date", "first day"),
            ServerColumn("host_id", "UUID"),
            *(
                ServerColumn(name, f"AggregateFunction({function}, {types})", text)
                for name, function, types, text in (
                    ("host", "argMax", "String, DateTime('UTC')", "argMaxMerge: the latest name"),
                    ("first", "min", "Float64", "minMerge: the first start"),
                    ("last", "max", "Float64", "maxMerge: the last end"),
                    ("whole", "max", "Float64", "maxMerge: no interval is missing after it"),
                )
            ),
        ),
        ends={
            level: f"toUnixTimestamp(toDateTime(period, 'UTC')) + {days * 86400}"
            for level, days in zip(_LEVELS, (1, 1, 31, 366, 366), strict=True)
        },
        engine="AggregatingMergeTree",
        since=2,
    ),
    ServerTable(
        "named",
        "names of remotes, as processes asked for them",
        ("host_id", "address", "spool", "named_id"),
        (
            *_WHERE,
            ServerColumn("named_id", "UInt64", "id in that database"),
            ServerColumn("known", "UInt8", "0: the process is unknown"),
            *PROGRAM,
            _ADDRESS,
            ServerColumn("port", "Int32", "port of the service; -1: any"),
            ServerColumn("remote_name", "String"),
            ServerColumn("source", TEXT, "sni, host, dns, or dns-host: DNS told another process"),
            ServerColumn("first", "DateTime('UTC')", "when it was first seen"),
            ServerColumn("last", "DateTime('UTC')", "when it was last seen"),
            *_MORE,
        ),
        "version",
        since=3,
    ),
    ServerTable(
        "schema",
        "versions of these tables: bwtop --init adds a row when it upgrades them",
        ("number",),
        (
            ServerColumn("number", "UInt32"),
            ServerColumn("bwtop", "String", "version of bwtop"),
            _RECEIVED,
        ),
        since=2,
        is_common=True,
    ),
)

TRAFFIC, SPAN, FIVES, EVENT, HOST, PRESENCE, NAMED, SCHEMA = TABLES

NUMBER: Final = 4
"""Number of the schema that this bwtop creates and reads; a server without the table of it has 1, or no tables."""
