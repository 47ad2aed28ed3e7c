"""Names in bytes from the network: DNS answers, TLS hellos and HTTP requests.

The bytes are hostile, and may be cut at any place.  Every function takes any bytes, and returns what is certain.
"""

import re
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

_LONGEST: Final = 253
"""Characters of a host name, as text (RFC 1035)."""

_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")

_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""A last label that makes an IPv4 address of the whole (WHATWG URL, "ends in a number")."""


def host_name(text: str) -> str | None:
    """Return a host name in lower case, without the root's dot; None for an address and for what is no host name."""
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > _LONGEST or not all(map(_LABEL.fullmatch, labels)):
        return None
    return None if _NUMBER.fullmatch(labels[-1]) else name


# DNS (RFC 1035).


class DnsAnswer(NamedTuple):
    """The addresses of a name."""

    name: str
    """The name in the question."""
    addresses: tuple[bytes, ...]
    """4 or 16 bytes each."""
    ttl: int
    """Seconds; the smallest of all records that lead to the addresses."""


class _CutError(ValueError):
    """The bytes end too early, or make no sense."""


_HEADER: Final = struct.Struct(">HHHHHH")
_RECORD: Final = struct.Struct(">HHIH")
"""Type, class, TTL, length of the data."""

_RESPONSE: Final = 0x8000
_OPCODE_AND_RCODE: Final = 0x780F
_A, _CNAME, _AAAA, _IN = 1, 5, 28, 1
_SIZES: Final = {_A: 4, _AAAA: 16}

_MOST_RECORDS: Final = 256
_MOST_TTL: Final = 7 * 86400


def dns_answer(message: bytes) -> DnsAnswer | None:
    """Return the name that was asked for and its addresses; None if it is no answer with addresses.

    Of a message that is cut off, those before the cut.  Only addresses that the question leads to count: its own, and
    those at the end of its chain of aliases.
    """
    try:
        _, flags, questions, answers, *_ = _unpack(_HEADER, message, 0)
        if not flags & _RESPONSE or flags & _OPCODE_AND_RCODE or questions != 1:
            return None
        names = _Names(message)
        asked, position = names.read(_HEADER.size)
        kind, of = struct.unpack_from(">HH", message, position)
    except (_CutError, struct.error):
        return None
    name = host_name(asked)
    if name is None or of != _IN or kind not in _SIZES:
        return None
    addresses: list[bytes] = []
    aliases, ttl = {asked}, _MOST_TTL
    for owner, seconds, data in _records(names, message, position + 4, answers):
        if owner not in aliases:
            continue
        if isinstance(data, bytes):
            addresses.append(data)
        else:
            aliases.add(data)
        ttl = min(ttl, seconds)
    return DnsAnswer(name, tuple(dict.fromkeys(addresses)), ttl) if addresses else None


def _records(
    names: "_Names", message: bytes, position: int, number: int
) -> Iterator[tuple[str, int, bytes | str]]:
    """Yield (owner, TTL, address or alias) of whole records, up to where the message is cut."""
    try:
        for _ in range(min(number, _MOST_RECORDS)):
            owner, position = names.read(position)
            kind, of, ttl, length = _unpack(_RECORD, message, position)
            position += _RECORD.size
            if position + length > len(message):
                return
            if of == _IN and (kind == _CNAME or _SIZES.get(kind) == length):
                data = message[position : position + length]
                seconds = 0 if ttl >> 31 else ttl
                yield owner, seconds, names.read(position)[0] if kind == _CNAME else data
            position += length
    except _CutError:
        return


class _Names:
    """The names in a message.

    Each byte is read once: a message may have hundreds of records whose owners are pointers to one name of 127 labels,
    or to a chain of pointers.  So what is read is kept, with all names that end like it.
    """

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._known: dict[int, tuple[str, int]] = {}

    def read(self, position: int) -> tuple[str, int]:
        """Return the name at a position, in lower case and with the root's dot, and where what follows it begins.

        Raise _CutError.  A pointer leads to before the name that it is in: so there are no loops.
        """
        walked: list[tuple[int, str]] = []
        start = position
        while position not in self._known and (length := _byte(self._message, position)):
            if length >> 6 == 3:
                walked.append((position, ""))
                position = (length & 0x3F) << 8 | _byte(self._message, position + 1)
                if position >= start:
                    raise _CutError
                start = position
            else:
                label = self._message[position + 1 : position + 1 + length]
                if length >> 6 or len(label) < length:
                    raise _CutError
                walked.append((position, label.decode("latin-1").replace(".", "\\.").lower()))
                position += 1 + length
        name, after = self._known.get(position, ("", position + 1))
        for place, text in reversed(walked):
            if text:
                name = f"{text}.{name}"
            else:
                after = place + 2
            if len(name) > _LONGEST + 1:
                raise _CutError
            self._known[place] = name, after
        return name, after


