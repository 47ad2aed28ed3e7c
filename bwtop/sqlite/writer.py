"""The database of a recorder: the lock, the open file, the writes and the rollup."""

import contextlib
import os
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bwtop.rights.account import Account
from bwtop.sqlite import connections, location, schema
from bwtop.sqlite.check import BackgroundCheck
from bwtop.sqlite.delta import Delta
from bwtop.sqlite.errors import HistoryError
from bwtop.sqlite.location import UNSEEN, file_seen
from bwtop.sqlite.lock import Lock
from bwtop.sqlite.rollup import Policy, Rollup
from bwtop.sqlite.store import Event, Store


@dataclass(frozen=True)
class RecordingOptions:
    """Options of recording."""

    path: Path
    policy: Policy = field(default_factory=Policy)
    cmdlines: bool = False
    """Store command lines; they may hold secrets."""
    who: str = "bwtop"
    """Name of the recorder, shown by other processes."""
    account: Account | None = None
    """Account that opens the database; None: that of this process."""


class DatabaseWriter:
    """Writer of a database; it neither waits nor retries.

    Its methods raise HistoryError, OSError and sqlite3.Error.
    """

    def __init__(self, options: RecordingOptions) -> None:
        self._options = options
        self._lock: Lock | None = None
        self._store: Store | None = None
        self._file: tuple[int, int] | None = None
        self._rollup: Rollup | None = None
        self._check: BackgroundCheck | None = None

    @property
    def is_over_size(self) -> bool:
        """Return whether the history exceeds --max-size, with nothing left to delete."""
        return self._rollup is not None and self._rollup.is_over_size

    def open(self) -> str | None:
        """Open the database and take the lock; open the files even without it: later the path may be out of reach.

        Return the name of the holder of the lock; None: this process holds it and may write.
        """
        path, mode = self._options.path, location.mode(self._options.path)
        if self._store and file_seen(path) not in (self._file, UNSEEN):
            self.close()  # the open file has no name any more
            raise HistoryError(f"{path} was deleted or replaced")
        if not self._store:
            location.make_directory(path)
            connection = connections.connect_writer(path, mode)
            self._store = Store(connection, cmdlines=self._options.cmdlines)
            self._file = file_seen(path)
            self._check = BackgroundCheck(path)
        if not self._lock:
            self._lock = Lock(path, mode)
        elif not self._lock.is_in_place():
            self._renew(self._lock)
        if not self._rollup:
            if not self._take(self._lock):
                return self._lock.holder() or "another bwtop"
            schema.migrate(self._store.connection)
            self._store.begin()
            self._store.number_on()
            self._rollup = Rollup(self._store, self._options.policy)
        return None

    def _take(self, lock: Lock) -> bool:
        return lock.take(f"{self._options.who} (pid {os.getpid()})") and lock.is_in_place()

    def _renew(self, lost: Lock) -> None:
        """Open the lock anew: its file was deleted, and another bwtop may hold one that it has made since."""
        path = self._options.path
        with contextlib.suppress(
            OSError
        ):  # out of reach since root was dropped: this one is all there is
            self._lock = Lock(path, location.mode(path))
            lost.close()
            self._rollup = None

    def check(self) -> None:
        """Check the database in the background from time to time; raise DamagedError if it is damaged."""
        if self._check:
            self._check.look()

    def set_aside(self, now: float) -> Path | None:
        """Rename the damaged database and the files beside it; the next open() makes a new one.

        Return the new path; None: another process records to the database, or it is not there any more.
        `now` is in UTC seconds.
        """
        path = self._options.path
        self._lock = self._lock or Lock(path, location.mode(path))
        if not self._take(self._lock) or (self._store and file_seen(path) != self._file):
            return None
        aside = _free(path, now)
        for suffix in (
            "-wal",
            "-shm",
            "",
        ):  # the database last: until then it is found where it was
            with contextlib.suppress(FileNotFoundError):
                _beside(path, suffix).rename(_beside(aside, suffix))
        self._close_database()  # after that: SQLite would write the log into a damaged file
        return aside

    def append(self, deltas: Sequence[Delta], events: Sequence[Event]) -> None:
        """Write deltas and events in one transaction."""
        assert self._store, "it is open"
        assert self._rollup, "we have the lock"
        self._store.append(deltas, events)
        if deltas:
            self._rollup.disturbed(min(delta.start for delta in deltas))

    def keep_up(self, now: float) -> bool:
        """Run a step of the rollup; return whether more may be left. `now` is in UTC seconds."""
        assert self._store, "it is open"
        assert self._rollup, "we have the lock"
        self._store.forget_unused()
        return self._rollup.step(now)

    def rollback(self) -> None:
        """Roll back after an error; raise none."""
        if self._store:
            with contextlib.suppress(sqlite3.Error):
                self._store.rollback()

    def close(self) -> None:
        """Close the database and release the lock.

        SQLite leaves the log as it is when the path is out of reach, as after root was dropped: a copy of the file alone
        would lack what is in there.
        """
        if self._store:
            with contextlib.suppress(sqlite3.Error):
                self._store.connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        self._close_database()
        if self._lock:
            self._lock.close()
        self._lock = None

    def _close_database(self) -> None:
        if self._check:
            self._check.close()
        if self._store:
            self._store.connection.close()
        self._store = self._rollup = self._check = None


def _free(path: Path, now: float) -> Path:
    """Return an unused path for a damaged database."""
    when = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    aside = _beside(path, f".damaged-{when}")
    number = 1
    while any(_beside(aside, suffix).exists() for suffix in ("", "-wal", "-shm")):
        number += 1
        aside = _beside(path, f".damaged-{when}-{number}")
    return aside


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
