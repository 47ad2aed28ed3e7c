"""The conditions of filters: functions of a process or of a remote, made from typed values."""

import ipaddress
import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from fnmatch import translate
from functools import cache
from typing import Final, NamedTuple, TypeVar

from bwtop.model import geography, networks
from bwtop.model.flows import (
    PROTOCOL_NAMES,
    UNKNOWN_ADDRESS,
    Host,
    Identity,
    ProcessKey,
    Remote,
    Role,
    format_address,
    is_loopback,
    is_v4,
    pack_address,
    protocol_class,
    protocol_name,
)
from bwtop.model.ledger import CLASSES
from bwtop.model.named import RemoteName
from bwtop.model.networks import Network, parse_network

HostNames = Callable[[Remote], Sequence[RemoteName]]
"""Return the known names of a remote of the process at hand, the best first."""

NamesOf = Callable[[ProcessKey | None, Remote], Sequence[RemoteName]]
"""Return the known names of a remote of a process, the best first."""

OnProcess = Callable[[ProcessKey | None, Identity], bool]
"""A condition on a process; the key is None where the pid is unknown."""
OnRemote = Callable[[Remote, HostNames], bool]
OnHost = Callable[[Host | None], OnRemote]
"""Return a condition on a remote as the recording host sees it; None: this host."""
OnLive = Callable[["LiveNumbers"], bool]
OnCategory = Callable[[str, bool], bool]
"""A condition on the class of a protocol and on whether the remote is loopback."""


class LiveNumbers(NamedTuple):
    """The numbers of a process as a live view has them, of all its shown protocols."""

    rate: float
    """Bytes per second, both directions."""
    total: int
    exited: bool


A = TypeVar("A")
B = TypeVar("B")


class FilterError(ValueError):
    """An invalid filter; the text says why and what to type."""


class Loopback(StrEnum):
    """The treatment of flows with a remote in 127.0.0.0/8 or ::1."""

    SHOW = "show"
    HIDE = "hide"
    ONLY = "only"


def no_names(_: Remote) -> Sequence[RemoteName]:
    """Return nothing: the names of the remote are unknown."""
    return ()


def any_of(
    make: Callable[[str], Callable[[A, B], bool]],
) -> Callable[[Sequence[str]], Callable[[A, B], bool]]:
    """Return a function that makes one condition of several values, of which one must match."""

    def made(values: Sequence[str]) -> Callable[[A, B], bool]:
        conditions = [make(value) for value in values]
        if len(conditions) == 1:
            return conditions[0]
        return lambda a, b: any(condition(a, b) for condition in conditions)

    return made


def part_of(get: Callable[[Identity], str | None]) -> Callable[[Sequence[str]], OnProcess]:
    """Return a function that makes conditions on parts of a text, without case."""

    def make(text: str) -> OnProcess:
        wanted = text.casefold()
        return lambda _, identity: wanted in (get(identity) or "").casefold()

    return any_of(make)


def _pattern(text: str) -> Callable[[str | None], bool]:
    """Return a function that matches whole texts with a shell pattern, without case."""
    match = re.compile(translate(text.casefold())).match
    return lambda value: value is not None and match(value.casefold()) is not None


def user(text: str) -> OnProcess:
    """Return the condition on the user: a pattern, or a uid."""
    if _is_number(text):
        uid = int(text)
        return lambda _, identity: identity.uid == uid
    matches = _pattern(text)
    return lambda _, identity: matches(identity.user)


def name(text: str) -> OnProcess:
    """Return the condition on the whole name of a process."""
    matches = _pattern(text)
    return lambda _, identity: matches(identity.name)


def old_name(text: str) -> OnProcess:
    """Return the condition on the name of a process that `name:` had, for values that no host name is likely to be."""
    return name(text) if "." not in text else lambda *_: False


def remote_name(text: str) -> OnRemote:
    """Return the condition on a whole name of a remote."""
    matches = _pattern(text)
    return lambda remote, names: any(matches(one.name) for one in names(remote))


def host(text: str) -> OnProcess:
    """Return the condition on the host of a process: a pattern of its name, its id, or the start of that."""
    matches = _pattern(text)
    starts = (text.lower(),) if re.fullmatch(_HOST_ID, text, re.ASCII | re.IGNORECASE) else ()

    def takes(_: ProcessKey | None, identity: Identity) -> bool:
        found = identity.host
        return found is not None and (
            matches(found.name) or found.id == text or found.id.startswith(starts)
        )

    return takes


_HOST_ID: Final = r"[0-9a-f]{8}[0-9a-f-]{0,28}"
"""A host id, or its start as reports print it."""


def placement(identity: Identity) -> str:
    """Return unit, container and pod, which `unit:` searches."""
    texts = (identity.unit, identity.container, identity.container_name, identity.pod)
    return "\n".join(filter(None, texts))


