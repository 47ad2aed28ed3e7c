"""Figures of this process, as Prometheus' own client libraries name them."""

import os
import resource
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

_OWN: Final = Path("/proc/self")


class OwnFigures(NamedTuple):
    """The use of the machine by this process; None: /proc does not say."""

    cpu: float
    """Processor time of all threads, in seconds."""
    resident: int | None
    """Memory in bytes."""
    descriptors: int | None
    started: float | None
    """Start in UTC seconds."""


def started() -> float | None:
    """Return the start of this process in UTC seconds, by the clock of now (proc_pid_stat(5)); None: unknown."""
    with suppress(OSError, ValueError, IndexError):
        ticks = int((_OWN / "stat").read_bytes().rpartition(b")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
        return time.time() - age
    return None


def own_figures(start: float | None) -> OwnFigures:
    """Return the figures as of now; `start` is from started(), which is read once: the clock may be set."""
    return OwnFigures(time.process_time(), _resident(), _descriptors(), start)


def _resident() -> int | None:
    with suppress(OSError, ValueError, IndexError):  # proc_pid_statm(5)
        return int((_OWN / "statm").read_text().split()[1]) * resource.getpagesize()
    return None


def _descriptors() -> int | None:
    with suppress(OSError):
        return len([*(_OWN / "fd").iterdir()]) - 1  # without the one that lists
    return None
