"""Stored processes by their numbers."""

import sqlite3
from typing import Final

from bwtop.model.flows import Identity, ProcessKey
from bwtop.sqlite import checked
from bwtop.sqlite.selection import identity

_MAX_KNOWN: Final = 16384


class Processes:
    """The processes of a database, looked up once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: dict[int, tuple[ProcessKey, Identity]] = {}

    def get(self, number: int) -> tuple[ProcessKey, Identity]:
        """Return a process."""
        found = self._known.get(number)
        if found is None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            found = self._known[number] = self._look_up(number)
        return found

    def _look_up(self, number: int) -> tuple[ProcessKey, Identity]:
        start, pid, execs, started, program, cmdline = checked.row(
            self._connection.execute(
                "SELECT start, pid, exec, started, program, cmdline FROM process WHERE id = ?",
                (number,),
            )
        )
        who = identity(
            self._connection,
            program,
            cmdline=checked.text(cmdline),
            started=checked.maybe_moment(started),
        )
        return key_of(start, pid, execs), who


def key_of(start: object, pid: object, execs: object) -> ProcessKey:
    """Return the key of a stored process."""
    return ProcessKey.stored(
        checked.whole(start), checked.whole(pid, (1 << 31) - 1), checked.whole(execs)
    )
