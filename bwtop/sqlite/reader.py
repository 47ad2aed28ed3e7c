"""The history of this host in SQLite: see history.store."""

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any, Final

from bwtop.history import plan
from bwtop.history.boundaries import Span
from bwtop.history.calendar import Unit, ceiling
from bwtop.history.names import SeenNames
from bwtop.history.plan import NOTHING, Bounds
from bwtop.history.store import Amounts, Measured, sql_of_pids
from bwtop.history.tiers import COARSEST, DAYS
from bwtop.history.usage import FiveMinutes, Usage, rank
from bwtop.identity.machine import this_machine
from bwtop.identity.users import user_name
from bwtop.model.filter import Filter
from bwtop.model.flows import Host
from bwtop.model.ledger import Category, category
from bwtop.model.series import Rates
from bwtop.sqlite import checked
from bwtop.sqlite.checked import DamagedError
from bwtop.sqlite.processes import Processes
from bwtop.sqlite.schema import pulse_column
from bwtop.sqlite.seen import names_of
from bwtop.sqlite.selection import LocalSelection, identity

_WAYS: Final = ("rx", "tx")

_ROUNDING: Final = 0.001
"""Seconds by which the sum of a month's seconds depends on their order."""


class LocalReader:
    """Snapshot of a database, unaffected by later writes (see history.store.HistoryStore)."""

    ranks_remotes = True
    selects_hosts = False

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._host = this_machine()
        try:
            connection.execute("BEGIN")
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """End the snapshot and close the database."""
        self._connection.close()

    def _one(self, statement: str, *values: float | None) -> tuple[Any, ...]:
        return tuple(self._connection.execute(statement, values).fetchone())

    def hosts(self) -> Sequence[Host]:
        """See HistoryStore."""
        return [self._host]

    def extent(self) -> Bounds | None:
        """See HistoryStore."""
        start, end = self._one(
            "SELECT min(first), max(last) FROM ("
            "SELECT (SELECT min(start) FROM span WHERE span.level = level.level) AS first,"
            " (SELECT end FROM span WHERE span.level = level.level ORDER BY start DESC LIMIT 1) AS last"
            " FROM level WHERE level BETWEEN 1 AND ?"
            " UNION ALL SELECT min(start), max(start + seconds) FROM interval)",
            DAYS,
        )
        months = self._one(
            "SELECT min(start), max(end) FROM span WHERE level > ? AND (?2 IS NULL OR end <= ?2)",
            *(DAYS, start),
        )
        if start is None:
            start, end = months
        elif months[0] is not None:
            start = months[0]
        return None if start is None else (checked.moment(start), checked.moment(end))

    def pids_since(self) -> float:
        """See HistoryStore."""
        (found,) = self._one(
            "SELECT max(kept, coalesce((SELECT min(start) FROM interval), 0)) FROM level WHERE level = 0"
        )
        return checked.moment(found)

    def peers(self) -> Mapping[bytes, Host]:
        """See HistoryStore."""
        return {}

    def names(self, addresses: Collection[bytes], end: float) -> SeenNames:
        """See HistoryStore."""
        who = partial(identity, self._connection, host=self._host)
        return names_of(self._connection, addresses, end, who, self._host)

    def clocks(self) -> Mapping[Host, float]:
        """See HistoryStore."""
        return {}

    def select(
        self,
        bounds: Bounds,
        unit: Unit | None,
        needs: frozenset[str],
        keep: Filter,
    ) -> LocalSelection:
        """See HistoryStore."""
        if of_pids := sql_of_pids(keep):
            found = plan.finest(*bounds)
        else:
            found = plan.make(_Spans(self._connection), *bounds, unit)
        return LocalSelection(self._connection, found, self._host, of_pids, needs)

    def beside(self, level: int, when: float, *, later: bool) -> Span | None:
        """See HistoryStore; an interval ends where the next one begins, if that is near: clocks differ a little."""
        ends = "end" if level else "start + seconds"
        where, order = ("start >= ?", "ASC") if later else ("start < ?", "DESC")
        found = self._connection.execute(
            f"SELECT start, {ends} FROM {_of(level)} AND {where} ORDER BY start {order} LIMIT 1",  # noqa: S608 - constants
            (level, when) if level else (when,),
        ).fetchone()
        if not found:
            return None
        start, end = map(checked.moment, found)
        if not level:
            (after,) = self._one("SELECT min(start) FROM interval WHERE start > ?", start)
            if after is not None and checked.moment(after) < end + (end - start) / 2:
                end = checked.moment(after)
        return Span(level, start, end)

    def measured(self, start: float, end: float) -> Iterator[Measured]:
        """See HistoryStore."""
        processes = Processes(self._connection)
        for begun, process, address, port, protocol, role, rx, tx in self._connection.execute(
            "SELECT start, process, address, port, protocol, role, rx, tx FROM interval"
            " JOIN delta ON delta.interval = interval.id JOIN flow ON flow.id = delta.flow"
            " JOIN remote ON remote.id = flow.remote"
            " WHERE start >= ? AND start < ? ORDER BY start",
            (start, end),
        ):
            key, who = processes.get(process)
            user = None if who.uid is None else user_name(who.uid)
            far = checked.remote(protocol, role, port, address)
            yield checked.moment(begun), key, replace(who, user=user), far, *checked.moved(rx, tx)

    def amounts(self, level: int, start: float, end: float) -> Iterator[Amounts]:
        """See HistoryStore."""
        key, table, ends = (
            ("span", "traffic", "end") if level else ("interval", "delta", "start + seconds")
        )
        rows = self._connection.execute(
            f"SELECT start, {ends}, seconds, protocol, address, sum(rx), sum(tx)"  # noqa: S608 - constants
            f" FROM (SELECT * FROM {_of(level)} AND start >= ? AND start < ?) AS {key}"
            f" LEFT JOIN {table} ON {table}.{key} = {key}.id"
            f" LEFT JOIN flow ON flow.id = {table}.flow LEFT JOIN remote ON remote.id = flow.remote"
            " GROUP BY start, protocol, address ORDER BY start",
            (level, start, end) if level else (start, end),
        )
        for (begun, after, seconds), group in groupby(rows, key=lambda row: row[:3]):
            found: dict[Category, tuple[int, int]] = {}
            for *_, protocol, address, rx, tx in group:
                if address is not None:
                    of = category(checked.remote(protocol, 0, 0, address))
                    before = found.get(of, (0, 0))
                    more = checked.moved(rx, tx)
                    found[of] = (before[0] + more[0], before[1] + more[1])
            span = Span(level, checked.moment(begun), checked.moment(after))
            yield span, checked.seconds(seconds), found

    def events(self, start: float, end: float) -> Iterable[tuple[float, str, float]]:
        """See HistoryStore."""
        for found in self._connection.execute(
            "SELECT time, kind, amount FROM event WHERE time >= ? AND time < ? ORDER BY id",
            (start, end),
        ):
            yield checked.event(*found)

    def five_minutes(
        self, start: float, end: float, shown: Collection[Category]
    ) -> Iterator[tuple[float, float, int, int]]:
        """See HistoryStore."""
        amounts = ", ".join(_amount(shown, way) for way in _WAYS)
        for begun, seconds, rx, tx in self._connection.execute(
            f"SELECT start, seconds, {amounts} FROM pulse WHERE start >= ? AND start < ?",  # noqa: S608 - our own names
            (start, end),
        ):
            yield checked.moment(begun), checked.seconds(seconds), *checked.moved(rx, tx)

    def usage(self, bounds: FiveMinutes, shown: Collection[Category]) -> Usage | None:
        """See HistoryStore."""
        return _usage(self._connection, bounds, shown)


