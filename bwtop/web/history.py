"""Access to the history for the browser view: a few queries at a time, also during recording."""

import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Final, NoReturn

from bwtop.clickhouse.client import FleetError, FleetServer
from bwtop.clickhouse.reader import FleetReader
from bwtop.history.query import History
from bwtop.rights.opening import file_id
from bwtop.sqlite.reader import LocalReader
from bwtop.sqlite.schema import HistoryError, open_reader, plain
from bwtop.web.answer import refuse

AT_ONCE: Final = 2
"""Queries that run at once: they compete with measuring for the processor."""

PATIENCE: Final = 20.0
"""Seconds that a query waits for its turn."""


SECONDS: Final = 30.0
"""Time limit for the statements of a query."""

STEPS: Final = 10_000
"""Instructions of SQLite between two looks at the limits of a query, about a millisecond."""

Stop = Callable[[], bool]
"""Returns whether to stop a query."""


class HistoryAccess(ABC):
    """A history that may be unreachable; a few queries run at a time."""

    def __init__(self, origin: str | None = None) -> None:
        self.origin = origin
        """The URL of its server; None: the history of this machine."""
        self._turns = threading.BoundedSemaphore(AT_ONCE)

    @contextmanager
    def history(
        self, patience: float | None = None, is_gone: Stop = lambda: False
    ) -> Iterator[History]:
        """Open the history as it is now; a local query stops after SECONDS, or when its client is gone.

        Refuse if there is none, or if no turn comes within `patience` seconds (default PATIENCE).
        """
        if not self._turns.acquire(timeout=PATIENCE if patience is None else patience):
            refuse(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "too many queries at once; try again",
                ("Retry-After", "5"),
            )
        try:
            yield from self._open(is_gone)
        finally:
            self._turns.release()

    @abstractmethod
    def _open(self, is_gone: Stop) -> Iterator[History]:
        """Yield the history once, or refuse."""


class FleetHistory(HistoryAccess):
    """The history of many hosts, on a server."""

    def __init__(self, origin: str, connect: Callable[[], FleetServer]) -> None:
        super().__init__(origin)
        self._connect = connect

    def _open(self, is_gone: Stop) -> Iterator[History]:  # noqa: ARG002 - its server has limits
        history = History(FleetReader(self._connect()))
        try:
            yield history
        except FleetError as error:
            _refuse(str(error), ("Retry-After", "10"))
        finally:
            history.close()


class LocalHistory(HistoryAccess):
    """A database that may not exist yet, or be unreachable after bwtop drops root."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._kept: list[sqlite3.Connection] = []
        self._kept_file: tuple[int, int] | None = None

    def keep(self) -> None:
        """Open connections now, for use after bwtop drops root."""
        try:
            self._kept_file = self._file()
            self._kept = [open_reader(self.path) for _ in range(AT_ONCE)]
            for connection in self._kept:
                connection.execute("SELECT max(id) FROM interval").fetchone()  # opens all files
        except (HistoryError, OSError, sqlite3.Error):
            self._kept = []  # each query reports the reason

    def _open(self, is_gone: Stop) -> Iterator[History]:
        deadline = time.monotonic() + SECONDS
        try:
            yield from self._opened(lambda: is_gone() or time.monotonic() >= deadline)
        except FileNotFoundError:
            _refuse("nothing has been recorded yet; run: sudo bwtop")
        except (HistoryError, OSError, sqlite3.Error) as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
                _refuse(f"stopped after {SECONDS:g} seconds; choose a shorter range")
            _refuse(plain(error, self.path))

    def _opened(self, stop: Stop) -> Iterator[History]:
        try:
            connection = open_reader(self.path)
        except PermissionError:
            if not self._kept or self._file() not in (self._kept_file, None):
                raise
            yield from self._borrow(stop)
            return
        try:
            connection.set_progress_handler(stop, STEPS)
            yield History(LocalReader(connection))
        finally:
            connection.close()

    def _file(self) -> tuple[int, int] | None:
        """Return the device and inode of the file now; None if its directory is unreadable."""
        try:
            return file_id(self.path)
        except PermissionError:
            return None

    def _borrow(self, stop: Stop) -> Iterator[History]:
        connection = self._kept.pop()
        try:
            connection.set_progress_handler(stop, STEPS)
            yield History(LocalReader(connection))
        finally:
            connection.set_progress_handler(None, 0)
            connection.rollback()
            self._kept.append(connection)


def _refuse(why: str, *headers: tuple[str, str]) -> NoReturn:
    refuse(HTTPStatus.SERVICE_UNAVAILABLE, why, *headers)
