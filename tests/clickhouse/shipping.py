"""Shippers in tests: beside a recorder of numbered samples, to a real server."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partialmethod
from pathlib import Path
from typing import Any, Final

import pytest

from bwtop.clickhouse import client, shipper
from bwtop.clickhouse.client import Client, FleetError, FleetServer
from bwtop.clickhouse.shipper import Shipper, ShippingOptions
from bwtop.clickhouse.spool import Cursor, Spool, UnsentIntervals
from bwtop.clickhouse.target import Target
from bwtop.sqlite import connections, recorder
from tests.clickhouse.servers import merge
from tests.clickhouse.sides import Side, here, there
from tests.history.keep import policy
from tests.history.recording import LENGTH, Feed, Recorders
from tests.kernel.running import HANG

SOON: Final = 60.0
"""Seconds after which something that should have happened never will."""


@dataclass
class Tally:
    """Counts of the inserts of a shipper."""

    begun: int = 0
    failed: int = 0
    rows: int = 0
    """Acknowledged or not."""
    is_at_work: bool = False
    """True while an insert is on its way."""


class Counted(Client):
    """A client whose inserts, and failures, are counted."""

    def __init__(self, options: ShippingOptions, tally: Tally, patience: float) -> None:
        super().__init__(options.target, options.password, patience=patience)
        self._tally = tally

    def query(self, statement: str) -> Sequence[tuple[Any, ...]]:
        try:
            return super().query(statement)
        except FleetError:
            self._tally.failed += 1
            raise

    def insert(self, table: str, columns: Sequence[str], values: Sequence[Sequence[Any]]) -> None:
        self._tally.begun += 1
        self._tally.rows += len(values[0])
        self._tally.is_at_work = True
        try:
            super().insert(table, columns, values)
        except FleetError:
            self._tally.failed += 1
            raise
        finally:
            self._tally.is_at_work = False


@dataclass
class Shipping:
    """A recorder and the shipper beside it."""

    feed: Feed
    shipper: Shipper
    path: Path
    lines: list[str]
    """Messages about the shipping."""
    tally: Tally = field(default_factory=Tally)

    def until(self, condition: Callable[[], object], seconds: float = SOON) -> None:
        """Wait without putting samples."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.words()
            time.sleep(0.005)

    def words(self) -> str:
        """Return the state for an error message."""
        state, lines = self.feed.recorder.state, self.feed.lines[-4:]
        return f"{self.shipper.state}, {self.lines[-4:]}; {state}, {lines}; {self.tally}"

    def sends(self, rows: int = 1) -> None:
        """Wait until the server has `rows` more rows."""
        before = self.shipper.state.rows
        self.until(lambda: self.shipper.state.rows >= before + rows)

    def fails(self, times: int) -> None:
        """Wait until `times` more inserts have failed."""
        before = self.tally.failed
        self.until(lambda: self.tally.failed >= before + times)

    def all_sent(self, seconds: float = SOON) -> None:
        """Wait until the server has all samples."""
        self.feed.wait()
        self.until(lambda: self.is_at_end() and not self.shipper.state.fault, seconds)

    def is_at_end(self) -> bool:
        """Return whether the cursor is past the last rows."""
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as connection:
            return cursor(connection, self.shipper.target) == end(connection)

    def here(self) -> Side:
        """Return the content of the database."""
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as connection:
            return here(connection)

    def close(self) -> None:
        """Close the recorder and the shipper in the order of bwtop."""
        self.feed.recorder.close()
        self.shipper.close()


def cursor(connection: sqlite3.Connection, target: str) -> Cursor:
    found = connection.execute(
        "SELECT interval, change, fives, event FROM shipped WHERE target = ?", (target,)
    ).fetchone()
    return Cursor(*found) if found else Cursor()


def end(connection: sqlite3.Connection) -> Cursor:
    """Return the cursor after everything is sent."""
    return Cursor(
        *connection.execute(
            "SELECT (SELECT coalesce(max(id), 0) FROM interval),"
            " (SELECT coalesce(max(changed), 0) FROM span WHERE level > 0),"
            " (SELECT coalesce(max(changed), 0) FROM pulse WHERE start NOT BETWEEN unixepoch() - 300 AND unixepoch()"
            "   OR changed < (SELECT max(changed) FROM pulse)),"
            " (SELECT coalesce(max(id), 0) FROM event)"
        ).fetchone()
    )


class Shippers:
    """All shippers of a test; they are closed at its end."""

    def __init__(self) -> None:
        self._recorders = Recorders()
        self._made: list[Shipping] = []

    def __call__(
        self,
        path: Path,
        target: Target,
        *,
        password: str = "",
        patience: float = 60.0,
        connect: Callable[[ShippingOptions], FleetServer] | None = None,
    ) -> Shipping:
        lines, tally = list[str](), Tally()
        feed = self._recorders(path, policy=policy())
        sender = Shipper(
            ShippingOptions(target, password),
            path,
            lines.append,
            connect or (lambda options: Counted(options, tally, patience)),
        )
        sender.open()
        sender.start(lambda: feed.recorder.state.recording)
        made = Shipping(feed, sender, path, lines, tally)
        self._made.append(made)
        return made

    def close(self) -> None:
        for made in self._made:
            made.close()


def hurry(patch: pytest.MonkeyPatch, rows: int = 100) -> None:
    """Use small batches in quick succession, and quick rollups; a slow disk or server is no fault."""
    patch.setattr(connections, "WAIT", HANG)
    for name in ("CONNECT_SECONDS", "PING_SECONDS"):
        patch.setattr(client, name, HANG)
    patch.setattr(shipper, "PERIOD", 0.05)
    patch.setattr(shipper, "RETRY", 0.05)
    patch.setattr(shipper, "LONGEST_RETRY", 0.2)
    patch.setattr(shipper, "CLOSE_SECONDS", HANG)
    patch.setattr(recorder, "RETRY", 0.1)
    patch.setattr(recorder, "ROLLUP_PERIOD", 0.1)
    patch.setattr(Spool, "batch", partialmethod(Spool.batch, rows))


@contextmanager
def load(feed: Feed, pause: float = 0.002, seconds: float = LENGTH) -> Iterator[None]:
    """Put samples all the time; the clock runs fast."""
    enough = threading.Event()

    def put() -> None:
        while not enough.wait(pause):
            feed.put(1, seconds)

    thread = threading.Thread(target=put)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


def rows_of(side: Side) -> int:
    """Return the number of rows of all tables."""
    return side.events + sum(count + spans for count, _, _, spans, _ in side.by_level.values())


def agreed(shipping: Shipping, server: FleetServer, seconds: float = 90.0) -> Side:
    """Return the content of both sides; check that it is the same, to the byte, before and after merges.

    A server slows down who sends more small batches than it can merge.
    """
    shipping.feed.recorder.close()
    shipping.until(lambda: shipping.is_at_end() and not shipping.shipper.state.fault, seconds)
    shipping.until(lambda: shipping.shipper.state.waiting == UnsentIntervals())
    shipping.shipper.close()
    found = shipping.here()
    assert there(server) == found
    for table in ("traffic", "span", "event"):
        merge(server, table)
    assert there(server) == found
    assert there(server, final="") == found, "merged, each row is there once"
    return found
