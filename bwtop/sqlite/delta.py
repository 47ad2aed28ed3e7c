"""What moved within one stretch of time, as the history takes it."""

from dataclasses import dataclass, field
from typing import Self

from bwtop.model.flows import (
    UNKNOWN_IDENTITY,
    Identity,
    Loss,
    ProcessKey,
    Remote,
    nowhere,
)
from bwtop.model.sample import Sample

Who = tuple[ProcessKey, Identity]
"""A process as the program that it was then: exec makes it another one."""

Moved = tuple[int, int]
"""Bytes: (received, sent)."""


@dataclass(slots=True)
class Delta:
    """Bytes by process and remote."""

    start: float
    """UTC seconds."""
    seconds: float
    """Measured, by the monotonic clock."""
    flows: dict[Who, dict[Remote, Moved]] = field(default_factory=dict)
    exited: set[ProcessKey] = field(default_factory=set)
    loss: Loss = Loss()
    since: float = field(default=0.0, compare=False)
    """Seconds of CLOCK_MONOTONIC at which it began to wait for being written."""

    @classmethod
    def of(cls, sample: Sample) -> Self:
        """A reading's; flows that moved no byte are left out."""
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
        return found

    def size(self) -> int:
        """How many flows it has."""
        return sum(map(len, self.flows.values()))

    def amount(self) -> int:
        """All of its bytes."""
        return sum(rx + tx for remotes in self.flows.values() for rx, tx in remotes.values())

    def is_quiet(self) -> bool:
        """Whether there is nothing in it but time."""
        return not (self.flows or self.exited or any(self.loss))

    def absorb(self, other: Self) -> None:
        """Makes this and another one a single one, which starts where the earlier does."""
        for who, remotes in other.flows.items():
            mine = self.flows.setdefault(who, {})
            for remote, moved in remotes.items():
                _add(mine, remote, moved)
        self.start = min(self.start, other.start)
        self.since = min(self.since, other.since)
        self.seconds += other.seconds
        self.exited |= other.exited
        self.loss = self.loss.plus(other.loss)

    def forget_remotes(self) -> bool:
        """Makes a process's remotes one of each protocol, on loopback and not, if those are fewer: their bytes stay."""
        before = self.size()
        if sum(len(set(map(nowhere, remotes))) for remotes in self.flows.values()) == before:
            return False
        for who, remotes in self.flows.items():
            together: dict[Remote, Moved] = {}
            for remote, moved in remotes.items():
                _add(together, nowhere(remote), moved)
            self.flows[who] = together
        return True


def _add(into: dict[Remote, Moved], remote: Remote, moved: Moved) -> None:
    rx, tx = into.get(remote, (0, 0))
    into[remote] = (rx + moved[0], tx + moved[1])
