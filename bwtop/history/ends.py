"""Conversations in reports: both ends of a connection are one row, counted once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bwtop.history.dimensions import CONVERSATION, Dimension, Label
from bwtop.history.store import Ends, Flow, FlowSums
from bwtop.model.conversations import (
    BothEnds,
    Conversation,
    Peers,
    conversation,
    labelled,
    paired,
    service,
    several,
    spelled,
)
from bwtop.model.flows import Identity, Remote, protocol_name, told_apart


@dataclass(frozen=True)
class Compared:
    """A conversation that both ends have recorded."""

    labels: tuple[Label, ...]
    """Those of the dimension."""
    client: tuple[int, int]
    """Bytes received and sent at the client's end."""
    server: tuple[int, int]
    """The same at the server's end, which sends what the client receives."""

    @property
    def text(self) -> str:
        """Return the conversation in words."""
        return text(*self.labels)

    @property
    def amounts(self) -> tuple[int, int]:
        """Return all bytes of the client's end, and of the server's."""
        return sum(self.client), sum(self.server)

    @property
    def difference(self) -> int:
        """Return the bytes of one end that the other does not have."""
        return abs(self.client[0] - self.server[1]) + abs(self.client[1] - self.server[0])


def text(
    client: Label, program: Label, server: Label, served: Label, port: Label, proto: Label
) -> str:
    """Return the labels of a conversation in words."""
    one, other = (map(str, filter(None, end)) for end in ((client, program), (server, served)))
    return spelled(one, other, service(int(str(port)), str(proto)))


@dataclass(frozen=True)
class Once:
    """The flows and sums that count where conversations are shown."""

    by: Sequence[Dimension]
    """The dimensions, with that of conversations as it is for these flows."""
    taken: Ends
    """The flows that count: of each conversation those of one end."""
    compared: Sequence[Compared] = field(default_factory=tuple)


def once(by: Sequence[Dimension], taken: Ends, sums: FlowSums, peers: Callable[[], Peers]) -> Once:
    """Return what counts; all flows without a dimension of conversations."""
    if CONVERSATION not in by:
        return Once(by, taken)
    known = peers()
    hosts = {who.host for who, _ in taken.values() if who.host} | set(known.values())
    names = labelled(told_apart(sorted(hosts)))
    pairs = paired(((flow, who.host, far) for flow, (who, far) in taken.items()), known)
    labels = {of: _labels(of, both, names, taken, sums) for of, both in pairs.items()}

    def of_flow(who: Identity, remote: Remote) -> tuple[Label, ...]:
        return labels[conversation(who.host, remote, known)[0]]

    bound = replace(CONVERSATION, of_flow=of_flow)
    return Once(
        [bound if dimension is CONVERSATION else dimension for dimension in by],
        {flow: taken[flow] for both in pairs.values() for flow in both.counted},
        [
            Compared(labels[of], _sum(both.client, sums), _sum(both.server, sums))
            for of, both in pairs.items()
            if both.compared
        ],
    )


def _labels(
    of: Conversation, both: BothEnds[Flow], hosts: Mapping[str, str], taken: Ends, sums: FlowSums
) -> tuple[Label, ...]:
    found: list[Label] = []
    for end, flows in ((of.client, both.client), (of.server, both.server)):
        amounts: dict[str, int] = {}
        for flow in flows:
            name = taken[flow][0].name
            amounts[name] = amounts.get(name, 0) + sum(sums[flow])
        found += [hosts.get(end, end) or None, several(amounts) or None]
    return (*found, of.port, protocol_name(of.protocol))


def _sum(flows: Sequence[Flow], sums: FlowSums) -> tuple[int, int]:
    return sum(sums[flow][0] for flow in flows), sum(sums[flow][1] for flow in flows)
