"""The bytes of one interval, as the history stores them."""

from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self

from bwtop.model.flows import (
    UNKNOWN_IDENTITY,
    Identity,
    Loss,
    ProcessKey,
    Remote,
    nowhere,
)
from bwtop.model.named import NameSource
from bwtop.model.sample import Sample

Who = tuple[ProcessKey, Identity]
"""A process with what it is called: the name of its user may come later."""

Moved = tuple[int, int]
"""Bytes: (received, sent)."""


MOST_NAMES: Final = 8192
"""Names of a delta; beyond them the oldest are dropped."""


class SeenName(NamedTuple):
    """A name of a remote, as a process asked for it."""

    process: ProcessKey
    identity: Identity | None
    """None: unknown in the interval."""
    address: bytes
    port: int | None
    """None: the name is of all ports."""
    name: str
    source: NameSource


@dataclass(slots=True)
class Delta:
    """Bytes of an interval by process and remote."""

    start: float
    """UTC seconds."""
    seconds: float
    """Measured time, by the monotonic clock."""
    flows: dict[Who, dict[Remote, Moved]] = field(default_factory=dict)
    exited: set[ProcessKey] = field(default_factory=set)
    loss: Loss = Loss()
    names: dict[SeenName, float] = field(default_factory=dict)
    """Names of remotes, and when each was last seen, in UTC seconds."""
    since: float = field(default=0.0, compare=False)
    """Time at which it entered the backlog, in seconds of CLOCK_MONOTONIC."""

    @classmethod
    def of(cls, sample: Sample) -> Self:
        """Make the delta of a sample, without flows that moved no byte."""
        found = cls(
            max(sample.time.timestamp() - sample.elapsed, 0.0),
            max(sample.elapsed, 0.0),
            exited=set(sample.exited),
            loss=sample.loss,
        )
        for key, remotes in sample.traffic.items():
            moved = {remote: (t.rx, t.tx) for remote, t in remotes.items() if t.rx or t.tx}
            if moved:
                found.flows[key, sample.identities.get(key, UNKNOWN_IDENTITY)] = moved
        for one in sample.learned:
            who = sample.identities.get(one.process)
            seen = SeenName(one.process, who, one.address, one.port, one.name, one.source)
            found.names[seen] = found.start
        found._limit_names()
        return found

    def early(self) -> dict[SeenName, float]:
        """Return the names whose processes are not in this reading: it was taken right before they moved their bytes."""
        return {seen: when for seen, when in self.names.items() if seen.identity is None}

    def take_early(self, early: dict[SeenName, float]) -> None:
        """Take the early names of the previous reading whose processes are in this one."""
        if not early:
            return
        who = dict(self.flows.keys())
        for seen, when in early.items():
            if seen.process in who:
                self.names[seen._replace(identity=who[seen.process])] = when
        self._limit_names()

    def size(self) -> int:
        """Return the number of flows and of names."""
        return sum(map(len, self.flows.values())) + len(self.names)

    def amount(self) -> int:
        """Return the total of bytes."""
        return sum(rx + tx for remotes in self.flows.values() for rx, tx in remotes.values())

    def is_quiet(self) -> bool:
        """Return whether it has neither flows, names, exits nor loss."""
        return not (self.flows or self.names or self.exited or any(self.loss))

    def absorb(self, other: Self) -> None:
        """Add another delta to this one; the earlier start counts."""
        for who, remotes in other.flows.items():
            mine = self.flows.setdefault(who, {})
            for remote, moved in remotes.items():
                add(mine, remote, moved)
        self.start = min(self.start, other.start)
        self.since = min(self.since, other.since)
        self.seconds += other.seconds
        self.exited |= other.exited
        self.loss = self.loss.plus(other.loss)
        for seen, when in other.names.items():
            self.names[seen] = max(self.names.pop(seen, when), when)
        self._limit_names()

    def _limit_names(self) -> None:
        """Drop the names beyond MOST_NAMES."""
        for seen in list(self.names)[: max(len(self.names) - MOST_NAMES, 0)]:
            del self.names[seen]

    def forget_remotes(self) -> bool:
        """Merge the remotes of each process into one per protocol and loopback, and drop all names.

        Return whether that shrank it.
        """
        had_names = bool(self.names)
        self.names.clear()
        if sum(len(set(map(nowhere, remotes))) for remotes in self.flows.values()) == self.size():
            return had_names
        for who, remotes in self.flows.items():
            together: dict[Remote, Moved] = {}
            for remote, moved in remotes.items():
                add(together, nowhere(remote), moved)
            self.flows[who] = together
        return True


def add(into: dict[Remote, Moved], remote: Remote, moved: Moved) -> None:
    """Add bytes to those of a remote."""
    rx, tx = into.get(remote, (0, 0))
    into[remote] = (rx + moved[0], tx + moved[1])
