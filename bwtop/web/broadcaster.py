"""Broadcast each interval to the open pages, drawn as each page wants it.

One thread owns the model: it adds each sample and draws the requested views.  So measuring never waits for a page, and a
slow page misses intervals but delays no other.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol

from bwtop.measure.intervals import NameLookup
from bwtop.model.flows import Loss
from bwtop.model.ledger import Category
from bwtop.model.live import LiveModel
from bwtop.model.remote_names import RemoteNames
from bwtop.model.sample import Sample
from bwtop.model.series import LENGTH
from bwtop.text.stderr import say

Sums = Mapping[Category, tuple[int, int]]


@dataclass(frozen=True)
class ChartPoint:
    """The sums of a past interval over all processes, by category."""

    time: datetime
    elapsed: float
    sums: Sums


_NEVER: Final = datetime.fromtimestamp(0, UTC)


@dataclass
class BroadcastState:
    """The state that views draw: the model after an interval, and the interval itself."""

    names: RemoteNames = field(default_factory=RemoteNames)
    model: LiveModel = field(default_factory=LiveModel)
    number: int = 0
    """Intervals so far."""
    time: datetime = _NEVER
    elapsed: float = 0.0
    loss: Loss = Loss()
    """Losses in the interval."""
    past: deque[ChartPoint] = field(default_factory=lambda: deque(maxlen=LENGTH))
    backend: str = ""

    def __post_init__(self) -> None:
        self.model.set_average(0.0)  # rates and bytes are those of the last interval alone

    def advance(self, sample: Sample) -> None:
        """Add a sample as the next interval."""
        before = {of: (tally.rx, tally.tx) for of, tally in self.model.ledger.sums.items()}
        self.names.advance(sample)
        self.model.advance(sample)
        self.time, self.elapsed, self.loss = sample.time, sample.elapsed, sample.loss
        self.number += 1
        sums = {
            of: (tally.rx - before[of][0], tally.tx - before[of][1])
            for of, tally in self.model.ledger.sums.items()
        }
        self.past.append(ChartPoint(sample.time, sample.elapsed, sums))


class BroadcastView(Protocol):
    """A way to draw the state.  Views are dictionary keys: equal views are drawn once."""

    def draw(self, state: BroadcastState) -> bytes:
        """Return the body to send."""

    def __hash__(self) -> int: ...


@dataclass(frozen=True)
class Drawn:
    """The body of a view for an interval."""

    number: int
    """The number of the interval."""
    body: bytes


@dataclass(eq=False)
class _Waiter:
    """A page or request that waits for a view."""

    after: int
    """It waits for an interval after the one of this number."""
    drawn: Drawn | None = None
    """The result: the next interval may come before the waiting thread runs."""

    def lacks(self, number: int) -> bool:
        """Return whether the interval of that number is what it waits for."""
        return self.drawn is None and self.after < number


WORK_SECONDS: Final = 3600.0
"""Timeout of the thread's wait; it is woken whenever there is work."""


MAX_DRAWN: Final = 64
"""Views kept until the next interval, besides those with waiting pages."""


class Broadcaster:
    """Takes samples from one thread, and hands drawn views to many."""

    def __init__(self, names: NameLookup | None, now: Callable[[], float] = time.monotonic) -> None:
        self._state = BroadcastState(RemoteNames(names.get) if names else RemoteNames())
        self._now = now
        lock = threading.Lock()
        self._mutex = threading.Condition(lock)
        """Notified when a view is drawn."""
        self._work = threading.Condition(lock)
        """Notified when there is work."""
        self._sample: Sample | None = None
        self._backend = ""
        self._wanted: dict[BroadcastView, list[_Waiter]] = {}
        self._drawn: dict[BroadcastView, Drawn] = {}
        self._closed = False
        self._taken_at = now()

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, name="bwtop-broadcast", daemon=True).start()

    def put(self, sample: Sample, backend: str) -> None:
        """Take an interval.  Intervals that arrive while the thread is busy are merged: no byte is lost."""
        with self._mutex:
            if self._sample:
                self._sample.absorb(sample)
            else:
                self._sample = sample
            self._backend = backend
            self._taken_at = self._now()
            self._work.notify()

    def age(self) -> float:
        """Return the seconds since the last interval, or since the start."""
        return self._now() - self._taken_at

    def close(self) -> None:
        """End the thread and wake all waiting pages."""
        with self._mutex:
            self._closed = True
            self._work.notify()
            self._mutex.notify_all()

    @property
    def is_closed(self) -> bool:
        """Return True once no more intervals will come."""
        return self._closed

    @property
    def is_begun(self) -> bool:
        """Return True once there is an interval."""
        return self._state.number > 0

    def wait(self, view: BroadcastView, after: int, seconds: float) -> Drawn | None:
        """Return a view of the first interval after number `after`; None if none comes within `seconds`."""
        with self._mutex:
            known = self._drawn.get(view)
            waiter = _Waiter(after, known if known and known.number > after else None)
            waiters = self._wanted.setdefault(view, [])
            waiters.append(waiter)
            self._work.notify()
            try:
                self._mutex.wait_for(lambda: self._closed or waiter.drawn, seconds)
            finally:
                waiters.remove(waiter)
                if not waiters:
                    del self._wanted[view]
            return None if self._closed else waiter.drawn

    def _run(self) -> None:
        while True:
            with self._mutex:
                self._work.wait_for(
                    lambda: self._sample or self._missing() or self._closed, WORK_SECONDS
                )
                sample, self._sample = self._sample, None
                if self._closed:
                    return
                if sample:
                    self._drawn.clear()
                    self._state.backend = self._backend
            if sample:
                self._state.advance(sample)
            self._draw()

    def _missing(self) -> list[BroadcastView]:
        """Return the views that pages wait for and that are not drawn yet."""
        return [view for view in self._wanted if self._lacking(view)]

    def _lacking(self, view: BroadcastView) -> list[_Waiter]:
        """Return those who wait for a view of this interval."""
        number = self._state.number
        return [waiter for waiter in self._wanted.get(view, ()) if waiter.lacks(number)]

    def _draw(self) -> None:
        """Draw the missing views, oldest request first; stop after one or more when a sample waits."""
        with self._mutex:
            missing = self._missing()
        for view in missing:
            with self._mutex:
                if not self._lacking(view):
                    continue  # they have given up
            drawn = Drawn(self._state.number, self._body(view))
            with self._mutex:
                self._drawn[view] = drawn
                for waiter in self._lacking(view):
                    waiter.drawn = drawn
                self._forget()
                self._mutex.notify_all()
                if self._sample:
                    return

    def _forget(self) -> None:
        """Drop the oldest views without waiting pages beyond MAX_DRAWN: the next interval may be far away."""
        spare = [view for view in self._drawn if view not in self._wanted]
        for view in spare[: max(len(self._drawn) - MAX_DRAWN, 0)]:
            del self._drawn[view]

    def _body(self, view: BroadcastView) -> bytes:
        """Draw a view; an error in one view must not end the thread."""
        try:
            return view.draw(self._state)
        except Exception as error:
            say(f"error while drawing a page ({error!r}); please report it")
            return b"{}"