def container(text: str) -> OnProcess:
    """Return the condition on the container: a pattern of its name, of a part between slashes, or of its id."""
    matches = _pattern(text[:CONTAINER_ID] if re.fullmatch(r"[0-9a-f]{64}", text) else text)

    def takes(_: ProcessKey | None, identity: Identity) -> bool:
        name, id_ = identity.container_name or "", identity.container or ""
        return any(map(matches, filter(None, (name, *name.split("/"), id_, id_.partition(":")[2]))))

    return takes


CONTAINER_ID: Final = 12
"""Digits of an id that are kept."""


def texts(identity: Identity) -> str:
    """Return the text that plain words are searched in."""
    texts = (identity.name, identity.cmdline, identity.exe, identity.user, placement(identity))
    return "\n".join(filter(None, texts))


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,10}", text, re.ASCII) is not None


def pids(values: Sequence[str]) -> frozenset[int]:
    """Return the values of the field `pid` as numbers; raise FilterError."""
    for text in values:
        if not _is_number(text) or int(text) >= 1 << 32:
            raise FilterError(f"invalid process id {text!r}; expected 0 to 4294967295")
    return frozenset(map(int, values))


def of_pids(values: Sequence[str]) -> OnProcess:
    """Return the condition that a process has one of some ids."""
    wanted = pids(values)
    return lambda key, _: key is not None and key.stored_pid in wanted


def port(text: str) -> OnRemote:
    """Return the condition on the service port: a number or a range."""
    first, _, last = text.partition("-")
    if not all(_is_number(part) and int(part) < 1 << 16 for part in (first, last or first)):
        raise FilterError(
            f"invalid port {text!r}; expected 0 to 65535 or a range such as 8000-8999"
        )
    low, high = int(first), int(last or first)
    return lambda remote, _: low <= remote.port <= high


PROTOCOLS: Final = tuple(sorted({*CLASSES, *PROTOCOL_NAMES.values()}))
"""The names of protocols and of their classes."""

_UNNAMED: Final = re.compile(r"i|ip|ip-[0-9]*")
"""The names of protocols without a name here, and their beginnings."""


def protocol(text: str) -> OnRemote:
    """Return the condition on a protocol or a class of protocols."""
    wanted = text.casefold()
    if not any(name.startswith(wanted) for name in PROTOCOLS) and not _UNNAMED.fullmatch(wanted):
        raise FilterError(f"invalid protocol {text!r}; expected {', '.join(PROTOCOLS)}")
    if wanted in CLASSES:
        return lambda remote, _: protocol_class(remote.protocol) == wanted
    return lambda remote, _: protocol_name(remote.protocol) == wanted


def classes(values: Sequence[str]) -> OnCategory | None:
    """Return the condition on classes of protocols; None if a value is none."""
    wanted = {text.casefold() for text in values}
    return (lambda name, _: name in wanted) if wanted <= set(CLASSES) else None


def role(text: str) -> OnRemote:
    """Return the condition on the role of a process."""
    roles = [role for role in Role if role.name.lower().startswith(text.casefold())]
    if not roles:
        raise FilterError(f"invalid role {text!r}; expected client or server")
    return lambda remote, _: remote.role in roles


_LOOPBACK: Final = {
    Loopback.HIDE: (False,),
    Loopback.ONLY: (True,),
    Loopback.SHOW: (False, True),
}
"""The values of is_loopback() that pass."""


def loopback(text: str) -> OnCategory:
    """Return the condition on whether the remote is loopback."""
    found = [choice for choice in _LOOPBACK if choice.startswith(text.casefold())]
    if not found:
        raise FilterError(f"invalid value {text!r}; expected hide, only or show")
    passing = _LOOPBACK[found[0]]
    return lambda _, loopback: loopback in passing


def loopbacks(values: Sequence[str]) -> OnRemote:
    """Return the condition on whether a remote is loopback."""
    condition = any_of(loopback)(values)
    return lambda remote, _: condition("", is_loopback(remote.address))


ENDPOINT: Final = re.compile(
    r"(?P<address>[0-9]+(?:\.[0-9]+){3}|[\w*-]+(?:\.[\w*-]+)+|localhost|\*|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9-]*)"
)
"""An address or name with a port; an IPv6 address is in brackets (RFC 3986)."""


def remote(text: str) -> OnRemote:
    """Match an address, a network, or part of an address or name; an address or name may have a port."""
    found = ENDPOINT.fullmatch(text)
    if not found:
        return _address(text.strip("[]"))
    at_address = _address(found["address"].strip("[]"))
    if not found["port"]:
        return at_address
    at_port = port(found["port"])
    return lambda remote, names: at_port(remote, names) and at_address(remote, names)


def is_address(text: str) -> bool:
    """Return whether a value of the field `remote` is an address or a network, of which no name is asked."""
    found = ENDPOINT.fullmatch(text)
    try:
        parse_network((found["address"] if found else text).strip("[]"))
    except ValueError:
        return False
    return True


