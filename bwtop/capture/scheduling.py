"""Short spans in which no ordinary thread interrupts this one."""

import contextlib
import os
import resource
from collections.abc import Iterator
from typing import Final

PRIORITY: Final = 1
"""The lowest of sched(7)'s real-time priorities, and above every thread that has none."""


def allow() -> None:
    """Allow `uninterrupted()` after root is dropped; without root do nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_RTPRIO)
    wanted = (max(soft, PRIORITY), max(hard, PRIORITY))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_RTPRIO, wanted)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Run the body at a real-time priority, if the kernel allows it.

    Keep it to milliseconds: no ordinary thread gets this processor meanwhile.
    """
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
