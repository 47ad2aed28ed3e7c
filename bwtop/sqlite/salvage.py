"""Save the rows of a damaged database that SQLite can still read, into a new one."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bwtop.history.tiers import COARSEST
from bwtop.model.flows import UNKNOWN_ADDRESS, UNKNOWN_IDENTITY, Remote
from bwtop.sqlite import checked
from bwtop.sqlite.checked import DamagedError
from bwtop.sqlite.store import flow_id

_KEYS: Final = {
    **dict.fromkeys(
        ("program", "remote", "flow", "process", "interval", "span", "event", "named"), ("id",)
    ),
    "pulse": ("start",),
    "delta": ("interval", "flow", "process"),
    "traffic": ("span", "flow"),
}
"""Primary keys of the tables to save."""


def _whole(value: object) -> int:
    """Check an id or a number of bytes; sums of larger ones could exceed what SQLite adds up."""
    return checked.whole(value, 1 << 53)


_CHECKS: Final[dict[str, Callable[[Any], object]]] = {
    **dict.fromkeys(("name", "cmdline"), checked.text),
    **dict.fromkeys(("exe", "unit", "container", "pod"), checked.maybe_text),
    **dict.fromkeys(("start", "end", "time"), checked.moment),
    "process.start": checked.whole,
    "started": checked.maybe_moment,
    "seconds": checked.seconds,
    "loss": checked.loss,
    "uid": lambda uid: None if uid is None else checked.whole(uid, (1 << 32) - 1, -1),
    "ended": lambda last: None if last is None else checked.whole(last, least=-checked.MOST),
    "address": lambda address: checked.remote(0, 0, 0, address),
    "port": lambda port: checked.whole(port, 65535),
    "protocol": lambda protocol: checked.whole(protocol, 255),
    "role": lambda role: checked.whole(role, 1),
    "kernel": lambda flag: checked.whole(flag, 1),
    "level": lambda level: checked.whole(level or COARSEST + 1, COARSEST, -COARSEST),
}
"""Checks of columns; for all others it is _whole()."""

_ROW_CHECKS: Final[dict[str, Callable[[tuple[Any, ...]], object]]] = {
    "event": lambda row: checked.event(*row[1:]),
    "named": lambda row: checked.named(row[1:8]),
}
"""Checks of tables that are read row by row, as readers make them; their ids and counters remain to be checked."""

_ORPHANED: Final = {
    "flow": "program NOT IN (SELECT id FROM program) OR remote NOT IN (SELECT id FROM remote)",
    "process": "program NOT IN (SELECT id FROM program)",
    "named": "program NOT IN (SELECT id FROM program)",
    "delta": "interval NOT IN (SELECT id FROM interval)",
    "traffic": "span NOT IN (SELECT id FROM span)",
}
"""SQL of rows whose program, remote, interval or span is lost.

