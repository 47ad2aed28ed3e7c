"""Read the names of remotes."""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import Any, Final, NamedTuple

from bwtop.history.names import SeenSpan, best
from bwtop.model.flows import Identity
from bwtop.model.named import RemoteName
from bwtop.sqlite import checked
from bwtop.sqlite.naming import NAMES

_COLUMNS: Final = "program, address, port, name, source, first, last"


class _ProgramSpan(NamedTuple):
    program: int | None
    span: SeenSpan


class SeenReader:
    """The names of a database that were first seen before a time, in memory."""

    def __init__(self, connection: sqlite3.Connection, end: float) -> None:
        """Read the names; `end` is in UTC seconds."""
        self._end = end
        self._seen: dict[bytes, list[_ProgramSpan]] = defaultdict(list)
        for row in connection.execute(f"SELECT {_COLUMNS} FROM named WHERE first < ?", (end,)):  # noqa: S608 - a constant
            self._seen[row[1]].append(_ProgramSpan(row[0], _span(row)))

    def of_flow(self, program: int, address: bytes, port: int | None) -> RemoteName | None:
        """Return the name that holds for a flow; `port`: None where it is one of this host."""
        seen = self._seen.get(address)
        if not seen:
            return None
        ports = (None, port)
        pairs = ((one.span, one.program == program and one.span.port in ports) for one in seen)
        return best(pairs, self._end)


def names_of(
    connection: sqlite3.Connection,
    addresses: Collection[bytes],
    end: float,
    identity: Callable[[int], Identity],
) -> dict[bytes, list[SeenSpan]]:
    """Return the names of some addresses that were first seen before a time; `identity` returns that of a program."""
    found: dict[bytes, list[SeenSpan]] = defaultdict(list)
    known: dict[int, Identity] = {}
    for address in addresses:
        for row in connection.execute(
            f"SELECT {_COLUMNS} FROM named WHERE address = ? AND first < ?",  # noqa: S608 - a constant
            (address, end),
        ):
            program = row[0]
            if program is not None and program not in known:
                known[program] = identity(program)
            found[address].append(_span(row, known.get(program)))
    return found


def _span(row: tuple[Any, ...], who: Identity | None = None) -> SeenSpan:
    _, _, port, name, source, first, last = checked.named(row)
    return SeenSpan(name, NAMES[source], port, int(first), int(last), who)
