"""Answers of slow system functions (DNS, NSS), looked up in the background."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

KNOWN: Final = 16384
"""Largest number of answers kept."""

WAITING: Final = 1024
"""Largest number of keys that wait for a thread; a later get() asks for the others again."""

AGE: Final = 3600.0
"""Seconds for which an answer is kept, a negative one too."""

RETRY: Final = 60.0
"""Seconds until a key is asked for again after the source did not answer."""

FAILURES: Final = 3.0
"""Failures in a row after which the source counts as dead, by their weights."""

REST: Final = 30.0
"""Seconds for which a dead source is not asked."""

Key = TypeVar("Key")
Answer = TypeVar("Answer")


class Unanswered(Exception):  # noqa: N818 - the standard library has such names, as in queue.Empty
    """The source did not answer, which says nothing about the key."""

    weight = 1.0
    """The failures that it counts as."""


class Unsettled(Unanswered):
    """The source could not tell: only many of them in a row say more of it than of their keys."""

    weight = 0.25


class Lookup(Generic[Key, Answer]):
    """A cache that never blocks: an unknown answer is None until a background thread has it.

    The threads are daemons: a look-up can block for as long as its source likes, and no exit waits for it.
    `ask` must release the GIL while it blocks.
    """

    def __init__(
        self,
        ask: Callable[[Key], Answer | None],
        thread: str,
        threads: int,
        known: int = KNOWN,
        age: float = AGE,
    ) -> None:
        """Keep `ask`, which returns None if the key has no name, or raises Unanswered."""
        self._ask = ask
        self._thread = thread
        self._threads = threads
        self._room = known
        self._age = age
        self._mutex = threading.Condition()
        self._known: dict[Key, tuple[float, Answer | None]] = {}
        """Answers with the time.monotonic() from which on they are asked for again, the oldest first."""
        self._asked: set[Key] = set()
        self._queue: queue.Queue[Key] = queue.Queue(WAITING)
        self._failures = 0.0
        self._rests_until = 0.0

    @property
    def is_dead(self) -> bool:
        """Return whether the source has stopped answering."""
        return self._failures >= FAILURES

    def get(self, key: Key) -> Answer | None:
        """Return the answer if it is known; if it is not, or is old, ask for it in the background."""
        with self._mutex:
            expires, answer = self._known.get(key, (0.0, None))
            if time.monotonic() >= expires:
                self._request(key)
            return answer

    def is_known(self, key: Key) -> bool:
        """Return whether the source has answered for the key, or has failed to."""
        return key in self._known

    def wait(self, keys: Iterable[Key], seconds: float) -> None:
        """Wait until all keys are answered, but at most so many seconds."""
        wanted = set(keys)
        for key in wanted:
            self.get(key)
        with self._mutex:
            self._mutex.wait_for(lambda: self._asked.isdisjoint(wanted), seconds)

    def _request(self, key: Key) -> None:
        now = time.monotonic()
        if key in self._asked or now < self._rests_until:
            return
        if self.is_dead:  # one key tries it out
            self._rests_until = now + REST
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(key)
            self._asked.add(key)
            self._start()

    def _start(self) -> None:
        """Start the threads with the first request: they cost memory."""
        while self._threads:
            self._threads -= 1
            threading.Thread(target=self._work, name=self._thread, daemon=True).start()

    def _work(self) -> None:
        while True:
            key = self._queue.get()
            try:
                answer, weight = self._ask(key), 0.0
            except (
                Exception
            ) as error:  # Unanswered, or of the source's own: none may end the thread
                answer, weight = None, getattr(error, "weight", Unanswered.weight)
            with self._mutex:
                if weight:
                    self._keep(key, self._known.get(key, (0.0, None))[1], min(RETRY, self._age))
                    self._fail(weight)
                else:
                    self._failures, self._rests_until = 0.0, 0.0
                    self._keep(key, answer, self._age)
                self._mutex.notify_all()

    def _keep(self, key: Key, answer: Answer | None, age: float) -> None:
        """Keep an answer as the youngest."""
        self._known.pop(key, None)
        if len(self._known) >= self._room:
            del self._known[next(iter(self._known))]
        self._known[key] = (time.monotonic() + age, answer)
        self._asked.discard(key)

    def _fail(self, weight: float) -> None:
        """Count a failure; leave a dead source alone for a while, with all keys that wait."""
        self._failures += weight
        if self.is_dead:
            self._rests_until = time.monotonic() + REST
            with contextlib.suppress(queue.Empty):
                while True:
                    self._asked.discard(self._queue.get_nowait())
