"""Ship the history to a server in a thread of its own: measuring and recording never wait for it."""

import contextlib
import math
import sqlite3
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, NamedTuple

from bwtop import __version__
from bwtop.clickhouse.client import Client, FleetError, FleetServer
from bwtop.clickhouse.clocks import is_wrong, spelled
from bwtop.clickhouse.schema import HOST
from bwtop.clickhouse.spool import Batch, Spool, UnsentIntervals
from bwtop.clickhouse.target import Target
from bwtop.identity.addresses import connected_networks, own_addresses
from bwtop.identity.machine import this_machine
from bwtop.model.flows import Host
from bwtop.sqlite import connections, errors
from bwtop.sqlite.errors import HistoryError
from bwtop.sqlite.location import UNSEEN, file_seen
from bwtop.text.escape import count

PERIOD: Final = 10.0
"""Seconds between two batches, while one suffices: each becomes a file on the server, which has to merge them."""

RETRY: Final = 1.0
LONGEST_RETRY: Final = 60.0
"""Seconds between two attempts: doubled each time."""

BEHIND: Final = 60.0
"""Lag in seconds from which the state has a warning."""

REPORT_PERIOD: Final = 60.0
"""Seconds between two reports of this host: its name, addresses, version and clock."""

CLOSE_SECONDS: Final = 3.0
"""Time limit of the last batch, when bwtop ends.  The next start sends the rest."""


@dataclass(frozen=True)
class ShippingOptions:
    """Options of shipping."""

    target: Target
    password: str = ""
    host: Host | None = None
    """None: this host."""


@dataclass(frozen=True)
class ShippingState:
    """State of shipping."""

    fault: str = ""
    """Why nothing can be sent now; empty: nothing is wrong."""
    waiting: UnsentIntervals = field(default_factory=UnsentIntervals)
    rows: int = 0
    """Rows of all tables that the server has acknowledged."""
    clock: float | None = None
    """Seconds by which the clock of this host is ahead of the server's; None: it is not known yet."""

    def lag(self, now: float) -> float:
        """Return the seconds since the start of the oldest unsent interval; `now` is in UTC seconds."""
        return max(now - self.waiting.since, 0.0) if self.waiting.since is not None else 0.0

    def warning(self, now: float) -> str:
        """Return a warning; empty: none."""
        lag = self.lag(now)
        if lag < BEHIND and not self.fault:
            return f"clock {spelled(self.clock)}" if self.clock and is_wrong(self.clock) else ""
        why = self.fault or "the server is slow"
        waiting = count(self.waiting.intervals, "interval")
        return f"not shipped for {lag:.0f} s ({waiting}): {why}" if lag else f"not shipping: {why}"


def _kind(error: Exception) -> str:
    """Return the kind of an error, one of ERRORS."""
    if not isinstance(error, FleetError):
        return "history"
    return "server" if error.is_answer else "connection"


def ahead(server: FleetServer) -> float:
    """Return the seconds by which the local clock is ahead of a server's, to half a second; raise FleetError."""
    before = time.time()
    ((now,),) = server.query("SELECT toUnixTimestamp(now())")
    return float((before + time.time()) / 2 - (now + 0.5))


ERRORS: Final = ("connection", "server", "history")
"""Kinds of errors: no connection, the server refused, the history could not be read."""


class SendingFigures(NamedTuple):
    """Figures of the shipping since the start."""

    intervals: int
    """Intervals that wait."""
    lag: float
    """Seconds since the start of the oldest one."""
    rows: int
    errors: Mapping[str, int]
    """Failed attempts by kind."""
    succeeded: float | None
    """Time of the last success, in UTC seconds."""
    clock: float | None
    """Seconds by which the clock of this host is ahead of the server's."""


