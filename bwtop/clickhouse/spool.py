"""The history as the spool of the shipper: batches in order, and a cursor that moves when a server acknowledges one.

A committed interval never changes; intervals are sent in the order of their ids.  A minute, hour, day or month is sent
when it is closed, and again when late deltas change it; each change has a number.  So rows that are deleted here before
they could be sent are not lost: the totals of a coarser level have their bytes.
"""

import math
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from uuid import UUID

from bwtop.clickhouse import unsent
from bwtop.clickhouse.schema import EVENT, FIVES, NAMED, SPAN, TRAFFIC, ServerTable
from bwtop.clickhouse.spans import LAST
from bwtop.clickhouse.unsent import INTERVALS, SUMS, SpanQueries
from bwtop.history.calendar import DAY
from bwtop.history.tiers import COARSEST, HOURS
from bwtop.model.flows import Host
from bwtop.sqlite import checked

ROWS: Final = 20_000
"""Largest number of rows of traffic in a batch: about 20 MB while it is sent."""

SPANS: Final = 2000
"""Largest number of intervals in a batch, and of spans."""

PERIODS: Final = 30
"""Largest number of days of intervals in a batch, and of days, or months, of spans.

Each is a partition on the server, or two, and a server refuses rows of more than a hundred at once.
"""

LISTED: Final = 1000
"""Largest number of five-minute totals in a batch, and of events."""


STILL: Final = 600.0
"""Seconds between two sendings of a closed span that contains the present, as after a clock was set back.

Each interval changes it, and it may have more rows than can be sent between two.
"""


class Cursor(NamedTuple):
    """The last interval, change, five-minute total, event and change of a name that a server has."""

    interval: int = 0
    change: int = 0
    fives: int = 0
    event: int = 0
    named: int = 0


class UnsentIntervals(NamedTuple):
    """The intervals that a server does not have yet."""

    intervals: int = 0
    since: float | None = None
    """Start of the oldest one, in UTC seconds."""
    sums: int = 0
    """Closed minutes, hours, days and months that it does not have yet as they are now."""


@dataclass(frozen=True)
class Batch:
    """Rows to send together, in this order: a reader that finds a span finds all its traffic."""

    after: Cursor
    """The cursor once the server has the batch."""
    tables: Sequence[tuple[ServerTable, list[list[Any]]]]
    """Tables and their rows, column by column."""
    is_last: bool
    """Nothing is left after it."""

    def rows(self) -> int:
        """Return the number of rows of all tables."""
        return sum(len(columns[0]) for _, columns in self.tables)


