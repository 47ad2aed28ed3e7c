"""The history as the spool of what is shipped: batches in its order, and a cursor that a server's answer moves.

Intervals never change once they are committed, and are sent by their ids.  Minutes, hours, days and months are sent
when they are closed, and again when something is added to them late; every such change has a number of its own.  So
what has been forgotten here before it could be sent is not lost: the sums of a coarser level have it.
"""

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from uuid import UUID

from bwtop.clickhouse.schema import EVENT, FIVES, SPAN, TRAFFIC, Table
from bwtop.clickhouse.spans import LAST
from bwtop.identity.users import user_name
from bwtop.model.flows import Host, is_loopback
from bwtop.sqlite.schema import pulse_columns
from bwtop.sqlite.store import PULSE, unpack_loss

ROWS: Final = 20_000
"""Rows of traffic in a batch: some 20 MB while it is sent."""

SPANS: Final = 2000
"""Intervals and spans in a batch, of each."""

LISTED: Final = 1000
"""Totals of five minutes and events in a batch, of each."""


class Cursor(NamedTuple):
    """The last of each that a server has."""

    interval: int = 0
    change: int = 0
    fives: int = 0
    event: int = 0


class Waiting(NamedTuple):
    """What a server does not have yet."""

    intervals: int = 0
    since: float | None = None
    """When the oldest of those began, in UTC seconds."""


@dataclass(frozen=True)
class Batch:
    """What is sent together, in this order: who finds a span there finds all of its traffic."""

    after: Cursor
    """Where the cursor is to be once it is there."""
    tables: Sequence[tuple[Table, list[list[Any]]]]
    """Rows, column by column."""
    is_last: bool
    """Whether nothing was left when it was made."""

    def rows(self) -> int:
        """Of all tables."""
        return sum(len(columns[0]) for _, columns in self.tables)


