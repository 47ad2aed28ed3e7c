"""The class of a remote address: loopback, lan, multicast, internet, or the name of a network in the configuration.

A class is computed when it is asked for, and stored nowhere.  It depends on two settings of this process, which stay
for as long as it runs: the names, and the prefixes that the recording host is connected to.
"""

import ipaddress
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final

from bwtop.model.flows import UNKNOWN_ADDRESS, Host

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK: Final = "loopback"
LAN: Final = "lan"
MULTICAST: Final = "multicast"
INTERNET: Final = "internet"
UNKNOWN: Final = "unknown"
"""The class of `*`: remotes that could not be known, or were added up."""

RESERVED: Final = (INTERNET, LAN, LOOPBACK, MULTICAST, UNKNOWN)
"""Names that a configuration cannot give."""

MOST: Final = 500
"""Prefixes that can have names."""

_FIXED: Final[Sequence[tuple[str, Sequence[str]]]] = (
    (
        LAN,
        (
            *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),  # RFC 1918, RFC 4193
            *("169.254.0.0/16", "fe80::/10"),  # RFC 3927, RFC 4291: of a link
            "255.255.255.255/32",  # RFC 919: a broadcast never leaves its link
        ),
    ),
    (MULTICAST, ("224.0.0.0/4", "ff00::/8")),  # RFC 5771, RFC 4291
)
_LOOPBACKS: Final = ("127.0.0.0/8", "::1/128")

_MAPPED: Final = 0xFFFF << 32
"""The first IPv4 address as flows have it: ::ffff:0.0.0.0."""
_MAPPED_END: Final = _MAPPED + (1 << 32)
_END: Final = 1 << 128

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)

Named = Mapping[str, Sequence[Network]]
"""Prefixes by name."""

Bounds = tuple[bytes, bytes]
"""The first and the last packed address of a range."""


def parse_network(text: str) -> Network:
    """Return an address or a network, v4-mapped ones as IPv4, as in flows; raise ValueError."""
    if "%" in text:
        raise ValueError("flows have no scope")
    network = ipaddress.ip_network(text, strict=False)
    if isinstance(network, ipaddress.IPv4Network) or network.prefixlen < 96:
        return network
    mapped = network.network_address.ipv4_mapped
    return ipaddress.ip_network(f"{mapped}/{network.prefixlen - 96}") if mapped else network


class _Ranges:
    """The classes of all addresses, as ranges without a gap."""

    def __init__(self) -> None:
        self._firsts, self.names = [0], [INTERNET]

    def put(self, network: Network, name: str) -> None:
        """Give all addresses of a network a class; an IPv4 address is in no IPv6 network."""
        first, after = int(network.network_address), int(network.broadcast_address) + 1
        if network.version == 4:
            self._put(first + _MAPPED, after + _MAPPED, name)
        elif first <= _MAPPED < after:
            self._put(first, _MAPPED, name)
            self._put(_MAPPED_END, after, name)
        else:
            self._put(first, after, name)

    def _put(self, first: int, after: int, name: str) -> None:
        if first == after:
            return
        begin, end = bisect_left(self._firsts, first), bisect_right(self._firsts, after)
        rest = [after] if after < _END else []
        self.names[begin:end] = [name, *([self.names[end - 1]] if rest else [])]
        self._firsts[begin:end] = [first, *rest]

    @cached_property
    def starts(self) -> list[bytes]:
        """The first packed address of each range, once all networks are in it."""
        return [first.to_bytes(16) for first in self._firsts]


