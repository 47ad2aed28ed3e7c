"""Rows of conversations: each once, with the processes of both ends below."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

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
from bwtop.model.flows import Host, Remote, protocol_name
from bwtop.model.ledger import Flow, Process
from bwtop.view.naming import bracketed_name
from bwtop.view.rows import Branch

MakeRow = Callable[[Process, Sequence[Flow]], Branch]
"""Makes the row of a process with some of its flows."""


class ConversationRow(NamedTuple):
    """The parts of a row of a conversation."""

    key: str
    label: str
    """ "web1 nginx → db1 postgres :5432 tcp"."""
    counted: Sequence[Flow]
    """The flows of one end: those of the client, if its host records."""
    members: Sequence[Branch]
    """The processes of both ends."""


def conversations(flows: Iterable[Flow], peers: Peers, make: MakeRow) -> Iterator[ConversationRow]:
    """Yield the conversations of flows."""
    known = list(flows)
    hosts = {flow.process.identity.host for flow in known} | set(peers.values())
    labels = labelled([host for host in hosts if host])
    listed = ((flow, flow.process.identity.host, flow.remote) for flow in known)
    for of, ends in paired(listed, peers).items():
        both = _by_process([*ends.client, *ends.server])
        members = [make(process, own) for process, own in both]
        yield ConversationRow(
            " ".join(map(str, of)), _label(of, ends, labels), ends.counted, members
        )


class OtherEnds:
    """The programs at the other ends of flows to known hosts."""

    def __init__(self, flows: Iterable[Flow], peers: Peers) -> None:
        """Take all flows; those to other remotes are left out."""
        self._peers = peers
        self._pairs = paired(
            (
                (flow, flow.process.identity.host, flow.remote)
                for flow in flows
                if flow.remote.address in peers
            ),
            peers,
        )

    def programs(self, host: Host | None, remote: Remote) -> str:
        """Return the programs at the other end of a flow of a host; empty: they are not known."""
        of, is_client = conversation(host, remote, self._peers)
        ends = self._pairs.get(of)
        if ends is None:
            return ""
        return several(_amounts(ends.server if is_client else ends.client))


def _by_process(flows: Iterable[Flow]) -> Iterable[tuple[Process, list[Flow]]]:
    found: dict[Process, list[Flow]] = {}
    for flow in flows:
        found.setdefault(flow.process, []).append(flow)
    return found.items()


def _label(of: Conversation, ends: BothEnds[Flow], labels: Mapping[str, str]) -> str:
    client, server = (
        (labels.get(end, end), several(_amounts(flows)))
        for end, flows in ((of.client, ends.client), (of.server, ends.server))
    )
    return spelled(client, server, service(of.port, protocol_name(of.protocol)))


def _amounts(flows: Iterable[Flow]) -> dict[str, int]:
    """Return the bytes of flows by the name of their process."""
    found: dict[str, int] = {}
    for flow in flows:
        name = bracketed_name(flow.process.identity)
        found[name] = found.get(name, 0) + flow.rx + flow.tx
    return found
