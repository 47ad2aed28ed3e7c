"""Check a database in the background: SQLite notices a damaged page only when it next reads it."""

import sqlite3
import threading
import time
from pathlib import Path
from typing import Final

from bwtop.sqlite import checked, connections
from bwtop.sqlite.checked import DamagedError

PERIOD: Final = 3600.0
"""Seconds between two checks; the first is made at the start."""

_END: Final = 1.0
"""Seconds that close() waits for an interrupted check."""


class BackgroundCheck:
    """Checks of a database with a connection and threads of their own; writing goes on meanwhile."""

    def __init__(self, path: Path) -> None:
        """Open the database; raise sqlite3.Error."""
        self._connection = connections.connect_checker(path)
        self._thread: threading.Thread | None = None
        self._next = 0.0
        self._is_damaged = False

    def look(self) -> None:
        """Begin a check if it is time; raise DamagedError if one has found damage."""
        if self._is_damaged:
            raise DamagedError
        if time.monotonic() < self._next or (self._thread and self._thread.is_alive()):
            return
        self._next = time.monotonic() + PERIOD
        self._thread = threading.Thread(target=self._check, name="bwtop-check", daemon=True)
        self._thread.start()

    def _check(self) -> None:
        try:
            self._connection.execute("PRAGMA shrink_memory")  # read the file, not what is cached
            found = self._connection.execute("PRAGMA quick_check(1)").fetchall()
        except sqlite3.Error as error:  # other errors, and close(), leave it to the next check
            self._is_damaged = checked.is_damage(error)
        else:
            self._is_damaged = found != [("ok",)]

    def close(self) -> None:
        """Interrupt a running check, and close the database."""
        if self._thread and self._thread.is_alive():
            self._connection.interrupt()
            self._thread.join(_END)
            if self._thread.is_alive():
                return
        self._connection.close()
