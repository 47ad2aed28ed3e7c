"""Sending the history to a server, from a thread of its own: what is measured and recorded never waits for it."""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from bwtop.clickhouse.client import Client, FleetError, Server
from bwtop.clickhouse.spool import Batch, Spool, Waiting
from bwtop.clickhouse.target import Target
from bwtop.identity.machine import this_machine
from bwtop.model.flows import Host
from bwtop.sqlite import location, schema
from bwtop.sqlite.schema import HistoryError
from bwtop.sqlite.writer import UNSEEN, file_seen
from bwtop.text.escape import count

PERIOD: Final = 10.0
"""Seconds between two batches, while one is enough: each becomes a file on the server, which has to merge them."""

RETRY: Final = 1.0
LONGEST_RETRY: Final = 60.0
"""Seconds from one attempt to the next: each time twice as many."""

BEHIND: Final = 60.0
"""Seconds that the oldest interval may wait, before somebody is told."""

CLOSE_SECONDS: Final = 3.0
"""For the last batch, when bwtop ends.  What is left is sent when it is started again."""


@dataclass(frozen=True)
class Options:
    """What is shipped, and where."""

    target: Target
    password: str = ""
    host: Host | None = None
    """None: this machine."""


@dataclass(frozen=True)
class State:
    """How it goes with shipping."""

    fault: str = ""
    """Why nothing can be sent now."""
    waiting: Waiting = field(default_factory=Waiting)
    rows: int = 0
    """Sent and acknowledged, of all tables."""

    def lag(self, now: float) -> float:
        """Seconds since the oldest interval that waits began; `now` is UTC."""
        return max(now - self.waiting.since, 0.0) if self.waiting.since is not None else 0.0

    def warning(self, now: float) -> str:
        """What somebody should know; empty while all is well."""
        lag = self.lag(now)
        if lag < BEHIND and not self.fault:
            return ""
        why = self.fault or "the server is slow"
        waiting = count(self.waiting.intervals, "interval")
        return f"not shipped for {lag:.0f} s ({waiting}): {why}" if lag else f"not shipping: {why}"


class Shipper:
    """Sends what is committed, whenever it can; the database keeps what it cannot send yet."""

    def __init__(
        self,
        options: Options,
        path: Path,
        notify: Callable[[str], None] = lambda _: None,
        connect: Callable[[Options], Server] | None = None,
    ) -> None:
        """`notify` is called with a line for people when the state changes: from the sending thread, but for the end."""
        self.target = options.target.url()
        self._options = options
        self._path = path
        self._notify = notify
        self._connect = connect or (lambda o: Client(o.target, o.password))
        self._host = options.host or this_machine()
        self._server: Server | None = None
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._spool: Spool | None = None
        self._wake = threading.Event()
        self._closing = False
        self._told: set[Hashable] = set()
        self._thread: threading.Thread | None = None
        self.state = State()

    def open(self) -> None:
        """Opens the database, as long as it is in reach; later attempts say why it is not."""
        with contextlib.suppress(HistoryError, OSError, sqlite3.Error):
            self._connected()

    def start(self, may_send: Callable[[], bool] = lambda: True) -> None:
        """Begins to send, whenever it may: who does not record leaves it to who does."""
        self._thread = threading.Thread(
            target=self._work, args=(may_send,), name="bwtop-shipper", daemon=True
        )
        self._thread.start()

    def behind(self) -> tuple[int, float]:
        """Intervals that wait, and for how many seconds the oldest of them has; from any thread."""
        state = self.state
        return state.waiting.intervals, state.lag(time.time())

    def close(self) -> None:
        """Sends what is left, if that is quickly done; call it when all is committed."""
        self._closing = True
        self._wake.set()
        if self._thread:
            self._thread.join(CLOSE_SECONDS)
        left = self._waiting().intervals
        if left:
            self._notify(
                f"{count(left, 'interval')} not shipped yet; they stay in the history until bwtop runs again"
            )

    # From the sending thread.

    def _connected(self) -> sqlite3.Connection:
        """The database that is there now, or was before its directory was out of reach."""
        seen = file_seen(self._path)
        if self._connection and seen not in (self._file, UNSEEN):
            self._connection.close()
            self._connection = self._spool = None
        if self._connection is None:
            self._connection = schema.connect_writer(self._path, location.mode(self._path))
            self._file = file_seen(self._path)
        return self._connection

    def _opened(self) -> Spool:
        connection = self._connected()
        if self._spool is None:
            self._spool = Spool(connection, self.target, self._host)
        return self._spool

    def _work(self, may_send: Callable[[], bool]) -> None:
        retry = RETRY
        while True:
            closing = self._closing
            wait = PERIOD
            if may_send() and file_seen(self._path):  # that it is gone is for who records to say
                if self._attempt():
                    retry = RETRY
                else:
                    wait, retry = retry, min(2 * retry, LONGEST_RETRY)
            if closing:
                self._end()
                return
            self._wake.wait(wait)

    def _attempt(self) -> bool:
        """Sends all there is; whether it could."""
        try:
            self._ship()
        except Exception as error:  # whatever it is: a thread that dies would say nothing
            self._lose_server()
            self._fail(error)
            return False
        self._succeed()
        return True

    def _succeed(self, rows: int = 0) -> None:
        """So many rows more are with the server."""
        self.state = State("", self._waiting(), self.state.rows + rows)
        if self._told:
            self._told.clear()
            self._notify(f"shipping to {self.target} again")

    def _fail(self, error: Exception) -> None:
        """Each kind of fault is said once, until something could be sent again."""
        words = self._words(error)
        why = words.removeprefix(f"{self.target}: ")  # a screen has little room
        self.state = State(why, self._waiting(), self.state.rows)
        kind = error.kind if isinstance(error, FleetError) else words
        if kind not in self._told:
            kept = "" if self._told else "; unsent intervals stay in the history"
            self._told.add(kind)
            self._notify(f"not shipping: {words}{kept}")

    def _words(self, error: Exception) -> str:
        return str(error) if isinstance(error, FleetError) else schema.plain(error, self._path)

    def _ship(self) -> None:
        spool = self._opened()
        spool.begin()
        began, is_told, is_last = time.monotonic(), False, False
        while not is_last:
            batch = spool.batch()
            if batch is None:
                return
            self.state = replace(self.state, waiting=spool.waiting())  # the server may take long
            self._send(batch)
            spool.move(batch.after)
            self._succeed(batch.rows())
            is_last = batch.is_last
            if not is_told and time.monotonic() - began > BEHIND:
                is_told = True
                waiting = count(self.state.waiting.intervals, "interval")
                self._notify(f"shipping to {self.target} is slow: {waiting} wait")

    def _send(self, batch: Batch) -> None:
        if self._server is None:
            self._server = self._connect(self._options)
        for table, columns in batch.tables:
            self._server.insert(table.name, table.names(), columns)

    def _waiting(self) -> Waiting:
        """What is left; as before, where the database cannot be read now."""
        if self._spool:
            with contextlib.suppress(sqlite3.Error):
                return self._spool.waiting()
        return self.state.waiting

    def _lose_server(self) -> None:
        if self._server:
            with contextlib.suppress(Exception):  # it may be gone in every way
                self._server.close()
            self._server = None

    def _end(self) -> None:
        self._lose_server()
        if self._connection:
            self._connection.close()
