"""The schema of the database and its migrations."""

import contextlib
import functools
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bwtop.model.ledger import CATEGORIES, Category
from bwtop.sqlite.errors import HistoryError
from bwtop.text.escape import printable

APPLICATION_ID: Final = 0x6277_7470  # "bwtp", for file(1)


def pulse_column(category: Category, way: str) -> str:
    """Return the column of the bytes that a category received ("rx") or sent ("tx") in the five-minute totals."""
    name, loopback = CATEGORIES[category]
    return f"{name}{'_loopback' if loopback else ''}_{way}"


def pulse_columns() -> list[str]:
    """Return all byte columns of the five-minute totals, by category."""
    return [pulse_column(category, way) for category in CATEGORIES for way in ("rx", "tx")]


_PULSE_COLUMNS: Final = ", ".join(f"{name} INTEGER NOT NULL" for name in pulse_columns())

_TABLES: Final = f"""
CREATE TABLE program (  -- what a process runs, as which user, in which unit; ids of processes are kept only with the seconds
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, exe TEXT, uid INTEGER, unit TEXT, container TEXT, pod TEXT,
    kernel INTEGER NOT NULL);
CREATE INDEX program_by_name ON program (name, unit);
CREATE TABLE remote (  -- address: 16 bytes, IPv4 as ::ffff:a.b.c.d, zeros if unknown
    id INTEGER PRIMARY KEY, address BLOB NOT NULL, port INTEGER NOT NULL, protocol INTEGER NOT NULL,
    role INTEGER NOT NULL);
CREATE UNIQUE INDEX remote_by_address ON remote (address, port, protocol, role);
CREATE TABLE flow (
    id INTEGER PRIMARY KEY, program INTEGER NOT NULL REFERENCES program, remote INTEGER NOT NULL REFERENCES remote);
CREATE UNIQUE INDEX flow_by_ends ON flow (program, remote);

CREATE TABLE process (  -- start: nanoseconds since the boot; started: UTC
    -- ended: the last interval it may be in, negative if its end was not observed
    id INTEGER PRIMARY KEY, pid INTEGER NOT NULL, start INTEGER NOT NULL, started REAL,
    program INTEGER NOT NULL REFERENCES program, cmdline TEXT NOT NULL, ended INTEGER);
CREATE INDEX process_by_pid ON process (pid, start);
CREATE INDEX process_by_end ON process (ended) WHERE ended IS NOT NULL;
CREATE TABLE interval (  -- start: UTC; seconds: by the monotonic clock
    id INTEGER PRIMARY KEY AUTOINCREMENT, start REAL NOT NULL, seconds REAL NOT NULL, loss TEXT);
CREATE INDEX interval_by_start ON interval (start);
CREATE TABLE delta (
    interval INTEGER NOT NULL REFERENCES interval, flow INTEGER NOT NULL REFERENCES flow,
    process INTEGER NOT NULL REFERENCES process, rx INTEGER NOT NULL, tx INTEGER NOT NULL,
    PRIMARY KEY (interval, flow, process)) WITHOUT ROWID;

CREATE TABLE span (  -- level: 1 minute, 2 hour, 3 day, 4 month; negative while its totals are being added up
    id INTEGER PRIMARY KEY AUTOINCREMENT, level INTEGER NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL,
    seconds REAL NOT NULL, loss TEXT);
CREATE UNIQUE INDEX span_by_start ON span (level, start);
CREATE TABLE traffic (
    span INTEGER NOT NULL REFERENCES span, flow INTEGER NOT NULL REFERENCES flow,
    rx INTEGER NOT NULL, tx INTEGER NOT NULL, PRIMARY KEY (span, flow)) WITHOUT ROWID;
CREATE TABLE level (  -- closed: all before it is in this level's totals; kept: all before it may be deleted
    level INTEGER PRIMARY KEY, closed INTEGER NOT NULL, kept INTEGER NOT NULL);
INSERT INTO level VALUES (0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0), (4, 0, 0);

CREATE TABLE pulse (  -- five-minute totals
    start INTEGER PRIMARY KEY, seconds REAL NOT NULL, {_PULSE_COLUMNS});
CREATE TABLE event (  -- events that affect the totals: the clock was set, the machine slept, bytes were dropped
    id INTEGER PRIMARY KEY, time REAL NOT NULL, kind TEXT NOT NULL, amount REAL NOT NULL);
CREATE INDEX event_by_time ON event (time);
"""  # noqa: S608 - our own names