A report needs the first two; the number of a lost interval or span may be given to a new one, which has such rows of its own.
"""

_STEP: Final = 32
"""Ids between two looks for the end of a gap: a page holds more rows."""

_NEAR: Final = 1 << 16
_FAR: Final = 1 << 40
"""Lengths of a gap from which the steps grow, and after which nothing more is expected."""


@dataclass
class Saved:
    """The result of one table."""

    table: str
    rows: int = 0
    gaps: int = 0
    """Places where rows could not be read, and rows that were not valid."""
    orphans: int = 0
    """Rows left out, as their program, remote, interval or span is lost."""
    bytes: int = 0
    """Bytes received and sent in them."""


def salvage(old: sqlite3.Connection, new: sqlite3.Connection) -> Iterator[Saved]:
    """Copy the readable rows into an empty database, table by table; raise sqlite3.Error if it cannot be written."""
    for table, key in _KEYS.items():
        found = Saved(table)
        columns = [
            row[1] for row in old.execute(f"PRAGMA table_info({table})")
        ]  # may be an older schema's
        if not columns:
            continue
        insert = (
            f"INSERT OR IGNORE INTO {table} ({', '.join(columns)})"  # noqa: S608 - names that open_reader() has checked
            f" VALUES ({', '.join('?' * len(columns))})"
        )
        check = _check_of(table, columns)
        new.execute("BEGIN")
        for row in _rows(old, found, key):
            try:
                check(row)
            except DamagedError:
                found.gaps += 1
            else:
                found.rows += new.execute(insert, row).rowcount
        if table in _ORPHANED:
            _leave_out_orphans(new, found)
        new.execute("COMMIT")
        yield found
    new.execute("BEGIN")
    _name_last(new)
    new.execute("COMMIT")
    _set_levels(new)


def _check_of(table: str, columns: Sequence[str]) -> Callable[[tuple[Any, ...]], None]:
    """Return what checks a row of a table, and raises DamagedError."""
    of_row = _ROW_CHECKS.get(table)
    checks = [
        (place, _CHECKS.get(f"{table}.{name}", _CHECKS.get(name, _whole)))
        for place, name in enumerate(columns)
        if of_row is None or name in ("id", "changed")
    ]

    def check(row: tuple[Any, ...]) -> None:
        for place, of_column in checks:
            of_column(row[place])
        if of_row:
            of_row(row)

    return check


def _name_last(new: sqlite3.Connection) -> None:
    """Let the last lost flow and process be unknown ones: else new ones get such numbers, and with them the old bytes."""
    for table, used in (
        ("process", "SELECT max(process) FROM delta"),
        (
            "flow",
            "SELECT max(flow) FROM (SELECT flow FROM delta UNION ALL SELECT flow FROM traffic)",
        ),
    ):
        ((last,),) = new.execute(used).fetchall()
        (known,) = new.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()  # noqa: S608 - our own names
        if last is None or last <= known:
            continue
        program = new.execute(
            "INSERT INTO program (name, kernel) VALUES (?, 0)", (UNKNOWN_IDENTITY.name,)
        ).lastrowid
        if table == "process":
            new.execute(
                "INSERT INTO process (id, pid, start, program, cmdline) VALUES (?, 0, 0, ?, '')",
                (last, program),
            )
        else:
            assert program is not None, "it has inserted a row"
            number = flow_id(new, program, Remote(0, 0, 0, UNKNOWN_ADDRESS))
            new.execute("UPDATE flow SET id = ? WHERE id = ?", (last, number))


def _leave_out_orphans(new: sqlite3.Connection, found: Saved) -> None:
    """Delete the copied rows of a table that refer to lost ones."""
    orphans = f"FROM {found.table} WHERE {_ORPHANED[found.table]}"
    if found.table in ("delta", "traffic"):
        (moved,) = new.execute(f"SELECT total(rx + tx) {orphans}").fetchone()
        found.bytes = int(moved)
    found.orphans = new.execute(f"DELETE {orphans}").rowcount
    found.rows -= found.orphans


def _rows(old: sqlite3.Connection, found: Saved, key: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    """Yield the readable rows, some of them twice."""
    select, first = f"SELECT * FROM {found.table} WHERE {key[0]}", 0  # noqa: S608 - our own names
    forward, backward = ", ".join(key), ", ".join(f"{name} DESC" for name in key)
    single = f"{select} >= ? ORDER BY {forward} LIMIT 1 OFFSET ?"
    while True:
        last, count = first - 1, 0
        for row in _until_error(old, f"{select} >= ? ORDER BY {forward}", first):
            if row is None:
                break
            yield row
            last, count = _later(last, row), count + 1
        else:
            return
        found.gaps += 1
        # sqlite3 drops a row if it cannot read the next one.
        for row in filter(None, _until_error(old, single, first, count)):
            yield row
            last = _later(last, row)
        after = _boundary(last, lambda place: None not in _until_error(old, single, place, 0))
        if after is None:
            return
        yield from filter(None, _until_error(old, f"{select} = ? ORDER BY {backward}", after - 1))
        first = after


def _later(last: int, row: tuple[Any, ...]) -> int:
    return max(last, row[0]) if isinstance(row[0], int) else last


def _until_error(
    old: sqlite3.Connection, statement: str, *values: int
) -> Iterator[tuple[Any, ...] | None]:
    """Yield rows, and None for an error, which ends them."""
    try:
        yield from old.execute(statement, values)
    except sqlite3.DatabaseError:
        yield None


def _boundary(last: int, is_readable: Callable[[int], bool]) -> int | None:
    """Return where the gap after the last row ends; None: nothing after it can be read."""
    bad, step = last, 1
    while not is_readable(good := bad + step):
        bad = good
        if step < _STEP or bad - last > _NEAR:
            step *= 2
        if step > _FAR:
            return None
    while good - bad > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if is_readable(middle) else (good, middle)
    return good


def _set_levels(new: sqlite3.Connection) -> None:
    """Set up to when each level has totals, and before when it lacks rows."""
    for level in range(COARSEST + 1):
        rows = "interval" if level == 0 else f"span WHERE level = {level}"
        (first,) = new.execute(f"SELECT min(start) FROM {rows}").fetchone()  # noqa: S608 - numbers
        new.execute(
            "UPDATE level SET closed = (SELECT coalesce(max(end), 0) FROM span WHERE level = ?1),"
            " kept = coalesce(?2, (SELECT max(end) FROM span WHERE level = ?1 + 1), 0) WHERE level = ?1",
            (level, first),
        )
