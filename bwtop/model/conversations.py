"""Conversations of hosts: what both ends of a connection have recorded, put together."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

from bwtop.model.flows import Host, Remote, Role, format_address, is_loopback

T = TypeVar("T")

Peers = Mapping[bytes, Host]
"""Hosts by packed address."""

_NAMED: Final = 3
"""Largest number of programs named at one end."""


class Conversation(NamedTuple):
    """All connections between two ends to one service; an end is the id of a host, or the text of an address."""

    client: str
    server: str
    protocol: int
    port: int


def conversation(host: Host | None, remote: Remote, peers: Peers) -> tuple[Conversation, bool]:
    """Return the conversation of a flow of a host, and whether it was recorded at the client's end.

    Loopback is a conversation of the host with itself.  Where there are no ports both ends count as clients: that with
    the smaller name is the client.
    """
    own = host.id if host else ""
    if is_loopback(remote.address):
        other = own
    else:
        peer = peers.get(remote.address)
        other = peer.id if peer else format_address(remote.address)
    is_client = remote.role == Role.CLIENT if remote.port else own <= other
    ends = (own, other) if is_client else (other, own)
    return Conversation(*ends, remote.protocol, remote.port), is_client


@dataclass
class BothEnds(Generic[T]):
    """The flows of a conversation as the client's end has recorded them, and as the server's has."""

    client: list[T] = field(default_factory=list)
    server: list[T] = field(default_factory=list)

    @property
    def counted(self) -> list[T]:
        """Return the flows that count: those of one end."""
        return self.client or self.server

    @property
    def compared(self) -> list[T]:
        """Return the flows of the other end; none where only one end has recorded."""
        return self.server if self.client else []


def paired(
    flows: Iterable[tuple[T, Host | None, Remote]], peers: Peers
) -> dict[Conversation, BothEnds[T]]:
    """Return the flows by conversation."""
    found: dict[Conversation, BothEnds[T]] = {}
    for flow, host, remote in flows:
        of, is_client = conversation(host, remote, peers)
        ends = found.get(of)
        if ends is None:
            ends = found[of] = BothEnds()
        (ends.client if is_client else ends.server).append(flow)
    return found


def several(amounts: Mapping[str, int]) -> str:
    """Return the names of the programs of an end, those with most bytes first: "nginx, php-fpm +2"."""
    names = sorted(amounts, key=lambda name: (-amounts[name], name))
    more = f" +{len(names) - _NAMED}" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def spelled(client: Iterable[str | None], server: Iterable[str | None], service: str) -> str:
    """Return a conversation in words: "web1 nginx → db1 postgres :5432 tcp"; an end is a host and its programs."""
    ends = (" ".join(filter(None, end)) or "-" for end in (client, server))
    return f"{' → '.join(ends)} {service}"


def service(port: int, protocol: str) -> str:
    """Return a service in words: ":5432 tcp", or "icmp"."""
    return f":{port} {protocol}" if port else protocol


def labelled(hosts: Collection[Host]) -> dict[str, str]:
    """Return what to show for the id of each host."""
    return {host.id: host.label or host.id for host in hosts}
