"""Bytes by process name, as counters for a time series database: they only grow, are few, and exact in sum."""

import heapq
from collections import defaultdict
from collections.abc import Mapping
from typing import Final, NamedTuple

from bwtop.model.flows import UNKNOWN_IDENTITY, Traffic, is_loopback, protocol_class
from bwtop.model.ledger import CLASSES
from bwtop.model.sample import Sample
from bwtop.text.escape import printable

TOP: Final = 100
"""Names that have counters of their own."""

OTHER: Final = "other"
"""Stands for all further names together."""

LONGEST: Final = 64
"""Characters of a name: the kernel's have 15 bytes, and each may have to be written as an escape."""

MAX_CANDIDATES: Final = 4096
"""Names without counters of their own whose bytes are remembered."""


class Kind(NamedTuple):
    """What bytes are told apart by, beside the name."""

    protocol: str
    """One of bwtop.model.ledger.CLASSES."""
    loopback: bool


Moved = dict[Kind, Traffic]


def label(name: str) -> str:
    """A name as it is exposed: whoever chooses it can neither end a line nor make it long."""
    return printable(name)[:LONGEST] or OTHER


class _Loopback(dict[bytes, bool]):
    """Whether addresses are on loopback; each is looked at once, which is a call less for the flows that share it."""

    def __missing__(self, address: bytes) -> bool:
        found = self[address] = is_loopback(address)
        return found


def by_name(sample: Sample) -> dict[str, Moved]:
    """What a reading moved.

    The inner loop sees up to 65,536 flows a second, so it does no more than add.
    """
    found: dict[str, defaultdict[tuple[int, bool], list[int]]] = {}
    loopback = _Loopback()
    for process, remotes in sample.traffic.items():
        name = label(sample.identities.get(process, UNKNOWN_IDENTITY).name)
        sums = found.setdefault(name, defaultdict(lambda: [0, 0]))
        for (protocol, _, _, address), (rx, tx) in remotes.items():
            one = sums[protocol, loopback[address]]
            one[0] += rx
            one[1] += tx
    return {name: _by_kind(sums) for name, sums in found.items()}


def _by_kind(sums: Mapping[tuple[int, bool], list[int]]) -> Moved:
    found: Moved = {}
    for (protocol, loopback), (rx, tx) in sums.items():
        _add(found, Kind(protocol_class(protocol), loopback), Traffic(rx, tx))
    return found


def _add(into: Moved, kind: Kind, traffic: Traffic) -> None:
    into[kind] = into.get(kind, Traffic()).plus(traffic)


def _amount(moved: Moved) -> int:
    return sum(traffic.rx + traffic.tx for traffic in moved.values())


class Totals:
    """All bytes since the start.

    A name that has counters keeps them, for one that went and came back would begin at zero.  So they are given away
    with care: the first to whoever moves something, the last ones to who has moved a hundredth of all bytes.  What a
    name moved before it had its own stays with `other`, and so the sum of all counters is that of all bytes.
    """

    def __init__(self, top: int = TOP) -> None:
        self._top = top
        nothing = {
            Kind(name, loopback): Traffic() for name in CLASSES for loopback in (False, True)
        }
        self._series: dict[str, Moved] = {OTHER: nothing}
        self._candidates: dict[str, int] = {}
        self._all = 0

    def add(self, moved: Mapping[str, Moved]) -> None:
        """Counts what `by_name` found."""
        amounts = {name: amount for name, kinds in moved.items() if (amount := _amount(kinds))}
        self._all += sum(amounts.values())
        self._admit(amounts)
        other = self._series[OTHER]
        for name in amounts:
            into = self._series.get(name, other)
            for kind, traffic in moved[name].items():
                _add(into, kind, traffic)

    def copy(self) -> dict[str, Moved]:
        """What has moved so far, by name; `other` has all kinds from the start."""
        return {name: dict(kinds) for name, kinds in self._series.items()}

    def _admit(self, amounts: Mapping[str, int]) -> None:
        """Gives counters to those that are due, who moved most first.  Nobody else can have become due meanwhile."""
        for name in amounts.keys() - self._series.keys():
            self._candidates[name] = self._candidates.get(name, 0) + amounts[name]
        waiting = [name for name in amounts if name in self._candidates]
        for name in sorted(waiting, key=self._candidates.__getitem__, reverse=True):
            if self._candidates[name] < self._due():
                break
            del self._candidates[name]
            self._series[name] = {}
        self._forget()

    def _due(self) -> float:
        """Bytes that a name must have moved to get counters now."""
        taken = len(self._series) - 1
        if taken >= self._top:
            return float("inf")
        return self._all / 100 * (taken / self._top) ** 2

    def _forget(self) -> None:
        """Keeps those candidates that are nearest to being due, if there are too many; none when nobody ever will be."""
        if len(self._series) > self._top:
            self._candidates.clear()
        elif len(self._candidates) > MAX_CANDIDATES:
            kept = heapq.nlargest(MAX_CANDIDATES // 2, self._candidates.items(), key=lambda c: c[1])
            self._candidates = dict(kept)