def _of(level: int) -> str:
    """Return the SQL of the spans of a level, which is a parameter, or of the measured intervals."""
    return "span WHERE level = ?" if level else "interval WHERE 1"


class _Spans:
    """See plan.Spans."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._run = connection.execute
        found = self._run("SELECT level, kept FROM level")
        self._kept = {level: checked.moment(kept) for level, kept in found}
        if not self._kept.keys() >= set(range(COARSEST + 1)):
            raise DamagedError

    def forgotten(self, level: int, start: float, end: float) -> float:
        """See plan.Spans; the level below is deleted up to this time, and only where this level has its totals."""
        kept = max(self._kept[level - 1], start)
        return min(max(kept, self._last_incomplete(level, kept, end)), end)

    def _last_incomplete(self, level: int, start: float, end: float) -> float:
        """Return the end of the last span that begins in a range and lacks rows of the level below; 0: there is none.

        Those rows were measured by a clock that was ahead, and deleted, or a salvage has not found them.
        """
        below = f"{_of(level - 1)} AND start >= above.start AND start < above.end"
        (found,) = self._run(
            "SELECT coalesce(max(end), 0) FROM span AS above WHERE level = ? AND start >= ? AND start < ?"  # noqa: S608 - constants
            f" AND seconds > (SELECT total(seconds) FROM {below}) + ?",
            (level, start, end, *[level - 1][: level - 1], _ROUNDING),
        ).fetchone()
        return checked.moment(found)

    def inside(self, level: int, start: float, end: float) -> Bounds:
        """See plan.Spans."""
        (first,) = self._run(
            "SELECT min(start) FROM span WHERE level = ? AND start >= ? AND start < ? AND end <= ?",
            (level, start, end, end),
        ).fetchone()
        if first is None:
            return NOTHING
        (after,) = checked.row(
            self._run(
                "SELECT end FROM span WHERE level = ? AND start >= ? AND start < ? AND end <= ?"
                " ORDER BY start DESC LIMIT 1",
                (level, start, end, end),
            )
        )
        return checked.moment(first), checked.moment(after)

    def widened(self, level: int, when: float) -> Bounds:
        """See plan.Spans; only the last span that begins before the time can contain it."""
        found = self._run(
            "SELECT start, end FROM span WHERE level = ? AND start < ? ORDER BY start DESC LIMIT 1",
            (level, when),
        ).fetchone()
        if not found:
            return NOTHING
        first, after = map(checked.moment, found)
        is_deleted = first < self._kept[level - 1] or self._last_incomplete(level, first, after)
        return (first, after) if after > when and is_deleted else NOTHING

    def fits(self, level: int, start: float, end: float, unit: Unit) -> bool:
        """See plan.Spans; check one span at each end of a unit: there are far fewer ends than spans."""
        first, last = self._run(
            "SELECT min(start), max(end) FROM span WHERE level = ? AND start >= ? AND end <= ?",
            (level, start, end),
        ).fetchone()
        if first is None:
            return True
        edge = ceiling(unit, checked.moment(first))
        while edge < checked.moment(last):
            before, after = checked.row(
                self._run(
                    "SELECT (SELECT end FROM span WHERE level = ?1 AND start < ?2"
                    " ORDER BY start DESC LIMIT 1),"
                    " (SELECT min(start) FROM span WHERE level = ?1 AND start >= ?2)",
                    (level, edge),
                )
            )
            if checked.moment(before) > edge:
                return False
            if after is None:
                return True
            edge = ceiling(unit, checked.moment(after))  # not unit by unit where there is nothing
        return True


def _usage(
    connection: sqlite3.Connection, bounds: FiveMinutes, shown: Collection[Category]
) -> Usage | None:
    """Return the usage from the five-minute totals of a range.  A year has 100,000: SQLite adds them up."""
    whole = ("start >= ? AND start < ?", (bounds.start, bounds.end))
    over = (f"{whole[0]} AND start != ?", (*whole[1], bounds.unfinished))

    def first(terms: str, where: tuple[str, tuple[float, ...]], rest: str = "") -> tuple[Any, ...]:
        statement = f"SELECT {terms} FROM pulse WHERE {where[0]} {rest}"  # noqa: S608 - our own names
        return checked.row(connection.execute(statement, where[1]))

    count, *peak = first(", ".join(["count(*)", *(f"max({_rate(shown, w)})" for w in _WAYS)]), over)
    if not count:
        return None

    def find_percentile() -> Rates:
        place = f"ORDER BY 1 LIMIT 1 OFFSET {rank(count)}"
        return _rates(*(first(_rate(shown, way), over, place)[0] for way in _WAYS))

    (seconds,) = first("sum(seconds)", whole)
    return Usage(_rates(*peak), count, checked.number(seconds), find_percentile)


def _rates(rx: object, tx: object) -> Rates:
    """Check rates; NULL is 0."""
    return checked.number(rx or 0.0), checked.number(tx or 0.0)


def _amount(categories: Collection[Category], way: str) -> str:
    """Return the SQL of the bytes that some categories received or sent."""
    return " + ".join(pulse_column(of, way) for of in categories) or "0"


def _rate(categories: Collection[Category], way: str) -> str:
    """Return the SQL of meter.rate(); a total of zero seconds gives NULL, which sorts first."""
    return f"({_amount(categories, way)}) / seconds"
