"""The addresses of this machine, from the kernel (rtnetlink(7)); no rights are needed."""

import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

_HEADER: Final = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence, port."""

_ADDRESS: Final = struct.Struct("=BBBBI")
"""struct ifaddrmsg: family, prefix length, flags, scope, interface."""

_ATTRIBUTE: Final = struct.Struct("=HH")
"""struct rtattr: length, type."""

_GET, _NEW, _DONE, _ERROR = 22, 20, 3, 2  # RTM_GETADDR, RTM_NEWADDR, NLMSG_DONE, NLMSG_ERROR
_DUMP: Final = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_PEER, _LOCAL = 1, 2  # IFA_ADDRESS (on a point-to-point link the peer's), IFA_LOCAL
_LINK: Final = 253
"""RT_SCOPE_LINK: from it on addresses mean something on one link, or on this host, alone."""

_SIZE: Final = 1 << 16

_Told = tuple[bytes, bytes, int]
"""An own address, the address on the link (on a point-to-point link the peer's), and the length of the prefix."""


def own_addresses() -> list[str]:
    """Return the addresses that other hosts may reach, sorted; none if the kernel does not tell."""
    return sorted({str(ip_address(own)) for own, _, _ in _told()})


def connected_networks() -> list[IPv4Network | IPv6Network]:
    """Return the prefixes of the links that these addresses are on; none if the kernel does not tell."""
    return [ip_network((on_link, length), strict=False) for _, on_link, length in _told()]


def _told() -> list[_Told]:
    try:
        return list(_addresses())
    except OSError:
        return []


def _addresses() -> Iterator[_Told]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(1.0)
        body = _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        kernel.send(_HEADER.pack(_HEADER.size + len(body), _GET, _DUMP, 1, 0) + body)
        while True:
            for kind, message in _messages(kernel.recv(_SIZE)):
                if kind in (_DONE, _ERROR):
                    return
                if kind == _NEW:
                    yield from _address(message)


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the (type, body) of the messages in a datagram."""
    while len(data) >= _HEADER.size:
        length, kind, *_ = _HEADER.unpack_from(data)
        yield kind, data[_HEADER.size : length]
        data = data[max(_aligned(length), _HEADER.size) :]


def _address(message: bytes) -> Iterator[_Told]:
    """Yield the address of a message, if it has one for other hosts."""
    _, prefix, _, scope, _ = _ADDRESS.unpack_from(message)
    if scope >= _LINK:
        return
    found, rest = {}, message[_ADDRESS.size :]
    while len(rest) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(rest)
        found[kind] = rest[_ATTRIBUTE.size : length]
        rest = rest[max(_aligned(length), _ATTRIBUTE.size) :]
    on_link = found.get(_PEER) or found.get(_LOCAL)
    if on_link:
        yield found.get(_LOCAL) or on_link, on_link, prefix


def _aligned(length: int) -> int:
    return (length + 3) & ~3
