"""A writer of small MaxMind DB files (format 2.0), for tests."""

import ipaddress
import struct
from collections.abc import Mapping
from typing import Any, Final

MARKER: Final = b"\xab\xcd\xefMaxMind.com"

ASNS: Final[dict[str, dict[str, Any]]] = {
    "192.0.2.0/24": {
        "autonomous_system_number": 64496,
        "autonomous_system_organization": "Example, Inc.",
    },
    "198.51.100.0/24": {"asn": "AS64497", "as_name": "\x1b[2J" + "x" * 100},
    "2001:db8::/32": {"autonomous_system_number": 64498},
}
COUNTRIES: Final[dict[str, dict[str, Any]]] = {
    "192.0.2.0/24": {"country": {"iso_code": "DE"}, "registered_country": {"iso_code": "US"}},
    "198.51.100.0/24": {"country_code": "fr"},
    "203.0.113.0/24": {"country": "JP"},
    "2001:db8::/32": {"country": "Canada", "country_code": "CA", "continent_code": "NA"},
    "10.0.0.0/8": {"country": {"iso_code": "\x1b[2J"}},
}


def database(records: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Return a database of records by network; networks do not overlap."""
    data, nodes = b"", [[0, 0]]  # 0: nothing; below 0: a record; above: a node
    for text, record in records.items():
        network = ipaddress.ip_network(text)
        bits = f"{int(network.network_address):0{network.max_prefixlen}b}"[: network.prefixlen]
        node = 0
        *path, last = map(int, bits if network.version == 6 else "0" * 96 + bits)
        for bit in path:
            if not nodes[node][bit]:
                nodes.append([0, 0])
                nodes[node][bit] = len(nodes) - 1
            node = nodes[node][bit]
        nodes[node][last] = -1 - len(data)
        data += _value(record)
    count = len(nodes)
    tree = b"".join(
        struct.pack(">I", one or count) if one >= 0 else struct.pack(">I", count + 15 - one)
        for node in nodes
        for one in node
    )
    head: dict[str, Any] = {
        "node_count": count,
        "record_size": _Short(32),
        "ip_version": _Short(6),
        "database_type": "Test",
        "languages": [],
        "binary_format_major_version": _Short(2),
        "binary_format_minor_version": _Short(0),
        "build_epoch": _Long(1_790_000_000),
        "description": {},
    }
    return tree + bytes(16) + data + MARKER + _value(head)


class _Short(int):
    """A number of 16 bits."""


class _Long(int):
    """A number of 64 bits."""


def _value(value: Any) -> bytes:
    if isinstance(value, Mapping):
        parts = [_value(one) for pair in value.items() for one in pair]
        return _control(7, len(value)) + b"".join(parts)
    if isinstance(value, list):
        return _control(11, len(value)) + b"".join(map(_value, value))
    if isinstance(value, int):
        kind, form = {_Short: (5, ">H"), _Long: (9, ">Q")}.get(type(value), (6, ">I"))
        packed = struct.pack(form, value)
        return _control(kind, len(packed)) + packed
    text = str(value).encode()
    return _control(2, len(text)) + text


def _control(kind: int, size: int) -> bytes:
    """Return the bytes before a value: its type and size."""
    more = bytes([size - 29]) if size >= 29 else b""
    small = min(size, 29)
    return bytes([kind << 5 | small]) + more if kind <= 7 else bytes([small, kind - 7]) + more
