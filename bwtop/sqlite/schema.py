"""The schema of the database, its migrations, and how it is opened."""

import contextlib
import errno
import functools
import os
import re
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from bwtop.model.ledger import CATEGORIES, Category
from bwtop.rights.opening import file_id
from bwtop.sqlite import checked
from bwtop.sqlite.checked import DamagedError
from bwtop.text.escape import printable

APPLICATION_ID: Final = 0x6277_7470  # "bwtp", for file(1)

WAIT: Final = 0.5
"""Seconds that a statement waits for the lock of another program; then the caller retries later."""

_WAL_LIMIT: Final = 4 << 20
"""Size in bytes to which the write-ahead log shrinks after a long read has let it grow."""


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


class HistoryError(Exception):
    """The history cannot be used; the text says why and what to do."""


def version() -> int:
    """Return the schema that this bwtop writes."""
    return len(MIGRATIONS)


def connect_writer(path: Path, mode: int | None = None) -> sqlite3.Connection:
    """Open the database to write, without migrating it: that is up to the holder of the lock.

    A missing file is created with the permissions `mode`; without one raise FileNotFoundError.
    """
    if mode is not None:
        _create(path, mode)
    _check_file(path, os.R_OK | os.W_OK)
    with _held(path) as descriptor:
        connection = _connect(path, "mode=rw")
        try:
            _check(connection, path)
            _close_to_others(descriptor, path)
            _prepare(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def _create(path: Path, mode: int) -> None:
    """Create the database if it is missing."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode))


@contextlib.contextmanager
def _held(path: Path) -> Iterator[int]:
    """Hold a file by a descriptor that neither reads it nor, when it is closed, drops SQLite's locks (O_PATH)."""
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _close_to_others(descriptor: int, path: Path) -> None:
    """Let only owner and group read a history; raises HistoryError if the path leads to another file now."""
    if file_id(descriptor) != file_id(path):
        raise HistoryError(f"{path} was replaced while it was being opened; try again")
    mode = os.fstat(descriptor).st_mode
    if mode & stat.S_IRWXO:
        Path(f"/proc/self/fd/{descriptor}").chmod(stat.S_IMODE(mode) & ~stat.S_IRWXO)


def _check_file(path: Path, access: int) -> None:
    """Check that a file can be opened; raise plainer errors than SQLite's.

    Do not open it: closing it would drop the locks of all connections of this process to it (POSIX, fcntl()), and
    another program might delete the log as its own.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise HistoryError(f"{path} is not a regular file; choose another with --db")
    if not os.access(path, access, effective_ids=True):
        is_read_only = access & os.W_OK and os.statvfs(path).f_flag & os.ST_RDONLY
        number = errno.EROFS if is_read_only else errno.EACCES
        raise OSError(number, os.strerror(number), str(path))


class _Connection(sqlite3.Connection):
    """A connection to a file that may be damaged."""

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        """Run a statement; the message of an error can quote bytes of the file that are no text."""
        try:
            return super().execute(*arguments)
        except UnicodeDecodeError:
            raise DamagedError from None


def _connect(path: Path, parameters: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file://{quote(os.fsencode(path.absolute()))}?{parameters}",
        uri=True,
        timeout=WAIT,
        isolation_level=None,
        check_same_thread=False,
        factory=_Connection,
    )
    connection.text_factory = checked.decoded
    try:
        connection.execute("PRAGMA trusted_schema = OFF")  # no function that SQL in the file names
        connection.execute("PRAGMA cell_size_check = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    run = connection.execute
    if not _value(connection, "PRAGMA user_version"):
        run("PRAGMA auto_vacuum = INCREMENTAL")  # before the first table, or never
    run("PRAGMA journal_mode = WAL")
    run("PRAGMA synchronous = FULL")  # what is committed survives a power cut
    run("PRAGMA temp_store = MEMORY")
    run(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")


def migrate(connection: sqlite3.Connection) -> None:
    """Run the pending migrations: all of them, or none if one fails."""
    if _value(connection, "PRAGMA user_version") == version():
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for number in range(_value(connection, "PRAGMA user_version"), version()):
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


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Raise HistoryError if it is no history, or one of a newer bwtop."""
    try:
        known = _value(connection, "PRAGMA user_version")
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


def open_reader(path: Path, oldest: int | None = None) -> sqlite3.Connection:
    """Open the database to read; it may belong to another user, and another bwtop may be writing.

    `oldest` is the first schema that will do, by default the present one.  Raises HistoryError, OSError and sqlite3.Error.
    """
    oldest = version() if oldest is None else oldest
    _check_file(path, os.R_OK)
    try:
        return _reader(path, "mode=ro", oldest)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode not in _NO_ROOM_BESIDE or _has_log(path):
            raise
    return _reader(path, "mode=ro&immutable=1", oldest)  # at rest: no process writes it


def connect_checker(path: Path) -> sqlite3.Connection:
    """Open the database to look for damage, with all of its files: later the path may be out of reach.

    The schema is not checked.  Raises sqlite3.Error.
    """
    connection = _connect(path, "mode=ro")
    try:
        _value(connection, "SELECT count(*) FROM sqlite_schema")
    except BaseException:
        connection.close()
        raise
    return connection


_NO_ROOM_BESIDE: Final = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY_DIRECTORY)
"""Errors of SQLite for a database at rest in a directory without write permission: it cannot create its files."""


