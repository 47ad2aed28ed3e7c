"""Memory that a peak of flows took is given back, and no object minds where it came from."""

import subprocess
import sys

import pytest

from bwtop.measure.heap import MANY, UNTRIED, Heap
from tests.bench.flows import CHECKOUT

PART = 0.6
"""Of the memory that stays where the heap is told of no flow; it is some 0.4."""


def kept(*arguments: str) -> float:
    """Return the MiB that stay after a peak."""
    command = [sys.executable, "-m", "tests.measure.peak", *arguments]
    return float(subprocess.check_output(command, cwd=CHECKOUT))


@pytest.mark.skipif(sys.version_info >= UNTRIED, reason="that Python's allocator is left alone")
def test_peak_of_flows_is_given_back() -> None:
    """A process that speaks to 160,000 remotes and ends, and few others that stay."""
    assert kept("suited") < PART * kept()


def test_objects_from_both_allocators_grow_and_end_under_either() -> None:
    heap = Heap()
    made: list[bytearray] = []
    for flows in (0, MANY, MANY + 1, 0):
        heap.suit(flows)
        made += [bytearray(b"x" * size) for size in range(1, 600, 7)]
        for each in made:
            each += b"y" * 33
        del made[::3]
        assert {bytes(set(each)) for each in made} == {b"xy"}
    heap.suit(MANY)
    made.clear()
    heap.suit(0)
