"""The end of a measurement: wait for what is not stored yet, unless the user gives up."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from bwtop.measure.intervals import STOP_SIGNALS
from bwtop.measure.sources import Measurement
from bwtop.text.stderr import discard_output

LOST: Final = 1
"""Exit status if measured bytes could not be stored."""


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether a stop signal has come since; until then none ends this process.

    The alarm of SignalClock is cancelled: a slow disk takes no CPU time either.  Call it in the main thread.
    """
    came: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        came.append(number)

    signal.setitimer(signal.ITIMER_REAL, 0)
    taken = [n for n in STOP_SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in taken}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def finishing(
    measurement: Measurement, meanwhile: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Close a measurement at the end of the block; exit with LOST if bytes were lost and nothing else failed.

    A stop signal during that gives up what is not stored yet.  Call `meanwhile` again and again as long as it takes.
    """
    try:
        yield
    finally:
        with stop_signals() as came:

            def give_up() -> bool:
                meanwhile()
                return came()

            measurement.close(give_up)
        error = sys.exc_info()[1]
        if measurement.lost() and (error is None or isinstance(error, BrokenPipeError)):
            if error:
                discard_output()
            sys.exit(LOST)
