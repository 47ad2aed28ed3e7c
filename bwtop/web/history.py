"""Access to the history for the browser view, also during recording."""

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

from bwtop.clickhouse.client import FleetError, FleetServer
from bwtop.clickhouse.reader import FleetReader
from bwtop.history.query import History
from bwtop.rights.opening import file_id
from bwtop.sqlite.connections import open_reader
from bwtop.sqlite.errors import HistoryError, plain
from bwtop.sqlite.reader import LocalReader
from bwtop.web.answer import refuse


class HistoryAccess(ABC):
    """A history that may be unreachable."""

    def __init__(self, origin: str | None = None) -> None:
        self.origin = origin
        """The URL of its server; None: the history of this machine."""

    @contextmanager
    def history(self) -> Iterator[History]:
        """Open the history as it is now, or refuse."""
        yield from self._open()

    @abstractmethod
    def _open(self) -> Iterator[History]:
        """Yield the history once, or refuse."""


class FleetHistory(HistoryAccess):
    """The history of many hosts, on a server."""

    def __init__(
        self, origin: str, connect: Callable[[], FleetServer], *, names: bool = True
    ) -> None:
        """names: False for answers without recorded names of remotes."""
        super().__init__(origin)
        self._connect = connect
        self._is_named = names

    def _open(self) -> Iterator[History]:
        history = History(FleetReader(self._connect()), names=self._is_named)
        try:
            yield history
        except FleetError as error:
            refuse(HTTPStatus.SERVICE_UNAVAILABLE, str(error), ("Retry-After", "10"))
        finally:
            history.close()


class LocalHistory(HistoryAccess):
    """A database that may not exist yet, or be unreachable after bwtop drops root."""

    def __init__(self, path: Path, *, names: bool = True) -> None:
        """names: False for answers without recorded names of remotes."""
        super().__init__()
        self.path = path
        self._is_named = names
        self._kept: sqlite3.Connection | None = None
        self._kept_file: tuple[int, int] | None = None

    def keep(self) -> None:
        """Open a connection now, for use after this process drops root, by the processes that it forks.

        SQLite's locks of the open files stay with this process.  It must outlive the others, and not use the connection;
        they can only read, each once, in a snapshot with a lock of its own, and must not close it.
        """
        try:
            self._kept_file = self._file()
            self._kept = open_reader(self.path)
            self._kept.execute("SELECT max(id) FROM interval").fetchone()  # opens all files
        except (HistoryError, OSError, sqlite3.Error):
            self._kept = None  # each query reports the reason

    def _open(self) -> Iterator[History]:
        try:
            connection = self._connection()
            try:
                yield History(LocalReader(connection), names=self._is_named)
            finally:
                if connection is not self._kept:  # whose locks are not this process's
                    connection.close()
        except FileNotFoundError:
            refuse(HTTPStatus.SERVICE_UNAVAILABLE, "nothing has been recorded yet; run: sudo bwtop")
        except (HistoryError, OSError, sqlite3.Error) as error:
            refuse(HTTPStatus.SERVICE_UNAVAILABLE, plain(error, self.path))

    def _connection(self) -> sqlite3.Connection:
        try:
            return open_reader(self.path)
        except PermissionError:
            if self._kept is None or self._file() not in (self._kept_file, None):
                raise
            return self._kept

    def _file(self) -> tuple[int, int] | None:
        """Return the device and inode of the file now; None if its directory is unreadable."""
        try:
            return file_id(self.path)
        except PermissionError:
            return None
