"""Recording: readings go in from the thread that measures, and into the database from a thread of its own."""

import errno
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from bwtop.history.calendar import Unit, floor
from bwtop.model.sample import Sample
from bwtop.sqlite import clocks, schema
from bwtop.sqlite.backlog import Backlog
from bwtop.sqlite.clocks import ClockWatch, Moment
from bwtop.sqlite.delta import Delta
from bwtop.sqlite.schema import HistoryError
from bwtop.sqlite.store import Event
from bwtop.sqlite.writer import Options, Writer

INTERVAL: Final = 0.95
"""Seconds of the shortest interval that is stored: readings that follow each other faster are joined."""

BATCH: Final = 60
"""Deltas that one transaction takes, when many have waited."""

RETRY: Final = 1.0
"""Seconds from one attempt to write to the next."""

UPKEEP_PERIOD: Final = 10.0

LAST_SECONDS: Final = 2.0
"""In which the last interval is tried again, when it cannot be written."""

LAST_RETRY: Final = 0.1

OVER_SIZE: Final = (
    "the history is larger than --max-size and has only daily totals left; raise --max-size"
)

CLOSE_SECONDS: Final = 4.0
"""For it to be written, when the disk is slow."""


@dataclass(frozen=True)
class State:
    """How it goes with recording."""

    recording: bool = False
    other: str | None = None
    """Another bwtop, which records instead."""
    fault: str = ""
    """Why nothing can be written now; what is measured waits."""
    is_lasting: bool = False
    """Whether the fault needs somebody to do something about it."""

    def words(self) -> str:
        """In a few words."""
        if self.other:
            return f"recorded by {self.other}"
        return "recording" if self.recording else "not recording"


class Waiting(NamedTuple):
    """What is measured and not committed yet; without what is quiet, which waits to become a minute."""

    intervals: int
    """Merged ones count once."""
    seconds: float
    """For how long the oldest of them has waited."""


