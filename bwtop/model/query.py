"""The filter that users type: terms that must all match, such as `curl port:443 -remote:10.0.0.0/8`."""

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from bwtop.model.filter import parse_network
from bwtop.model.flows import (
    PROTOCOL_NAMES,
    UNATTRIBUTED,
    Identity,
    ProcessKey,
    Remote,
    Role,
    format_address,
    parse_address,
    protocol_class,
    protocol_name,
)
from bwtop.model.ledger import CLASSES

HostNames = Callable[[bytes], str | None]
"""The name of a packed address; None if unknown."""

OnProcess = Callable[[ProcessKey, Identity], bool]
OnRemote = Callable[[Remote, str | None], bool]
"""A condition on a remote and its name, if known."""


class QueryError(ValueError):
    """An invalid filter; the text gives the reason."""


@dataclass(frozen=True)
class Field:
    """A word before a colon; `parse` raises QueryError for an invalid value."""

    name: str
    help: str
    parse: Callable[[str], OnProcess] | None = None
    parse_remote: Callable[[str], OnRemote] | None = None
    recorded: bool = True
    """True if the history has it."""


@dataclass(frozen=True)
class Term:
    """One condition. A flow meets it if its process or its remote does; the reverse if negated."""

    process: OnProcess | None
    remote: OnRemote | None
    negated: bool = False

    def of_process(self, key: ProcessKey, identity: Identity) -> bool | None:
        """Return True if all flows of a process meet it, False if none does, None if it depends on the remote."""
        if self.process and self.process(key, identity):
            return not self.negated
        return None if self.remote else self.negated

    def of_remote(self, remote: Remote, host: str | None) -> bool:
        """Return True if a remote meets a term that depends on it."""
        return (self.remote is not None and self.remote(remote, host)) != self.negated


@dataclass(frozen=True)
class Query:
    """Terms that a flow must all meet."""

    terms: tuple[Term, ...] = ()

    def undecided(self, key: ProcessKey, identity: Identity) -> tuple[Term, ...] | None:
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
        """Return True if a recorded flow passes; its pid and host name are unknown."""
        terms = self.undecided(UNATTRIBUTED, identity)
        return terms is not None and all(term.of_remote(remote, None) for term in terms)


def _contains(text: str, get: Callable[[Identity], str | None]) -> OnProcess:
    wanted = text.casefold()
    return lambda _, identity: wanted in (get(identity) or "").casefold()


def _matches(pattern: str, value: str | None) -> bool:
    return value is not None and fnmatchcase(value.casefold(), pattern.casefold())


def _user(text: str) -> OnProcess:
    if re.fullmatch(r"[0-9]{1,10}", text, re.ASCII):
        return lambda _, identity: identity.uid == int(text)
    return lambda _, identity: _matches(text, identity.user)


def _name(text: str) -> OnProcess:
    return lambda _, identity: _matches(text, identity.name)


def _host(text: str) -> OnProcess:
    return lambda _, identity: (
        identity.host is not None
        and (_matches(text, identity.host.name) or identity.host.id == text)
    )


def _placement(identity: Identity) -> str:
    return "\n".join(filter(None, (identity.unit, identity.container, identity.pod)))


def _number(text: str, most: int, noun: str) -> int:
    if re.fullmatch(r"[0-9]{1,10}", text, re.ASCII) and int(text) <= most:
        return int(text)
    raise QueryError(f"{text!r} is not {noun}")


def _pid(text: str) -> OnProcess:
    wanted = _number(text, (1 << 32) - 1, "a process id")
    return lambda key, _: key.pid == wanted


def _port(text: str) -> OnRemote:
    first, dash, last = text.partition("-")
    low = _number(first, 65535, "a port")
    high = _number(last, 65535, "a port") if dash and last else low
    return lambda remote, _: low <= remote.port <= high


def _protocol(text: str) -> OnRemote:
    wanted = text.casefold()
    names = sorted({*CLASSES, *PROTOCOL_NAMES.values()})
    if not any(name.startswith(wanted) for name in names) and not _NUMBERED.fullmatch(wanted):
        raise QueryError(f"no protocol {text!r}; there are {', '.join(names)}")
    return lambda remote, _: (
        wanted
        in (
            protocol_name(remote.protocol),
            protocol_class(remote.protocol),
        )
    )


_NUMBERED: Final = re.compile(r"i|ip|ip-[0-9]*")
"""The names of protocols without a name here."""


def _role(text: str) -> OnRemote:
    roles = [role for role in Role if role.name.lower().startswith(text.casefold())]
    if not roles:
        raise QueryError(f"no role {text!r}; there are client and server")
    return lambda remote, _: remote.role in roles


