"""The filter of the filter flags."""

import ipaddress
from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import fnmatchcase

from bwtop.model.flows import (
    UNKNOWN_IDENTITY,
    Host,
    Identity,
    ProcessKey,
    Remote,
    is_loopback,
    parse_address,
    protocol_class,
)
from bwtop.model.sample import Sample

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_network(text: str) -> Network:
    """Return an address or a network, v4-mapped ones as IPv4, as in flows; raise ValueError."""
    if "%" in text:
        raise ValueError("flows have no scope")
    network = ipaddress.ip_network(text, strict=False)
    if isinstance(network, ipaddress.IPv4Network) or network.prefixlen < 96:
        return network
    mapped = network.network_address.ipv4_mapped
    return ipaddress.ip_network(f"{mapped}/{network.prefixlen - 96}") if mapped else network


class Loopback(StrEnum):
    """The treatment of flows with a remote in 127.0.0.0/8 or ::1."""

    SHOW = "show"
    HIDE = "hide"
    ONLY = "only"


@dataclass(frozen=True)
class Filter:
    """Conditions that a flow must all meet; an empty filter passes every flow."""

    classes: frozenset[str] = frozenset()
    """Any of "tcp", "udp" and "other"."""
    pids: frozenset[int] = frozenset()
    uids: frozenset[int] = frozenset()
    names: tuple[str, ...] = ()
    """Shell patterns for the process name; one must match."""
    networks: tuple[Network, ...] = ()
    loopback: Loopback = Loopback.SHOW
    hosts: tuple[str, ...] = ()
    """Shell patterns for the host name, without case as in DNS, or host ids; one must match."""

    def needs(self) -> frozenset[str]:
        """Return the columns of the history that the filter needs."""
        looks = {
            "host": self.hosts,
            "uid": self.uids,
            "name": self.names,
            "protocol": self.classes,
            "address": self.networks or self.loopback is not Loopback.SHOW,
        }
        return frozenset(name for name, wanted in looks.items() if wanted)

    def apply(self, sample: Sample) -> Sample:
        """Return the sample with the flows that pass; losses stay, because they belong to no single flow."""
        if self == Filter():
            return sample
        kept = {
            key: passing
            for key, remotes in sample.traffic.items()
            if self.takes_process(key, sample.identities.get(key, UNKNOWN_IDENTITY))
            and (passing := {r: t for r, t in remotes.items() if self.takes_remote(r)})
        }
        return replace(sample, traffic=kept)

    def takes_process(self, key: ProcessKey, identity: Identity) -> bool:
        """Return True if flows of the process may pass."""
        return (
            (not self.pids or key.pid in self.pids)
            and (not self.uids or identity.uid in self.uids)
            and (not self.names or any(fnmatchcase(identity.name, n) for n in self.names))
            and self.takes_host(identity.host)
        )

    def takes_host(self, host: Host | None) -> bool:
        """Return True if flows of the host may pass."""
        return not self.hosts or (
            host is not None
            and any(
                fnmatchcase(host.name.casefold(), wanted.casefold()) or host.id == wanted
                for wanted in self.hosts
            )
        )

    def takes_remote(self, remote: Remote) -> bool:
        """Return True if the remote passes; an unknown one is in no network and not loopback."""
        if self.classes and protocol_class(remote.protocol) not in self.classes:
            return False
        if self.networks and not self._in_networks(remote.address):
            return False
        if self.loopback is Loopback.SHOW:
            return True
        return is_loopback(remote.address) == (self.loopback is Loopback.ONLY)

    def _in_networks(self, packed: bytes) -> bool:
        address = parse_address(packed)
        return address is not None and any(address in network for network in self.networks)
