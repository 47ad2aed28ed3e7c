"""One reading of the kernel counters: the traffic since the previous reading."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Self

from bwtop.model.flows import Identity, Loss, ProcessKey, Remote, Traffic
from bwtop.model.named import Learned, RemoteName

MOST_LEARNED: Final = 8192
"""Names that a sample keeps, the newest: as many as are known of at a time."""

FlowTraffic = dict[ProcessKey, dict[Remote, Traffic]]


def add_traffic(into: FlowTraffic, process: ProcessKey, remote: Remote, traffic: Traffic) -> None:
    """Add the traffic of one flow to the flow's existing entry."""
    remotes = into.setdefault(process, {})
    before = remotes.get(remote)
    remotes[remote] = traffic if before is None else before.plus(traffic)


@dataclass(slots=True)
class Sample:
    """Deltas between two readings."""

    time: datetime
    """When the reading ended, in UTC."""
    elapsed: float
    """Seconds of the monotonic clock since the previous reading."""
    traffic: FlowTraffic = field(default_factory=dict)
    identities: dict[ProcessKey, Identity] = field(default_factory=dict)
    """Identities of all processes in `traffic`, and new ones of processes that are known."""
    exited: set[ProcessKey] = field(default_factory=set)
    """Processes that will move no more bytes."""
    loss: Loss = Loss()
    learned: list[Learned] = field(default_factory=list)
    """Names of remotes that were seen, the oldest first."""
    named: dict[tuple[ProcessKey, Remote], Sequence[RemoteName]] = field(default_factory=dict)
    """Recorded names of the remotes of flows, the best first, where the reading is one of a history."""
    late: "Sample | None" = None
    """Earlier traffic that became known only now: of zero length, so it counts in totals but in no rate."""

    def absorb(self, later: Self) -> None:
        """Merge the next reading into this one."""
        self.time = later.time
        self.elapsed += later.elapsed
        for process, remotes in later.traffic.items():
            for remote, traffic in remotes.items():
                add_traffic(self.traffic, process, remote, traffic)
        self.identities.update(later.identities)
        self.exited |= later.exited
        self.loss = self.loss.plus(later.loss)
        self.learned = [*self.learned, *later.learned][-MOST_LEARNED:]
        self.named.update(later.named)
        if later.late and self.late:
            self.late.absorb(later.late)
        else:
            self.late = self.late or later.late