def _address(text: str) -> OnRemote:
    try:
        return _within(parse_network(text))
    except ValueError:
        if re.fullmatch(r"[0-9a-fA-F.:]+/[0-9]+", text):
            raise FilterError(
                f"invalid network {text!r}; expected one such as 10.0.0.0/8 or 2001:db8::/32"
            ) from None
        return remote_text(text)


def _within(network: Network) -> OnRemote:
    """Match addresses in a network; an unknown one is in no network, an IPv4 one in no IPv6 network."""
    shift = network.max_prefixlen - network.prefixlen
    first = pack_address(str(network.network_address)) or UNKNOWN_ADDRESS
    prefix, is_4 = int.from_bytes(first) >> shift, isinstance(network, ipaddress.IPv4Network)
    return lambda remote, _: (
        int.from_bytes(remote.address) >> shift == prefix
        and is_v4(remote.address) == is_4
        and remote.address != UNKNOWN_ADDRESS
    )


def asn(values: Sequence[str]) -> OnRemote:
    """Return the condition on the AS of the remote: its number, with or without AS, or part of its name."""
    known = geography.current()
    if not known.has_asn:
        raise FilterError("asn: needs a database; start bwtop with --asn-db FILE")
    wanted = [text.casefold() for text in values]
    numbers = {f"as{text.removeprefix('as')}" for text in wanted}

    def matches(remote: Remote, _: HostNames) -> bool:
        found = (known.asn(remote.address) or "").casefold()
        number, *called = found.split(" ", 1)
        return number in numbers or any(text in part for part in called for text in wanted)

    return matches


def country(values: Sequence[str]) -> OnRemote:
    """Return the condition on the country of the remote: a code of two letters."""
    known = geography.current()
    if not known.has_country:
        raise FilterError("country: needs a database; start bwtop with --country-db FILE")
    for text in values:
        if not re.fullmatch(r"[A-Za-z]{1,2}", text, re.ASCII):
            raise FilterError(f"invalid country {text!r}; expected two letters such as DE")
    wanted = {text.upper() for text in values}
    return lambda remote, _: known.country(remote.address) in wanted


def network_names(values: Sequence[str]) -> frozenset[str]:
    """Return the networks of the values of the field `net`: names, or beginnings of them while they are typed."""
    known, wanted = networks.current().names, set[str]()
    for text in values:
        found = [name for name in known if name.startswith(text.casefold())]
        if not found:
            raise FilterError(f"invalid network {text!r}; expected {', '.join(known)}")
        wanted.update([text.casefold()] if text.casefold() in found else found)
    return frozenset(wanted)


def network_classes(values: Sequence[str]) -> OnHost:
    """Return the condition on the network of the remote."""
    known, wanted = networks.current(), network_names(values)
    return cache(lambda host: lambda remote, _: known.of(remote.address, host) in wanted)


def remote_text(text: str) -> OnRemote:
    """Match part of an address or name."""
    wanted = text.casefold()

    def matches(remote: Remote, names: HostNames) -> bool:
        return wanted in format_address(remote.address) or any(
            wanted in one.name.casefold() for one in names(remote)
        )

    return matches


_AMOUNT: Final = re.compile(r"([<>]?)([0-9]{1,15}(?:\.[0-9]{0,6})?)([KMGT]?)(I?B?|BIT)(?:/S)?")

_POWERS: Final = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def amount(get: Callable[[LiveNumbers], float]) -> Callable[[str], OnLive]:
    """Return a function that makes conditions on an amount of bytes, such as `>1M`; without a sign `>` is meant."""

    def make(text: str) -> OnLive:
        found = _AMOUNT.fullmatch(text.upper())
        if not found:
            if text in (">", "<"):
                return lambda _: True
            raise FilterError(
                f"invalid amount {text!r}; expected one such as >1M, <500K or >10Mbit"
            )
        in_bits = found[4] == "BIT"
        limit = float(found[2]) * (1000.0 if in_bits else 1024.0) ** _POWERS[found[3]]
        limit /= 8 if in_bits else 1
        if found[1] == "<":
            return lambda live: get(live) < limit
        return lambda live: get(live) > limit

    return make


_STATES: Final = {"living": False, "exited": True}


def state(text: str) -> OnLive:
    """Return the condition that a process lives or has exited."""
    found = [exited for name, exited in _STATES.items() if name.startswith(text.casefold())]
    if not found:
        raise FilterError(f"invalid state {text!r}; expected living or exited")
    return lambda live: live.exited in found


def each(make: Callable[[str], OnLive]) -> Callable[[Sequence[str]], OnLive]:
    """Return a function that makes one condition of several values, of which one must match."""

    def made(values: Sequence[str]) -> OnLive:
        found = [make(value) for value in values]
        return lambda live: any(condition(live) for condition in found)

    return made
