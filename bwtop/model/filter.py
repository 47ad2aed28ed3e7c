"""The filter language: terms that a flow must all meet, such as `curl port:443 -remote:10.0.0.0/8`.

Typed filters and filter flags make the same terms: `--process NAME` is `name:NAME`, `--tcp` is `proto:tcp`.
"""

import dataclasses
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import translate
from typing import Final, TypeVar

from bwtop.model.flows import (
    PROTOCOL_NAMES,
    UNKNOWN_ADDRESS,
    UNKNOWN_IDENTITY,
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
from bwtop.model.ledger import CATEGORIES, CLASSES, Category
from bwtop.model.sample import Sample

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

HostNames = Callable[[bytes], str | None]
"""Return the name of a packed address; None if unknown."""

OnProcess = Callable[[ProcessKey | None, Identity], bool]
"""A condition on a process; the key is None where the pid is unknown."""
OnRemote = Callable[[Remote, HostNames], bool]
OnCategory = Callable[[str, bool], bool]
"""A condition on the class of a protocol and on whether the remote is loopback."""

A = TypeVar("A")
B = TypeVar("B")


class FilterError(ValueError):
    """An invalid filter; the text says why and what to type."""


class Loopback(StrEnum):
    """The treatment of flows with a remote in 127.0.0.0/8 or ::1."""

    SHOW = "show"
    HIDE = "hide"
    ONLY = "only"


@dataclass(frozen=True)
class FilterField:
    """A word before a colon. Its functions make conditions of alternative values; they raise FilterError."""

    name: str
    help: str
    process: Callable[[Sequence[str]], OnProcess] | None = None
    remote: Callable[[Sequence[str]], OnRemote] | None = None
    category: Callable[[Sequence[str]], OnCategory | None] | None = None
    """Makes the same condition as `remote` by category; None if a value needs more than that."""
    needs: tuple[str, ...] = ()
    """Properties in history.dimensions.ENDS that it depends on; empty: no recorded flow has it."""

    def term(self, values: Iterable[object], *, negated: bool = False) -> "Term":
        """Return the term of alternative values; raise FilterError."""
        texts = tuple(map(str, values))
        return Term(
            self,
            texts,
            negated,
            self.process(texts) if self.process else None,
            self.remote(texts) if self.remote else None,
            self.category(texts) if self.category else None,
        )


@dataclass(frozen=True)
class Term:
    """One condition. A flow meets it if its process or its remote does; the reverse if negated."""

    field: FilterField
    values: tuple[str, ...]
    negated: bool
    process: OnProcess | None = dataclasses.field(compare=False, repr=False)
    remote: OnRemote | None = dataclasses.field(compare=False, repr=False)
    category: OnCategory | None = dataclasses.field(compare=False, repr=False)

    def of_process(self, key: ProcessKey | None, identity: Identity) -> bool | None:
        """Return True if all flows of a process meet it, False if none does, None if it depends on the remote."""
        if self.process and self.process(key, identity):
            return not self.negated
        return None if self.remote else self.negated

    def of_remote(self, remote: Remote, names: HostNames) -> bool:
        """Return True if a remote meets a term that depends on it."""
        return (self.remote is not None and self.remote(remote, names)) != self.negated

    def of_category(self, name: str, *, loopback: bool) -> bool:
        """Return True if flows of a category may meet it."""
        return self.category is None or self.category(name, loopback) != self.negated

    def takes(self, identity: Identity, remote: Remote) -> bool:
        """Return True if a recorded flow meets it; its pid and the name of its remote are unknown."""
        if self.process and self.process(None, identity):
            return not self.negated
        return (self.remote is not None and self.remote(remote, no_names)) != self.negated

    def spell(self) -> str:
        """Return the term as it is typed; `?` stands for a quote, which cannot be typed."""
        joined = ",".join(self.values).replace('"', "?")
        sign = "-" if self.negated else ""
        if not self.field.name:
            return f'{sign}"{joined}"'
        quote = '"' if re.search(r"\s", joined) else ""
        return f"{sign}{self.field.name}:{quote}{joined}{quote}"


@dataclass(frozen=True)
class Filter:
    """Terms that a flow must all meet; an empty filter passes every flow."""

    terms: tuple[Term, ...] = ()

    def __and__(self, other: "Filter") -> "Filter":
        """Return the filter that passes what both pass."""
        return Filter(self.terms + other.terms)

    def only(self, *names: str) -> "Filter":
        """Return the filter of the terms of some fields."""
        return Filter(tuple(term for term in self.terms if term.field.name in names))

    def without(self, *names: str) -> "Filter":
        """Return the filter of the terms of all other fields."""
        return Filter(tuple(term for term in self.terms if term.field.name not in names))

    def spell(self) -> str:
        """Return the filter as it is typed."""
        return " ".join(term.spell() for term in self.terms)

    def needs(self) -> frozenset[str]:
        """Return the properties in history.dimensions.ENDS that it depends on."""
        return frozenset(name for term in self.terms for name in term.field.needs)

    def categories(self) -> frozenset[Category]:
        """Return the categories whose flows may pass."""
        return frozenset(
            of
            for of, (name, loopback) in CATEGORIES.items()
            if all(term.of_category(name, loopback=loopback) for term in self.terms)
        )

    @property
    def is_of_categories(self) -> bool:
        """True if all flows of its categories pass."""
        return all(term.category for term in self.terms)

    def undecided(self, key: ProcessKey | None, identity: Identity) -> tuple[Term, ...] | None:
        """Return the terms that depend on the remotes of a process; None if none of its flows can pass."""
        open_terms = []
        for term in self.terms:
            verdict = term.of_process(key, identity)
            if verdict is False:
                return None
            if verdict is None:
                open_terms.append(term)
        return tuple(open_terms)

    def takes(self, identity: Identity, remote: Remote) -> bool:
        """Return True if a recorded flow passes; its pid and the name of its remote are unknown."""
        return all(term.takes(identity, remote) for term in self.terms)

    def takes_host(self, host: Host) -> bool:
        """Return True if the terms on hosts pass flows of a host."""
        identity = Identity("", host=host)
        return self.only(HOST.name).undecided(None, identity) is not None

    def apply(self, sample: Sample) -> Sample:
        """Return the sample with the flows that pass; losses stay, because they belong to no single flow."""
        if not self.terms:
            return sample
        kept = {}
        for key, remotes in sample.traffic.items():
            terms = self.undecided(key, sample.identities.get(key, UNKNOWN_IDENTITY))
            if terms is None:
                continue
            passing = remotes
            for term in terms:
                meets, negated = term.remote, term.negated
                assert meets, "or the process would decide"
                passing = {r: t for r, t in passing.items() if meets(r, no_names) != negated}
            if passing:
                kept[key] = passing
        return replace(sample, traffic=kept)


EVERYTHING: Final = Filter()
"""The filter that passes every flow."""


def no_names(_: bytes) -> None:
    """Return None: the name of the address is unknown."""


# Conditions.


def _any(
    make: Callable[[str], Callable[[A, B], bool]],
) -> Callable[[Sequence[str]], Callable[[A, B], bool]]:
    """Return a function that makes one condition of several values, of which one must match."""

    def made(values: Sequence[str]) -> Callable[[A, B], bool]:
        conditions = [make(value) for value in values]
        if len(conditions) == 1:
            return conditions[0]
        return lambda a, b: any(condition(a, b) for condition in conditions)

    return made


def _part_of(get: Callable[[Identity], str | None]) -> Callable[[Sequence[str]], OnProcess]:
    """Return a function that makes conditions on parts of a text, without case."""

    def make(text: str) -> OnProcess:
        wanted = text.casefold()
        return lambda _, identity: wanted in (get(identity) or "").casefold()

    return _any(make)


def _pattern(text: str) -> Callable[[str | None], bool]:
    """Return a function that matches whole texts with a shell pattern, without case."""
    match = re.compile(translate(text.casefold())).match
    return lambda value: value is not None and match(value.casefold()) is not None


def _user(text: str) -> OnProcess:
    if _is_number(text):
        uid = int(text)
        return lambda _, identity: identity.uid == uid
    matches = _pattern(text)
    return lambda _, identity: matches(identity.user)


def _name(text: str) -> OnProcess:
    matches = _pattern(text)
    return lambda _, identity: matches(identity.name)


def _host(text: str) -> OnProcess:
    matches = _pattern(text)
    return lambda _, identity: (
        identity.host is not None and (matches(identity.host.name) or identity.host.id == text)
    )


def _placement(identity: Identity) -> str:
    return "\n".join(filter(None, (identity.unit, identity.container, identity.pod)))


def _texts(identity: Identity) -> str:
    """Return the text that plain words are searched in."""
    texts = (identity.name, identity.cmdline, identity.exe, identity.user, _placement(identity))
    return "\n".join(filter(None, texts))


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,10}", text, re.ASCII) is not None


