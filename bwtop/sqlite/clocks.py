"""Noticing that the wall clock was set, and that the machine slept: neither may bend a rate."""

import time
from dataclasses import dataclass
from typing import Final

from bwtop.sqlite.store import Event

STEP: Final = 2.0
"""Seconds by which the wall clock differs from what has passed, from which on it was set: NTP slews by less."""


@dataclass(frozen=True)
class Moment:
    """What three clocks show, in seconds."""

    wall: float
    """CLOCK_REALTIME: UTC."""
    awake: float
    """CLOCK_MONOTONIC: stands still while the machine sleeps."""
    boot: float
    """CLOCK_BOOTTIME: does not."""


def now() -> Moment:
    """What they show now."""
    return Moment(time.time(), time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME))


class ClockWatch:
    """Compares moments that follow each other."""

    def __init__(self) -> None:
        self._last: Moment | None = None

    def look(self, moment: Moment) -> list[Event]:
        """What has happened to the clocks since the moment before."""
        last, self._last = self._last, moment
        if last is None:
            return []
        passed = moment.boot - last.boot
        steps = {
            "clock": moment.wall - last.wall - passed,
            "sleep": passed - (moment.awake - last.awake),
        }
        return [Event(moment.wall, k, round(s, 1)) for k, s in steps.items() if abs(s) >= STEP]
