"""Follow live what another bwtop records: read its intervals as samples, without the rights to measure."""

import contextlib
import math
import sqlite3
import time
from collections.abc import Collection
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from bwtop.history.names import SeenNames
from bwtop.history.recent import RecentNames
from bwtop.model.flows import Traffic
from bwtop.model.sample import Sample, add_traffic
from bwtop.rights.opening import file_id
from bwtop.sqlite import checked, connections, errors, lock
from bwtop.sqlite.processes import Processes, key_of
from bwtop.sqlite.seen import changed_names, last_change, names_of
from bwtop.sqlite.selection import identity

PATIENCE: Final = 1.2
"""Longest wait for the next interval, in seconds; after it, nothing has moved."""

LOOK: Final = 0.05
"""Seconds between two queries for the next interval."""

LOOK_QUIET: Final = 0.2
"""The same while nothing moves: then the recorder writes once a minute."""


class Follower:
    """Reader of a database that another bwtop writes; it skips the intervals from before it opened."""

    def __init__(self, path: Path, *, names: bool = True) -> None:
        """Open the database; raise errors.HistoryError, OSError or sqlite3.Error.

        names: False for samples without names of remotes.
        """
        self._path = path
        self._is_named = names
        self._read_at = time.monotonic()
        self._is_quiet = False
        """The last reading had no interval."""
        self._open()

    def _open(self) -> None:
        file = _file(self._path)
        connection = connections.open_reader(self._path)
        try:
            self._last = _newest(connection)
            self._processes = Processes(connection)
            self._names = _names(connection)
        except BaseException:
            connection.close()
            raise
        self._connection, self._file = connection, file

    def recorder(self) -> str | None:
        """Return the name of the recorder; None: no bwtop records."""
        return lock.holder(self._path)

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def read(self) -> Sample:
        """Return all intervals since the previous call as one sample; wait up to PATIENCE for the next."""
        began = time.monotonic()
        self._look_for_another()
        newest = _newest(self._connection)
        while newest <= self._last and time.monotonic() < began + PATIENCE and self.recorder():
            time.sleep(LOOK_QUIET if self._is_quiet else LOOK)
            newest = _newest(self._connection)
        now = time.monotonic()
        passed, self._read_at = now - self._read_at, now
        sample = Sample(datetime.now(UTC), passed)
        self._is_quiet = newest <= self._last
        if newest > self._last:
            self._fill(sample, newest)
            self._last = newest
        return sample

    def _look_for_another(self) -> None:
        """Open a database that has replaced this one; one that cannot be read yet is tried again later."""
        if _file(self._path) in (self._file, None):
            return
        before = self._connection
        with contextlib.suppress(errors.HistoryError, OSError, sqlite3.Error):
            self._open()
            before.close()

    def _fill(self, sample: Sample, newest: int) -> None:
        bounds = (self._last, newest)
        moving = last = 0.0
        for start, seconds, loss, moved in self._connection.execute(
            "SELECT start, seconds, loss, EXISTS (SELECT 1 FROM delta WHERE interval = interval.id)"
            " FROM interval WHERE id > ? AND id <= ?",
            bounds,
        ):
            sample.loss = sample.loss.plus(checked.loss(loss))
            moving += checked.seconds(seconds) if moved else 0.0
            last = checked.moment(start)
        if moving:
            sample.elapsed = moving  # the measured time, not the time between two calls
        for process, address, port, protocol, role, rx, tx in self._connection.execute(
            "SELECT process, address, port, protocol, role, rx, tx FROM delta"
            " JOIN flow ON flow.id = delta.flow JOIN remote ON remote.id = flow.remote"
            " WHERE interval > ? AND interval <= ?",
            bounds,
        ):
            key, who = self._processes.get(process)
            sample.identities[key] = who
            remote = checked.remote(protocol, role, port, address)
            add_traffic(sample.traffic, key, remote, Traffic(*checked.moved(rx, tx)))
        for row in self._connection.execute(
            "SELECT start, pid, exec FROM process WHERE ended > ? AND ended <= ?", bounds
        ):
            sample.exited.add(key_of(*row))
        if self._is_named:
            self._names.add(sample, last)


def _names(connection: sqlite3.Connection) -> RecentNames:
    """Return the names of remotes that a database has now."""
    last = last_change(connection)

    def names(addresses: Collection[bytes]) -> SeenNames:
        return names_of(connection, addresses, math.inf, partial(identity, connection))

    def changed() -> Collection[bytes]:
        nonlocal last
        found, last = changed_names(connection, last)
        return found

    return RecentNames(names, changed)


def _newest(connection: sqlite3.Connection) -> int:
    found = connection.execute("SELECT coalesce(max(id), 0) FROM interval")
    return checked.whole(*checked.row(found))


def _file(path: Path) -> tuple[int, int] | None:
    """Return the device and inode of a file; None: it cannot be seen."""
    try:
        return file_id(path)
    except OSError:
        return None
