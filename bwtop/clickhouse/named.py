"""SQL of the names of remotes: the rules are those of history.names.best()."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from bwtop.clickhouse.client import FleetServer
from bwtop.clickhouse.schema import NAMED, PROGRAM
from bwtop.clickhouse.spans import LAST
from bwtop.history.names import SeenSpan
from bwtop.model.flows import Host, stored_identity
from bwtop.model.named import REMOTE_NAME, NameSource, RemoteName

_PROGRAM: Final = tuple(column.name for column in PROGRAM)

_WHO: Final = f"cityHash64({', '.join(_PROGRAM)})"
"""SQL of a number that tells programs of a host apart."""

OWN: Final = ("host_id", *_PROGRAM, "address", "port", "role")
"""Columns of traffic that decide the name of a flow."""

_AT_ONCE: Final = 1000
"""Addresses that are asked for by name; of more, all rows are read."""


def has_names(server: FleetServer) -> bool:
    """Return whether a server has the table of names: those of schema 2 have not."""
    ((found,),) = server.query(
        f"SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = '{NAMED.name}'"
    )
    return bool(found)


_NO_PORT: Final = -2
"""The port of a server is its own: no name is of it."""


def _each(value: str) -> str:
    """Return the SQL of an array that has a value for each name: old servers miss columns that only a lambda names."""
    return f"arrayResize([{value}], length(seen), {value})"


def with_names(rows: str, keys: Sequence[str], end: float) -> str:
    """Return the SQL of rows of traffic, added up by columns, with the names that hold before a time.

    A name is preceded by its source and a blank.  A host has few names of an address: they come as one array, the best
    first, and each row takes the first of its own process, else the first that DNS told any process.
    """
    latest = f"least(toInt64(toUInt32(last)), toInt64({int(min(end, LAST))}))"
    listed = (
        f"(if(source IN ('sni', 'host'), 0, 1), -{latest}, -toInt64(toUInt32(first)), remote_name, source, port,"
        f" known * {_WHO})"
    )
    seen = (
        f"SELECT host_id, address, arraySort(groupArray({listed})) AS seen FROM {NAMED.name} FINAL"
        f" WHERE toUInt32(first) < {end!r} GROUP BY host_id, address"
    )
    sums = f"SELECT {', '.join(keys)}, {_WHO} AS who, sum(rx) AS rx, sum(tx) AS tx FROM {rows} GROUP BY {', '.join(keys)}"
    columns = f"{', '.join(keys)}, rx, tx"
    place = f"if(role = 0, toInt32(port), {_NO_PORT})"
    own = f"arrayFirst((x, w, p) -> x.7 = w AND (x.6 = -1 OR x.6 = p), seen, {_each('who')}, {_each(place)})"
    others = "arrayFirst(x -> x.5 LIKE 'dns%', seen)"
    return (
        f"(SELECT {columns}, multiIf(own.4 != '', concat(own.5, ' ', own.4),"
        f" other.4 != '', concat('{NameSource.HOST_DNS}', ' ', other.4), '') AS {REMOTE_NAME}"
        f" FROM (SELECT {columns}, {own} AS own, {others} AS other"
        f" FROM (SELECT {columns}, who, seen"
        f" FROM ({sums}) AS flows ANY LEFT JOIN ({seen}) AS names USING (host_id, address))))"
    )


def parsed(text: str) -> RemoteName | None:
    """Return the name of a row."""
    source, _, name = text.partition(" ")
    return RemoteName(name, NameSource(source)) if name else None


def seen_names(
    server: FleetServer, addresses: Collection[bytes], end: float, hosts: Mapping[str, Host]
) -> dict[bytes, list[SeenSpan]]:
    """Return the names of some addresses that were first seen before a time."""
    found: dict[bytes, list[SeenSpan]] = defaultdict(list)
    if not addresses or not has_names(server):
        return found
    of_some = ""
    if len(addresses) <= _AT_ONCE:
        listed = ", ".join(f"'{address.hex().upper()}'" for address in addresses)
        of_some = f" AND hex(address) IN ({listed})"
    rows: Sequence[tuple[Any, ...]] = server.query(
        f"SELECT hex(address), port, remote_name, source, toUInt32(first), toUInt32(last), known, toString(host_id),"
        f" {', '.join(_PROGRAM)} FROM {NAMED.name} FINAL WHERE toUInt32(first) < {end!r}{of_some}"
    )
    for address, port, name, source, first, last, known, host, *who in rows:
        identity = stored_identity(dict(zip(_PROGRAM, who, strict=True)), host=hosts.get(host))
        of_port = None if port < 0 else port
        one = SeenSpan(name, NameSource(source), of_port, first, last, identity if known else None)
        found[bytes.fromhex(address)].append(one)
    return found
