"""Open the database: to write, to read, and to look for damage."""

import contextlib
import errno
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from bwtop.rights.opening import file_id
from bwtop.sqlite import checked, schema
from bwtop.sqlite.checked import DamagedError
from bwtop.sqlite.errors import HistoryError

WAIT: Final = 0.5
"""Seconds that a statement waits for the lock of another program; then the caller retries later."""

_WAL_LIMIT: Final = 4 << 20
"""Size in bytes to which the write-ahead log shrinks after a long read has let it grow."""


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
            schema.check(connection, path)
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
    if not schema.version_of(connection):
        run("PRAGMA auto_vacuum = INCREMENTAL")  # before the first table, or never
    run("PRAGMA journal_mode = WAL")
    run("PRAGMA synchronous = FULL")  # what is committed survives a power cut
    run("PRAGMA temp_store = MEMORY")
    run(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")


def open_reader(path: Path, oldest: int | None = None) -> sqlite3.Connection:
    """Open the database to read; it may belong to another user, and another bwtop may be writing.

    `oldest` is the first schema that will do, by default the present one.  Raises HistoryError, OSError and sqlite3.Error.
    """
    oldest = schema.version() if oldest is None else oldest
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
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
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
        schema.check(connection, path)
        _check_readable(connection, path, oldest)
        connection.execute("PRAGMA temp_store = MEMORY")
    except BaseException:
        connection.close()
        raise
    return connection


def _check_readable(connection: sqlite3.Connection, path: Path, oldest: int) -> None:
    """Raise HistoryError for an older schema: a reader cannot migrate."""
    known = schema.version_of(connection)
    if known == 0:
        raise HistoryError(f"nothing has been recorded yet in {path}; run: sudo bwtop")
    if known < oldest:
        raise HistoryError(
            f"{path} has an older schema ({known}); it is upgraded when bwtop next records"
        )
