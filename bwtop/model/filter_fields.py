"""The fields of the filter language: one table. A flag or a typed word makes a term of one of them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from bwtop.model import conditions
from bwtop.model.conditions import Loopback
from bwtop.model.filter import Filter, FilterField
from bwtop.model.flows import Remote, format_address
from bwtop.model.ledger import CLASSES, Process
from bwtop.model.named import REMOTE_NAME


def _of_key(process: Process) -> Iterable[str]:
    return [str(process.key.pid)] if process.key and process.key.pid is not None else []


def _of_identity(*names: str) -> Callable[[Process], Iterable[str]]:
    """Return the function of a process that has the known properties of its identity."""
    return lambda process: filter(None, (getattr(process.identity, name) for name in names))


def _of_remotes(text: Callable[[Remote], str]) -> Callable[[Process], Iterable[str]]:
    """Return the function of a process that has a text of each of its remotes."""
    return lambda process: map(text, list(process.flows))


FIELDS: Final = (
    FilterField("pid", "process id", process=conditions.of_pids, seen=_of_key),
    FilterField(
        "user",
        "user name, with * as wildcard, or uid",
        process=conditions.any_of(conditions.user),
        needs=("uid", "user"),
        seen=_of_identity("user"),
    ),
    FilterField(
        "process",
        "process name, with * as wildcard",
        process=conditions.any_of(conditions.name),
        needs=("name",),
        seen=_of_identity("name"),
    ),
    FilterField(
        "name",
        "name of the remote, with * as wildcard; without a dot, of the process too",
        process=conditions.any_of(conditions.old_name),
        remote=conditions.any_of(conditions.remote_name),
        needs=("name", "address", REMOTE_NAME),
    ),
    FilterField(
        "exe",
        "part of the path of the program",
        process=conditions.part_of(lambda i: i.exe),
        needs=("exe",),
        seen=_of_identity("exe"),
    ),
    FilterField("cmd", "part of the command line", process=conditions.part_of(lambda i: i.cmdline)),
    FilterField(
        "unit",
        "part of a unit, container or pod",
        process=conditions.part_of(conditions.placement),
        needs=("unit", "container", "pod"),
        seen=_of_identity("unit", "container", "pod"),
    ),
    FilterField(
        "container",
        "container name or id, with * as wildcard",
        process=conditions.any_of(conditions.container),
        needs=("container",),
        seen=_of_identity("container_name", "container"),
    ),
    FilterField(
        "remote",
        "address, network or part of a name, also with :port",
        remote=conditions.any_of(conditions.remote),
        needs=("address", "port", REMOTE_NAME),
        seen=_of_remotes(lambda remote: format_address(remote.address)),
    ),
    FilterField(
        "port",
        "service port or range such as 8000-8999",
        remote=conditions.any_of(conditions.port),
        needs=("port",),
        seen=_of_remotes(lambda remote: str(remote.port)),
    ),
    FilterField(
        "proto",
        "tcp, udp, other or a name such as icmp",
        remote=conditions.any_of(conditions.protocol),
        category=conditions.classes,
        needs=("protocol",),
        words=conditions.PROTOCOLS,
    ),
    FilterField(
        "role",
        "client or server",
        remote=conditions.any_of(conditions.role),
        needs=("role",),
        words=("client", "server"),
    ),
    FilterField(
        "loopback",
        "hide, only or show: traffic to and from 127.0.0.0/8 and ::1",
        remote=conditions.loopbacks,
        category=conditions.any_of(conditions.loopback),
        needs=("address",),
        words=tuple(Loopback),
    ),
    FilterField(
        "net",
        "internet, lan, multicast, loopback, or a network of the configuration",
        by_host=conditions.network_classes,
        needs=("address", "net"),
    ),
    FilterField(
        "asn",
        "autonomous system: its number, or part of its name; with --asn-db",
        remote=conditions.asn,
        needs=("address",),
    ),
    FilterField(
        "country",
        "country, such as DE; with --country-db",
        remote=conditions.country,
        needs=("address",),
    ),
    FilterField(
        "rate",
        "bytes per second of the process, such as >1M",
        live=conditions.each(conditions.amount(lambda live: live.rate)),
    ),
    FilterField(
        "total",
        "bytes of the process since the start, such as >1G",
        live=conditions.each(conditions.amount(lambda live: live.total)),
    ),
    FilterField(
        "state",
        "living or exited",
        live=conditions.each(conditions.state),
        words=("living", "exited"),
    ),
)
"""All fields; several values of one, separated by commas, are alternatives."""

HOST: Final = FilterField(
    "host",
    "host name, with * as wildcard, or host id or its first 8 digits",
    process=conditions.any_of(conditions.host),
    needs=("host",),
    seen=lambda process: [process.identity.host.label] if process.identity.host else [],
)

RECORDED: Final = (*(one for one in FIELDS if one.needs), HOST)
"""The fields that the history supports, and `host`, which live rows of one host lack."""

WORD: Final = FilterField(
    "",
    "part of a name, command line, program, user, unit, container, pod or remote",
    process=conditions.part_of(conditions.texts),
    remote=conditions.any_of(conditions.remote_text),
    needs=("name", "exe", "uid", "user", "unit", "container", "pod", "address", REMOTE_NAME),
)
"""A word without a field."""


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