_SPOOL: Final = """
ALTER TABLE span ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;  -- number of its last change
UPDATE span SET changed = id WHERE level > 0;
CREATE INDEX span_by_change ON span (changed);
ALTER TABLE pulse ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;
UPDATE pulse SET changed = start;
CREATE INDEX pulse_by_change ON pulse (changed);
CREATE TABLE spool (  -- one row: id of this database on servers, and the number of the last change
    id INTEGER NOT NULL, changes INTEGER NOT NULL);
INSERT INTO spool SELECT random(), max((SELECT coalesce(max(changed), 0) FROM span),
    (SELECT coalesce(max(changed), 0) FROM pulse));
CREATE TRIGGER span_made AFTER INSERT ON span WHEN new.level > 0 BEGIN
    UPDATE spool SET changes = changes + 1;
    UPDATE span SET changed = (SELECT changes FROM spool) WHERE id = new.id;
END;
CREATE TRIGGER span_changed AFTER UPDATE OF level, seconds ON span WHEN new.level > 0 BEGIN
    UPDATE spool SET changes = changes + 1;
    UPDATE span SET changed = (SELECT changes FROM spool) WHERE id = new.id;
END;
CREATE TRIGGER pulse_made AFTER INSERT ON pulse BEGIN
    UPDATE spool SET changes = changes + 1;
    UPDATE pulse SET changed = (SELECT changes FROM spool) WHERE start = new.start;
END;
CREATE TRIGGER pulse_changed AFTER UPDATE OF seconds ON pulse BEGIN
    UPDATE spool SET changes = changes + 1;
    UPDATE pulse SET changed = (SELECT changes FROM spool) WHERE start = new.start;
END;
CREATE TABLE shipped (  -- the last interval, change, five-minute total and event that a server has
    target TEXT PRIMARY KEY, interval INTEGER NOT NULL, change INTEGER NOT NULL, fives INTEGER NOT NULL,
    event INTEGER NOT NULL);
"""

_EXEC: Final = "ALTER TABLE process ADD COLUMN exec INTEGER NOT NULL DEFAULT 0;"

_NAMES: Final = """
CREATE TABLE named (  -- names of remotes, as processes asked for them; source: see naming.SOURCES
    -- program: NULL if it is unknown, or deleted; port: NULL if the name is of all ports; first, last: UTC, when it was seen
    id INTEGER PRIMARY KEY AUTOINCREMENT, program INTEGER REFERENCES program, address BLOB NOT NULL, port INTEGER,
    name TEXT NOT NULL, source INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    changed INTEGER NOT NULL DEFAULT 0);
CREATE INDEX named_by_address ON named (address);
CREATE INDEX named_by_program ON named (program, address, port);
CREATE INDEX named_by_change ON named (changed);
CREATE TRIGGER named_made AFTER INSERT ON named BEGIN
    UPDATE spool SET changes = changes + 1;
    UPDATE named SET changed = (SELECT changes FROM spool) WHERE id = new.id;
END;
CREATE TRIGGER named_seen AFTER UPDATE OF first, last ON named BEGIN
    UPDATE spool SET changes = changes + 1;
    UPDATE named SET changed = (SELECT changes FROM spool) WHERE id = new.id;
END;
ALTER TABLE shipped ADD COLUMN named INTEGER NOT NULL DEFAULT 0;  -- the last change of a name that a server has
"""

MIGRATIONS: Final[Sequence[str]] = (_TABLES, _SPOOL, _EXEC, _NAMES)
"""Scripts that upgrade each schema to the next; an empty file has schema 0."""


