"""Playback of the hosts: which time of each is shown next.

Hosts send every ten seconds, at different moments, so each is played back second by second with a delay of its own.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bwtop.clickhouse.spans import LAST
from bwtop.history.plan import Bounds

STEP: Final = 15.0
"""Seconds: the delay of a host is a multiple of it.  It covers a batch and its transfer."""

REACH: Final = 120.0
"""Seconds without new data after which a host is no longer live; its playback restarts when it sends again."""

SLACK: Final = 1.0
"""Seconds by which clocks and the times of queries may differ."""

RECOVERED: Final = 30.0
"""Seconds (several batches) in time after which the delay of a host shrinks again."""


@dataclass(slots=True)
class _Position:
    """Playback position of a host."""

    delay: float
    """Delay of its playback, in seconds."""
    told: float
    """End of the played back time, in UTC seconds of its clock."""
    since: float
    """Time since which a shorter delay would have sufficed."""
    enough: float = -math.inf
    """Longest delay needed since then."""
    seen: float = 0.0
    """Time at which it last had data; like `since`, in UTC seconds of the local clock."""


@dataclass(frozen=True)
class Windows:
    """Windows of time by host, possibly empty; those of a host are consecutive."""

    late: dict[str, Bounds]
    """Windows that should have been played back before."""
    due: dict[str, Bounds]
    """Windows as long as the passed time, or shorter."""


class Playback:
    """Playback of the hosts: chooses the next window of each."""

    def __init__(self) -> None:
        self._places: dict[str, _Position] = {}
        self.begun: dict[str, float | None] = {}
        """Hosts whose playback has begun, or begun anew, since the last move; of a clock that was set back, how far it was
        played by then, else None."""

    def windows(self, now: float, passed: float, arrived: Mapping[str, float]) -> Windows:
        """Return the next windows, `passed` seconds after the previous ones; `arrived` has the end of data by host."""
        for host, last in arrived.items():
            place = self._places[host] = self._place(host, now, last)
            place.seen = now
        self._places = {h: p for h, p in self._places.items() if abs(now - p.seen) <= REACH}
        found = Windows({}, {})
        for host in arrived:
            place = self._places[host]
            end = max(place.told, now - place.delay)
            is_in_time = end - place.told <= passed + min(SLACK, passed / 2)
            start = place.told if is_in_time else end - passed
            found.late[host], found.due[host] = (place.told, start), (start, end)
            before = self.begun.get(host)
            if before is not None:  # what it had sent by then; all that is newer has earlier times
                found.late[host] = (before, float(LAST))
        return found

    def _place(self, host: str, now: float, last: float) -> _Position:
        """Return the position of a host, with the shortest delay that has sufficed recently."""
        needed = STEP * (math.floor((now - last) / STEP) + 1)
        place = self._places.get(host)
        is_anew = place is None or now - needed - place.told > REACH
        if place is None or is_anew or place.told > last:
            is_back = place is not None and place.told > last  # the clock of the host was set back
            self.begun[host] = place.told if place and is_back else None
            return _Position(needed, now - needed, now)
        if needed >= place.delay:
            place.delay, place.since, place.enough = needed, now, -math.inf
        else:
            place.enough = max(place.enough, needed)
        if not 0 <= now - place.since <= RECOVERED:
            place.delay, place.since, place.enough = place.enough, now, needed
        return place

    def move(self, windows: Windows) -> None:
        """Advance the playback to the end of some windows."""
        for host, (_, end) in windows.due.items():
            self._places[host].told = end
        self.begun.clear()

    def late(self, clocks: Mapping[str, float]) -> dict[str, float]:
        """Return the delay of each late host, in seconds; of a wrong clock, without what it is behind."""
        delays = {
            host: place.delay + clocks.get(host, 0.0) for host, place in list(self._places.items())
        }
        return {
            host: delay
            for host, delay in delays.items()
            if delay
            > (2 * STEP if host in clocks else STEP)  # such a one is not known to the second
        }