class Spool:
    """Spool of a database for one server."""

    def __init__(self, connection: sqlite3.Connection, target: str, host: Host) -> None:
        """Make a spool; raise sqlite3.Error."""
        self._connection = connection
        self._run = connection.execute
        self._target = target
        (spool,) = checked.row(self._run("SELECT id FROM spool"))
        checked.whole(spool, least=-checked.MOST - 1)
        self.where = (UUID(host.id), host.name, spool)
        """Values of the columns of the host."""
        self._places: dict[SpanQueries, _Progress] = {}
        self._sent: dict[int, float] = {}
        """Spans that contained the present when they were sent, and when that was, on the monotonic clock."""
        self._beyond: set[_Change] = set()
        """Changes that were sent while an earlier one waits; the cursor waits with that."""
        self._next: tuple[set[int], set[_Change]] = set(), set()
        """Spans to add to `_sent`, and the next `_beyond`, once the server has the last batch."""
        self._still = STILL

    def cursor(self) -> Cursor:
        """Return the cursor of the server."""
        found = self._run(
            "SELECT interval, change, fives, event, named FROM shipped WHERE target = ?",
            (self._target,),
        ).fetchone()
        return Cursor(*map(checked.whole, found)) if found else Cursor()

    def move(self, cursor: Cursor) -> None:
        """Move the cursor: the server has all before it, and the last batch.  Raises sqlite3.Error."""
        self._run(
            "INSERT OR REPLACE INTO shipped (target, interval, change, fives, event, named)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (self._target, *cursor),
        )
        present, self._beyond = self._next
        self._sent |= dict.fromkeys(present, time.monotonic())

    def waiting(self) -> UnsentIntervals:
        """Return the unsent intervals."""
        last, change, *_ = self.cursor()
        (sums,) = self._run(
            "SELECT count(*) FROM span WHERE changed > ? AND level > 0", (change,)
        ).fetchone()
        is_there = "SELECT count(*) FROM span WHERE changed = ? AND id = ?"
        sums -= sum(self._run(is_there, change).fetchone()[0] for change in self._beyond)
        (newest,) = self._run("SELECT coalesce(max(id), 0) FROM interval").fetchone()
        oldest = self._run(
            "SELECT id, start FROM interval WHERE id > ? ORDER BY id LIMIT 1", (last,)
        ).fetchone()
        if not oldest:
            return UnsentIntervals(sums=sums)
        return UnsentIntervals(newest - oldest[0] + 1, checked.moment(oldest[1]), sums)

    def hurry(self) -> None:
        """Let the next batches have all spans, also those that may still change."""
        self._still = 0.0

    def first(self) -> float:
        """Return the start of the history in UTC seconds; 0: it is empty."""
        (found,) = self._run(
            "SELECT min(start) FROM (SELECT min(start) AS start FROM span WHERE level > 0"
            " UNION ALL SELECT min(start) FROM interval)"
        ).fetchone()
        return 0.0 if found is None else checked.moment(found)

    def begin(self) -> None:
        """Restart partly sent intervals and spans: after an error their progress is unknown.

        From the first attempt on the history is known as shipped: its closed spans lose no rows.
        """
        self._places.clear()
        self._run(
            "INSERT OR IGNORE INTO shipped (target, interval, change, fives, event) VALUES (?, 0, 0, 0, 0)",
            (self._target,),
        )

    def batch(self, rows: int = ROWS) -> Batch | None:
        """Return the next batch; None: there is nothing to send.  Raises sqlite3.Error."""
        self._run("BEGIN")
        try:
            return self._batch(self.cursor(), rows)
        finally:
            self._run("ROLLBACK")

    def _batch(self, cursor: Cursor, rows: int) -> Batch | None:
        self._next = set(), self._beyond
        intervals = self._take(INTERVALS, cursor.interval, rows)
        room = rows - len(intervals.traffic)
        spans = self._take(SUMS, cursor.change, room) if room else _Rows(cursor.change, more=True)
        fives = unsent.five_minutes(self._connection, cursor.fives, time.time(), LISTED)
        events = unsent.events(self._connection, cursor.event, LISTED)
        names = unsent.names(self._connection, cursor.named, LISTED)
        tables = (
            (NAMED, names),
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
            names[-1][-1] if names else cursor.named,
        )
        more = intervals.more or spans.more or LISTED in (len(fives), len(events), len(names))
        return Batch(after, found, not more) if found else None

    def _take(self, kind: SpanQueries, last: int, rows: int) -> "_Rows":
        """Return the intervals or spans after the last one that fit in `rows`, or a part of one that does not."""
        place = self._places.pop(kind, _Progress(last))
        listed = _resumed(self._run(kind.spans, (last, SPANS)).fetchall(), place)
        changes = [(checked.whole(number), span) for number, span, *_ in listed]
        found = _Rows(last, more=len(listed) == SPANS)
        self._fill(found, kind, listed, place, rows)
        if place.span and (place.number, place.span) not in found.done:
            self._places.setdefault(kind, place)
        left = min((change for change in changes if change not in found.done), default=_NEVER)
        found.last = max((change[0] for change in found.done if change[0] < left[0]), default=last)
        if kind is SUMS:
            later = {change for change in self._beyond | found.done if change[0] > found.last}
            self._next = found.present, later
        return found

    def _fill(
        self,
        found: "_Rows",
        kind: SpanQueries,
        listed: Sequence[tuple[Any, ...]],
        place: "_Progress",
        rows: int,
    ) -> None:
        """Add the listed spans that fit; one that waits holds none of the others up."""
        periods: set[tuple[int, int]] = set()
        for number, span, level, start, end, seconds, loss, version in listed:
            checked.seconds(seconds)
            begun, over = float(checked.moment(start)), float(checked.moment(end))
            head = (checked.whole(level, COARSEST), span, min(int(begun), LAST), begun)
            is_now = kind is SUMS and begun <= time.time() < over
            if kind is SUMS and (number, span) in self._beyond:
                found.done.add((number, span))
                continue
            if is_now and self._is_early(span, place if place.number == number else None):
                continue
            periods.add((level, int(begun // (DAY if level < HOURS else 31 * DAY))))
            if len(periods) > PERIODS:
                found.more = True
                return
            after = place.after if place.number == number else _BEGINNING
            room = rows - len(found.traffic)
            lines = unsent.traffic(self._connection, kind, span, after, room + 1)
            if len(lines) > room:
                found.more = True
                if not found.spans:
                    lines = lines[:room]
                    found.traffic += [(*head, *line, version) for line in lines]
                    self._places[kind] = _Progress(number, lines[-1][:2], span)
                return
            found.traffic += [(*head, *line, version) for line in lines]
            skipped = max(number - found.last - 1, 0) if kind is INTERVALS else 0
            found.spans.append(
                (*head, over, seconds, *checked.loss(loss).recorded, skipped, version)
            )
            found.last = number
            found.done.add((number, span))
            if is_now:
                found.present.add(span)

    def _is_early(self, span: int, begun: "_Progress | None") -> bool:
        """Return whether a span that contains the present waits, as it was sent a short while ago."""
        now = time.monotonic()
        self._sent = {
            sent: when for sent, when in self._sent.items() if 0 <= now - when < self._still
        }
        return begun is None and span in self._sent

    def _columns(self, table: ServerTable, rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
        """Return rows as columns, with the columns of the host inserted."""
        columns = [list(column) for column in zip(*rows, strict=True)]
        place = table.names().index("host_id")
        columns[place:place] = [[value] * len(rows) for value in self.where]
        return columns


@dataclass
class _Rows:
    """The rows taken from intervals or spans."""

    last: int
    """The last interval or span that is taken entirely, and all before it."""
    more: bool = False
    """More are left."""
    traffic: list[tuple[Any, ...]] = field(default_factory=list)
    spans: list[tuple[Any, ...]] = field(default_factory=list)
    done: set["_Change"] = field(default_factory=set)
    """Changes that the server has completely with this batch."""
    present: set[int] = field(default_factory=set)
    """The spans in it that contain the present."""


_BEGINNING: Final = (-1, -1)


class _Progress(NamedTuple):
    """Progress in an interval or span that has more rows than a batch."""

    number: int
    """The number that it had when the first part was taken."""
    after: tuple[int, int] = _BEGINNING
    """(flow, process) of the last row."""
    span: int = 0


def _resumed(listed: list[tuple[Any, ...]], place: _Progress) -> list[tuple[Any, ...]]:
    """Return the listed spans so that one of which parts are sent comes first, though it has grown meanwhile.

    It is in its own place, too: the parts lack what was added after they were sent.  Without that, a span that grows all
    the time would be sent from the beginning for ever.
    """
    grown = [row for row in listed if row[1] == place.span and row[0] != place.number]
    return [(place.number, *grown[0][1:]), *listed] if grown else listed


_Change = tuple[int, int]
"""The number of a change, and the interval or span that it is of."""

_NEVER: Final = (math.inf, 0)
