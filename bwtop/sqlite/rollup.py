"""Roll up intervals into minutes, hours, days and months, and keep to the limits: in small steps between intervals."""

import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bwtop.history.calendar import ceiling, floor
from bwtop.history.tiers import HOURS, KEEP_REMOTES, UNITS, default_retention
from bwtop.model.flows import Loss
from bwtop.sqlite import checked
from bwtop.sqlite.fold import fold
from bwtop.sqlite.retention import Retention
from bwtop.sqlite.store import Store, first_row, levels, pack_loss
from bwtop.sqlite.sweep import Sweep

SETTLED: Final = 3.0
"""Seconds after the end of a minute by which its last interval is written."""

FLOWS_AT_ONCE: Final = 2048
"""Number of flows that one step adds up."""

FEW_ROWS: Final = 16_384
"""Number of rows of a span that are added up at once, in about 13 ms, without a look at all flows."""

SPARE_PAGES: Final = 1024
"""Free pages kept for the next rows: 4 MiB."""

PAGES_AT_ONCE: Final = 256
"""Pages that one step returns to the file system."""

STEP_SECONDS: Final = 0.02
"""Time limit of a step: after it, the step begins no further piece of work."""

SIZE_PERIOD: Final = 10.0
"""Seconds between two checks of the size."""

FEW: Final = 10_000
"""Number of deleted rows for which a database over its limit is not swept yet."""

_DONE: Final = True
"""End of pieces of work, each of which yields None."""


@dataclass(frozen=True)
class Policy:
    """Limits on what the history keeps."""

    retention: Mapping[str, float] = field(default_factory=default_retention)
    """Retention by tier, in seconds."""
    max_size: int | None = None
    """Largest size of the database in bytes; beyond it the oldest detail is deleted first.  Daily totals stay."""
    keep_remotes: int = KEEP_REMOTES
    """Remotes that a process keeps in an hour, day or month; the rest is `*`."""


@dataclass
class _Closing:
    """A span whose totals are being added up."""

    span: int
    level: int
    start: int
    end: int
    last_flow: int
    folding: Iterator[None]
    """Pieces of work between adding up and closing."""
    next_flow: int = 0


