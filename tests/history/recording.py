"""Recorders as tests run them: fed with numbered samples, here or in a process that may be killed.

Each sample's remote and bytes tell its number, so that it can be found again in any sum.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Final

from bwtop.history import dimensions, ranges, tiers
from bwtop.history.query import Answer, History
from bwtop.model.filter import EVERYTHING
from bwtop.model.flows import TCP, Identity, ProcessKey, Remote, Role, Traffic
from bwtop.model.sample import Sample
from bwtop.sqlite import connections, recorder, rollup
from bwtop.sqlite.clocks import ClockReading
from bwtop.sqlite.reader import LocalReader
from bwtop.sqlite.recorder import Recorder
from bwtop.sqlite.rollup import Policy
from bwtop.sqlite.writer import RecordingOptions
from tests.build import NOW, key, packed
from tests.kernel.running import HANG

START: Final = NOW.timestamp()
ROOT: Final = Path(__file__).parents[2]

LONGEST: Final = 30.0
"""Seconds after which a put() hangs."""
_FIRST: Final = int(IPv4Address("10.0.0.0"))

Moved = tuple[int, int]


@dataclass
class Clock:
    """Three clocks under the control of a test."""

    wall: float = START
    awake: float = 100.0
    boot: float = 500.0

    def __call__(self) -> ClockReading:
        return ClockReading(self.wall, self.awake, self.boot)

    def go(self, seconds: float) -> None:
        self.wall += seconds
        self.awake += seconds
        self.boot += seconds

    def sleep(self, seconds: float) -> None:
        self.wall += seconds
        self.boot += seconds


def amount(number: int) -> Moved:
    """Return the bytes of a sample."""
    return 1000 + number, 7 * number + 1


def far(number: int) -> Remote:
    """Return the only remote of a sample."""
    return Remote(TCP, Role.CLIENT, 443, packed(str(IPv4Address(_FIRST + number))))


def numbered(number: int, end: float, seconds: float = 1.0) -> Sample:
    """Return a sample that no other equals."""
    who: ProcessKey = key(1 + number % 7)
    traffic = {who: {far(number): Traffic(*amount(number))}}
    when = datetime.fromtimestamp(end, UTC)
    return Sample(when, seconds, traffic, {who: Identity(f"program {number % 3}", uid=0)})


@dataclass
class Feed:
    """A feed of numbered samples to a recorder; it remembers them and advances the clock."""

    recorder: Recorder
    clock: Clock
    lines: list[str]
    numbers: list[int] = field(default_factory=list)
    next: int = 0
    slowest: float = 0.0
    """Seconds of the longest put()."""

    def put(self, count: int = 1, seconds: float = 1.0) -> None:
        for _ in range(count):
            self.clock.go(seconds)
            self.give(numbered(self.next, self.clock.wall, seconds))
            self.numbers.append(self.next)
            self.next += 1

    def give(self, sample: Sample) -> None:
        began = time.perf_counter()
        self.recorder.put(sample)
        self.slowest = max(self.slowest, time.perf_counter() - began)

    def quiet(self, count: int = 1, seconds: float = 1.0) -> None:
        for _ in range(count):
            self.clock.go(seconds)
            self.give(Sample(datetime.fromtimestamp(self.clock.wall, UTC), seconds))

    def until(self, condition: Callable[[], object], seconds: float = HANG) -> None:
        """Put samples until a condition is true."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, (self.recorder.state, self.lines)
            self.put()
            time.sleep(0.01)

    def wait(self, condition: Callable[[], object] | None = None, seconds: float = HANG) -> None:
        """Wait without putting samples; by default until all samples are stored."""
        deadline = time.monotonic() + seconds
        while not (condition() if condition else self.recorder.stored >= len(self.numbers)):
            assert time.monotonic() < deadline, (self.recorder.state, self.lines)
            time.sleep(0.005)

    def expected(self) -> dict[int, Moved]:
        return {number: amount(number) for number in self.numbers}


class Recorders:
    """All recorders of a test; they are closed at its end."""

    def __init__(self) -> None:
        self.feeds: list[Feed] = []

    def __call__(
        self,
        path: Path,
        *,
        policy: Policy | None = None,
        cmdlines: bool = False,
        start: bool = True,
        clock: Clock | None = None,
    ) -> Feed:
        clock, lines = clock or Clock(), list[str]()
        options = RecordingOptions(path, policy or Policy(), cmdlines=cmdlines)
        feed = Feed(Recorder(options, lines.append, clock), clock, lines)
        feed.recorder.open()
        if start:
            feed.recorder.start()
            self.feeds.append(feed)
        return feed

    def close(self) -> None:
        for feed in self.feeds:
            feed.recorder.close()


# What is in a database.


def answer(path: Path, *by: str, now: float = START) -> Answer:
    """Return the answer for the whole history."""
    chosen = [dimensions.parse(name) for name in by]
    with closing(History(LocalReader(connections.open_reader(path)))) as history:
        return history.ask(ranges.parse("all", now), chosen, EVERYTHING, now)


