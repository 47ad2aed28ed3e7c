"""Names of remotes, as they were seen: what a process asked for, and what it was told."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bwtop.model.flows import ProcessKey

REMOTE_NAME: Final = "remote_name"
"""The property of a recorded flow that is recorded beside it: see history.names."""


class NameSource(StrEnum):
    """The source of a remote's name, best first."""

    SNI = "sni"
    """The process sent it in a TLS hello to this address and port."""
    HOST = "host"
    """The process sent it in the Host field of an HTTP request to this address and port."""
    DNS = "dns"
    """The process asked DNS for it, and the address was in the answer."""
    HOST_DNS = "dns-host"
    """Another process of this host did."""
    REVERSE = "reverse"
    """Reverse DNS: the name that the address's owner gave it."""


@dataclass(frozen=True, slots=True)
class RemoteName:
    """A name of a remote, and where it is from."""

    name: str
    source: NameSource


@dataclass(frozen=True, slots=True)
class Learned:
    """A name that was seen."""

    process: ProcessKey
    address: bytes
    """Packed, as in Remote."""
    port: int | None
    """None: any port, as DNS says nothing about ports."""
    name: str
    source: NameSource
    seconds: int
    """How long it is kept: the larger of its TTL and an hour."""
