"""The backlog of deltas to write, in bounded memory: it merges the oldest deltas before it drops any."""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from typing import Final

from bwtop.history.calendar import Unit, floor
from bwtop.sqlite.delta import Delta

MAX_FLOWS: Final = 150_000
"""Largest number of waiting flows: about 30 MB."""

MAX_DELTAS: Final = 7200

_COARSER: Final = (Unit.MINUTE, Unit.HOUR, Unit.DAY, Unit.MONTH)
"""Units within which deltas are merged, in this order; totals by a coarser unit stay exact."""


class Backlog:
    """Queue of deltas, the oldest first."""

    def __init__(self, max_flows: int = MAX_FLOWS, max_deltas: int = MAX_DELTAS) -> None:
        self._waiting: deque[Delta] = deque()
        self._max_flows = max_flows
        self._max_deltas = max_deltas
        self.dropped = 0
        """Bytes dropped because the backlog was full."""

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Delta]:
        return iter(self._waiting)

    def add(self, delta: Delta) -> None:
        """Append a delta."""
        self._waiting.append(delta)
        self._make_room()

    def take(self, count: int) -> list[Delta]:
        """Remove and return the oldest deltas, at most `count`."""
        return [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]

    def give_back(self, deltas: Sequence[Delta]) -> None:
        """Put back deltas that could not be written; they are the oldest again."""
        self._waiting.extendleft(reversed(deltas))
        self._make_room()

    def clear(self) -> None:
        """Remove all deltas."""
        self._waiting.clear()

    def _make_room(self) -> None:
        while self._is_full():
            self._shrink()

    def _flows(self) -> int:
        return sum(delta.size() for delta in self._waiting)

    def _is_full(self) -> bool:
        return len(self._waiting) > self._max_deltas or (
            len(self._waiting) > 1 and self._flows() > self._max_flows
        )

    def _shrink(self) -> None:
        """Merge the oldest deltas; drop the oldest where nothing can be merged."""
        if any(self._merge(unit) for unit in _COARSER):
            return
        for delta in list(self._waiting)[:-1]:
            if delta.forget_remotes():
                return
        self.dropped += self._waiting.popleft().amount()

    def _merge(self, unit: Unit) -> bool:
        """Merge the oldest neighbours within the same unit, except the newest delta; return whether there were any."""
        newest = self._waiting.pop()
        groups = [
            list(g) for _, g in groupby(self._waiting, lambda delta: floor(unit, delta.start))
        ]
        crowded = next((group for group in groups if len(group) > 1), None)
        if crowded:
            for delta in crowded[1:]:
                crowded[0].absorb(delta)
            del crowded[1:]
        self._waiting = deque(chain(*groups, [newest]))
        return crowded is not None
