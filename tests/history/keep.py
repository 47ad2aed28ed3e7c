"""Databases for tests of the history, written as the recorder does, and the deltas in them."""

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import reduce
from pathlib import Path
from typing import Any, Final

from bwtop.history import tiers
from bwtop.history.boundaries import Span
from bwtop.history.dimensions import CONVERSATION, DIMENSIONS, Dimension, labels
from bwtop.history.dimensions import parse as dimension
from bwtop.history.query import Answer, History
from bwtop.history.ranges import Range
from bwtop.identity.machine import this_machine
from bwtop.model.conditions import no_names
from bwtop.model.filter import EVERYTHING, Filter
from bwtop.model.flows import TCP, UDP, Identity, Loss, Remote, Role
from bwtop.sqlite import schema
from bwtop.sqlite.delta import Delta
from bwtop.sqlite.reader import LocalReader
from bwtop.sqlite.rollup import Policy, Rollup
from bwtop.sqlite.store import Store
from tests.build import key, open_writer, remote

NOON: Final = 1_790_000_040 // 86400 * 86400 + 43200
"""Of a day in September 2026, UTC."""

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86400

CURL: Final = Identity("curl", 0, exe="/usr/bin/curl", unit="ssh.service")
OF_FLOWS: Final = tuple(one for one in DIMENSIONS if one is not CONVERSATION)
"""Dimensions whose labels depend on one flow alone."""

NGINX: Final = Identity("nginx", 33, exe="/usr/sbin/nginx", unit="nginx.service")
PROGRAMS: Final = (
    CURL,
    NGINX,
    Identity("nginx", 33, container="docker:0123456789ab", pod="aaaa"),
    Identity("kworker/0:1", None, kernel=True),
    Identity("(unknown)"),
)
REMOTES: Final = (
    remote(),
    remote("192.0.2.1", 443, TCP, Role.SERVER),
    remote("192.0.2.2", 53, UDP),
    remote("2001:db8::1", 22, TCP, Role.SERVER),
    remote("127.0.0.1", 8080),
    remote("127.8.9.1", 53, UDP),
    remote("::1", 0, 58),
    remote("198.51.100.7", 0, 1),
    remote("*", 0, UDP),
)

Sums = tuple[int, int]
"""Bytes: (received, sent)."""


