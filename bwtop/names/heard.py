"""From what the kernel side has copied of programs' messages to the names in it."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Final, NamedTuple, TypeVar

from bwtop.model.flows import ProcessKey, pack_v4
from bwtop.model.named import Learned, NameSource
from bwtop.names import quic, wire

LEAST_SECONDS: Final = 3600
"""The shortest time for which a name is kept."""

_MOST_HELLOS: Final = 256
"""Sockets whose hello has not come whole, or has come by QUIC; beyond that the oldest are given up."""

_LONGEST_HELLO: Final = 1 << 14
_MOST_PARTS: Final = 64
"""Of a hello that comes by QUIC."""

K = TypeVar("K")
T = TypeVar("T")


class HeardKind(IntEnum):
    """enum heard_kind in bpf/records.h."""

    DATAGRAM = 0
    """A datagram from port 53."""
    STREAM = 1
    """The bytes that one call read of a stream from port 53."""
    FIRST = 2
    """Of what a socket sent first: a TLS hello, or an HTTP request."""
    INITIAL = 3
    """A datagram that begins with an Initial packet of QUIC."""


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


class _Handshake:
    """A hello in Initial packets of QUIC, which come in any order."""

    def __init__(self, keys: quic.Keys) -> None:
        self.keys = keys
        self.is_over = False
        self._parts: dict[int, bytes] = {}

    def name(self, frames: Iterable[tuple[int, bytes]]) -> str | None:
        """Take parts of the hello; return its server name as soon as it is known."""
        for place, data in frames:
            if place < _LONGEST_HELLO and len(self._parts) < _MOST_PARTS:
                self._parts[place] = max(data, self._parts.get(place, b""), key=len)
        whole = bytearray()  # bytes would be copied for each part
        for place in sorted(self._parts):
            if place > len(whole):
                break
            whole += self._parts[place][len(whole) - place :]
        try:
            name = wire.hello_server_name(bytes(whole))
        except wire.MoreNeededError:
            return None
        self.is_over = True
        return name


class NameReader:
    """Reads names; keeps hellos that come in parts."""

    def __init__(self) -> None:
        self._hellos: OrderedDict[int, bytes] = OrderedDict()
        self._handshakes: OrderedDict[tuple[object, ...], _Handshake] = OrderedDict()

    def read(self, parts: Iterable[Heard]) -> Iterator[Learned]:
        """Yield the names in parts of messages, which are in the order in which they were sent."""
        for part in parts:
            if part.kind == HeardKind.FIRST:
                yield from self._sent(part)
            elif part.kind == HeardKind.INITIAL:
                yield from self._started(part)
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
                _keep(self._hellos, part.socket, stream)
            return
        if name:
            yield _named(part, name, NameSource.SNI)

    def _started(self, part: Heard) -> Iterator[Learned]:
        # The memory of a socket is used again.
        place = (part.socket, part.process, part.address, part.port)
        for packet in quic.packets(part.data):
            known = self._handshakes.get(place)
            frames = quic.crypto_frames(packet, known.keys) if known else None
            if known is None or frames is None:  # the first one of a connection
                known = _Handshake(quic.keys_of(packet))
                frames = quic.crypto_frames(packet, known.keys)
                if frames is None:
                    return  # what follows it would need the same keys, and each try is costly
                _keep(self._handshakes, place, known)
            if not known.is_over and (name := known.name(frames)):
                yield _named(part, name, NameSource.SNI)


def _keep(hellos: OrderedDict[K, T], key: K, hello: T) -> None:
    """Keep a hello that is not whole; of too many the oldest is given up."""
    hellos[key] = hello
    hellos.move_to_end(key)
    if len(hellos) > _MOST_HELLOS:
        hellos.popitem(last=False)


def _named(part: Heard, name: str, source: NameSource) -> Learned:
    return Learned(part.process, part.address, part.port, name, source, LEAST_SECONDS)


def _answered(part: Heard) -> Iterator[Learned]:
    messages = wire.dns_stream(part.data) if part.kind == HeardKind.STREAM else [part.data]
    for answer in filter(None, map(wire.dns_answer, messages)):
        seconds = max(answer.ttl, LEAST_SECONDS)
        for address in answer.addresses:
            packed = pack_v4(address) if len(address) == 4 else address
            yield Learned(part.process, packed, None, answer.name, NameSource.DNS, seconds)