class Spool:
    """A database, as one server knows it."""

    def __init__(self, connection: sqlite3.Connection, target: str, host: Host) -> None:
        """Raises sqlite3.Error."""
        self._connection = connection
        self._run = connection.execute
        self._target = target
        (spool,) = self._run("SELECT id FROM spool").fetchone()
        self._where = (UUID(host.id), host.name, spool)
        self._places: dict[_Kind, _Place] = {}

    def cursor(self) -> Cursor:
        """Where it is."""
        found = self._run(
            "SELECT interval, change, fives, event FROM shipped WHERE target = ?", (self._target,)
        ).fetchone()
        return Cursor(*found) if found else Cursor()

    def move(self, cursor: Cursor) -> None:
        """All before is with the server; raises sqlite3.Error."""
        self._run("INSERT OR REPLACE INTO shipped VALUES (?, ?, ?, ?, ?)", (self._target, *cursor))

    def waiting(self) -> Waiting:
        """What is left to be sent."""
        last = self.cursor().interval
        (newest,) = self._run("SELECT coalesce(max(id), 0) FROM interval").fetchone()
        oldest = self._run(
            "SELECT id, start FROM interval WHERE id > ? ORDER BY id LIMIT 1", (last,)
        ).fetchone()
        return Waiting(newest - oldest[0] + 1, oldest[1]) if oldest else Waiting()

    def begin(self) -> None:
        """What was sent of something large is sent anew: who sent it may not know how far it came."""
        self._places.clear()

    def batch(self, rows: int = ROWS) -> Batch | None:
        """What comes next; None: nothing.  Raises sqlite3.Error."""
        self._run("BEGIN")
        try:
            return self._batch(self.cursor(), rows)
        finally:
            self._run("ROLLBACK")

    def _batch(self, cursor: Cursor, rows: int) -> Batch | None:
        intervals = self._take(_INTERVALS, cursor.interval, rows)
        room = rows - len(intervals.traffic)
        spans = self._take(_SUMS, cursor.change, room) if room else _Rows(cursor.change, more=True)
        over = time.time() - PULSE  # each batch would else have the one that goes on
        fives = self._run(_FIVES, (cursor.fives, over, LISTED)).fetchall()
        events = self._run(_EVENTS, (cursor.event, LISTED)).fetchall()
        tables = (
            (TRAFFIC, intervals.traffic + spans.traffic),
            (SPAN, intervals.spans + spans.spans),
            (FIVES, fives),
            (EVENT, events),
        )
        found = [(table, self._columns(table, lines)) for table, lines in tables if lines]
        after = Cursor(
            intervals.last,
            spans.last,
            fives[-1][-1] if fives else cursor.fives,
            events[-1][0] if events else cursor.event,
        )
        more = intervals.more or spans.more or LISTED in (len(fives), len(events))
        return Batch(after, found, not more) if found else None

    def _take(self, kind: "_Kind", last: int, rows: int) -> "_Rows":
        """What comes after the last one: as many as have no more rows together, or a part of one that has more."""
        found = _Rows(last)
        place = self._places.pop(kind, _Place(last))
        listed = self._run(kind.spans, (last, SPANS)).fetchall()
        for number, span, level, start, end, seconds, loss, version in listed:
            head = (level, span, min(int(start), LAST), float(start))
            after = place.after if place.number == number else _BEGINNING
            room = rows - len(found.traffic)
            lines = self._lines(kind, span, after, room + 1)
            if len(lines) > room:
                found.more = True
                if not found.spans:
                    lines = lines[:room]
                    found.traffic += [(*head, *line, version) for line in lines]
                    self._places[kind] = _Place(number, lines[-1][:2])
                return found
            found.traffic += [(*head, *line, version) for line in lines]
            found.spans.append((*head, float(end), seconds, *unpack_loss(loss), version))
            found.last = number
        found.more = len(listed) == SPANS
        return found

    def _lines(
        self, kind: "_Kind", span: int, after: tuple[int, int], count: int
    ) -> list[tuple[Any, ...]]:
        """So many rows of one, after a place."""
        found = self._run(kind.traffic, (span, *after, count))
        return [
            (*row[:_UID], _user(row[_UID]), *row[_UID:-2], int(is_loopback(row[-3])), *row[-2:])
            for row in found
        ]

    def _columns(self, table: Table, rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
        """Rows as columns, with those of the host at their place."""
        columns = [list(column) for column in zip(*rows, strict=True)]
        place = table.names().index("host_id")
        columns[place:place] = [[value] * len(rows) for value in self._where]
        return columns


def _user(uid: int) -> str:
    return (user_name(uid) or "") if uid >= 0 else ""


@dataclass
class _Rows:
    """What is taken of intervals, or of sums."""

    last: int
    """The last one of which all is taken."""
    more: bool = False
    """Whether some are left."""
    traffic: list[tuple[Any, ...]] = field(default_factory=list)
    spans: list[tuple[Any, ...]] = field(default_factory=list)


_BEGINNING: Final = (-1, -1)


class _Place(NamedTuple):
    """How far one is taken that has more rows than a batch."""

    number: int
    after: tuple[int, int] = _BEGINNING
    """(flow, process) of the last row."""


class _Kind(NamedTuple):
    """Intervals, or sums of closed spans."""

    spans: str
    """Those after a number, in its order: it, id, level, start, end, seconds, loss and version."""
    traffic: str
    """The rows of one after a place, in their order."""


_UID: Final = 5
"""Where it is in a row of those below; the address is the last before the bytes."""

_ENDS: Final = (
    "name, coalesce(exe, ''), coalesce(uid, -1), coalesce(unit, ''), coalesce(container, ''), coalesce(pod, ''),"
    " kernel, protocol, role, port, address, rx, tx"
)
_JOINS: Final = "JOIN flow ON flow.id = flow JOIN program ON program.id = flow.program JOIN remote ON remote.id = remote"

_INTERVALS: Final = _Kind(
    "SELECT id, id, 0, start, start + seconds, seconds, loss, 0 FROM interval"
    " WHERE id > ? ORDER BY id LIMIT ?",
    f"SELECT flow, process, pid, {_ENDS} FROM delta JOIN process ON process.id = process {_JOINS}"
    " WHERE interval = ? AND (flow, process) > (?, ?) ORDER BY flow, process LIMIT ?",
)
_SUMS: Final = _Kind(
    "SELECT changed, id, level, start, end, seconds, loss, changed FROM span"
    " WHERE changed > ? AND level > 0 ORDER BY changed LIMIT ?",
    f"SELECT flow, 0, 0, {_ENDS} FROM traffic {_JOINS}"
    " WHERE span = ? AND (flow, 0) > (?, ?) ORDER BY flow LIMIT ?",
)

_FIVES: Final = (
    f"SELECT min(start, {LAST}), seconds, {', '.join(pulse_columns())}, changed FROM pulse"
    " WHERE changed > ? AND start <= ? ORDER BY changed LIMIT ?"
)
_EVENTS: Final = (
    f"SELECT id, min(cast(time AS INTEGER), {LAST}), time, kind, amount FROM event"
    " WHERE id > ? ORDER BY id LIMIT ?"
)
