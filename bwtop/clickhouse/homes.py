"""The networks that recording hosts are connected to, as far as the server knows them."""

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Final

from bwtop.clickhouse.client import FleetServer
from bwtop.model import networks
from bwtop.model.networks import Network

_LINK: Final = 64
"""Length of the prefix of an IPv6 link (RFC 4291); of IPv4 ones hosts do not send it."""


def settle(server: FleetServer) -> None:
    """Let the classes of addresses be those that each host sees; raise FleetError."""
    found = server.query("SELECT toString(host_id), addresses FROM host FINAL")
    networks.current().settle({host: list(_prefixes(own)) for host, own in found})


def _prefixes(addresses: Iterable[str]) -> Iterator[Network]:
    """Yield the prefix around each own address of a host: its link by IPv6, else the address alone."""
    for text in addresses:
        try:
            length = _LINK if ":" in text else 32
            yield ipaddress.ip_network((text, length), strict=False)
        except ValueError:  # not sent by bwtop
            continue
