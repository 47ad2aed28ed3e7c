"""Find the user at the other end of a TCP connection within this machine.

The kernel knows the client's socket and the uid of the process that created it.  bwtop asks by netlink (sock_diag(7)),
which takes some microseconds and needs no root.  Where netlink is forbidden or missing, it reads /proc/self/net/tcp and
tcp6.  Both see the network namespace of the caller.

Only a socket held by a process has a known uid.  A closed socket, one in TIME_WAIT and one not accepted yet show uid 0
and inode 0 (tcp_diag.c, tcp_ipv4.c: get_tcp4_sock).  A uid without a mapping in this user namespace shows as the
overflow uid, which belongs to no user.
"""

import errno
import ipaddress
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

NETLINK_SOCK_DIAG: Final = 4
SOCK_DIAG_BY_FAMILY: Final = 20
NLM_F_REQUEST: Final = 1
NLMSG_ERROR: Final = 2

HEADER: Final = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence, port."""

ENDS: Final = struct.Struct("!HH16s16s")
"""Ports and addresses of a socket and its peer in struct inet_diag_sockid."""

ASKED: Final = struct.Struct("=BBBxI")
"""struct inet_diag_req_v2 before the socket's id: family, protocol, extensions, states."""

SOCKET: Final = struct.Struct("=III")
"""The interface and the cookie that follow the ends."""

MESSAGE: Final = struct.Struct("=BBBB")
"""struct inet_diag_msg before the socket's id: family, state, timer, retransmissions."""

OWNER: Final = struct.Struct("=IIIII")
"""struct inet_diag_msg after the socket's id: expiry, receive queue, send queue, uid, inode."""

NO_COOKIE: Final = 0xFFFFFFFF
ALL_STATES: Final = 0xFFFFFFFF

ESTABLISHED: Final = 1
FIN_WAIT1: Final = 4
FIN_WAIT2: Final = 5
CLOSE_WAIT: Final = 8

HELD: Final = frozenset({ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT})
"""States (include/net/tcp_states.h) in which a process may hold a connected socket."""

OVERFLOW: Final = Path("/proc/sys/kernel/overflowuid")
USUAL_OVERFLOW: Final = 65534

TABLES: Final = (Path("/proc/self/net/tcp"), Path("/proc/self/net/tcp6"))
"""An IPv6 socket connected to a mapped IPv4 address is in the second, which a kernel without IPv6 does not have."""

WAIT_SECONDS: Final = 1.0
"""Timeout for the kernel's answer, which is ready once the request is sent."""


@dataclass(frozen=True)
class End:
    """An unmapped address and a port."""

    address: IPAddress
    port: int

    @classmethod
    def of(cls, name: tuple[str, int]) -> Self:
        """Return the end from the result of getsockname() or getpeername()."""
        return cls(unmapped(ipaddress.ip_address(name[0].partition("%")[0])), name[1])


@dataclass(frozen=True)
class Owner:
    """The kernel's record of a socket."""

    uid: int
    inode: int
    state: int


def unmapped(address: IPAddress) -> IPAddress:
    """Return the IPv4 address of a mapped IPv6 address; any other address unchanged."""
    return getattr(address, "ipv4_mapped", None) or address


def overflow_uid() -> int:
    """Return the uid that stands for all uids without a mapping in this user namespace."""
    try:
        return int(OVERFLOW.read_text())
    except (OSError, ValueError):  # a service may not see this part of /proc
        return USUAL_OVERFLOW


