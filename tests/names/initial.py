"""Initial packets of QUIC as clients send them (RFC 9001, 5); AES-GCM is of its own here, but for the cipher itself."""

import struct
from collections.abc import Iterable

from bwtop.names.aes import Aes
from bwtop.names.quic import Keys, Packet, keys_of

VERSION_1, VERSION_2 = 1, 0x6B3343CF
KINDS = {VERSION_1: 0xC0, VERSION_2: 0xD0}
LEAST = 1162
"""Bytes of a payload: no datagram with an Initial packet is smaller than 1,200."""


def seal(keys: Keys, header: bytes, number: int, payload: bytes) -> bytes:
    """Return a packet; the header ends with its number, in 4 bytes."""
    aes = Aes()
    nonce = (int.from_bytes(keys.iv) ^ number).to_bytes(12)
    counters = (nonce + struct.pack(">I", n) for n in range(2, 2 + len(payload) // 16 + 1))
    stream = b"".join(aes.block(keys.key, counter) for counter in counters)
    text = bytes(a ^ b for a, b in zip(payload, stream, strict=False))
    lengths = struct.pack(">QQ", len(header) * 8, len(text) * 8)
    hashed = _ghash(aes.block(keys.key, bytes(16)), _even(header) + _even(text) + lengths)
    tag = hashed ^ int.from_bytes(aes.block(keys.key, nonce + struct.pack(">I", 1)))
    mask = aes.block(keys.mask, (text + tag.to_bytes(16))[:16])
    first = header[0] ^ mask[0] & 0x0F
    numbers = bytes(a ^ b for a, b in zip(header[-4:], mask[1:], strict=False))
    return bytes([first]) + header[1:-4] + numbers + text + tag.to_bytes(16)


def _even(data: bytes) -> bytes:
    return data + bytes(-len(data) % 16)


def _ghash(key: bytes, data: bytes) -> int:
    """Compute GHASH (NIST SP 800-38D, 6.4)."""
    h, hashed = int.from_bytes(key), 0
    for place in range(0, len(data), 16):
        hashed ^= int.from_bytes(data[place : place + 16])
        product, factor = 0, h
        for bit in range(127, -1, -1):
            if hashed >> bit & 1:
                product ^= factor
            factor = factor >> 1 ^ (0xE1 << 120 if factor & 1 else 0)
        hashed = product
    return hashed


def crypto(place: int, data: bytes) -> bytes:
    """Return a CRYPTO frame."""
    return b"\x06" + struct.pack(">HH", 0x4000 | place, 0x4000 | len(data)) + data


def initial(
    frames: Iterable[bytes],
    *,
    destination: bytes = b"8 bytes.",
    keys: Keys | None = None,
    number: int = 0,
    version: int = VERSION_1,
    token: bytes = b"",
    least: int = LEAST,
) -> bytes:
    """Return a packet of a connection that began with that destination, or has these keys."""
    payload = b"".join(frames).ljust(least, b"\0")
    head = struct.pack(">BIB", KINDS[version] | 3, version, len(destination)) + destination
    head += b"\4mine" + struct.pack(">H", 0x4000 | len(token)) + token
    head += struct.pack(">HI", 0x4000 | (4 + len(payload) + 16), number)
    keys = keys or keys_of(Packet(version, destination, b"", 0))
    return seal(keys, head, number, payload)
