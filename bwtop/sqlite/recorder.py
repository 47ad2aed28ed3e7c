"""Record: take samples from the measuring thread and write them to the database in a thread of its own."""

import errno
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from bwtop.history.calendar import Unit, floor
from bwtop.model.sample import Sample
from bwtop.sqlite import checked, clocks, errors
from bwtop.sqlite.backlog import Backlog
from bwtop.sqlite.clocks import ClockReading, ClockWatch
from bwtop.sqlite.delta import Delta, SeenName
from bwtop.sqlite.errors import HistoryError
from bwtop.sqlite.store import Event
from bwtop.sqlite.writer import DatabaseWriter, RecordingOptions
from bwtop.text.escape import count
from bwtop.text.units import size

INTERVAL: Final = 0.95
"""Shortest stored interval, in seconds: faster samples are merged."""

BATCH: Final = 60
"""Largest number of deltas per transaction."""

RETRY: Final = 1.0
"""Seconds between two attempts to write."""

ROLLUP_PERIOD: Final = 10.0
"""Seconds between two runs of the rollup."""

LAST_SECONDS: Final = 2.0
"""Seconds for which close() tries again after a fault."""

LOCKED_SECONDS: Final = 30.0
"""Seconds for which it does so while another program has locked the database."""

LAST_RETRY: Final = 0.1
"""Seconds between those retries."""

OVER_SIZE: Final = (
    "the history is larger than --max-size and has only daily totals left; raise --max-size"
)

ASIDE_PERIOD: Final = 60.0
"""Shortest time between setting aside two damaged databases, in seconds: the disk may damage each new one."""

POLL: Final = 0.1
"""Seconds between two looks of close() at the signals."""

SLOW: Final = 1.0
"""Seconds after which close() says what it waits for."""

REMIND: Final = 10.0
"""Seconds between two such messages."""


@dataclass(frozen=True)
class RecorderState:
    """State of recording."""

    recording: bool = False
    other: str | None = None
    """Name of another bwtop that records instead."""
    fault: str = ""
    """Why the database cannot be written now; deltas wait in the backlog."""
    is_lasting: bool = False
    """The fault does not pass by itself: the user has to act."""

    def words(self) -> str:
        """Return the state in a few words."""
        if self.other:
            return f"recorded by {self.other}"
        return "recording" if self.recording else "not recording"


class RecorderBacklog(NamedTuple):
    """The uncommitted intervals, without the quiet ones that are being merged into a minute."""

    intervals: int
    """Number of deltas; merged intervals count once."""
    seconds: float
    """Age of the oldest delta in the backlog."""


class Unwritten(NamedTuple):
    """The deltas that are not committed."""

    intervals: int
    bytes: int

    def words(self) -> str:
        """Return what the end of the recording waits for."""
        if not self.intervals:
            return "all is recorded, but the database is not closed yet"
        return f"{count(self.intervals, 'interval')}, {size(self.bytes)} not recorded yet"