def pids(values: Sequence[str]) -> frozenset[int]:
    """Return the values of the field `pid` as numbers; raise FilterError."""
    for text in values:
        if not _is_number(text) or int(text) >= 1 << 32:
            raise FilterError(f"invalid process id {text!r}; expected 0 to 4294967295")
    return frozenset(map(int, values))


def _pids(values: Sequence[str]) -> OnProcess:
    wanted = pids(values)
    return lambda key, _: key is not None and key.stored_pid in wanted


def _port(text: str) -> OnRemote:
    first, _, last = text.partition("-")
    if not all(_is_number(part) and int(part) < 1 << 16 for part in (first, last or first)):
        raise FilterError(
            f"invalid port {text!r}; expected 0 to 65535 or a range such as 8000-8999"
        )
    low, high = int(first), int(last or first)
    return lambda remote, _: low <= remote.port <= high


_PROTOCOLS: Final = sorted({*CLASSES, *PROTOCOL_NAMES.values()})

_UNNAMED: Final = re.compile(r"i|ip|ip-[0-9]*")
"""The names of protocols without a name here, and their beginnings."""


def _protocol(text: str) -> OnRemote:
    wanted = text.casefold()
    if not any(name.startswith(wanted) for name in _PROTOCOLS) and not _UNNAMED.fullmatch(wanted):
        raise FilterError(f"invalid protocol {text!r}; expected {', '.join(_PROTOCOLS)}")
    if wanted in CLASSES:
        return lambda remote, _: protocol_class(remote.protocol) == wanted
    return lambda remote, _: protocol_name(remote.protocol) == wanted


