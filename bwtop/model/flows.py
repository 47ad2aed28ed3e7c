"""The basic types: processes, remotes, and the bytes between them."""

import ipaddress
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from socket import AF_INET, AF_INET6, inet_ntop
from typing import Any, Final, NamedTuple, Self

from bwtop.model import containers

TCP: Final = 6
UDP: Final = 17

PROTOCOL_NAMES: Final = {
    0: "packet",
    1: "icmp",
    2: "igmp",
    TCP: "tcp",
    UDP: "udp",
    33: "dccp",
    47: "gre",
    50: "esp",
    51: "ah",
    58: "icmpv6",
    89: "ospf",
    103: "pim",
    112: "vrrp",
    115: "l2tp",
    132: "sctp",
    136: "udplite",
    254: "other",
    255: "raw",
}
"""IANA protocol numbers, in lower case; 0 stands for AF_PACKET frames, 254 for a lost protocol number."""

OTHER: Final = 254

_CLASSES: Final = {TCP: "tcp", UDP: "udp"}

UNKNOWN_ADDRESS: Final = bytes(16)
_V4_MAPPED: Final = bytes(10) + b"\xff\xff"
_V4_LOOPBACK: Final = _V4_MAPPED + b"\x7f"
LOOPBACK_V4: Final = _V4_LOOPBACK + b"\x00\x00\x01"
LOOPBACK_V6: Final = bytes(15) + b"\x01"


class Role(IntEnum):
    """The role of the process in a flow: it opened the connection, or it serves the port."""

    CLIENT = 0
    SERVER = 1


class ProcessKey(NamedTuple):
    """A process for as long as it runs one program; `start` is in nanoseconds of CLOCK_BOOTTIME."""

    start: int
    pid: int | None
    """None: not a process, but the bytes of a host that could not be attributed to one."""
    exec: int = 0
    """Differs from that of the programs that the process ran before and after."""

    @property
    def stored_pid(self) -> int:
        """Return the pid as it is stored and printed: 0 for bytes without a process."""
        return self.pid or 0

    @classmethod
    def stored(cls, start: int, pid: int, execs: int = 0) -> Self:
        """Return the key of a stored pid."""
        return cls(start, pid or None, execs)


UNATTRIBUTED: Final = ProcessKey(0, None)
"""The row for bytes that could not be attributed to a process."""


class Remote(NamedTuple):
    """The far end of a flow; `address` is 16 bytes, IPv4 as ::ffff:a.b.c.d, zeros if unknown."""

    protocol: int
    role: int
    port: int
    address: bytes


class Traffic(NamedTuple):
    """Payload bytes."""

    rx: int = 0
    tx: int = 0

    def plus(self, other: "Traffic") -> "Traffic":
        """Return the sum of both."""
        return Traffic(self.rx + other.rx, self.tx + other.tx)

    def minus(self, other: "Traffic") -> "Traffic":
        """Return the difference to the earlier `other`."""
        return Traffic(self.rx - other.rx, self.tx - other.tx)


