"""The history as the browser asks for it: by a few at a time, while somebody may be recording."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Final

from bwtop.history.local import Local
from bwtop.history.query import History
from bwtop.history.schema import HistoryError, file_id, open_reader, plain
from bwtop.web.answer import refuse

AT_ONCE: Final = 2
"""Questions that are worked on at once: they take the processor from measuring."""

PATIENCE: Final = 20.0
"""Seconds that a question waits for its turn."""


class Archive:
    """A database that may not be there yet, or be out of reach once root is given up."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        self._kept: list[sqlite3.Connection] = []
        self._kept_file: tuple[int, int] | None = None

    def keep(self) -> None:
        """Opens it for later, as long as it can be."""
        try:
            self._kept_file = self._file()
            self._kept = [open_reader(self.path) for _ in range(AT_ONCE)]
            for connection in self._kept:
                connection.execute("SELECT max(id) FROM interval").fetchone()  # opens all files
        except (HistoryError, OSError, sqlite3.Error):
            self._kept = []  # each question will say why

    @contextmanager
    def history(self, patience: float | None = None) -> Iterator[History]:
        """The history as it is now; refuses where there is none, or too many ask for so many seconds (PATIENCE)."""
        if not self._turns.acquire(timeout=PATIENCE if patience is None else patience):
            refuse(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "too many questions at once; try again",
                ("Retry-After", "5"),
            )
        try:
            yield from self._open()
        except FileNotFoundError:
            self._refuse("nothing has been recorded yet; sudo bwtop records while it runs")
        except (HistoryError, OSError, sqlite3.Error) as error:
            self._refuse(plain(error, self.path))
        finally:
            self._turns.release()

    def _refuse(self, why: str) -> None:
        refuse(HTTPStatus.SERVICE_UNAVAILABLE, why)

    def _open(self) -> Iterator[History]:
        try:
            connection = open_reader(self.path)
        except PermissionError:
            if not self._kept or self._file() not in (self._kept_file, None):
                raise
            yield from self._borrow()
            return
        try:
            yield History(Local(connection))
        finally:
            connection.close()

    def _file(self) -> tuple[int, int] | None:
        """Which one is there now; None: that cannot be seen any more."""
        try:
            return file_id(self.path)
        except PermissionError:
            return None

    def _borrow(self) -> Iterator[History]:
        connection = self._kept.pop()
        try:
            yield History(Local(connection))
        finally:
            connection.rollback()
            self._kept.append(connection)