class Shipper:
    """Shipper of committed intervals; the database keeps those that cannot be sent yet."""

    def __init__(
        self,
        options: ShippingOptions,
        path: Path,
        notify: Callable[[str], None] = lambda _: None,
        connect: Callable[[ShippingOptions], FleetServer] | None = None,
    ) -> None:
        """Make a shipper; the sending thread, and close(), call `notify` with a message when the state changes."""
        self.target = options.target.url()
        self._options = options
        self._path = path
        self._notify = notify
        self._connect = connect or (lambda o: Client(o.target, o.password))
        self._host = options.host or this_machine()
        self._server: FleetServer | None = None
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._spool: Spool | None = None
        self._reported = -math.inf
        self._errors = dict.fromkeys(ERRORS, 0)
        self._succeeded: float | None = None
        self._wake = threading.Event()
        self._closing = False
        self._told: set[Hashable] = set()
        self._thread: threading.Thread | None = None
        self.state = ShippingState()

    def open(self) -> None:
        """Try to open the database before its path is out of reach; later attempts report errors."""
        with contextlib.suppress(HistoryError, OSError, sqlite3.Error):
            self._connected()

    def start(self, may_send: Callable[[], bool] = lambda: True) -> None:
        """Start to send, whenever `may_send` allows it: only the recorder sends."""
        self._thread = threading.Thread(
            target=self._work, args=(may_send,), name="bwtop-shipper", daemon=True
        )
        self._thread.start()

    def figures(self) -> SendingFigures:
        """Return the figures; callable from any thread."""
        state = self.state
        return SendingFigures(
            state.waiting.intervals,
            state.lag(time.time()),
            state.rows,
            dict(self._errors),
            self._succeeded,
            state.clock,
        )

    def close(self) -> None:
        """Send the rest, for at most CLOSE_SECONDS; call it when all is committed."""
        self._closing = True
        self._wake.set()
        if self._thread:
            self._thread.join(CLOSE_SECONDS)
        left = self._waiting()
        kinds = ((left.intervals, "interval"), (left.sums, "total"))
        if words := " and ".join(count(number, kind) for number, kind in kinds if number):
            self._notify(
                f"{words} not shipped yet; they stay in the history until bwtop runs again"
            )

    # Called by the sending thread.

    def _connected(self) -> sqlite3.Connection:
        """Return the database that is there now, or the open one while its directory cannot be read."""
        seen = file_seen(self._path)
        if self._connection and seen not in (self._file, UNSEEN):
            self._connection.close()
            self._connection = self._spool = None
        if self._connection is None:
            self._connection = connections.connect_writer(self._path)
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
            if may_send() and file_seen(self._path):  # the recorder reports a missing file
                if self._attempt():
                    retry = RETRY
                else:
                    wait, retry = retry, min(2 * retry, LONGEST_RETRY)
            if closing:
                self._end()
                return
            self._wake.wait(wait)

    def _attempt(self) -> bool:
        """Try to send all; return whether that succeeded."""
        try:
            self._ship()
        except Exception as error:  # any error: a dead thread would be silent
            self._lose_server()
            if not file_seen(self._path):
                return True  # deleted meanwhile, which the recorder reports
            self._fail(error)
            return False
        self._succeed()
        return True

    def _succeed(self, rows: int = 0) -> None:
        """Note that the server has `rows` more rows."""
        self._succeeded = time.time()
        self.state = replace(
            self.state, fault="", waiting=self._waiting(), rows=self.state.rows + rows
        )
        if self._told:
            self._told.clear()
            self._notify(f"shipping to {self.target} again")

    def _fail(self, error: Exception) -> None:
        """Note a fault; report each kind once until shipping works again."""
        words = self._words(error)
        why = words.removeprefix(f"{self.target}: ")  # the screen has little room
        self.state = replace(self.state, fault=why, waiting=self._waiting())
        self._errors[_kind(error)] += 1
        kind = error.kind if isinstance(error, FleetError) else words
        if kind not in self._told:
            kept = "" if self._told else "; unsent intervals stay in the history"
            self._told.add(kind)
            self._notify(f"not shipping: {words}{kept}")

    def _words(self, error: Exception) -> str:
        if isinstance(error, FleetError):
            return str(error)
        if errors.is_locked(error):
            return f"the history is busy, with bwtop itself or another program: {self._path}"
        return errors.plain(error, self._path)

    def _ship(self) -> None:
        spool = self._opened()
        spool.begin()
        if self._closing:
            spool.hurry()
        began, is_told, is_last = time.monotonic(), False, False
        while not is_last:
            batch = spool.batch()
            if batch is None:
                return
            self.state = replace(self.state, waiting=spool.waiting())  # the server may be slow
            self._report(spool)
            self._send(batch)
            spool.move(batch.after)
            self._succeed(batch.rows())
            is_last = batch.is_last
            if not is_told and time.monotonic() - began > BEHIND:
                is_told = True
                waiting = count(self.state.waiting.intervals, "interval")
                self._notify(f"shipping to {self.target} is slow: {waiting} wait")

    def _send(self, batch: Batch) -> None:
        server = self._reached()
        for table, columns in batch.tables:
            server.insert(table.name, table.names(), columns)

    def _reached(self) -> FleetServer:
        if self._server is None:
            self._server = self._connect(self._options)
        return self._server

    def _report(self, spool: Spool) -> None:
        """Send a report of this host when it is due."""
        if time.monotonic() - self._reported < REPORT_PERIOD:
            return
        server = self._reached()
        clock = ahead(server)
        networks = sorted({str(prefix) for prefix in connected_networks()})
        row: tuple[object, ...] = (*spool.where, own_addresses(), networks)
        row = (*row, __version__, spool.first(), time.time(), clock)
        server.insert(HOST.name, HOST.names(), [[value] for value in row])
        self._reported = time.monotonic()
        if is_wrong(clock) and not is_wrong(self.state.clock):
            self._notify(f"compared with {self.target}, the clock of this host is {spelled(clock)}")
        self.state = replace(self.state, rows=self.state.rows + 1, clock=clock)

    def _waiting(self) -> UnsentIntervals:
        """Return the unsent intervals; the previous result if the database cannot be read now."""
        if self._spool:
            with contextlib.suppress(sqlite3.Error):
                return self._spool.waiting()
        return self.state.waiting

    def _lose_server(self) -> None:
        if self._server:
            with contextlib.suppress(Exception):  # the connection may be broken in any way
                self._server.close()  # it connects again, to another address where there are several
        self._reported = -math.inf

    def _end(self) -> None:
        self._lose_server()
        if self._connection:
            self._connection.close()