class Rollup:
    """The rollup of a store, its retention and its size limit."""

    def __init__(self, store: Store, policy: Policy) -> None:
        self._store = store
        self._connection = store.connection
        self._policy = policy
        self._retention = Retention(self._connection, policy.retention)
        self._closing: _Closing | None = None
        self._folding: Iterator[None] | None = None
        self._folded = 0
        """The last span that is folded, if it has to be."""
        self._sweep: Sweep | None = None
        self._wants_sweep = False
        """An hour was closed since the last sweep."""
        self._hour = 0.0
        """Start of the hour in which the last step was made."""
        self._deleted_before = 0
        """Rows deleted before the sweep: those deleted meanwhile are for the next one."""
        self._swept_rows = 0
        """Rows that the last sweep has looked at."""
        self._size_looked_at = float("-inf")
        self.is_over_size = False
        """The database exceeds max_size, with nothing left to delete."""

    def disturbed(self, earliest: float) -> None:
        """Note stored deltas that begin at `earliest` or later: restart a span that is being added up and includes them.

        An error of the database only ends the sweep; the next step meets it.
        """
        if self._closing and earliest < self._closing.end:
            self._closing = None
        if self._sweep:
            try:
                self._sweep.note_appended()
            except (sqlite3.Error, MemoryError):
                self._drop_sweep()  # not an error of storing: they would be stored again

    def step(self, now: float) -> bool:
        """Do some pieces of work in one transaction; return whether more may be left.

        `now` is in UTC seconds.  Raises sqlite3.Error after a rollback.
        """
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            deadline = time.monotonic() + STEP_SECONDS
            while (more := self._piece(now)) and time.monotonic() < deadline:
                pass
            self._connection.execute("COMMIT")
        except BaseException:
            self._closing = self._folding = None
            self._drop_sweep()
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return more or self._vacuum()

    def _piece(self, now: float) -> bool:
        return (
            self._retention.delete_abandoned(self._closing.span if self._closing else -1)
            or self._close_some(now)
            or self._retention.expire(now)
            or self._shrink(now)
            or self._retention.delete_old(now)
            or self._retention.delete_processes(now)
            or self._sweep_some(now)
        )

    def _one(self, statement: str, *values: float) -> tuple[Any, ...]:
        return first_row(self._connection, statement, *values)

    # Closing.

    def _close_some(self, now: float) -> bool:
        if not self._closing:
            for level, closed, _ in levels(self._connection):
                self._closing = self._next(level, closed, now)
                if self._closing:
                    break
        if not self._closing:
            return False
        if not self._add_up(self._closing) and next(self._closing.folding, _DONE):
            self._close(self._closing)
            self._closing = None
        return True

    def _next(self, level: int, closed: int, now: float) -> _Closing | None:
        """Begin the next span of a level, if all its rows are written; else return None."""
        first = self._first_after(level, closed)
        if first is None:
            return None
        start, end = max(floor(UNITS[level], first), closed), ceiling(UNITS[level], first)
        if level == 1:
            ready = end + SETTLED <= now
        else:
            ready = end <= (
                self._one("SELECT closed FROM level WHERE level = ?", level - 1)[0] or 0
            )
        if not ready:
            return None
        if level > 1:  # the time zone may have changed: then spans of the level below reach beyond
            last = self._one(
                "SELECT max(end) FROM span WHERE level = ? AND start >= ? AND start < ?",
                *(level - 1, start, end),
            )
            end = max(end, int(checked.maybe_moment(last[0]) or end))
        return self._begin(level, start, end)

    def _begin(self, level: int, start: int, end: int) -> _Closing:
        span = self._connection.execute(
            "INSERT INTO span (level, start, end, seconds) VALUES (?, ?, ?, 0)",
            (-level, start, end),
        ).lastrowid
        assert span is not None, "it has inserted a row"
        last = self._one("SELECT max(id) FROM flow")[0] or 0
        folds = level >= HOURS or self._is_half_full()
        return _Closing(span, level, start, end, last, self._fold(span) if folds else iter(()))

    def _first_after(self, level: int, closed: int) -> float | None:
        """Return the start of the first row that is in no total of this level; None: there is none."""
        if level == 1:
            (found,) = self._one("SELECT min(start) FROM interval WHERE start >= ?", closed)
        else:
            (found,) = self._one(
                "SELECT min(start) FROM span WHERE level = ? AND start >= ?", level - 1, closed
            )
        return checked.maybe_moment(found)

    def _add_up(self, closing: _Closing) -> bool:
        """Add up some flows; return False if all are."""
        source = (
            "delta WHERE interval IN (SELECT id FROM interval WHERE start >= :start AND start < :end)"
            if closing.level == 1
            else "traffic WHERE span IN (SELECT id FROM span"
            " WHERE level = :below AND start >= :start AND start < :end)"
        )
        bounds = {"below": closing.level - 1, "start": closing.start, "end": closing.end}
        last = self._last_to_add(closing, source, bounds)
        if last is None:
            return False
        self._connection.execute(
            "INSERT INTO traffic SELECT :span, flow, sum(rx), sum(tx)"  # noqa: S608 - from two constants
            f" FROM {source} AND flow BETWEEN :first AND :last GROUP BY flow",
            {**bounds, "span": closing.span, "first": closing.next_flow, "last": last},
        )
        closing.next_flow = last + 1
        return True

    def _last_to_add(self, closing: _Closing, source: str, bounds: Mapping[str, int]) -> int | None:
        """Return the last flow of the next piece: of few rows all; None: there is no flow left."""
        if closing.next_flow == 0 < closing.last_flow:
            (rows,) = self._connection.execute(
                f"SELECT count(*) FROM (SELECT 1 FROM {source} LIMIT {FEW_ROWS + 1})",  # noqa: S608 - from constants
                bounds,
            ).fetchone()
            if rows <= FEW_ROWS:
                return closing.last_flow
        (last,) = self._one(
            "SELECT max(id) FROM (SELECT id FROM flow WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?)",
            *(closing.next_flow, closing.last_flow, FLOWS_AT_ONCE),
        )
        return None if last is None else int(last)

    def _close(self, closing: _Closing) -> None:
        below = (
            "SELECT seconds, loss FROM interval WHERE start >= :start AND start < :end"
            if closing.level == 1
            else "SELECT seconds, loss FROM span WHERE level = :below AND start >= :start AND start < :end"
        )
        bounds = {"below": closing.level - 1, "start": closing.start, "end": closing.end}
        seconds, loss = 0.0, Loss()
        for more, lost in self._connection.execute(below, bounds):
            seconds += checked.seconds(more)
            loss = loss.plus(checked.loss(lost))
        self._connection.execute(
            "UPDATE span SET level = ?, seconds = ?, loss = ? WHERE id = ?",
            (closing.level, seconds, pack_loss(loss), closing.span),
        )
        self._connection.execute(
            "UPDATE level SET closed = ? WHERE level = ?", (closing.end, closing.level)
        )
        self._wants_sweep |= closing.level == HOURS

    # Folding.

    def _fold(self, span: int) -> Iterator[None]:
        return fold(self._connection, span, self._policy.keep_remotes, self._note_used)

    def _note_used(self, flow: int) -> None:
        if self._sweep:
            self._sweep.note_used(flow)

    def _fold_closed(self) -> bool:
        """Fold a piece of the spans that were closed without.

        Servers keep the rows of a span that are not sent again, so a history that is shipped stays as it is.
        """
        if self._one("SELECT 1 FROM shipped LIMIT 1"):
            return False
        self._folding = self._folding or self._fold_spans()
        if next(self._folding, _DONE):
            self._folding = None
            return False
        return True

    def _fold_spans(self) -> Iterator[None]:
        while found := self._one(
            "SELECT id, (SELECT count(*) FROM (SELECT 1 FROM traffic WHERE span = span.id LIMIT ?1 + 1)) > ?1"
            " FROM span WHERE level > 0 AND id > ?2 ORDER BY id LIMIT 1",
            *(self._policy.keep_remotes, self._folded),
        ):
            span, has_many = found
            if has_many:
                yield from self._fold(span)
            self._folded = span
            yield

    # Sweeping.

    def _sweep_some(self, now: float) -> bool:
        """Delete some flows, remotes and programs that no row uses, after each hour."""
        hour = floor(UNITS[HOURS], now)
        if hour != self._hour:  # after a clock was ahead no hour is closed until that date
            (closed,) = self._one("SELECT closed FROM level WHERE level = ?", HOURS)
            self._wants_sweep |= closed > now
            self._hour = hour
        if not self._sweep and not (self._wants_sweep and self._retention.deleted):
            return False
        if not self._sweep:
            self._sweep = Sweep(self._connection, self._store.forget)
            self._wants_sweep, self._deleted_before = False, self._retention.deleted
        if not self._sweep.step():
            self._swept_rows = self._sweep.rows
            self._retention.deleted -= self._deleted_before
            self._sweep = None
        return True

    def _drop_sweep(self) -> None:
        self._wants_sweep |= self._sweep is not None
        self._sweep = None

    # Size.

    def _is_half_full(self) -> bool:
        """Return whether the database exceeds half of its limit: from then on minutes are folded, too."""
        size, pages, free = self._pages()
        most = self._policy.max_size
        return most is not None and 2 * (pages - free) * size > most

    def _pages(self) -> tuple[int, int, int]:
        """Return (bytes per page, pages, free pages)."""
        sizes = [
            self._one(f"PRAGMA {name}")[0] or 0
            for name in ("page_size", "page_count", "freelist_count")
        ]
        return sizes[0], sizes[1], sizes[2]

    def _shrink(self, now: float) -> bool:
        """Mark the oldest detail as deletable if the database is too large."""
        if self._policy.max_size is None or abs(now - self._size_looked_at) < SIZE_PERIOD:
            return False
        size, pages, free = self._pages()
        if (pages - free) * size <= self._policy.max_size:
            self._size_looked_at = now
            self.is_over_size = False
            return False
        if self._retention.delete_old(now) or self._fold_closed():  # has been marked already
            return True
        self._wants_sweep |= self._retention.deleted > max(FEW, self._swept_rows // 4)
        if (
            self._sweep_some(now)
            or self._retention.mark_oldest(now)
            or self._retention.delete_ahead(now)
        ):
            return True
        if self._retention.deleted:
            self._wants_sweep = True
            return True
        self._size_looked_at = now
        self.is_over_size = True
        return False

    def _vacuum(self) -> bool:
        """Return free pages to the file system, if there are many."""
        size, pages, free = self._pages()
        most = self._policy.max_size
        is_over = most is not None and pages * size > most
        if free <= (0 if is_over else max(SPARE_PAGES, pages // 4)):
            return False
        # execute() would end at the first page: each is a row without columns.
        self._connection.executescript(f"PRAGMA incremental_vacuum({PAGES_AT_ONCE})")
        return True
