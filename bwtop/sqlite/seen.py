"""Read the names of remotes."""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

from bwtop.history.names import SeenSpan
from bwtop.model.flows import Host, Identity
from bwtop.model.named import NameSource, RemoteName
from bwtop.sqlite import checked
from bwtop.sqlite.naming import NAMES, OF_PROCESS

_FEW: Final = 1000
"""Addresses whose names are looked up one by one."""

_COLUMNS: Final = "program, address, port, name, source, first, last"


_Name = tuple[str, int]
"""A name and its source, as they are stored."""


class SeenReader:
    """The names of a database that hold before a time, in memory: the rules are those of history.names.best()."""

    def __init__(self, connection: sqlite3.Connection, end: float) -> None:
        """Read the names, each in place of worse ones; `end` is in UTC seconds."""
        self._sent: dict[tuple[int, bytes, int], _Name] = {}
        self._told: dict[tuple[int, bytes], _Name] = {}
        self._told_any: dict[bytes, _Name] = {}
        for program, address, port, *name in connection.execute(
            "SELECT program, address, port, name, source FROM named WHERE first < ?1"
            " ORDER BY min(last, ?1), first, name DESC",
            (end,),
        ):
            if name[1] in OF_PROCESS:
                self._sent[program, address, port] = (name[0], name[1])
            else:
                self._told[program, address] = self._told_any[address] = (name[0], name[1])

    def of_flow(self, program: int, address: bytes, port: int | None) -> RemoteName | None:
        """Return the name that holds for a flow; `port`: None where it is one of this host."""
        found = self._sent.get((program, address, port)) if port is not None else None
        found = found or self._told.get((program, address))
        if found:
            return RemoteName(checked.text(found[0]), checked.known(found[1], NAMES))
        others = self._told_any.get(address)
        return RemoteName(checked.text(others[0]), NameSource.HOST_DNS) if others else None


def names_of(
    connection: sqlite3.Connection,
    addresses: Collection[bytes],
    end: float,
    identity: Callable[[int], Identity],
    host: Host | None = None,
) -> dict[bytes, list[SeenSpan]]:
    """Return the names of some addresses that were first seen before a time on a host.

    `identity` returns that of a program.
    """
    found: dict[bytes, list[SeenSpan]] = defaultdict(list)
    known: dict[int, Identity] = {}
    for row in _rows(connection, addresses, end):
        program = row[0]
        if program is not None and program not in known:
            known[program] = identity(program)
        found[row[1]].append(_span(row, known.get(program), host))
    return found


def last_change(connection: sqlite3.Connection) -> int:
    """Return the number of the last change of a name."""
    found = connection.execute("SELECT coalesce(max(changed), 0) FROM named")
    return checked.whole(*checked.row(found))


def changed_names(connection: sqlite3.Connection, since: int) -> tuple[set[bytes], int]:
    """Return the addresses whose names have changed since a change, and the number of the last change."""
    found = connection.execute(
        "SELECT address, changed FROM named WHERE changed > ?", (since,)
    ).fetchall()
    return {address for address, _ in found}, max((each for _, each in found), default=since)


def _rows(
    connection: sqlite3.Connection, addresses: Collection[bytes], end: float
) -> Iterator[tuple[Any, ...]]:
    """Yield the names of some addresses: of few by the index, of many by reading all."""
    select = f"SELECT {_COLUMNS} FROM named WHERE first < ?"  # noqa: S608 - a constant
    if len(addresses) > _FEW:
        rows = connection.execute(select, (end,))
        yield from (row for row in rows if row[1] in addresses)
        return
    for address in addresses:
        yield from connection.execute(f"{select} AND address = ?", (end, address))


def _span(row: tuple[Any, ...], who: Identity | None, host: Host | None) -> SeenSpan:
    _, _, port, name, source, first, last = checked.named(row)
    return SeenSpan(name, NAMES[source], port, int(first), int(last), who, host)