def _has_log(path: Path) -> bool:
    """Return whether a write-ahead log has rows that the database lacks."""
    log = path.with_name(f"{path.name}-wal")
    return log.exists() and log.stat().st_size > 0


def _reader(path: Path, parameters: str, oldest: int) -> sqlite3.Connection:
    connection = _connect(path, parameters)
    try:
        _check(connection, path)
        _check_readable(connection, path, oldest)
        connection.execute("PRAGMA temp_store = MEMORY")
    except BaseException:
        connection.close()
        raise
    return connection


def _check_readable(connection: sqlite3.Connection, path: Path, oldest: int) -> None:
    """Raise HistoryError for an older schema: a reader cannot migrate."""
    known = _value(connection, "PRAGMA user_version")
    if known == 0:
        raise HistoryError(f"nothing has been recorded yet in {path}; run: sudo bwtop")
    if known < oldest:
        raise HistoryError(
            f"{path} has an older schema ({known}); it is upgraded when bwtop next records"
        )


def _value(connection: sqlite3.Connection, statement: str) -> int:
    return int(connection.execute(statement).fetchone()[0])


def is_locked(error: Exception) -> bool:
    """Return whether an error means that another program holds a lock."""
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) == sqlite3.SQLITE_BUSY


def plain(error: Exception, path: Path) -> str:
    """Return the message of an error, with the file."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        words = _WORDS.get(code) or _WORDS.get(code & 0xFF)  # the primary code of an extended one
        return f"{words}: {path}" if words else f"{error}: {path}"
    if isinstance(error, OSError):
        return f"{error.strerror or error}: {error.filename or path}"
    return str(error)


_WORDS: Final = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk cannot be read or written",
    sqlite3.SQLITE_READONLY: "the history is read-only",
    sqlite3.SQLITE_READONLY_RECOVERY: "the last writes are not merged yet; bwtop does that when it next records",
    sqlite3.SQLITE_READONLY_ROLLBACK: "the last write was cut off; it is undone when bwtop next records",
    sqlite3.SQLITE_CANTOPEN: "the history cannot be opened",
    sqlite3.SQLITE_BUSY: "another program has locked the history",
    sqlite3.SQLITE_CORRUPT: "the history is damaged",
    sqlite3.SQLITE_NOTADB: "not a history of bwtop",
    sqlite3.SQLITE_PERM: "no permission to write the history",
}
