"""Delete the flows, remotes, names and programs that no row uses any more."""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from bwtop.sqlite import checked
from bwtop.sqlite.checked import DamagedError
from bwtop.sqlite.naming import OF_PROCESS

ROWS_AT_ONCE: Final = 4096
"""Rows that one piece of work reads."""

UNUSED_NAME: Final = 3600
"""Seconds for which a name of an address without traffic is kept: a process looks names up before it connects."""

_PAGE: Final = 12
"""Bits of an id within a page of a set."""


class _Ids:
    """A set of ids, in a byte each: few gaps and many ids."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = defaultdict(lambda: bytearray(1 << _PAGE))

    def update(self, ids: Iterable[int]) -> None:
        pages, place = self._pages, (1 << _PAGE) - 1
        try:
            for number in ids:
                pages[number >> _PAGE][number & place] = 1
        except TypeError:
            raise DamagedError from None

    def __contains__(self, number: int) -> bool:
        page = self._pages.get(number >> _PAGE)
        return page is not None and bool(page[number & (1 << _PAGE) - 1])


class Sweep:
    """One sweep: mark the flows that rows use, then delete the others, and what only they used.

    Between two steps intervals may be appended and spans folded: note_appended() and note_used() have to be told.
    """

    def __init__(self, connection: sqlite3.Connection, forget: Callable[[], None]) -> None:
        """Make a sweep; `forget` is called when ids have been deleted."""
        self._run = connection.execute
        self._many = connection.executemany
        self._forget = forget
        self._used = _Ids()
        self._used_remotes = _Ids()
        (self._interval,) = self._run("SELECT coalesce(max(id), 0) FROM interval").fetchone()
        self._place = (-1, -1)
        self._flow = -1
        self.rows = 0
        """Number of rows looked at so far."""
        self._pieces = self._all()

    def step(self) -> bool:
        """Do a short piece of work; return whether more is left."""
        return next(self._pieces, True) is None

    def note_appended(self) -> None:
        """Mark the flows of new intervals: one that came late can be deleted before its flows in old spans are seen."""
        self._used.update(
            flow
            for (flow,) in self._run("SELECT flow FROM delta WHERE interval > ?", (self._interval,))
        )
        (self._interval,) = self._run("SELECT coalesce(max(id), 0) FROM interval").fetchone()

    def note_used(self, flow: int) -> None:
        """Mark a flow that a span uses from now on, and its remote: they may have been found unused before."""
        self._used.update((flow,))
        self._used_remotes.update(
            remote for (remote,) in self._run("SELECT remote FROM flow WHERE id = ?", (flow,))
        )

    def _all(self) -> Iterator[None]:
        yield from self._mark_intervals(self._interval)
        while self._mark_spans():
            yield
        yield from self._delete_flows()
        yield from self._delete_remotes()
        yield from self._delete_names()
        yield from self._delete_programs()

    def _mark_intervals(self, last: int) -> Iterator[None]:
        place: tuple[Any, ...] = (-1, -1, -1)
        while rows := self._run(
            "SELECT interval, flow, process FROM delta WHERE (interval, flow, process) > (?, ?, ?)"
            " AND interval <= ? ORDER BY interval, flow, process LIMIT ?",
            (*place, last, ROWS_AT_ONCE),
        ).fetchall():
            self._used.update(flow for _, flow, _ in rows)
            self.rows += len(rows)
            place = rows[-1]
            yield

    def _mark_spans(self) -> bool:
        """Mark the flows of some rows after a place; return whether there were any."""
        rows = self._run(
            "SELECT span, flow FROM traffic WHERE (span, flow) > (?, ?) ORDER BY span, flow LIMIT ?",
            (*self._place, ROWS_AT_ONCE),
        ).fetchall()
        if rows:
            self._used.update(flow for _, flow in rows)
            self.rows += len(rows)
            self._place = rows[-1]
        return bool(rows)

    def _delete_flows(self) -> Iterator[None]:
        while True:
            if self._mark_spans():  # closed since
                yield
                continue
            self.note_appended()
            rows = self._flows()
            if not rows:
                return
            self._delete("flow", (flow for flow, _ in rows if flow not in self._used))
            # Ids of deleted flows at the end of the table are given to new ones.
            (last,) = self._run("SELECT coalesce(max(id), 0) FROM flow").fetchone()
            self._flow = min(self._flow, last)
            yield

    def _flows(self) -> list[tuple[int, int]]:
        """Return the next flows with their remotes; mark the remotes of the used ones."""
        rows = self._run(
            "SELECT id, remote FROM flow WHERE id > ? ORDER BY id LIMIT ?",
            (self._flow, ROWS_AT_ONCE),
        ).fetchall()
        if rows:
            self._flow = rows[-1][0]
            self._used_remotes.update(remote for flow, remote in rows if flow in self._used)
        return rows

    def _delete_remotes(self) -> Iterator[None]:
        last = -1
        while rows := self._run(
            "SELECT id FROM remote WHERE id > ? ORDER BY id LIMIT ?", (last, ROWS_AT_ONCE)
        ).fetchall():
            self.note_appended()
            while self._flows():
                pass
            self._delete(
                "remote", (remote for (remote,) in rows if remote not in self._used_remotes)
            )
            last = rows[-1][0]
            yield

    def _delete_names(self) -> Iterator[None]:
        """Delete the names of addresses without a remote, and those of programs without a flow.

        What a program without a flow was told by DNS is of use to others.
        """
        (present,) = self._run(  # of the last interval: a clock may have been ahead
            "SELECT coalesce((SELECT start FROM interval ORDER BY id DESC LIMIT 1), 0)"
        ).fetchone()
        last = -1
        while rows := self._run(
            "SELECT id, source, last, EXISTS (SELECT 1 FROM remote WHERE address = named.address),"
            " program IS NULL OR EXISTS (SELECT 1 FROM flow WHERE program = named.program)"
            " FROM named WHERE id > ? ORDER BY id LIMIT ?",
            (last, ROWS_AT_ONCE),
        ).fetchall():
            old = [row for row in rows if abs(present - checked.moment(row[2])) > UNUSED_NAME]
            self._delete(
                "named",
                (
                    number
                    for number, source, _, is_used, is_of_any in old
                    if not is_used or (not is_of_any and source in OF_PROCESS)
                ),
            )
            self._many(
                "UPDATE named SET program = NULL WHERE id = ?",
                ((number,) for number, *_, is_of_any in old if not is_of_any),
            )
            last = rows[-1][0]
            yield

    def _delete_programs(self) -> Iterator[None]:
        last = -1
        while rows := self._run(
            "SELECT id, EXISTS (SELECT 1 FROM flow WHERE program = program.id)"
            " OR EXISTS (SELECT 1 FROM named WHERE program = program.id)"
            " OR id IN (SELECT program FROM process) FROM program WHERE id > ? ORDER BY id LIMIT ?",
            (last, ROWS_AT_ONCE),
        ).fetchall():
            self._delete("program", (program for program, is_used in rows if not is_used))
            last = rows[-1][0]
            yield

    def _delete(self, table: str, ids: Iterable[int]) -> None:
        unused = [(number,) for number in ids]
        if unused:
            self._many(f"DELETE FROM {table} WHERE id = ?", unused)  # noqa: S608 - our own names
            self._forget()
