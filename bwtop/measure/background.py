"""Samples taken in a thread of their own, so that a slow reader of the output holds up no measurement."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Self

from bwtop.model.sample import Sample

MAX_WAITING: Final = 120
"""Samples that wait for the consumer; beyond that the newest ones are merged."""

MAX_FLOWS: Final = 200_000
"""Flows in them together, some 40 MB; beyond that the same."""


class SampleQueue:
    """Samples that wait for their consumer; when it is full, a sample is merged into the newest one."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque()
        self._mutex = threading.Lock()

    def add(self, sample: Sample) -> bool:
        """Add a sample, from any thread; return True if no other waits."""
        with self._mutex:
            is_first = not self._samples
            if not is_first and self._is_full():
                self._samples[-1].absorb(sample)
            else:
                self._samples.append(sample)
        return is_first

    def take(self) -> Sample | None:
        """Remove and return the oldest sample; None: none waits."""
        with self._mutex:
            return self._samples.popleft() if self._samples else None

    def _is_full(self) -> bool:
        flows = sum(len(remotes) for sample in self._samples for remotes in sample.traffic.values())
        return len(self._samples) >= MAX_WAITING or flows >= MAX_FLOWS


class Background:
    """An iterator over samples that another thread takes."""

    def __init__(self, samples: Iterator[Sample], stop: Callable[[], None]) -> None:
        """Keep the samples and the function that ends them."""
        self._samples = samples
        self._stop = stop
        self._mutex = threading.Condition()
        self._waiting = SampleQueue()
        self._is_over = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._take, name="bwtop-reader", daemon=True)

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the samples, and wait for the last one."""
        self._stop()
        self._thread.join()

    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples, the oldest first; raise what the thread has raised."""
        while (sample := self._next()) is not None:
            yield sample
        if self._error:
            raise self._error

    def _next(self) -> Sample | None:
        """Wait for a sample and return it; None: there are no more."""
        with self._mutex:
            while (sample := self._waiting.take()) is None and not self._is_over:
                self._mutex.wait()
        return sample

    def _take(self) -> None:
        try:
            for sample in self._samples:
                self._add(sample)
        except BaseException as error:
            self._error = error
        with self._mutex:
            self._is_over = True
            self._mutex.notify()

    def _add(self, sample: Sample) -> None:
        with self._mutex:
            self._waiting.add(sample)
            self._mutex.notify()
