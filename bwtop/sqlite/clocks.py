"""Detect that the wall clock was set or the machine slept: neither may falsify a rate."""

import time
from dataclasses import dataclass
from typing import Final

from bwtop.sqlite.store import Event

STEP: Final = 2.0
"""Least difference between wall clock and passed time that counts as set, in seconds: NTP slews by less."""


@dataclass(frozen=True)
class ClockReading:
    """The readings of three clocks at one moment, in seconds."""

    wall: float
    """CLOCK_REALTIME: UTC."""
    awake: float
    """CLOCK_MONOTONIC: stands still while the machine sleeps."""
    boot: float
    """CLOCK_BOOTTIME: goes on while the machine sleeps."""


def now() -> ClockReading:
    """Read the clocks."""
    return ClockReading(time.time(), time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME))


class ClockWatch:
    """Comparison of consecutive clock readings."""

    def __init__(self) -> None:
        self._last: ClockReading | None = None

    def look(self, moment: ClockReading) -> list[Event]:
        """Return the clock events since the previous reading."""
        last, self._last = self._last, moment
        if last is None:
            return []
        passed = moment.boot - last.boot
        steps = {
            "clock": moment.wall - last.wall - passed,
            "sleep": passed - (moment.awake - last.awake),
        }
        return [Event(moment.wall, k, round(s, 1)) for k, s in steps.items() if abs(s) >= STEP]
