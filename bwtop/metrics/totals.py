"""Bytes by process name, unit and container, as counters for a time series database: few, never decreasing, and exact in sum."""

import heapq
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from bwtop.model.flows import UNKNOWN_IDENTITY, Identity, Traffic, is_loopback, protocol_class
from bwtop.model.ledger import CLASSES
from bwtop.model.sample import Sample
from bwtop.text.escape import printable

TOP: Final = 100
"""Number of names, each with its other labels, with counters of their own."""

OTHER: Final = "other"
"""The label that sums all other names."""

LONGEST: Final = 64
"""Characters of a name: the kernel's have 15 bytes, and each byte may become an escape of 4 characters."""

LONGEST_FURTHER: Final = 1024
"""Characters of another label: NAMESPACE/POD/CONTAINER has at most 761."""

MAX_CANDIDATES: Final = 4096
"""Number of names without counters whose bytes are remembered."""


class CounterLabels(NamedTuple):
    """The labels of a counter besides the name."""

    protocol: str
    """One of bwtop.model.ledger.CLASSES."""
    loopback: bool


Moved = dict[CounterLabels, Traffic]

Labels = tuple[str, ...]
"""The name of a process, and the values of further labels."""


class MetricsLabel(StrEnum):
    """A further label of the counters, by its name."""

    UNIT = "unit"
    CONTAINER = "container"


_VALUES: Final[dict[MetricsLabel, Callable[[Identity], str | None]]] = {
    MetricsLabel.UNIT: lambda identity: identity.unit,
    MetricsLabel.CONTAINER: lambda identity: identity.container_label,
}


def label(name: str, most: int = LONGEST) -> str:
    """Return a name as a label: on one line, and at most `most` characters."""
    return printable(name)[:most] or OTHER


class _Loopback(dict[bytes, bool]):
    """A cache of is_loopback() by address: flows that share an address cost one call."""

    def __missing__(self, address: bytes) -> bool:
        found = self[address] = is_loopback(address)
        return found


def _labels(identity: Identity, further: Sequence[MetricsLabel]) -> Labels:
    """Return the labels of a process; one that it does not have is empty, which Prometheus takes as absent."""
    values = (_VALUES[name](identity) or "" for name in further)
    return label(identity.name), *(value and label(value, LONGEST_FURTHER) for value in values)


def by_labels(sample: Sample, further: Sequence[MetricsLabel] = ()) -> dict[Labels, Moved]:
    """Return the bytes of a reading by process name and further labels.

    The inner loop sees up to 65,536 flows a second, so it only adds.
    """
    found: dict[Labels, defaultdict[tuple[int, bool], list[int]]] = {}
    loopback = _Loopback()
    for process, remotes in sample.traffic.items():
        labels = _labels(sample.identities.get(process, UNKNOWN_IDENTITY), further)
        sums = found.setdefault(labels, defaultdict(lambda: [0, 0]))
        for (protocol, _, _, address), (rx, tx) in remotes.items():
            one = sums[protocol, loopback[address]]
            one[0] += rx
            one[1] += tx
    return {labels: _by_kind(sums) for labels, sums in found.items()}


def _by_kind(sums: Mapping[tuple[int, bool], list[int]]) -> Moved:
    found: Moved = {}
    for (protocol, loopback), (rx, tx) in sums.items():
        _add(found, CounterLabels(protocol_class(protocol), loopback), Traffic(rx, tx))
    return found


def _add(into: Moved, kind: CounterLabels, traffic: Traffic) -> None:
    into[kind] = into.get(kind, Traffic()).plus(traffic)


def _amount(moved: Moved) -> int:
    return sum(traffic.rx + traffic.tx for traffic in moved.values())


class Totals:
    """All bytes since the start, by process name, or by name and further labels.

    A name keeps its counters: removed and added again, they would restart at zero.  So a name must earn them.  The first
    counters go to any name with traffic, the last ones to a name with one hundredth of all bytes.  Bytes from before
    that stay in `other`, so the sum of all counters is exact.
    """

    def __init__(self, further: int = 0, top: int = TOP) -> None:
        """Take the number of further labels, and the number of names with counters."""
        self._top = top
        nothing = {
            CounterLabels(name, loopback): Traffic()
            for name in CLASSES
            for loopback in (False, True)
        }
        self._other: Labels = (OTHER, *[""] * further)
        self._series: dict[Labels, Moved] = {self._other: nothing}
        self._candidates: dict[Labels, int] = {}
        self._all = 0

    def add(self, moved: Mapping[Labels, Moved]) -> None:
        """Add the bytes that `by_labels` returned."""
        amounts = {name: amount for name, kinds in moved.items() if (amount := _amount(kinds))}
        self._all += sum(amounts.values())
        self._admit(amounts)
        other = self._series[self._other]
        for name in amounts:
            into = self._series.get(name, other)
            for kind, traffic in moved[name].items():
                _add(into, kind, traffic)

    def copy(self) -> dict[Labels, Moved]:
        """Return a copy of the totals by name; `other` has all kinds from the start."""
        return {name: dict(kinds) for name, kinds in self._series.items()}

    def _admit(self, amounts: Mapping[Labels, int]) -> None:
        """Give counters to the names that are due, those with most bytes first.

        Only a name in `amounts` can have become due.
        """
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
        """Return the bytes that a name needs to get counters now."""
        taken = len(self._series) - 1
        if taken >= self._top:
            return float("inf")
        return self._all / 100 * (taken / self._top) ** 2

    def _forget(self) -> None:
        """Limit the candidates to those nearest to being due; drop all once no counter is free."""
        if len(self._series) > self._top:
            self._candidates.clear()
        elif len(self._candidates) > MAX_CANDIDATES:
            kept = heapq.nlargest(MAX_CANDIDATES // 2, self._candidates.items(), key=lambda c: c[1])
            self._candidates = dict(kept)