def _byte(message: bytes, position: int) -> int:
    if position >= len(message):
        raise _CutError
    return message[position]


def _unpack(layout: struct.Struct, message: bytes, position: int) -> tuple[int, ...]:
    if position + layout.size > len(message):
        raise _CutError
    return layout.unpack_from(message, position)


def dns_stream(data: bytes) -> Iterator[bytes]:
    """Yield the messages in what a call read of DNS over TCP: with their lengths before them, or one without."""
    whole = [*_prefixed(data)]
    yield from whole or [data]


def _prefixed(data: bytes) -> Iterator[bytes]:
    position = 0
    while position + 2 < len(data):
        start = position + 2
        length = int.from_bytes(data[position:start])
        position = start + length
        if length < _HEADER.size or position > len(data):
            return
        yield data[start:position]


# TLS (RFC 8446, 4.1.2 and 5.1; RFC 6066, 3).

_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0

_MOST_EXTENSIONS: Final = 64
"""Of a hello.  None may come twice, and browsers send about 20; a hello of 16 KiB has room for 4,000 empty ones."""

_MOST_FRAGMENTS: Final = 64
"""Records of a hello.  Most programs send one, and those that hide the name from filters a few."""


class MoreNeededError(Exception):
    """The name may be in bytes that are still to come."""


def tls_server_name(stream: bytes) -> str | None:
    """Return the server name in the hello that a client's stream begins with; None if there is none.

    Raise MoreNeededError if the hello is cut off before it.
    """
    return hello_server_name(_handshake(stream))


def hello_server_name(handshake: bytes) -> str | None:
    """Return the server name in the hello that handshake messages begin with; otherwise as tls_server_name()."""
    hello = ByteCursor(handshake)
    try:
        if hello.number(1) != _CLIENT_HELLO:
            return None
        hello.skip(3 + 2 + 32)  # length, version, random
        for size in (1, 2, 1):  # session id, cipher suites, compression methods
            hello.skip(hello.number(size))
        left = hello.number(2)
        for _ in range(_MOST_EXTENSIONS):
            if left < 4:
                break
            kind, length = hello.number(2), hello.number(2)
            if kind == _SERVER_NAME:
                return _server_name(hello.take(length))
            hello.skip(length)
            left -= 4 + length
    except IndexError:
        raise MoreNeededError from None
    return None


def _handshake(stream: bytes) -> bytes:
    """Return the content of the handshake records that a stream begins with."""
    content, position = b"", 0
    for _ in range(_MOST_FRAGMENTS):
        head = stream[position : position + 5]
        if len(head) < 5 or head[:2] != bytes([_HANDSHAKE, 3]):
            break
        end = position + 5 + int.from_bytes(head[3:])
        content += stream[position + 5 : end]
        position = end
    if not content and stream[:1] not in (b"", bytes([_HANDSHAKE])):
        return b"\0"  # no hello
    return content


def _server_name(extension: bytes) -> str | None:
    names = ByteCursor(extension)
    try:
        names.skip(2)
        if names.number(1) != 0:  # host_name
            return None
        return host_name(names.take(names.number(2)).decode("ascii"))
    except (IndexError, UnicodeDecodeError):
        return None


class ByteCursor:
    """Reads bytes from first to last; raises IndexError at the end of what there is."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        self._data = data
        self.position = position

    def take(self, length: int) -> bytes:
        """Return the next bytes."""
        taken = self._data[self.position : self.position + length]
        if len(taken) < length:
            raise IndexError
        self.position += length
        return taken

    def skip(self, length: int) -> None:
        """Pass over the next bytes."""
        self.position += length
        if self.position > len(self._data):
            raise IndexError

    def number(self, length: int) -> int:
        """Return the number in the next bytes, the most significant first."""
        return int.from_bytes(self.take(length))


# HTTP/1 (RFC 9112).

_REQUEST: Final = re.compile(
    rb"(GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH) (?:/[^ \r\n]*|\*) HTTP/1\.[01]\r\n"
)
"""The first line of a request to the server itself.

One to a proxy names a whole URL or, with CONNECT, another server: those are no names of the address it goes to.
"""

_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\r\n]*)\r\n")
"""A line of the header.

The blanks around its value are no part of the pattern: it would try each way to share them out before it gives up.
"""

_MOST_FIELDS: Final = 64


def http_host(request: bytes) -> str | None:
    """Return the name in the Host field of the request that bytes begin with; None if there is none, or not one."""
    line = _REQUEST.match(request)
    found: list[bytes] = []
    position = line.end() if line else len(request)
    for _ in range(_MOST_FIELDS):
        field = _FIELD.match(request, position)
        if not field:
            break
        if field[1].lower() == b"host":
            found.append(field[2].strip(b" \t"))
        position = field.end()
    if len(found) != 1:
        return None
    try:
        text = found[0].decode("ascii")
    except UnicodeDecodeError:
        return None
    return host_name(re.sub(r":[0-9]*$", "", text))
