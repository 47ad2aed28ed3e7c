"""SQL of the names of remotes: the rules are those of history.names.best()."""

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
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

_OF_KNOWN_SOURCES: Final = (
    f" AND source IN ({', '.join(repr(str(source)) for source in NameSource)})"
)
"""Any host may write to the server, also one with a newer bwtop."""

OWN: Final = ("host_id", *_PROGRAM, "address", "port", "role")
"""Columns of traffic that decide the name of a flow."""

AT_ONCE: Final = 1000
"""Addresses that are asked for together."""

CHANGES: Final = 5.0
"""Seconds between two looks for changed names: hosts send them every ten."""

_MOST: Final = 20 * AT_ONCE
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
        f" WHERE toUInt32(first) < {end!r}{_OF_KNOWN_SOURCES} GROUP BY host_id, address"
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
    before = f"toUInt32(first) < {min(end, float(LAST))!r}"
    for condition in _of_addresses(addresses):
        for address, port, name, source, first, last, known, host, *who in _rows(
            server, f"{before}{condition}"
        ):
            where = hosts.get(host) or Host(host, host)
            identity = stored_identity(dict(zip(_PROGRAM, who, strict=True)), host=where)
            of_port = None if port < 0 else port
            process = identity if known else None
            one = SeenSpan(name, NameSource(source), of_port, first, last, process, where)
            found[bytes.fromhex(address)].append(one)
    return found


def _of_addresses(addresses: Collection[bytes]) -> Iterator[str]:
    """Yield SQL conditions that have the rows of addresses between them."""
    if len(addresses) > _MOST:
        yield ""
        return
    for some in _batched(addresses):
        listed = ", ".join(f"'{address.hex().upper()}'" for address in some)
        yield f" AND hex(address) IN ({listed})"


def _batched(addresses: Collection[bytes]) -> Iterator[list[bytes]]:
    """Yield the addresses in parts that are asked for together."""
    left = iter(addresses)
    while some := list(islice(left, AT_ONCE)):
        yield some


def _rows(server: FleetServer, condition: str) -> Sequence[tuple[Any, ...]]:
    return server.query(
        f"SELECT hex(address), port, remote_name, source, toUInt32(first), toUInt32(last), known, toString(host_id),"
        f" {', '.join(_PROGRAM)} FROM {NAMED.name} FINAL WHERE {condition}{_OF_KNOWN_SOURCES}"
    )


class ChangedNames:
    """Looks for names that have arrived since the last look."""

    def __init__(self, server: FleetServer, monotonic: Callable[[], float]) -> None:
        self._server = server
        self._monotonic = monotonic
        self._looked = -math.inf
        self._last: _Changes | None = None
        """None: not known yet."""

    def addresses(self) -> set[bytes]:
        """Return the addresses that have other names; nothing if the last look was a short while ago."""
        now = self._monotonic()
        if now - self._looked < CHANGES:
            return set()
        last = self._changes()
        found = self._since(self._last, last) if self._last is not None else set()
        self._last, self._looked = last, now
        return found

    def _since(self, before: "_Changes", last: "_Changes") -> set[bytes]:
        """Return the addresses of names that have changed between two looks."""
        changed = " OR ".join(
            f"(host_id = '{host}' AND spool = {spool} AND version > {before.get((host, spool), 0)})"
            for (host, spool), number in last.items()
            if before.get((host, spool), 0) < number
        )
        if not changed:
            return set()
        found = self._server.query(
            f"SELECT DISTINCT hex(address) FROM {NAMED.name} WHERE {changed}"
        )
        return {bytes.fromhex(address) for (address,) in found}

    def _changes(self) -> "_Changes":
        if not has_names(self._server):
            return {}
        found = self._server.query(
            f"SELECT toString(host_id), spool, max(version) FROM {NAMED.name} GROUP BY host_id, spool"
        )
        return {(host, spool): last for host, spool, last in found}


_Changes = dict[tuple[str, int], int]
"""The number of the last change by host id and database id."""
