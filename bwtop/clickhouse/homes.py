"""The networks that recording hosts are connected to, as they report them."""

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Final

from bwtop.clickhouse.client import FleetServer
from bwtop.clickhouse.schema import HOST
from bwtop.model import networks
from bwtop.model.networks import Network

_LINK: Final = 64
"""Length of the prefix of an IPv6 link (RFC 4291), of hosts that report addresses alone."""


def settle(server: FleetServer) -> None:
    """Let the classes of addresses be those that each host sees; raise FleetError."""
    prefixes = "networks" if _has_networks(server) else "[]"
    found = server.query(f"SELECT toString(host_id), addresses, {prefixes} FROM {HOST.name} FINAL")
    networks.current().settle(
        {host: list(_reported(told) if told else _guessed(own)) for host, own, told in found}
    )


def _has_networks(server: FleetServer) -> bool:
    """Return whether hosts report their networks: those of schema 3 do not."""
    ((found,),) = server.query(
        "SELECT count() FROM system.columns"
        f" WHERE database = currentDatabase() AND table = '{HOST.name}' AND name = 'networks'"
    )
    return bool(found)


def _reported(prefixes: Iterable[str]) -> Iterator[Network]:
    """Yield the prefixes that a host reports, without those that are the way to all networks."""
    for text in prefixes:
        try:
            prefix = ipaddress.ip_network(text, strict=False)
        except ValueError:  # not sent by bwtop
            continue
        if prefix.prefixlen:
            yield prefix


def _guessed(addresses: Iterable[str]) -> Iterator[Network]:
    """Yield the prefix around each own address of a host: its link by IPv6, else the address alone."""
    for text in addresses:
        try:
            length = _LINK if ":" in text else 32
            yield ipaddress.ip_network((text, length), strict=False)
        except ValueError:  # not sent by bwtop
            continue