@contextmanager
def local(zone: str) -> Iterator[None]:
    """Set the local time zone."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = zone
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()


def move_to(zone: str) -> None:
    """Change the time zone; only within local(), which restores it."""
    os.environ["TZ"] = zone
    time.tzset()


def at(text: str) -> float:
    """Return the UTC seconds of an ISO time; without an offset it is local."""
    return datetime.fromisoformat(text).timestamp()


def by(*names: str) -> list[Dimension]:
    return [dimension(name) for name in names]


def policy(max_size: int | None = None, **retention: float) -> Policy:
    """Return a policy that keeps everything for ever, except the given tiers."""
    forever = {tier.name: float("inf") for tier in tiers.TIERS}
    return Policy(forever | retention, max_size)


def delta(
    start: float = NOON,
    rx: int = 100,
    tx: int = 10,
    seconds: float = 1.0,
    *,
    pid: int = 1,
    who: Identity = CURL,
    far: Remote = REMOTES[0],
) -> Delta:
    """Return a delta of one process and one remote."""
    return Delta(start, seconds, {(key(pid), who): {far: (rx, tx)}})


def place(number: int, port: int = 443, protocol: int = TCP, role: Role = Role.CLIENT) -> Remote:
    """Return one of many remotes by its number."""
    return remote(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", port, protocol, role)


def flows_of(*remotes: Remote, pid: int = 1, who: Identity = CURL, rx: int = 1) -> Any:
    return {(key(pid), who): dict.fromkeys(remotes, (rx, 0))}


class SelfClosing(sqlite3.Connection):
    """A connection that closes with its last user: Python 3.13 warns of others."""

    def __del__(self) -> None:
        self.close()


def memory() -> sqlite3.Connection:
    connection = sqlite3.connect(
        ":memory:",
        isolation_level=None,
        factory=SelfClosing,
        check_same_thread=False,  # it may be any thread that collects it
    )
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # as in a file
    schema.migrate(connection)
    return connection


class Kept:
    """A database and all deltas in it."""

    def __init__(self, policy: Policy | None = None, path: Path | None = None) -> None:
        self.policy = policy or globals()["policy"]()
        self.path = path
        self.deltas: list[Delta] = []
        self.connection = self._open()
        self._begin()

    def _open(self) -> sqlite3.Connection:
        if not self.path:
            return memory()
        connection = open_writer(self.path, 0o600)
        connection.execute("PRAGMA synchronous = OFF")  # no power cut here
        return connection

    def _begin(self) -> None:
        self.store = Store(self.connection)
        self.rollup = Rollup(self.store, self.policy)
        self.store.begin()

    def reopen(self) -> None:
        """Open the database again, as after a crash."""
        if self.path:
            self.connection.close()
            self.connection = self._open()
        self._begin()

    def append(self, *deltas: Delta) -> None:
        """Append deltas as the recorder does."""
        self.store.append(deltas)
        self.rollup.disturbed(min(delta.start for delta in deltas))
        self.deltas += deltas

    def steps(self, now: float, count: int = 100_000) -> int:
        """Run the pending steps, or at most `count`; return their number."""
        for number in range(count):
            if not self.rollup.step(now):
                return number + 1
        assert count < 100_000, "it never ends"
        return count

    def ask(
        self,
        start: float,
        end: float,
        *names: str,
        keep: Filter = EVERYTHING,
        now: float | None = None,
        text: str = "",
    ) -> Answer:
        return self.ask_for(Range(text, start, end), by(*names), keep, now)

    def ask_for(
        self, wanted: Range, by: Sequence[Dimension], keep: Filter, now: float | None = None
    ) -> Answer:
        try:
            return self.history().ask(wanted, by, keep, wanted.end if now is None else now)
        finally:
            self.let_go()

    def history(self) -> History:
        return History(self.past())

    def past(self) -> LocalReader:
        return LocalReader(self.connection)

    def let_go(self) -> None:
        """Release the snapshot of a History."""
        self.connection.execute("ROLLBACK")

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(statement, values).fetchall()

    def column(self, statement: str, *values: Any) -> list[Any]:
        return [row[0] for row in self.rows(statement, *values)]

    def one(self, statement: str, *values: Any) -> Any:
        return self.rows(statement, *values)[0][0]

    def kept(self, level: int) -> int:
        return int(self.one("SELECT kept FROM level WHERE level = ?", level))

    def closed(self, level: int) -> int:
        return int(self.one("SELECT closed FROM level WHERE level = ?", level))

    def spans(self, level: int) -> list[tuple[int, int]]:
        """Return (start, end) of the closed spans."""
        return self.rows("SELECT start, end FROM span WHERE level = ? ORDER BY start", level)

    def count(self, table: str) -> int:
        return int(self.one(f"SELECT count(*) FROM {table}"))


# Plain sums.


def within(deltas: Iterable[Delta], start: float, end: float) -> list[Delta]:
    return [delta for delta in deltas if start <= delta.start < end]


def passing(delta: Delta, keep: Filter) -> Iterator[tuple[Identity, Remote, Sums]]:
    for (process, who), remotes in delta.flows.items():
        for far, moved in remotes.items():
            terms = keep.undecided(process, who)
            if terms is not None and all(term.of_remote(far, no_names) for term in terms):
                yield who, far, moved


def total(deltas: Iterable[Delta], keep: Filter = EVERYTHING) -> Sums:
    moved = [both for delta in deltas for _, _, both in passing(delta, keep)]
    return sum(rx for rx, _ in moved), sum(tx for _, tx in moved)


def grouped(
    deltas: Iterable[Delta], by: Sequence[Dimension], keep: Filter
) -> dict[tuple[Any, ...], Sums]:
    found: dict[tuple[Any, ...], Sums] = {}
    for delta in deltas:
        for who, far, (rx, tx) in passing(delta, keep):
            group = labels(by, replace(who, host=this_machine()), far, instant(delta.start))
            before = found.get(group, (0, 0))
            found[group] = (before[0] + rx, before[1] + tx)
    return found


def instant(when: float) -> Span:
    """Return the span of a measured interval."""
    return Span(0, when, when)


def lost(deltas: Iterable[Delta]) -> Loss:
    return reduce(Loss.plus, (delta.loss for delta in deltas), Loss())