def _classes(values: Sequence[str]) -> OnCategory | None:
    wanted = {text.casefold() for text in values}
    return (lambda name, _: name in wanted) if wanted <= set(CLASSES) else None


def _role(text: str) -> OnRemote:
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


def _loopback(text: str) -> OnCategory:
    found = [choice for choice in _LOOPBACK if choice.startswith(text.casefold())]
    if not found:
        raise FilterError(f"invalid value {text!r}; expected hide, only or show")
    passing = _LOOPBACK[found[0]]
    return lambda _, loopback: loopback in passing


def _loopbacks(values: Sequence[str]) -> OnRemote:
    condition = _any(_loopback)(values)
    return lambda remote, _: condition("", is_loopback(remote.address))


def parse_network(text: str) -> Network:
    """Return an address or a network, v4-mapped ones as IPv4, as in flows; raise ValueError."""
    if "%" in text:
        raise ValueError("flows have no scope")
    network = ipaddress.ip_network(text, strict=False)
    if isinstance(network, ipaddress.IPv4Network) or network.prefixlen < 96:
        return network
    mapped = network.network_address.ipv4_mapped
    return ipaddress.ip_network(f"{mapped}/{network.prefixlen - 96}") if mapped else network


def _remote(text: str) -> OnRemote:
    """Match an address, a network, or part of an address or name."""
    try:
        return _within(parse_network(text))
    except ValueError:
        if re.fullmatch(r"[0-9a-fA-F.:]+/[0-9]+", text):
            raise FilterError(
                f"invalid network {text!r}; expected one such as 10.0.0.0/8 or 2001:db8::/32"
            ) from None
        return _remote_text(text)


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


def _remote_text(text: str) -> OnRemote:
    wanted = text.casefold()

    def matches(remote: Remote, names: HostNames) -> bool:
        if wanted in format_address(remote.address):
            return True
        name = names(remote.address)
        return name is not None and wanted in name.casefold()

    return matches


# Fields.

