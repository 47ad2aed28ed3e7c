"""QUIC: the part of the TLS hello in a client's Initial packets (RFC 9000, 17.2.2; RFC 9001, 5; RFC 9369).

Their keys follow from a connection id in the first packet: whoever sees that packet can read them.
"""

import hmac
import re
from collections.abc import Iterator
from functools import cache
from typing import Final, NamedTuple

from bwtop.names.aes import TAG, Aes
from bwtop.names.wire import ByteCursor

_LONG_HEADER: Final = 0xC0
"""The first two bits of a packet with a long header."""

_LONGEST_ID: Final = 20
_SAMPLE: Final = 16

_ACK, _ACK_ECN, _CRYPTO = 2, 3, 6

_MOST_PACKETS: Final = 4
"""Of a datagram.

A client coalesces at most one packet of each kind (RFC 9000, 12.2), of which only one is an Initial.  But a program may
hand several datagrams to the kernel at once, of 1,200 bytes or more (14.1): two of them are whole in what is copied.
"""

_MOST_STEPS: Final = 128
"""Frames of a packet, and numbers in its acknowledgements; a browser's packet has a few dozen, besides padding."""

_FILL: Final = re.compile(rb"[\0\1]*")
"""PADDING and PING frames: most of a packet's bytes."""


class _Version(NamedTuple):
    """A version of QUIC, as far as its Initial packets differ from another's."""

    salt: bytes
    label: bytes
    kind: int
    """The bits in the first byte that tell an Initial packet."""


_VERSIONS: Final = {
    1: _Version(bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"), b"quic", 0x00),
    0x6B3343CF: _Version(
        bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9"), b"quicv2", 0x10
    ),
}


class Keys(NamedTuple):
    """The keys of a client's Initial packets."""

    key: bytes
    iv: bytes
    mask: bytes
    """The key of the header's protection."""


class Packet(NamedTuple):
    """An Initial packet, still encrypted."""

    version: int
    destination: bytes
    """The connection id from which the keys follow, if this is the connection's first packet."""
    data: bytes
    """The packet from its first byte to its last."""
    number: int
    """The place of the packet's number."""


def keys_of(packet: Packet) -> Keys:
    """Derive the keys of the connection that begins with a packet."""
    version = _VERSIONS[packet.version]
    initial = hmac.digest(version.salt, packet.destination, "sha256")
    client = _expand(initial, b"client in", 32)
    sizes = {b"key": 16, b"iv": 12, b"hp": 16}
    return Keys(*(_expand(client, version.label + b" " + name, sizes[name]) for name in sizes))


def _expand(secret: bytes, label: bytes, length: int) -> bytes:
    """HKDF-Expand-Label of RFC 8446, 7.1, for at most 32 bytes."""
    label = b"tls13 " + label
    info = length.to_bytes(2) + bytes([len(label)]) + label + b"\0"
    return hmac.digest(secret, info + b"\1", "sha256")[:length]


def packets(datagram: bytes) -> Iterator[Packet]:
    """Yield the first Initial packets that bytes begin with; what is cut off is left out."""
    try:
        for _ in range(_MOST_PACKETS):
            header = ByteCursor(datagram)
            first, version = header.number(1), header.number(4)
            known = _VERSIONS.get(version)
            if known is None or first & 0xF0 != _LONG_HEADER | known.kind:
                return
            destination = header.take(_id_length(header))
            header.skip(_id_length(header))
            header.skip(_number(header))  # the token
            length = _number(header)
            end = header.position + length
            if end > len(datagram):
                return
            yield Packet(version, destination, datagram[:end], header.position)
            datagram = datagram[end:]
    except IndexError:
        return


def _id_length(header: ByteCursor) -> int:
    length = header.number(1)
    if length > _LONGEST_ID:
        raise IndexError
    return length


def _number(data: ByteCursor) -> int:
    """Read a number of 1, 2, 4 or 8 bytes, as its first two bits tell."""
    first = data.number(1)
    more = (1 << (first >> 6)) - 1
    return (first & 0x3F) << 8 * more | data.number(more) if more else first


@cache
def _aes() -> Aes | None:
    try:
        return Aes()
    except (ImportError, OSError, AttributeError):  # a Python without OpenSSL
        return None


def crypto_frames(packet: Packet, keys: Keys) -> list[tuple[int, bytes]] | None:
    """Return the parts of the handshake in a packet, as (place, bytes); None if these are not its keys."""
    aes = _aes()
    sample = packet.data[packet.number + 4 : packet.number + 4 + _SAMPLE]
    if aes is None or len(sample) < _SAMPLE:
        return None
    mask = aes.block(keys.mask, sample)
    header = bytearray(packet.data[: packet.number + 4])
    header[0] ^= mask[0] & 0x0F
    end = packet.number + (header[0] & 3) + 1
    for place in range(packet.number, end):
        header[place] ^= mask[place - packet.number + 1]
    number = int.from_bytes(header[packet.number : end])
    nonce = (int.from_bytes(keys.iv) ^ number).to_bytes(len(keys.iv))
    if len(packet.data) < end + TAG:
        return None
    plain = aes.opened(keys.key, nonce, bytes(header[:end]), packet.data[end:])
    return None if plain is None else [*_crypto(plain)]


def _crypto(payload: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield what CRYPTO frames carry, up to a frame that Initial packets do not have, or that is cut off."""
    frames, steps = ByteCursor(payload), iter(range(_MOST_STEPS))
    try:
        for _ in steps:
            if fill := _FILL.match(payload, frames.position):
                frames.position = fill.end()
            kind = _number(frames)
            if kind == _CRYPTO:
                place, length = _number(frames), _number(frames)
                yield place, frames.take(length)
            elif kind in (_ACK, _ACK_ECN):
                _skip_ack(frames, kind, steps)
            else:
                return
    except IndexError:
        return


def _skip_ack(frames: ByteCursor, kind: int, steps: Iterator[int]) -> None:
    """Pass over an acknowledgement (RFC 9000, 19.3); its ranges count as steps."""
    for _ in range(2):
        _number(frames)
    ranges = _number(frames)
    _number(frames)
    for _ in zip(range(2 * ranges + (3 if kind == _ACK_ECN else 0)), steps, strict=False):
        _number(frames)
