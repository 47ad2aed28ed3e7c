"""Roll up intervals into minutes, hours, days and months, and delete old rows: in small steps between intervals."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bwtop.history.calendar import ceiling, floor
from bwtop.history.tiers import COARSEST, DAYS, HOURS, KEEP_REMOTES, TIERS, UNITS, default_retention
from bwtop.model.flows import Loss
from bwtop.sqlite import checked
from bwtop.sqlite.fold import fold
from bwtop.sqlite.store import Store, levels, pack_loss
from bwtop.sqlite.sweep import Sweep

SETTLED: Final = 3.0
"""Seconds after the end of a minute by which its last interval is written."""

FLOWS_AT_ONCE: Final = 2048
"""Number of flows that one step adds up."""

ROWS_AT_ONCE: Final = 4096
"""Largest number of rows that one step deletes."""

_ROWS: Final = {"interval": ("delta", "interval, flow, process"), "span": ("traffic", "span, flow")}
"""Table and key of the rows of an interval or span."""

SPARE_PAGES: Final = 1024
"""Free pages kept for the next rows: 4 MiB."""

PAGES_AT_ONCE: Final = 256
"""Pages that one step returns to the file system."""

NEWEST: Final = 5
"""Newest intervals, never deleted: live followers need them, and the clock may have been set back."""

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
        self._closing: _Closing | None = None
        self._folding: Iterator[None] | None = None
        self._folded = 0
        """The last span that is folded, if it has to be."""
        self._sweep: Sweep | None = None
        self._wants_sweep = False
        """An hour was closed since the last sweep."""
        self._hour = 0.0
        """Start of the hour in which the last step was made."""
        self._released = 1
        """Rows deleted since the last sweep; a former recorder may have left some."""
        self._swept_rows = 0
        """Rows that the last sweep has looked at."""
        self._size_looked_at = float("-inf")
        self.is_over_size = False
        """The database exceeds max_size, with nothing left to delete."""
        self._keep = {tier.level: policy.retention[tier.name] for tier in TIERS}

    def disturbed(self, earliest: float) -> None:
        """Note deltas that begin at `earliest` or later: restart a span that is being added up and includes them."""
        if self._closing and earliest < self._closing.end:
            self._closing = None
        if self._sweep:
            self._sweep.note_appended()

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
            self._closing = self._folding = self._sweep = None
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return more or self._vacuum()

    def _piece(self, now: float) -> bool:
        return (
            self._clear_abandoned()
            or self._close_some(now)
            or self._expire(now)
            or self._shrink(now)
            or self._delete_old(now)
            or self._delete_processes(now)
            or self._sweep_some(now)
        )

    def _one(self, statement: str, *values: float) -> tuple[Any, ...]:
        found = self._connection.execute(statement, values).fetchone()
        return tuple(found) if found else ()

    # Closing.

    def _clear_abandoned(self) -> bool:
        """Delete the rows of a span that a former recorder did not finish."""
        mine = self._closing.span if self._closing else -1
        return self._delete(
            "span", self._one("SELECT id FROM span WHERE level < 0 AND id != ?", mine)
        )

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
        (last,) = self._one(
            "SELECT max(id) FROM (SELECT id FROM flow WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?)",
            *(closing.next_flow, closing.last_flow, FLOWS_AT_ONCE),
        )
        if last is None:
            return False
        source = (
            "delta WHERE interval IN (SELECT id FROM interval WHERE start >= :start AND start < :end)"
            if closing.level == 1
            else "traffic WHERE span IN (SELECT id FROM span"
            " WHERE level = :below AND start >= :start AND start < :end)"
        )
        self._connection.execute(
            "INSERT INTO traffic SELECT :span, flow, sum(rx), sum(tx)"  # noqa: S608 - from two constants
            f" FROM {source} AND flow BETWEEN :first AND :last GROUP BY flow",
            {
                "span": closing.span,
                "below": closing.level - 1,
                "start": closing.start,
                "end": closing.end,
                "first": closing.next_flow,
                "last": last,
            },
        )
        closing.next_flow = last + 1
        return True

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
        self._sweep = None  # `*` may be a flow that it has found unused
        return fold(self._connection, span, self._policy.keep_remotes)

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

    # Deleting.

    def _expire(self, now: float) -> bool:
        """Mark rows past their retention as deletable, by whole spans of the level above."""
        return any(
            self._mark(level, now) for level in range(COARSEST + 1)
        ) or self._trim_five_minutes(now)

    def _mark(self, level: int, now: float) -> bool:
        """Mark the level as deletable up to its retention, as far as the level above it has its totals.

        Take back what a clock that was ahead has marked, or all rows until that date would be deleted at once.
        """
        (oldest,) = self._one(
            "SELECT coalesce(max(end), 0) FROM span WHERE level = ? AND end <= ?",
            *(min(level + 1, COARSEST), now - self._keep[level]),
        )
        return bool(
            self._connection.execute(
                "UPDATE level SET kept = ?1 WHERE level = ?2 AND kept != ?1 AND kept NOT BETWEEN ?1 AND ?3",
                (oldest, level, now),
            ).rowcount
        )

    def _trim_five_minutes(self, now: float) -> bool:
        oldest = now - self._keep[-1]
        return bool(
            self._connection.execute(
                "DELETE FROM pulse WHERE start IN (SELECT start FROM pulse WHERE start < ? LIMIT 1000)",
                (oldest,),
            ).rowcount
        )

    def _delete_old(self, now: float) -> bool:
        """Delete rows of a deletable interval or span."""
        interval = self._one(
            "SELECT id FROM interval WHERE start < (SELECT kept FROM level WHERE level = 0)"
            " AND id < (SELECT max(id) FROM interval) - ? ORDER BY start LIMIT 1",
            NEWEST,
        )
        if interval:
            interval = self._ahead_before(interval[0], now) or interval
        return self._delete("interval", interval) or any(
            self._delete(
                "span",
                self._one(
                    "SELECT id FROM span WHERE level = ?1"
                    " AND start < (SELECT kept FROM level WHERE level = ?1) ORDER BY start LIMIT 1",
                    level,
                ),
            )
            for level in range(1, COARSEST + 1)
        )

    def _delete(self, parent: str, found: tuple[Any, ...]) -> bool:
        """Delete some rows of the found interval or span, and itself after its last row; return whether one was found."""
        if not found:
            return False
        rows, key = _ROWS[parent]
        deleted = self._connection.execute(
            f"DELETE FROM {rows} WHERE ({key}) IN (SELECT {key} FROM {rows}"  # noqa: S608 - our own names
            f" WHERE {parent} = ? LIMIT ?)",
            (*found, ROWS_AT_ONCE),
        ).rowcount
        self._released += deleted
        if deleted < ROWS_AT_ONCE:
            self._connection.execute(f"DELETE FROM {parent} WHERE id = ?", found)  # noqa: S608
        return True

    def _ahead_before(self, interval: int, now: float) -> tuple[Any, ...]:
        """Return an interval recorded before another, but dated after now by a clock that was ahead; () if there is none."""
        return self._one(
            "SELECT id FROM interval WHERE start > ? AND id < ?"
            " AND start < (SELECT closed FROM level WHERE level = 1) LIMIT 1",
            *(now, interval),
        )

    def _delete_processes(self, now: float) -> bool:
        """Delete processes that no interval refers to.

        Intervals from a clock that was ahead may precede the first of the others: their own processes stay.
        """
        (first,) = self._one("SELECT min(id) FROM interval WHERE +start <= ?", now)
        return bool(
            self._connection.execute(
                "DELETE FROM process WHERE id IN (SELECT id FROM process WHERE ended IS NOT NULL AND abs(ended) < ?1"
                " AND id NOT IN (SELECT process FROM delta WHERE interval < ?1) LIMIT 1000)",
                (first,),
            ).rowcount
        )

    def _sweep_some(self, now: float) -> bool:
        """Delete some flows, remotes and programs that no row uses, after each hour."""
        hour = floor(UNITS[HOURS], now)
        if hour != self._hour:  # after a clock was ahead no hour is closed until that date
            (closed,) = self._one("SELECT closed FROM level WHERE level = ?", HOURS)
            self._wants_sweep |= closed > now
            self._hour = hour
        if not self._sweep and not (self._wants_sweep and self._released):
            return False
        self._sweep = self._sweep or Sweep(self._connection, self._store.forget)
        if not self._sweep.step():
            self._swept_rows = self._sweep.rows
            self._sweep, self._wants_sweep, self._released = None, False, 0
        return True

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
        if self._delete_old(now) or self._fold_closed():  # has been marked already
            return True
        self._wants_sweep |= self._released > max(FEW, self._swept_rows // 4)
        if self._sweep_some(now):
            return True
        candidates = [(end, level) for level in range(DAYS) if (end := self._oldest(level, now))]
        if not candidates and self._delete_ahead(now):
            return True
        if not candidates and self._released:
            self._wants_sweep = True
            return True
        if not candidates:
            self._size_looked_at = now
            self.is_over_size = True
            return False
        end, level = min(candidates)
        self._connection.execute("UPDATE level SET kept = ? WHERE level = ?", (end, level))
        return True

    def _oldest(self, level: int, now: float) -> Any:
        """Return the end of the oldest span of the level above that has detail in this level; None: there is none.

        A clock may have been ahead: spans that end in the future do not count, or all that is recorded now would be deleted.
        """
        return self._one(
            "SELECT min(end) FROM span WHERE level = ?1 + 1 AND end <= ?2"
            " AND end > (SELECT kept FROM level WHERE level = ?1)",
            *(level, now),
        )[0]

    def _delete_ahead(self, now: float) -> bool:
        """Delete detail that a clock that was ahead has dated, as far as the level above it has its totals."""
        interval = self._one(
            "SELECT id FROM interval WHERE start > ? AND start < (SELECT closed FROM level WHERE level = 1)"
            " AND id < (SELECT max(id) FROM interval) - ? LIMIT 1",
            *(now, NEWEST),
        )
        return self._delete("interval", interval) or any(
            self._delete(
                "span",
                self._one(
                    "SELECT id FROM span WHERE level = ?1 AND start > ?2"
                    " AND start < (SELECT closed FROM level WHERE level = ?1 + 1) LIMIT 1",
                    *(level, now),
                ),
            )
            for level in range(1, DAYS)
        )

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