def _remote(text: str) -> OnRemote:
    """Match an address, a network, or part of an address or name."""
    try:
        network = parse_network(text)
    except ValueError:
        if "/" in text and re.fullmatch(r"[0-9a-fA-F.:]+/[0-9]+", text):
            raise QueryError(f"{text!r} is not a network") from None
        return _remote_text(text)
    if network.prefixlen == network.max_prefixlen:
        packed = network.network_address.packed
        packed = packed if len(packed) == 16 else bytes(10) + b"\xff\xff" + packed
        return lambda remote, _: remote.address == packed
    return lambda remote, _: _is_in(network, remote.address)


def _is_in(network: ipaddress.IPv4Network | ipaddress.IPv6Network, packed: bytes) -> bool:
    address = parse_address(packed)
    return address is not None and address in network


def _remote_text(text: str) -> OnRemote:
    wanted = text.casefold()
    return lambda remote, host: (
        wanted in format_address(remote.address) or (host is not None and wanted in host.casefold())
    )


FIELDS: Final = (
    Field("pid", "process id", parse=_pid, recorded=False),
    Field("user", "user name, with * as wildcard, or uid", parse=_user),
    Field("name", "process name, with * as wildcard", parse=_name),
    Field("exe", "part of the path of the program", parse=lambda t: _contains(t, lambda i: i.exe)),
    Field(
        "cmd",
        "part of the command line",
        parse=lambda t: _contains(t, lambda i: i.cmdline),
        recorded=False,
    ),
    Field("unit", "part of a unit, container or pod", parse=lambda t: _contains(t, _placement)),
    Field("remote", "address, network or part of a name", parse_remote=_remote),
    Field("port", "service port or range such as 8000-8999", parse_remote=_port),
    Field("proto", "tcp, udp, other or a name such as icmp", parse_remote=_protocol),
    Field("role", "client or server", parse_remote=_role),
)
"""All fields; several values of one, separated by commas, are alternatives."""

HOST: Final = Field("host", "host name, with * as wildcard, or host id", parse=_host)

RECORDED: Final = (*(field for field in FIELDS if field.recorded), HOST)
"""The fields that the history supports, and `host`, which live rows of one host lack."""

_TERM: Final = re.compile(r'(-?)((?:[^\s"]|"[^"]*(?:"|$))+)')
"""Words between blanks; quotes protect blanks."""

_FIELD: Final = re.compile(r"([A-Za-z]+):(.*)", re.DOTALL)

_ADDRESS: Final = re.compile(r"[0-9A-Fa-f:.]+")
"""An IPv6 address or the start of one, such as dead:beef::1, rather than a field."""


def parse(text: str, fields: Sequence[Field] = FIELDS) -> Query:
    """Return the query of a typed text; raise QueryError. An incomplete term such as `port:` is ignored."""
    return Query(tuple(_terms(text, {field.name: field for field in fields})))


def _terms(text: str, fields: Mapping[str, Field]) -> Iterator[Term]:
    for found in _TERM.finditer(text):
        word = found[2].replace('"', "")
        if word in ("", "-"):
            continue
        negated = found[1] == "-"
        quoted = found[2].startswith('"')
        named = None if quoted or _ADDRESS.fullmatch(word) else _FIELD.fullmatch(word)
        if not named or (named[2].startswith(":") and named[1].lower() not in fields):
            yield Term(_anywhere(word), _remote_text(word), negated)
        elif named[2].strip(","):
            yield _of_field(fields, named[1].lower(), named[2], negated=negated)


def _anywhere(word: str) -> OnProcess:
    wanted = word.casefold()
    return lambda _, identity: wanted in haystack(identity)


def haystack(identity: Identity) -> str:
    """Return the text that plain words are searched in."""
    texts = (identity.name, identity.cmdline, identity.exe, identity.user, _placement(identity))
    return "\n".join(filter(None, texts)).casefold()


def _of_field(fields: Mapping[str, Field], name: str, values: str, *, negated: bool) -> Term:
    field = fields.get(name)
    if field is None:
        raise QueryError(f"no field {name!r}; there are {', '.join(fields)}")
    parts = [part for part in values.split(",") if part]
    of_process = [field.parse(part) for part in parts] if field.parse else []
    of_remote = [field.parse_remote(part) for part in parts] if field.parse_remote else []
    return Term(
        (lambda key, identity: any(meets(key, identity) for meets in of_process))
        if of_process
        else None,
        (lambda remote, host: any(meets(remote, host) for meets in of_remote))
        if of_remote
        else None,
        negated,
    )


def spell(values: Mapping[str, Iterable[object] | None]) -> str:
    """Return fields and their alternatives as a typed filter."""
    terms = []
    for name, wanted in values.items():
        if wanted:
            joined = ",".join(str(value).replace('"', "?") for value in wanted)
            terms.append(f'{name}:"{joined}"' if re.search(r"\s", joined) else f"{name}:{joined}")
    return " ".join(terms)