class Recorder:
    """Writes what is measured, whenever it can; what it cannot write yet waits in bounded memory."""

    def __init__(
        self,
        options: Options,
        notify: Callable[[str], None] = lambda _: None,
        look: Callable[[], Moment] = clocks.now,
    ) -> None:
        """`notify` is called with a line for people when the state changes: from the writing thread."""
        self.path = options.path
        self._writer = Writer(options)
        self._notify = notify
        self._look = look
        self._watch = ClockWatch()
        self._mutex = threading.Condition()
        self._backlog = Backlog()
        self._writing: list[Delta] = []
        self._events: list[Event] = []
        self._open: Delta | None = None
        self._quiet: Delta | None = None
        self._closing = False
        self._abandoned = False
        self._deadline = 0.0
        self._thread: threading.Thread | None = None
        self._upkeep_at = 0.0
        self._told_dropped = 0
        self.state = State()
        self.stored = 0
        """Intervals that are committed."""
        self.seconds = 0.0
        """Measured in them."""

    @property
    def is_over_size(self) -> bool:
        """Whether the history is larger than it should be, though nothing more can go."""
        return self._writer.is_over_size

    @property
    def dropped(self) -> int:
        """Bytes that found no room while they waited; they are in no sum."""
        return self._backlog.dropped

    def waiting(self) -> Waiting:
        """What is still to be written; from any thread."""
        with self._mutex:
            waiting = [*self._writing, *self._backlog]
        if not waiting:
            return Waiting(0, 0.0)
        return Waiting(len(waiting), self._look().awake - min(delta.since for delta in waiting))

    # From the thread that measures.

    def put(self, sample: Sample) -> None:
        """Takes a reading; it is written soon, by another thread."""
        moment = self._look()
        with self._mutex:
            self._events += self._watch.look(moment)
            if self.state.other or self._abandoned:
                self._forget()
                return
            delta = Delta.of(sample)
            if self._open:
                self._open.absorb(delta)
            else:
                self._open = delta
            if self._open.seconds >= INTERVAL:
                self._finish_interval(moment.awake)
                self._mutex.notify()

    def _forget(self) -> None:
        """Another bwtop has it already."""
        self._open = self._quiet = None
        self._events.clear()
        self._backlog.clear()

    def _finish_interval(self, now: float) -> None:
        """Puts the open interval into the queue; quiet ones wait, and become one a minute."""
        delta, self._open = self._open, None
        if delta is None:
            return
        quiet = self._quiet
        if quiet and (not delta.is_quiet() or not _same_minute(quiet, delta)):
            self._enqueue(quiet, now)
            quiet = self._quiet = None
        if not delta.is_quiet():
            self._enqueue(delta, now)
        elif quiet:
            quiet.absorb(delta)
        else:
            self._quiet = delta

    def _enqueue(self, delta: Delta, now: float) -> None:
        delta.since = now
        self._backlog.add(delta)

    def close(self) -> None:
        """Writes what is left, the last and partial interval too, and lets go of the database."""
        now = self._look().awake
        with self._mutex:
            self._finish_interval(now)
            if self._quiet:
                self._enqueue(self._quiet, now)
                self._quiet = None
            self._closing = True
            self._deadline = time.monotonic() + LAST_SECONDS
            self._mutex.notify()
        if self._thread:
            self._thread.join(CLOSE_SECONDS)

    # From the writing thread, but for the first time.

    def open(self) -> None:
        """Takes the lock and opens the database, if that is possible now; `state` says whether it was."""
        try:
            if self._may_write():
                self._set(State(recording=True))
        except (HistoryError, OSError, sqlite3.Error) as error:
            self._fail(error)

    def abandon(self) -> None:
        """Gives up: what keeps it from recording can only be mended for another start."""
        self._abandoned = True
        self._notify("fix this and restart bwtop to record")

    def start(self) -> None:
        """Begins to write."""
        self._thread = threading.Thread(target=self._work, name="bwtop-recorder", daemon=True)
        self._thread.start()

    def _may_write(self) -> bool:
        other = self._writer.open()
        if other:
            self._set(State(other=other))
        return other is None

    def _set(self, state: State) -> None:
        before, self.state = self.state, state
        if state == before:
            return
        if state.fault:
            is_known = before.fault or state.is_lasting
            kept = "" if is_known else "; measurements wait in memory"
            self._notify(f"not recording: {state.fault}{kept}")
        elif state.other:
            self._notify(f"not recording: {self.path} is recorded by {state.other}")
        elif before.fault or before.other:
            self._notify(f"recording to {self.path} again")

    def _fail(self, error: Exception) -> None:
        self._writer.rollback()
        passing = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
        lasting = not isinstance(error, sqlite3.Error) and getattr(error, "errno", 0) not in passing
        self._set(State(fault=schema.plain(error, self.path), is_lasting=lasting))

    def _work(self) -> None:
        while True:
            with self._mutex:
                if not self._closing and not (self._backlog and self.state.recording):
                    self._mutex.wait(RETRY)
                closing = self._closing
            try:
                if self._may_write():
                    self._write()
                    self._set(State(recording=True))
                    self._keep_up()
            except Exception as error:  # whatever it is: a thread that dies would say nothing
                self._fail(error)
            if closing and self._is_done():
                self._end()
                return

    def _write(self) -> None:
        """Writes what waits; raises sqlite3.Error, and then it still waits."""
        while True:
            with self._mutex:
                deltas = self._writing = self._backlog.take(BATCH)
                events, self._events = self._events, []
                dropped = self._backlog.dropped
            if not deltas and not events:
                return
            try:
                self._append(deltas, events, dropped)
            except BaseException:
                with self._mutex:
                    self._writing = []
                    self._backlog.give_back(deltas)
                    self._events = events + self._events
                raise
            with self._mutex:
                self._writing = []

    def _append(self, deltas: list[Delta], events: list[Event], dropped: int) -> None:
        more = dropped - self._told_dropped
        told = [Event(self._look().wall, "dropped", more)] if more else []
        self._writer.append(deltas, [*events, *told])
        self._told_dropped = dropped
        self.stored += len(deltas)
        self.seconds += sum(delta.seconds for delta in deltas)

    def _keep_up(self) -> None:
        """Some steps of upkeep, until the next interval is there."""
        if time.monotonic() < self._upkeep_at:
            return
        self._upkeep_at = time.monotonic() + UPKEEP_PERIOD
        was_over_size = self.is_over_size
        while self._writer.keep_up(self._look().wall):
            with self._mutex:
                if self._backlog or self._closing:
                    self._upkeep_at = 0.0
                    break
        if self.is_over_size and not was_over_size:
            self._notify(OVER_SIZE)

    def _is_done(self) -> bool:
        """Whether there is nothing left to write, or no time to wait until it can be."""
        if self._backlog and self.state.fault:
            time.sleep(LAST_RETRY)
        return not self._backlog or bool(self.state.other) or time.monotonic() > self._deadline

    def _end(self) -> None:
        self._writer.close()
        left = self._backlog.dropped + sum(delta.amount() for delta in self._backlog)
        if left:
            why = self.state.fault or "the backlog was full"
            self._notify(f"not recorded: {left} bytes; {why}")


def _same_minute(one: Delta, other: Delta) -> bool:
    return floor(Unit.MINUTE, one.start) == floor(Unit.MINUTE, other.start)