class Recorder:
    """Recorder of samples; samples that cannot be written yet wait in bounded memory."""

    def __init__(
        self,
        options: RecordingOptions,
        notify: Callable[[str], None] = lambda _: None,
        look: Callable[[], ClockReading] = clocks.now,
    ) -> None:
        """Make a recorder; the writing thread calls `notify` with a message when the state changes."""
        self.path = options.path
        self._writer = DatabaseWriter(options)
        self._notify = notify
        self._look = look
        self._watch = ClockWatch()
        self._mutex = threading.Condition()
        self._backlog = Backlog()
        self._writing: list[Delta] = []
        self._events: list[Event] = []
        self._open: Delta | None = None
        self._quiet: Delta | None = None
        self._early: dict[SeenName, float] = {}
        """Names of the last reading whose processes were not in it."""
        self._closing = False
        self._given_up: int | None = None
        """Bytes measured since abandon(); None: it was not called."""
        self._is_locked = False
        """The last fault was another program's lock."""
        self._failing_since = 0.0
        """Time of the first fault during close(), by time.monotonic(); 0: none."""
        self._thread: threading.Thread | None = None
        self._rollup_at = 0.0
        self._noted_dropped = 0
        self._aside_at = float("-inf")
        self.aside = ""
        """Name of the last damaged database that was set aside."""
        self.state = RecorderState()
        self.stored = 0
        """Number of committed intervals."""
        self.seconds = 0.0
        """Measured seconds in them."""

    @property
    def is_over_size(self) -> bool:
        """Return whether the history exceeds --max-size, with nothing left to delete."""
        return self._writer.is_over_size

    @property
    def dropped(self) -> int:
        """Return the bytes dropped because the backlog was full; no total includes them."""
        return self._backlog.dropped

    def waiting(self) -> RecorderBacklog:
        """Return the size of the backlog; callable from any thread."""
        with self._mutex:
            waiting = [*self._writing, *self._backlog]
        if not waiting:
            return RecorderBacklog(0, 0.0)
        return RecorderBacklog(
            len(waiting), self._look().awake - min(delta.since for delta in waiting)
        )

    @property
    def unwritten(self) -> Unwritten:
        """Return what is not committed yet; callable from any thread."""
        with self._mutex:
            deltas = [*self._writing, *self._backlog]
        return Unwritten(len(deltas), sum(delta.amount() for delta in deltas))

    @property
    def lost(self) -> int:
        """Return the bytes that no total includes, once the recorder is closed."""
        return (
            self.dropped + (self._given_up or 0) + (0 if self.state.other else self.unwritten.bytes)
        )

    # Called by the measuring thread.

    def put(self, sample: Sample) -> None:
        """Add a sample to the backlog; the writing thread writes it soon."""
        moment = self._look()
        with self._mutex:
            self._events += self._watch.look(moment)
            if self.state.other:
                self._forget()
                return
            delta = Delta.of(sample)
            if self._given_up is not None:
                self._given_up += delta.amount()
                return
            delta.take_early(self._early)
            self._early = delta.early()
            if self._open:
                self._open.absorb(delta)
            else:
                self._open = delta
            if self._open.seconds >= INTERVAL:
                self._finish_interval(moment.awake)
                self._mutex.notify()

    def _forget(self) -> None:
        """Forget all deltas: another bwtop records them."""
        self._open = self._quiet = None
        self._events.clear()
        self._backlog.clear()

    def _finish_interval(self, now: float) -> None:
        """Move the open interval to the backlog; merge quiet intervals within a minute into one first."""
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

    def close(self, give_up: Callable[[], bool] = lambda: False) -> None:
        """Write the backlog and the partial last interval, then close the database; `lost` is what could not be written.

        Wait for as long as the disk takes, or another program holds its lock, until `give_up()` returns True.
        """
        now = self._look().awake
        with self._mutex:
            self._finish_interval(now)
            if self._quiet:
                self._enqueue(self._quiet, now)
                self._quiet = None
            self._closing = True
            self._mutex.notify()
        if self._thread:
            self._await(self._thread, give_up)
        if self.lost:
            why = self.state.fault or "the backlog was full"
            if self._thread and self._thread.is_alive():
                why = f"given up: {self._reason()}"
            self._notify(f"not recorded: {self.lost} bytes; {why}")

    def _await(self, thread: threading.Thread, give_up: Callable[[], bool]) -> None:
        """Wait until a thread ends or the user gives up, and say what for."""
        remind = time.monotonic() + SLOW
        while thread.is_alive() and not give_up():
            thread.join(POLL)
            is_told = self.state.fault and not self._is_locked
            if thread.is_alive() and time.monotonic() >= remind and not is_told:
                remind = time.monotonic() + REMIND
                left = self.unwritten.words()
                self._notify(f"{left}: {self._reason()}; another signal gives up")

    def _reason(self) -> str:
        return self.state.fault or "the disk is slow"

    # Called by the writing thread; open() is also called before start().

    def open(self) -> None:
        """Try to take the lock and open the database; `state` has the result."""
        try:
            if self._may_write():
                self._set(RecorderState(recording=True))
        except (HistoryError, OSError, sqlite3.Error) as error:
            self._fail(error)
            if self._may_begin_anew(error):
                self.open()

    def abandon(self) -> None:
        """Give up recording: the fault can only be fixed before the next start."""
        self._given_up = 0
        self._notify("fix this and restart bwtop to record")

    def start(self) -> None:
        """Start the writing thread."""
        self._thread = threading.Thread(target=self._work, name="bwtop-recorder", daemon=True)
        self._thread.start()

    def _may_write(self) -> bool:
        other = self._writer.open()
        if other:
            self._set(RecorderState(other=other))
        return other is None

    def _set(self, state: RecorderState) -> None:
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

    def _may_begin_anew(self, error: Exception) -> bool:
        """Set a damaged database aside; return whether that was done."""
        now, wall = time.monotonic(), self._look().wall
        if not checked.is_damage(error) or now < self._aside_at + ASIDE_PERIOD:
            return False
        try:
            aside = self._writer.set_aside(wall)
        except OSError as refused:
            why = f"{errors.plain(error, self.path)}; it cannot be set aside: {refused.strerror}"
            self._set(RecorderState(fault=why))
            return False
        if aside is None:
            return False
        self._aside_at, self.aside = now, aside.name
        with self._mutex:
            self._events.append(Event(wall, "damaged"))
        self._notify(f"set the damaged history aside as {aside}")
        return True

    def _fail(self, error: Exception) -> None:
        self._is_locked = errors.is_locked(error)
        self._writer.rollback()
        passing = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
        lasting = not isinstance(error, sqlite3.Error) and getattr(error, "errno", 0) not in passing
        self._set(RecorderState(fault=errors.plain(error, self.path), is_lasting=lasting))

    def _work(self) -> None:
        while True:
            with self._mutex:
                if not self._closing and not (self._backlog and self.state.recording):
                    self._mutex.wait(RETRY)
                closing = self._closing
            try:
                if self._may_write():
                    self._writer.check()
                    self._write()
                    self._set(RecorderState(recording=True))
                    self._keep_up()
            except Exception as error:  # any error: a dead thread would be silent
                self._fail(error)
                if self._may_begin_anew(error):
                    continue
            if closing and self._is_done():
                self._writer.close()
                return

    def _write(self) -> None:
        """Write the backlog; on an error put the deltas back and raise it."""
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
        more = dropped - self._noted_dropped
        noted = [Event(self._look().wall, "dropped", more)] if more else []
        self._writer.append(deltas, [*events, *noted])
        self._noted_dropped = dropped
        self.stored += len(deltas)
        self.seconds += sum(delta.seconds for delta in deltas)

    def _keep_up(self) -> None:
        """Run steps of the rollup until the next interval is there."""
        if time.monotonic() < self._rollup_at:
            return
        self._rollup_at = time.monotonic() + ROLLUP_PERIOD
        was_over_size = self.is_over_size
        while self._writer.keep_up(self._look().wall):
            with self._mutex:
                if self._backlog or self._closing:
                    self._rollup_at = 0.0
                    break
        if self.is_over_size and not was_over_size:
            self._notify(OVER_SIZE)

    def _is_done(self) -> bool:
        """Return whether the backlog is empty, or the fault has lasted too long."""
        if not self._backlog or self.state.other:
            return True
        if not self.state.fault:
            return False
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        time.sleep(LAST_RETRY)
        return now - self._failing_since > (LOCKED_SECONDS if self._is_locked else LAST_SECONDS)


def _same_minute(one: Delta, other: Delta) -> bool:
    return floor(Unit.MINUTE, one.start) == floor(Unit.MINUTE, other.start)
