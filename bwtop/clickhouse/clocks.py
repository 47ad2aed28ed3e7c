"""Clocks that are wrong: those of hosts that are ahead of the server's, or behind it, as the hosts report it."""

from collections.abc import Mapping
from typing import Final

from bwtop.clickhouse.client import FleetServer
from bwtop.sqlite.checked import LATEST
from bwtop.text.escape import count

WRONG: Final = 10.0
"""Seconds by which a clock differs from the server's before it is called wrong: a slow connection looks the same."""


def is_wrong(seconds: float | None) -> bool:
    """Return whether a clock is wrong; None: it is not known."""
    return seconds is not None and abs(seconds) >= WRONG


def wrong_clocks(server: FleetServer) -> dict[str, float]:
    """Return the seconds by which wrong clocks are ahead, by host id; raise FleetError."""
    found = server.query(
        f"SELECT toString(host_id), clock FROM host FINAL WHERE abs(clock) BETWEEN {WRONG} AND {LATEST!r}"
    )
    return dict(found)


def spelled(seconds: float) -> str:
    """Return how wrong a clock is: "1 hour ahead"."""
    return f"{_length(abs(seconds))} {'ahead' if seconds > 0 else 'behind'}"


_UNITS: Final[Mapping[str, float]] = {"day": 86400.0, "hour": 3600.0, "minute": 60.0}


def _length(seconds: float) -> str:
    """Return a length of time, rounded to its largest unit."""
    for unit, length in _UNITS.items():
        if round(seconds) >= length:
            return count(round(seconds / length), unit)
    return count(round(seconds), "second")