class Networks:
    """The classes of addresses, as one or several recording hosts see them."""

    def __init__(
        self, named: Named | None = None, connected: Callable[[], Iterable[Network]] = tuple
    ) -> None:
        """Take prefixes by name; `connected` returns those of this host, once a class is asked for."""
        self._named = named or {}
        self._connected = connected
        self._hosts: dict[str, _Ranges] | None = None
        """Of hosts with public prefixes of their own, if others than this host have recorded."""
        self._homes: dict[str, Sequence[Network]] = {}
        """The prefixes of these hosts."""

    @property
    def names(self) -> tuple[str, ...]:
        """All classes, as they are listed."""
        return (INTERNET, *self._named, LAN, MULTICAST, LOOPBACK, UNKNOWN)

    def of(self, address: bytes, host: Host | None = None) -> str:
        """Return the class of a packed address, as the host sees it; None: this host."""
        ranges = self._seen_by(host.id if host else None)
        return ranges.names[bisect_right(ranges.starts, address) - 1]

    def settle(self, homes: Mapping[str, Sequence[Network]] | None) -> None:
        """Take the prefixes that each recording host is connected to, by its id; None: this host has recorded."""
        found = {id_: self._made(prefixes) for id_, prefixes in (homes or {}).items()}
        common = self._common
        differing = {
            id_: own
            for id_, own in found.items()
            if (own.starts, own.names) != (common.starts, common.names)
        }
        self._hosts = None if homes is None else differing
        self._homes = {id_: (homes or {})[id_] for id_ in differing}

    @property
    def differ(self) -> bool:
        """True if an address has not the same class for all recording hosts."""
        return bool(self._hosts)

    def sql(
        self, column: str, spell: Callable[[bytes], str], of_host: Callable[[str], str] = str
    ) -> str:
        """Return the SQL expression of the class of an address, as its place in `names`.

        `spell` writes a packed address as the column has it, `of_host` the condition that a row is of a host.
        """
        ranges = self._own if self._hosts is None else self._common
        places = [str(self.names.index(name)) for name in ranges.names]
        common = _chosen(column, list(map(spell, ranges.starts)), places)
        homes = [
            f"({of_host(id_)} AND {column} >= {spell(first)} AND {column} <= {spell(last)})"
            for id_, prefixes in sorted(self._homes.items())
            for first, last in map(_bounds, prefixes)
        ]
        if not homes:
            return common
        internet, lan = (self.names.index(name) for name in (INTERNET, LAN))
        return f"CASE WHEN {common} = {internet} AND ({' OR '.join(homes)}) THEN {lan} ELSE {common} END"

    def _seen_by(self, host: str | None) -> _Ranges:
        if host is None or self._hosts is None:
            return self._own
        return self._hosts.get(host, self._common)

    @cached_property
    def _common(self) -> _Ranges:
        return self._made(())

    @cached_property
    def _own(self) -> _Ranges:
        return self._made(self._connected())

    def _made(self, connected: Iterable[Network]) -> _Ranges:
        """Return the classes of all addresses, the most important put last."""
        ranges = _Ranges()
        for prefix in connected:
            if prefix.prefixlen:  # else it is no network, but the way to all of them
                ranges.put(prefix, LAN)
        for name, texts in _FIXED:
            for text in texts:
                ranges.put(ipaddress.ip_network(text), name)
        named = [(prefix, name) for name, prefixes in self._named.items() for prefix in prefixes]
        for prefix, name in sorted(named, key=lambda one: one[0].prefixlen):
            ranges.put(prefix, name)
        for text in _LOOPBACKS:
            ranges.put(ipaddress.ip_network(text), LOOPBACK)
        ranges.put(ipaddress.ip_network(UNKNOWN_ADDRESS), UNKNOWN)
        return ranges


def _chosen(column: str, starts: Sequence[str], places: Sequence[str]) -> str:
    """Return the SQL that finds the range of an address by halves."""
    if len(places) == 1:
        return places[0]
    half = len(places) // 2
    lower = _chosen(column, starts[:half], places[:half])
    upper = _chosen(column, starts[half:], places[half:])
    return f"CASE WHEN {column} < {starts[half]} THEN {lower} ELSE {upper} END"


def _bounds(prefix: Network) -> Bounds:
    shift = _MAPPED if prefix.version == 4 else 0
    first, last = int(prefix.network_address), int(prefix.broadcast_address)
    return (first + shift).to_bytes(16), (last + shift).to_bytes(16)


class _CurrentNetworks:
    """The networks of this process."""

    def __init__(self) -> None:
        self.networks = Networks()


_CURRENT: Final = _CurrentNetworks()


def current() -> Networks:
    """Return the networks of this process, as the tables of columns, groups and filter fields use them."""
    return _CURRENT.networks


def use(networks: Networks) -> None:
    """Set the networks of this process: once, before anything is measured, asked for or forked."""
    _CURRENT.networks = networks


def parse_named(table: Mapping[str, Sequence[str]]) -> dict[str, tuple[Network, ...]]:
    """Return the prefixes of a [networks] table; raise ValueError, whose text says what to write."""
    owners: dict[Network, str] = {}
    for name, texts in table.items():
        _check_name(name)
        for text in texts:
            prefix = _prefix(name, text)
            if (owner := owners.setdefault(prefix, name)) != name:
                raise ValueError(f"{name}: {prefix} already is {owner}; leave out one of them")
    if len(owners) > MOST:
        raise ValueError(f"{len(owners)} prefixes; expected {MOST} or fewer")
    return {name: tuple(p for p, owner in owners.items() if owner == name) for name in table}


def _check_name(name: str) -> None:
    if name in RESERVED:
        raise ValueError(f"the name {name} is reserved; choose another one")
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"invalid name {name[:32]!r}; expected up to 32 lower-case letters, digits, _ and -"
        )


def _prefix(name: str, text: str) -> Network:
    try:
        prefix = parse_network(text)
    except ValueError:
        raise ValueError(
            f"{name}: invalid network {text[:60]!r};"
            " expected one such as 10.8.0.0/16 or 2001:db8::/32"
        ) from None
    if any(_is_within(prefix, ipaddress.ip_network(loopback)) for loopback in _LOOPBACKS):
        raise ValueError(f"{name}: {prefix} is loopback, which has no other name; leave it out")
    return prefix


def _is_within(prefix: Network, other: Network) -> bool:
    if isinstance(prefix, ipaddress.IPv4Network):
        return isinstance(other, ipaddress.IPv4Network) and prefix.subnet_of(other)
    return isinstance(other, ipaddress.IPv6Network) and prefix.subnet_of(other)
