"""Write the names of remotes: a row for each name and span of time in which it was seen again and again."""

import sqlite3
from collections.abc import Callable
from typing import Final, NamedTuple

from bwtop.model.named import NameSource
from bwtop.sqlite import checked
from bwtop.sqlite.delta import SeenName
from bwtop.text.escape import printable

SOURCES: Final = {
    NameSource.SNI: 0,
    NameSource.HOST: 1,
    NameSource.DNS: 2,
    NameSource.HOST_DNS: 3,
}
"""The stored sources; names by reverse DNS were not asked for, and are not stored."""

NAMES: Final = {number: source for source, number in SOURCES.items()}

OF_PROCESS: Final = (SOURCES[NameSource.SNI], SOURCES[NameSource.HOST])
"""The sources that say nothing about the remotes of other processes."""

AGAIN: Final = 60
"""Seconds within which a name that is seen again is not written again."""

SPAN: Final = 86400
"""Seconds after which a name that is seen again gets another row, if the remote had other names meanwhile."""

MOST: Final = 16
"""Names that a remote of a program keeps: the latest."""

_LONGEST: Final = 253
"""Longest name in characters (RFC 1035)."""

_CACHED: Final = 8192
"""Remotes whose last name the cache holds."""

_Place = tuple[int | None, bytes, int | None]
"""Program, address and port."""


class _LastName(NamedTuple):
    name: str
    source: int
    seen: int


class NameWriter:
    """Writer of the names of remotes; an open transaction is the caller's."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._run = connection.execute
        self._last: dict[_Place, _LastName] = {}

    def forget(self) -> None:
        """Forget what is written: it may have been deleted, or rolled back."""
        self._last.clear()

    def add(
        self, names: dict[SeenName, float], program_of: Callable[[SeenName], int | None]
    ) -> None:
        """Write names, the oldest first; `program_of` returns the program of a name's process, None if it is unknown."""
        for seen, when in names.items():
            source = SOURCES.get(seen.source)
            if source is None:
                continue
            program = None if seen.source is NameSource.HOST_DNS else program_of(seen)
            if program is not None or source not in OF_PROCESS:
                found = _LastName(printable(seen.name)[:_LONGEST], source, int(when))
                self._note((program, seen.address, seen.port), found)

    def _note(self, place: _Place, found: _LastName) -> None:
        """Write a name unless it is the last one of its place and was written a short while ago."""
        last = self._last.get(place)
        if last and last[:2] == found[:2] and 0 <= found.seen - last.seen < AGAIN:
            return
        if len(self._last) >= _CACHED:
            self._last.clear()
        self._last[place] = found
        if not self._is_extended(place, found):
            self._insert(place, found)

    def _is_extended(self, place: _Place, found: _LastName) -> bool:
        """Extend the row of a name that was seen before; return whether there is one to extend.

        A name that comes back after others have taken its place for long gets another row, while there is room for it.
        """
        same = self._run(
            "SELECT id, first, last FROM named WHERE program IS ? AND address = ? AND port IS ?"
            " AND name = ? AND source = ? ORDER BY last DESC LIMIT 1",
            (*place, found.name, found.source),
        ).fetchone()
        if not same:
            return False
        number, first, last = same[0], *map(checked.moment, same[1:])
        if not first - SPAN <= found.seen <= last + SPAN:
            count, latest = self._run(
                "SELECT count(*), max(last) FROM named WHERE program IS ? AND address = ? AND port IS ?",
                place,
            ).fetchone()
            if latest > last and count < MOST:
                return False
        self._run(
            "UPDATE named SET first = min(first, ?1), last = max(last, ?1) WHERE id = ?2",
            (found.seen, number),
        )
        return True

    def _insert(self, place: _Place, found: _LastName) -> None:
        self._run(
            "INSERT INTO named (program, address, port, name, source, first, last)"
            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
            (*place, *found),
        )
        self._run(
            "DELETE FROM named WHERE id IN (SELECT id FROM named WHERE program IS ? AND address = ? AND port IS ?"
            " ORDER BY last DESC, id DESC LIMIT -1 OFFSET ?)",
            (*place, MOST),
        )