class Peers:
    """Looks up uids over one netlink socket; for use by one thread."""

    def __init__(self) -> None:
        """Open the netlink socket; without netlink, `by_netlink` always raises OSError."""
        self._overflow = overflow_uid()
        self._sequence = 0
        self._socket = _diag_socket()

    def close(self) -> None:
        """Close the netlink socket."""
        if self._socket:
            self._socket.close()

    def by_netlink(self, connection: socket.socket) -> int | None:
        """Return the uid of the client of an accepted connection, None if unknown; raise OSError if netlink does not find it."""
        client, server = _ends(connection)
        if self._socket is None:
            raise OSError(errno.EPROTONOSUPPORT, "no netlink")
        self._sequence += 1
        self._socket.send(_question(client, server, self._sequence))
        while True:
            answer, (sender, _) = self._socket.recvfrom(8192)
            _, kind, _, sequence, _ = HEADER.unpack_from(answer)
            if (sender, sequence) == (0, self._sequence):  # the kernel is 0
                return self._known(_answered(kind, answer[HEADER.size :], client, server))

    def by_table(self, connection: socket.socket) -> int | None:
        """Return the uid from the tables of /proc; None: unknown."""
        try:
            client, server = _ends(connection)
            found = [owner for path in TABLES for owner in _listed(path, client, server)]
        except (OSError, ValueError):
            return None
        return self._known(found[0]) if len(found) == 1 else None

    def _known(self, owner: Owner) -> int | None:
        is_held = owner.inode != 0 and owner.state in HELD
        return owner.uid if is_held and owner.uid != self._overflow else None


def _ends(connection: socket.socket) -> tuple[End, End]:
    """Return the ends of client and server; raise OSError if the connection is gone."""
    return End.of(connection.getpeername()), End.of(connection.getsockname())


# Netlink.


def _diag_socket() -> socket.socket | None:
    try:
        made = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG
        )
    except OSError:
        return None
    made.settimeout(WAIT_SECONDS)
    return made


def _question(client: End, server: End, sequence: int) -> bytes:
    family = socket.AF_INET if client.address.version == 4 else socket.AF_INET6
    body = (
        ASKED.pack(family, socket.IPPROTO_TCP, 0, ALL_STATES)
        + ENDS.pack(client.port, server.port, _padded(client), _padded(server))
        + SOCKET.pack(0, NO_COOKIE, NO_COOKIE)
    )
    size = HEADER.size + len(body)
    return HEADER.pack(size, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, sequence, 0) + body


def _padded(end: End) -> bytes:
    return end.address.packed.ljust(16, b"\0")


def _answered(kind: int, body: bytes, client: End, server: End) -> Owner:
    """Return the owner from an answer; raise OSError for an error or another socket, such as a listening one."""
    if kind == NLMSG_ERROR:
        (number,) = struct.unpack_from("=i", body)
        raise OSError(-number, "no such socket")
    family, state, _, _ = MESSAGE.unpack_from(body)
    source, destination, source_address, destination_address = ENDS.unpack_from(body, MESSAGE.size)
    found = (
        End(_unpacked(source_address, family), source),
        End(_unpacked(destination_address, family), destination),
    )
    if kind != SOCK_DIAG_BY_FAMILY or found != (client, server):
        raise OSError(errno.ENOENT, "another socket")
    *_, uid, inode = OWNER.unpack_from(body, MESSAGE.size + ENDS.size + SOCKET.size)
    return Owner(uid, inode, state)


def _unpacked(packed: bytes, family: int) -> IPAddress:
    length = 4 if family == socket.AF_INET else 16
    return unmapped(ipaddress.ip_address(packed[:length]))


# /proc.


def _listed(path: Path, client: End, server: End) -> Iterator[Owner]:
    """Yield the sockets of a table with these ends."""
    wanted = f":{client.port:04X} ", f":{server.port:04X} "
    with suppress(FileNotFoundError), path.open("rb", buffering=1 << 16) as table:
        next(table, None)  # the header
        for raw in table:
            line = raw.decode("ascii")
            if wanted[0] not in line or wanted[1] not in line:
                continue
            _, local, remote, state, _, _, _, uid, _, inode, *_ = line.split()
            if (_parsed(local), _parsed(remote)) == (client, server):
                yield Owner(int(uid), int(inode), int(state, 16))


def _parsed(text: str) -> End:
    """Parse an end in these tables: words of the address in the machine's byte order, and the port."""
    address, _, port = text.partition(":")
    words = [int(address[at : at + 8], 16) for at in range(0, len(address), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    return End(unmapped(ipaddress.ip_address(packed)), int(port, 16))
