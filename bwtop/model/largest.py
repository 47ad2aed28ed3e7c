"""The exited processes that moved the most: they keep a row of their own after all others have left the list."""

from typing import Final

from bwtop.model.flows import ProcessKey
from bwtop.model.ledger import Process

LEAST: Final = 100 << 20
"""Bytes from which an exited process stays."""

MOST: Final = 64
"""Exited processes that stay; beyond that the smallest leaves."""

MAX_REMOTES: Final = 64
"""Remotes kept of each."""


class Largest:
    """The largest exited processes, with the times of their exits in measured seconds."""

    def __init__(self) -> None:
        self._exits: dict[ProcessKey, float] = {}
        self._totals: dict[Process, int] = {}
        self._whole: set[Process] = set()
        """Those with all their remotes."""

    def __contains__(self, key: ProcessKey) -> bool:
        return key in self._exits

    def add(self, process: Process, when: float) -> Process | None:
        """Keep a process that is large enough; return the one that leaves, which may be the same."""
        total = process.total()
        if process.key is None or total < LEAST:
            return process
        self._exits[process.key] = when
        self._totals[process] = total
        self._whole.add(process)
        if len(self._totals) <= MOST:
            return None
        smallest = min(self._totals, key=self._totals.__getitem__)
        self._remove(smallest)
        return smallest

    def revive(self) -> None:
        """Remove those that moved bytes again: on another host a process only seemed to have exited."""
        for process in [one for one, total in self._totals.items() if one.total() != total]:
            self._remove(process)

    def settle(self, time: float) -> list[Process]:
        """Return those with too many remotes that exited before a time, each once."""
        found = [one for one in self._whole if one.key and self._exits[one.key] <= time]
        self._whole.difference_update(found)
        return [process for process in found if len(process.flows) > MAX_REMOTES]

    def release(self) -> dict[ProcessKey, float]:
        """Remove all and return the times of their exits, the oldest first."""
        exits = dict(sorted(self._exits.items(), key=lambda item: item[1]))
        self._exits.clear()
        self._totals.clear()
        self._whole.clear()
        return exits

    def _remove(self, process: Process) -> None:
        del self._totals[process]
        self._whole.discard(process)
        if process.key:
            del self._exits[process.key]
