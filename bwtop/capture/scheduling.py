"""Moments in which no ordinary thread interrupts this one."""

import contextlib
import os
import resource
from collections.abc import Iterator
from typing import Final

PRIORITY: Final = 1
"""The lowest of sched(7)'s real-time priorities, and above every thread that has none."""


def allow() -> None:
    """Lets this process have such moments when root is given up.  Who is not root has none, which is no error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_RTPRIO)
    wanted = (max(soft, PRIORITY), max(hard, PRIORITY))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_RTPRIO, wanted)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Such a moment, where the kernel grants it: keep it to milliseconds, the processor belongs to nobody else."""
    before = os.sched_getscheduler(0)
    granted = before not in (os.SCHED_FIFO, os.SCHED_RR) and _schedule(os.SCHED_FIFO, PRIORITY)
    try:
        yield
    finally:
        if granted:
            _schedule(before, 0)


def _schedule(policy: int, priority: int) -> bool:
    try:
        os.sched_setscheduler(0, policy, os.sched_param(priority))
    except OSError:  # no right to it, or a cgroup without real-time
        return False
    return True