FIELDS: Final = (
    FilterField("pid", "process id", process=_pids),
    FilterField(
        "user", "user name, with * as wildcard, or uid", process=_any(_user), needs=("uid", "user")
    ),
    FilterField("name", "process name, with * as wildcard", process=_any(_name), needs=("name",)),
    FilterField(
        "exe", "part of the path of the program", process=_part_of(lambda i: i.exe), needs=("exe",)
    ),
    FilterField("cmd", "part of the command line", process=_part_of(lambda i: i.cmdline)),
    FilterField(
        "unit",
        "part of a unit, container or pod",
        process=_part_of(_placement),
        needs=("unit", "container", "pod"),
    ),
    FilterField(
        "remote", "address, network or part of a name", remote=_any(_remote), needs=("address",)
    ),
    FilterField(
        "port", "service port or range such as 8000-8999", remote=_any(_port), needs=("port",)
    ),
    FilterField(
        "proto",
        "tcp, udp, other or a name such as icmp",
        remote=_any(_protocol),
        category=_classes,
        needs=("protocol",),
    ),
    FilterField("role", "client or server", remote=_any(_role), needs=("role",)),
    FilterField(
        "loopback",
        "hide, only or show: traffic to and from 127.0.0.0/8 and ::1",
        remote=_loopbacks,
        category=_any(_loopback),
        needs=("address",),
    ),
)
"""All fields; several values of one, separated by commas, are alternatives."""

HOST: Final = FilterField(
    "host", "host name, with * as wildcard, or host id", process=_any(_host), needs=("host",)
)

RECORDED: Final = (*(one for one in FIELDS if one.needs), HOST)
"""The fields that the history supports, and `host`, which live rows of one host lack."""

_WORD: Final = FilterField(
    "",
    "part of a process name, program, user, unit or remote",
    process=_part_of(_texts),
    remote=_any(_remote_text),
    needs=("name", "exe", "uid", "user", "unit", "container", "pod", "address"),
)


def made(values: Mapping[str, Iterable[object] | None]) -> Filter:
    """Return the filter of fields and their alternative values, as the filter flags have them; raise FilterError."""
    known = {one.name: one for one in (*FIELDS, HOST)}
    return Filter(tuple(known[name].term(wanted) for name, wanted in values.items() if wanted))


def toggled(classes: Iterable[str], loopback: Loopback) -> Filter:
    """Return the filter of some classes of protocols, and of the treatment of loopback."""
    known = {one.name: one for one in FIELDS}
    shown = [name for name in CLASSES if name in set(classes)]
    terms = [] if len(shown) == len(CLASSES) else [known["proto"].term(shown)]
    if loopback is not Loopback.SHOW:
        terms.append(known["loopback"].term([loopback.value]))
    return Filter(tuple(terms))


# Typed filters.

_TERM: Final = re.compile(r'(-?)((?:[^\s"]|"[^"]*(?:"|$))+)')
"""Words between blanks; quotes protect blanks."""

_FIELD: Final = re.compile(r"([A-Za-z]+):(.*)", re.DOTALL)

_ADDRESS: Final = re.compile(r"[0-9A-Fa-f:.]+")
"""An IPv6 address or the start of one, such as dead:beef::1, rather than a field."""


def parse(text: str, fields: Sequence[FilterField] = FIELDS) -> Filter:
    """Return the filter of a typed text; raise FilterError. An incomplete term such as `port:` is ignored."""
    return Filter(tuple(_terms(text, {one.name: one for one in fields})))


def _terms(text: str, fields: Mapping[str, FilterField]) -> Iterator[Term]:
    for found in _TERM.finditer(text):
        word = found[2].replace('"', "")
        if word in ("", "-"):
            continue
        negated = found[1] == "-"
        quoted = found[2].startswith('"')
        named = None if quoted or _ADDRESS.fullmatch(word) else _FIELD.fullmatch(word)
        if not named or (named[2].startswith(":") and named[1].lower() not in fields):
            yield _WORD.term([word], negated=negated)
        elif values := [part for part in named[2].split(",") if part]:
            yield _field(named[1].lower(), fields).term(values, negated=negated)


def _field(name: str, fields: Mapping[str, FilterField]) -> FilterField:
    if name not in fields:
        raise FilterError(f"invalid field {name!r}; expected {', '.join(fields)}")
    return fields[name]
