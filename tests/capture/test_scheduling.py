"""Moments in which no ordinary thread interrupts a process, also once it is nobody."""

import os
import resource

import pytest

from bwtop.capture import scheduling
from bwtop.rights import privileges
from bwtop.rights.account import NOBODY
from tests.rights.test_privileges import in_child

pytestmark = pytest.mark.kernel

ORDINARY = (os.SCHED_OTHER, 0)


def scheduled() -> tuple[int, int]:
    """Return the policy and the real-time priority of this thread."""
    return os.sched_getscheduler(0), os.sched_getparam(0).sched_priority


def test_nobody_has_such_moments_if_it_was_allowed() -> None:
    """A container's root may not be able to allow it."""

    def action() -> None:
        scheduling.allow()
        limit, _ = resource.getrlimit(resource.RLIMIT_RTPRIO)
        privileges.drop(NOBODY)
        with scheduling.uninterrupted():
            assert scheduled() == ((os.SCHED_FIFO, scheduling.PRIORITY) if limit else ORDINARY)
        assert scheduled() == ORDINARY

    assert in_child(action) is None


def test_it_ends_with_an_error_too() -> None:
    def action() -> None:
        with pytest.raises(ZeroDivisionError), scheduling.uninterrupted():
            raise ZeroDivisionError
        assert scheduled() == ORDINARY

    assert in_child(action) is None


def test_without_the_right_to_it_nothing_changes() -> None:
    def action() -> None:
        privileges.drop(NOBODY)
        scheduling.allow()  # nobody may not
        with scheduling.uninterrupted():
            assert scheduled() == ORDINARY

    assert in_child(action) is None


@pytest.mark.parametrize("policy", [os.SCHED_FIFO, os.SCHED_RR, os.SCHED_BATCH])
def test_a_schedule_that_is_real_time_stays_and_others_come_back(policy: int) -> None:
    before = (policy, 0 if policy == os.SCHED_BATCH else 7)

    def action() -> None:
        os.sched_setscheduler(0, policy, os.sched_param(before[1]))
        with scheduling.uninterrupted():
            now = before if before[1] else (os.SCHED_FIFO, scheduling.PRIORITY)
            assert scheduled() == now
        assert scheduled() == before

    assert in_child(action) is None