class Loss(NamedTuple):
    """Counts of lost detail. Bytes in `spilled_*` are still in the totals of their process."""

    spilled: int = 0
    """Flows whose remote became '*', because the table of flows was full."""
    spilled_bytes: int = 0
    unattributed: int = 0
    """Updates that fell to the (unattributed) row, because the spill map was full too."""
    unattributed_bytes: int = 0
    unnamed: int = 0
    """Processes whose name was lost."""
    missed_events: int = 0
    """Events skipped by the kernel because the same program was running (recursion_misses)."""
    unheard: int = 0
    """Messages that may have had names of remotes in them, and found no room; not recorded."""

    @property
    def recorded(self) -> tuple[int, ...]:
        """Return the counts that a history keeps, in the order of the fields."""
        return self[: len(RECORDED_LOSSES)]

    def plus(self, other: "Loss") -> "Loss":
        """Return the sum of both."""
        return Loss(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def minus(self, other: "Loss") -> "Loss":
        """Return the difference to the earlier `other`."""
        return Loss(*(mine - theirs for mine, theirs in zip(self, other, strict=True)))


RECORDED_LOSSES: Final = Loss._fields[: Loss._fields.index("unheard")]
"""The fields of a Loss that a history keeps; the others are of live views alone."""


class Host(NamedTuple):
    """A host, as other hosts know it."""

    name: str
    id: str
    """A UUID; it stays when the name changes."""

    @property
    def label(self) -> str:
        """Return the name to show."""
        return self.name


class Twin(Host):
    """A host that shares its name with another."""

    __slots__ = ()

    @property
    def label(self) -> str:
        """Return the name with the start of the id; filters take that start, too."""
        return f"{self.name} ({self.id[:8]})"


def told_apart(hosts: Iterable[Host]) -> list[Host]:
    """Return the hosts, with those of one name as twins."""
    listed = list(hosts)
    names = Counter(host.name for host in listed)
    return [Twin(*host) if names[host.name] > 1 else host for host in listed]


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of a process, as the kernel had it at its first byte."""

    name: str
    uid: int | None = None
    """Effective uid; None if the process is unknown."""
    cmdline: str = ""
    """Arguments joined by spaces; of more than 256 bytes the first 256 and an ellipsis."""
    exe: str | None = None
    """Full path; None if unknown."""
    cgroup: str | None = None
    """Path in the v2 hierarchy."""
    kernel: bool = False
    """A kernel thread."""
    started: datetime | None = None
    """UTC."""
    user: str | None = None
    unit: str | None = None
    """systemd service, scope or slice."""
    container: str | None = None
    """"runtime:id", the id's first 12 digits."""
    container_name: str | None = None
    """Its name when the bytes were moved: of Kubernetes' NAMESPACE/POD/CONTAINER."""
    image: str | None = None
    """Name of its image; never stored."""
    pod: str | None = None
    """Kubernetes pod uid."""
    host: Host | None = None
    """The host of the process; None: this one."""

    @property
    def container_label(self) -> str | None:
        """Return the name of the container, else "runtime:id"; None: it is in none."""
        return self.container_name or self.container


def stored_remote(protocol: int, role: int, port: int, address: bytes) -> Remote:
    """Return the remote of a row that another host may have written, in roles of its own: all but 0 are servers."""
    return Remote(protocol, Role.SERVER if role else Role.CLIENT, port, address)


def stored_identity(row: Mapping[str, Any], **details: Any) -> Identity:
    """Return the identity in a row of a store, given by column; -1 (uid), "" and missing columns are unknown.

    details: fields that the row does not have.
    """
    known = {
        name: row[name]
        for name in ("uid", "exe", "user", "unit", "container", "pod")
        if row.get(name, "") not in ("", -1)
    }
    if known.get("container"):
        known["container"], known["container_name"] = containers.stored(known["container"])
    return Identity(row.get("name", ""), kernel=bool(row.get("kernel")), **known, **details)


UNKNOWN_IDENTITY: Final = Identity(name="(unknown)")
UNATTRIBUTED_IDENTITY: Final = Identity(name="(unattributed)")


def protocol_name(protocol: int) -> str:
    """Return the protocol's name in lower case; "ip-N" if it has no name here."""
    return PROTOCOL_NAMES.get(protocol) or f"ip-{protocol}"


def protocol_class(protocol: int) -> str:
    """Return the class of a protocol, as toggled on the screen: "tcp", "udp" or "other"."""
    return _CLASSES.get(protocol, "other")


def parse_address(packed: bytes) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address in 16 bytes, v4-mapped ones as IPv4; None if unknown."""
    if packed == UNKNOWN_ADDRESS:
        return None
    if is_v4(packed):
        return ipaddress.IPv4Address(packed[12:])
    return ipaddress.IPv6Address(packed)


def is_v4(packed: bytes) -> bool:
    """Return True for an IPv4 address."""
    return packed.startswith(_V4_MAPPED)


def format_address(packed: bytes) -> str:
    """Return the address as text; "*" if unknown."""
    if packed == UNKNOWN_ADDRESS:
        return "*"
    if is_v4(packed):
        return inet_ntop(AF_INET, packed[12:])
    return inet_ntop(AF_INET6, packed)


def pack_address(text: str) -> bytes | None:
    """Return the address of a text from `format_address`; None for "*" and for invalid text."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return address.packed if address.version == 6 else _V4_MAPPED + address.packed


def pack_v4(address: bytes) -> bytes:
    """Return the packed address of the four bytes of an IPv4 one."""
    return _V4_MAPPED + address


def is_loopback(packed: bytes) -> bool:
    """Return True if the address is in 127.0.0.0/8 or ::1."""
    return packed.startswith(_V4_LOOPBACK) or packed == LOOPBACK_V6


def nowhere(remote: Remote) -> Remote:
    """Return the unknown remote (`*`) of the same protocol and role, on loopback if `remote` is."""
    address = UNKNOWN_ADDRESS
    if is_loopback(remote.address):
        address = LOOPBACK_V4 if is_v4(remote.address) else LOOPBACK_V6
    return remote._replace(address=address, port=0)