def found(path: Path, now: float = START + 10**6) -> dict[int, Moved]:
    """Return the stored bytes by number of sample."""
    whole = answer(path, "remote", now=now)
    rows = {int(IPv4Address(str(r.labels[0]))) - _FIRST: (r.rx, r.tx) for r in whole.rows}
    assert len(rows) == len(whole.rows)
    assert (whole.rx, whole.tx) == totals(rows.values())
    assert totals((bar.rx, bar.tx) for bar in whole.bars) == (whole.rx, whole.tx)
    return rows


def totals(moved: Iterable[Moved]) -> Moved:
    """Return the totals of both directions."""
    both = list(moved)
    return sum(rx for rx, _ in both), sum(tx for _, tx in both)


def rows(path: Path, statement: str) -> list[tuple[Any, ...]]:
    """Return the rows of a statement."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(statement).fetchall()


def intervals(path: Path) -> list[tuple[float, float]]:
    """Return (start since START, seconds) in the order of recording."""
    return [
        (round(start - START, 3), round(seconds, 3))
        for start, seconds in rows(path, "SELECT start, seconds FROM interval ORDER BY id")
    ]


def is_sound(path: Path) -> bool:
    """Return whether SQLite finds the database intact."""
    return rows(path, "PRAGMA integrity_check") == [("ok",)]


def make_older(path: Path) -> None:
    """Make a database one of schema 2, which has no execs and no names."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE process DROP COLUMN exec")
        connection.execute("ALTER TABLE shipped DROP COLUMN named")
        connection.execute("DROP TABLE named")
        connection.execute("PRAGMA user_version = 2")


def is_line(text: str) -> bool:
    """Return whether a message is one meaningful line."""
    return 10 < len(text) < 400 and text.isprintable()


# Recorders in processes of their own.


class Child:
    """A recorder in another process, controlled through pipes."""

    def __init__(self, path: Path, user: int | None = None) -> None:
        drop: dict[str, Any] = (
            {} if user is None else {"user": user, "group": user, "extra_groups": []}
        )
        self.process = subprocess.Popen(
            command("obey", str(path)),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            **drop,
        )

    def tell(self, order: str, *values: int) -> dict[str, Any]:
        """Send a command and return the state after it."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps([order, *values]) + "\n")
        self.process.stdin.flush()
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def until(self, name: str, value: object = None, seconds: float = HANG) -> dict[str, Any]:
        """Wait until a value of the state is `value`, by default until it is true; return the state."""
        deadline = time.monotonic() + seconds
        while True:
            state = self.tell("state")
            if state[name] if value is None else state[name] == value:
                return state
            assert time.monotonic() < deadline, state
            time.sleep(0.02)

    def end(self, sign: int = signal.SIGKILL) -> None:
        self.process.send_signal(sign)
        self.process.wait(HANG)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()


@contextmanager
def child(path: Path, user: int | None = None) -> Iterator[Child]:
    """Start a recorder in another process; kill it at the end."""
    made = Child(path, user)
    try:
        yield made
    finally:
        made.end()


def command(*words: str) -> list[str]:
    """Return the command that runs this module; without byte code, since it may run as another user."""
    return [sys.executable, "-B", "-m", "tests.history.recording", *words]


def _obey(path: Path) -> None:
    recorders = Recorders()
    feed = recorders(path)
    for line in sys.stdin:
        order, *values = json.loads(line)
        if order == "put":
            feed.put(*values)
        elif order == "from":
            feed.next = values[0]
        elif order == "close":
            feed.recorder.close()
        state = feed.recorder.state
        print(  # noqa: T201 - to the pipe
            json.dumps(
                {
                    "recording": state.recording,
                    "other": state.other,
                    "fault": state.fault,
                    "lasting": state.is_lasting,
                    "stored": feed.recorder.stored,
                    "lines": feed.lines,
                    "slowest": feed.slowest,
                }
            ),
            flush=True,
        )


LENGTH: Final = 40.0
"""Seconds of each sample of a recorder whose time runs fast."""

RACE: Final = 80.0
"""Seconds of each sample of a recorder that will be killed: days end soon."""


def hurried() -> Policy:
    """Let recorders of this process roll up and retry at once, in small steps; return a policy that keeps little."""
    vars(recorder)["ROLLUP_PERIOD"] = 0.0
    vars(recorder)["RETRY"] = 0.001
    vars(rollup)["SPARE_PAGES"] = 0
    vars(rollup)["FLOWS_AT_ONCE"] = 64
    vars(rollup)["FEW_ROWS"] = 0
    return Policy(tiers.parse_retention("seconds=200s,minutes=15m,hours=2h,5min=1h"))


def _race(path: Path, first: int, acknowledged: int) -> None:
    """Put samples until the process is killed, and print what is committed."""
    feed = Recorders()(path, policy=hurried(), clock=Clock(START + first * RACE))
    feed.next, told = first, 0
    while True:
        feed.put(1 + feed.next % 4, RACE)
        while feed.recorder.stored < len(feed.numbers) - feed.next % 3:
            time.sleep(0.0002)
        if (stored := feed.recorder.stored) > told:
            told = stored
            os.write(acknowledged, b"%d\n" % (first + stored - 1))


if __name__ == "__main__":
    if sys.argv[1] == "race":
        _race(Path(sys.argv[2]), int(sys.argv[3]), 1)
    _obey(Path(sys.argv[2]))
