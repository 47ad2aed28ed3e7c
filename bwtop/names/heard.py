"""From what the kernel side has copied of programs' messages to the names in it."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Final, NamedTuple

from bwtop.model.flows import ProcessKey, pack_v4
from bwtop.model.named import Learned, NameSource
from bwtop.names import wire

LEAST_SECONDS: Final = 3600
"""The shortest time for which a name is kept."""

_MOST_HELLOS: Final = 256
"""Sockets whose hello has not come whole; beyond that the oldest are given up."""


class HeardKind(IntEnum):
    """enum heard_kind in bpf/records.h."""

    DATAGRAM = 0
    """A datagram from port 53."""
    STREAM = 1
    """The bytes that one call read of a stream from port 53."""
    FIRST = 2
    """Of what a socket sent first: a TLS hello, or an HTTP request."""


class Heard(NamedTuple):
    """A part of a message."""

    process: ProcessKey
    address: bytes
    """The remote's, packed."""
    port: int
    kind: int
    socket: int
    offset: int
    """The bytes that the socket had sent before."""
    is_whole: bool
    """True if nothing of the part is missing."""
    data: bytes


class NameReader:
    """Reads names; keeps hellos that come in parts."""

    def __init__(self) -> None:
        self._hellos: OrderedDict[int, bytes] = OrderedDict()

    def read(self, parts: Iterable[Heard]) -> Iterator[Learned]:
        """Yield the names in parts of messages, which are in the order in which they were sent."""
        for part in parts:
            if part.kind == HeardKind.FIRST:
                yield from self._sent(part)
            else:
                yield from _answered(part)

    def _sent(self, part: Heard) -> Iterator[Learned]:
        before = self._hellos.pop(part.socket, b"") if part.offset else b""
        if len(before) != part.offset:
            return  # a part is missing
        stream = before + part.data
        if not part.offset and (name := wire.http_host(stream)):
            yield _named(part, name, NameSource.HOST)
            return
        try:
            name = wire.tls_server_name(stream)
        except wire.MoreNeededError:
            if part.is_whole:
                self._keep(part.socket, stream)
            return
        if name:
            yield _named(part, name, NameSource.SNI)

    def _keep(self, socket: int, stream: bytes) -> None:
        self._hellos[socket] = stream
        if len(self._hellos) > _MOST_HELLOS:
            self._hellos.popitem(last=False)


def _named(part: Heard, name: str, source: NameSource) -> Learned:
    return Learned(part.process, part.address, part.port, name, source, LEAST_SECONDS)


def _answered(part: Heard) -> Iterator[Learned]:
    messages = wire.dns_stream(part.data) if part.kind == HeardKind.STREAM else [part.data]
    for answer in filter(None, map(wire.dns_answer, messages)):
        seconds = max(answer.ttl, LEAST_SECONDS)
        for address in answer.addresses:
            packed = pack_v4(address) if len(address) == 4 else address
            yield Learned(part.process, packed, None, answer.name, NameSource.DNS, seconds)