def version() -> int:
    """Return the schema that this bwtop writes."""
    return len(MIGRATIONS)


def version_of(connection: sqlite3.Connection) -> int:
    """Return the schema that a database has; 0 if it is empty."""
    return _value(connection, "PRAGMA user_version")


def migrate(connection: sqlite3.Connection) -> None:
    """Run the pending migrations: all of them, or none if one fails."""
    if version_of(connection) == version():
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for number in range(version_of(connection), version()):
            for statement in statements(MIGRATIONS[number]):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version()}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def statements(script: str) -> list[str]:
    """Split a script into statements: sqlite3's executescript() would commit first."""
    found, begun = [], ""
    for line in script.splitlines(keepends=True):
        begun += line
        if sqlite3.complete_statement(begun):
            found.append(begun.strip())
            begun = ""
    return found


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Raise HistoryError if it is no history, or one of a newer bwtop."""
    try:
        known = version_of(connection)
        application = _value(connection, "PRAGMA application_id")
        is_foreign = application != APPLICATION_ID
        is_empty = not (application or known or (is_foreign and _objects(connection)))
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_NOTADB:
            raise
        raise HistoryError(
            f"{path} is not a history of bwtop; move it away or choose another with --db"
        ) from None
    if is_foreign and not is_empty:
        raise HistoryError(f"{path} is another program's database; choose another with --db")
    if known > version():
        raise HistoryError(
            f"{path} was written by a newer bwtop (schema {known};"
            f" this bwtop reads up to {version()}); upgrade bwtop"
        )
    _check_objects(connection, path, known)


def _check_objects(connection: sqlite3.Connection, path: Path, known: int) -> None:
    """Raise HistoryError for a table, index, view or trigger that bwtop has not made, or that was changed."""
    odd = sorted(_objects(connection) - _expected(known), key=repr)
    if odd:
        kind, name = (printable(str(word))[:_LONGEST_NAME] for word in odd[0][:2])
        raise HistoryError(
            f"{path} has a {kind} {name!r} that bwtop has not made; move it away or choose another with --db"
        )
    missing = _expected(known) - _objects(connection)
    if missing:
        kind, name = map(str, min(missing, key=repr)[:2])
        raise HistoryError(
            f"{path} has no {kind} {name!r}; move it away or choose another with --db"
        )


_LONGEST_NAME: Final = 60


def _objects(connection: sqlite3.Connection) -> set[tuple[object, ...]]:
    """Return (type, name, table, SQL) of all tables, indexes, views and triggers except SQLite's own."""
    found = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema")
    return {
        (kind, name, table, _plain_sql(sql))
        for kind, name, table, sql in found
        if (kind, name) not in _OWN_TABLES and not (kind == "index" and sql is None)
    }


_OWN_TABLES: Final = {("table", f"sqlite_{name}") for name in ("sequence", "stat1", "stat4")}
"""Tables that SQLite makes: for AUTOINCREMENT, and for ANALYZE."""


@functools.lru_cache(maxsize=256)
def _plain_sql(sql: object) -> object:
    """Return SQL without comments and white space, which differ between versions of bwtop."""
    return re.sub(r"--[^\n]*|\s", "", sql) if isinstance(sql, str) else sql


@functools.cache
def _expected(known: int) -> frozenset[tuple[object, ...]]:
    """Return the objects of a schema."""
    with contextlib.closing(_empty(known)) as connection:
        return frozenset(_objects(connection))


def _empty(known: int) -> sqlite3.Connection:
    """Return an empty history in memory."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for script in MIGRATIONS[:known]:
        connection.executescript(script)
    return connection


def empty_reader() -> sqlite3.Connection:
    """Return an empty history in memory; open_reader() is faster afterwards, as it knows the schema."""
    _expected(version())
    return _empty(version())


def _value(connection: sqlite3.Connection, statement: str) -> int:
    return int(connection.execute(statement).fetchone()[0])
