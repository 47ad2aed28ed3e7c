"""A process in which many flows come and go; it writes how much memory it keeps of them, in MiB.

`python -m tests.measure.peak suited`: its heap is told how many flows there are, as that of a measurement is.
"""

import re
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Final
from unittest.mock import patch

from bwtop.measure import heap
from bwtop.measure.heap import Heap
from bwtop.model.flows import Identity, ProcessKey, Remote, Traffic
from bwtop.model.live import LINGER, LiveModel
from bwtop.model.sample import Sample
from tests.build import NOW

FLOWS: Final = 40_000
"""Of one process, in each second of the peak."""

SECONDS: Final = 4

KEPT: Final = 40
"""Processes that begin in each second, and stay."""

_MIB: Final = 1 << 20


def readings() -> Iterator[tuple[int, Sample]]:
    """Yield (flows, sample): the peak is of processes that end, and a few live on."""
    numbers = count(1)
    for second in range(SECONDS + int(LINGER) + 2):
        sample = Sample(NOW, 1.0)
        busy = ProcessKey(next(numbers), 1)
        for _ in range(FLOWS if second < SECONDS else 0):
            number = next(numbers)
            _move(sample, busy, number)
            if number % (FLOWS // KEPT) == 0:
                _move(sample, ProcessKey(number, 2), number)
        sample.exited.add(busy)
        yield sum(map(len, sample.traffic.values())), sample


def _move(sample: Sample, process: ProcessKey, number: int) -> None:
    far = Remote(17, 0, number & 0xFFFF, number.to_bytes(16, "big"))
    sample.traffic.setdefault(process, {})[far] = Traffic(number, number)
    sample.identities[process] = Identity(f"process {process.start}")


def private() -> float:
    """Return the memory of this process alone, in MiB."""
    found = re.findall(r"Private_\w+: +(\d+) kB", Path("/proc/self/smaps_rollup").read_text())
    return sum(map(int, found)) / 1024


def main(*, is_suited: bool) -> None:
    """Let the flows come and go; print the memory that is kept of them."""
    with patch.object(heap, "PERIOD", 0.0):
        own, model, before = Heap(), LiveModel(), private()
        for flows, sample in readings():
            model.advance(sample)
            own.suit(flows if is_suited else 0)
    sys.stdout.write(f"{private() - before}\n")


if __name__ == "__main__":
    main(is_suited=sys.argv[1:] == ["suited"])
