"""Delete old rows: those past their retention, and the oldest of a database that is too large."""

import sqlite3
from collections.abc import Mapping
from typing import Any, Final

from bwtop.history.tiers import COARSEST, DAYS, TIERS
from bwtop.sqlite.store import first_row

ROWS_AT_ONCE: Final = 4096
"""Largest number of rows that one piece of work deletes."""

NEWEST: Final = 5
"""Newest intervals, never deleted: live followers need them, and the clock may have been set back."""

_ROWS: Final = {"interval": ("delta", "flow, process"), "span": ("traffic", "flow")}
"""Table of the rows of an interval or span, and the rest of its key."""


class Retention:
    """Marks rows as deletable, and deletes them.

    Each method does one piece of work in the transaction of the caller, and returns whether there was any.  `now` is in
    UTC seconds.
    """

    def __init__(self, connection: sqlite3.Connection, retention: Mapping[str, float]) -> None:
        self._connection = connection
        self._keep = {tier.level: retention[tier.name] for tier in TIERS}
        self.deleted = 1
        """Rows deleted since the last sweep; a former recorder may have left some."""

    def _one(self, statement: str, *values: float) -> tuple[Any, ...]:
        return first_row(self._connection, statement, *values)

    # Marking.

    def expire(self, now: float) -> bool:
        """Mark rows past their retention as deletable, by whole spans of the level above."""
        return any(
            self._mark(level, now) for level in range(COARSEST + 1)
        ) or self._trim_five_minutes(now)

    def _mark(self, level: int, now: float) -> bool:
        """Mark the level as deletable up to its retention, as far as the level above it has its totals.

        Take back what a clock that was ahead has marked, or all rows until that date would be deleted at once.
        """
        found = self._one(
            "SELECT end FROM span WHERE level = ?1 AND start < ?2 AND end <= ?2 ORDER BY start DESC LIMIT 1",
            *(min(level + 1, COARSEST), now - self._keep[level]),
        )
        oldest = found[0] if found else 0
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

    def mark_oldest(self, now: float) -> bool:
        """Mark the oldest detail as deletable, whatever its retention."""
        candidates = [(end, level) for level in range(DAYS) if (end := self._oldest(level, now))]
        if not candidates:
            return False
        self._connection.execute("UPDATE level SET kept = ? WHERE level = ?", min(candidates))
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

    # Deleting.

    def delete_old(self, now: float) -> bool:
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

    def _ahead_before(self, interval: int, now: float) -> tuple[Any, ...]:
        """Return an interval recorded before another, but dated after now by a clock that was ahead; () if there is none."""
        return self._one(
            "SELECT id FROM interval WHERE start > ? AND id < ?"
            " AND start < (SELECT closed FROM level WHERE level = 1) LIMIT 1",
            *(now, interval),
        )

    def delete_ahead(self, now: float) -> bool:
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

    def delete_abandoned(self, closing: int) -> bool:
        """Delete rows of a span that a former recorder did not finish; `closing` is the one that is being added up."""
        return self._delete(
            "span", self._one("SELECT id FROM span WHERE level < 0 AND id != ?", closing)
        )

    def _delete(self, parent: str, found: tuple[Any, ...]) -> bool:
        """Delete some rows of the found interval or span, and itself after its last row; return whether one was found."""
        if not found:
            return False
        rows, key = _ROWS[parent]
        last = self._one(
            f"SELECT {key} FROM {rows} WHERE {parent} = ? ORDER BY {key} LIMIT 1 OFFSET ?",  # noqa: S608 - our own names
            *(*found, ROWS_AT_ONCE - 1),
        )
        these = f" AND ({key}) <= ({', '.join('?' * len(last))})" if last else ""
        self.deleted += self._connection.execute(
            f"DELETE FROM {rows} WHERE {parent} = ?{these}",  # noqa: S608
            (*found, *last),
        ).rowcount
        if not last:
            self._connection.execute(f"DELETE FROM {parent} WHERE id = ?", found)  # noqa: S608
        return True

    def delete_processes(self, now: float) -> bool:
        """Delete processes that no interval refers to.

        Intervals from a clock that was ahead may precede the first of the others: their own processes stay.  So does the
        newest one: SQLite would give its number to another, which live followers would take for it.
        """
        (first,) = self._one("SELECT min(id) FROM interval WHERE +start <= ?", now)
        return bool(
            self._connection.execute(
                "DELETE FROM process WHERE id IN (SELECT id FROM process WHERE ended IS NOT NULL AND ended > -?1 AND ended < ?1"
                " AND id NOT IN (SELECT process FROM delta WHERE interval < ?1)"
                " AND id < (SELECT max(id) FROM process) LIMIT 1000)",
                (first,),
            ).rowcount
        )
