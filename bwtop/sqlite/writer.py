"""The database in the hands of who records: its lock, the open file, what is written and the upkeep."""

import contextlib
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bwtop.rights.account import Account
from bwtop.sqlite import location, schema
from bwtop.sqlite.delta import Delta
from bwtop.sqlite.lock import Lock
from bwtop.sqlite.rollup import Policy, Rollup
from bwtop.sqlite.schema import HistoryError
from bwtop.sqlite.store import Event, Store

UNSEEN: Final = (-1, -1)
"""Instead of a device and an inode, where they cannot be looked up."""


@dataclass(frozen=True)
class Options:
    """Where and what to record."""

    path: Path
    policy: Policy = field(default_factory=Policy)
    cmdlines: bool = False
    """Whether command lines are stored: they may hold secrets."""
    who: str = "bwtop"
    """What others read of who records."""
    account: Account | None = None
    """Whose rights open it; None: those that this process has."""


class Writer:
    """Opens, writes, and lets go; nothing here waits or retries.

    Its methods raise HistoryError, OSError and sqlite3.Error.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._lock: Lock | None = None
        self._store: Store | None = None
        self._file: tuple[int, int] | None = None
        self._upkeep: Rollup | None = None

    @property
    def is_over_size(self) -> bool:
        """Whether the history is larger than it should be, though nothing more can go."""
        return self._upkeep is not None and self._upkeep.is_over_size

    def open(self) -> str | None:
        """Opens all that is not open yet, also without the lock: later the path may be out of reach.

        Returns who has the lock; None: we do, and may write.
        """
        path, mode = self._options.path, location.mode(self._options.path)
        if self._store and file_seen(path) not in (self._file, UNSEEN):
            self.close()  # what we have open is nobody's any more
            raise HistoryError(f"{path} was deleted or replaced")
        if not self._store:
            location.make_directory(path)
            connection = schema.connect_writer(path, mode)
            self._store = Store(connection, cmdlines=self._options.cmdlines)
            self._file = file_seen(path)
        if not self._lock:
            self._lock = Lock(path, mode)
        if not self._upkeep:
            if not self._lock.take(f"{self._options.who} (pid {os.getpid()})"):
                return self._lock.holder() or "another bwtop"
            schema.migrate(self._store.connection)
            self._store.begin()
            self._store.number_on()
            self._upkeep = Rollup(self._store.connection, self._options.policy)
        return None

    def append(self, deltas: Sequence[Delta], events: Sequence[Event]) -> None:
        """Writes them all, in one transaction."""
        assert self._store, "it is open"
        assert self._upkeep, "we have the lock"
        self._store.append(deltas, events)
        if deltas:
            self._upkeep.disturbed(min(delta.start for delta in deltas))

    def keep_up(self, now: float) -> bool:
        """A step of upkeep; whether more may be left to do."""
        assert self._upkeep, "we have the lock"
        return self._upkeep.step(now)

    def rollback(self) -> None:
        """After an error; raises none."""
        if self._store:
            with contextlib.suppress(sqlite3.Error):
                self._store.rollback()

    def close(self) -> None:
        """Lets go of the database and of the lock."""
        if self._store:
            self._store.connection.close()
        if self._lock:
            self._lock.close()
        self._store = self._upkeep = self._lock = None


def file_seen(path: Path) -> tuple[int, int] | None:
    """Device and inode; None: it is not there; UNSEEN: in a directory of root's, once we are not root any more."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return UNSEEN
    return found.st_dev, found.st_ino
