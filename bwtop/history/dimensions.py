"""Dimensions to group by: the table behind --by."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from bwtop.history.boundaries import Span
from bwtop.history.calendar import Unit
from bwtop.model import geography, networks
from bwtop.model.conversations import Peers
from bwtop.model.flows import (
    Identity,
    Remote,
    Role,
    format_address,
    is_loopback,
    protocol_name,
)
from bwtop.model.named import REMOTE_NAME, RemoteName
from bwtop.text.domains import registrable
from bwtop.text.invalid import invalid

Label = str | int | bool | Remote | None


@dataclass(frozen=True)
class Dimension:
    """A dimension to group by: a property of flows, or a unit of time."""

    name: str
    help: str
    fields: tuple[str, ...]
    """Names of its labels in JSON and CSV; together they identify a group."""
    of_flow: Callable[[Identity, Remote], tuple[Label, ...]] | None = None
    of_name: Callable[[str], str] | None = None
    """For a dimension of the recorded name of the remote; a remote without one is labelled with its address."""
    unit: Unit | None = None
    """For a dimension of time: its label is the start of the unit, in local time.

    Where only longer spans are left, the label is that of the longer unit: the day in place of the hour.
    """
    needs: tuple[str, ...] = ()
    """Properties in ENDS that its labels depend on, and REMOTE_NAME."""


OF_REMOTE: Final = ("protocol", "role", "port", "address")

ENDS: Final = (
    *("host", "name", "exe", "uid", "user", "unit", "container", "pod", "kernel"),
    *OF_REMOTE,
)
"""Recorded properties of a flow: of its process, and of its remote."""

NET: Final = "net"
"""The need of all that depends on the class of the remote: a store of several hosts adds the host where they differ."""


def _container(identity: Identity, _: Remote) -> tuple[Label, ...]:
    """Return the name and runtime of a container, and its id only where it has no name: one is started anew under another."""
    if identity.container is None:
        return None, None, None
    runtime = identity.container.partition(":")[0]
    return identity.container_name, runtime, None if identity.container_name else identity.container


DIMENSIONS: Final = (
    Dimension(
        "process",
        "name, program and user",
        ("name", "exe", "uid", "kernel"),
        lambda i, _: (i.name, i.exe, i.uid, i.kernel),
        needs=("name", "exe", "uid", "kernel"),
    ),
    Dimension("exe", "program", ("exe",), lambda i, _: (i.exe,), needs=("exe",)),
    Dimension("user", "user", ("uid",), lambda i, _: (i.uid,), needs=("uid",)),
    Dimension(
        "process-name",
        "name of the process, whatever its program's path is",
        ("name",),
        lambda i, _: (i.name,),
        needs=("name",),
    ),
    Dimension(
        "unit",
        "systemd unit, container and pod",
        ("unit", "container", "pod", "container_name"),
        lambda i, _: (i.unit, i.container, i.pod, i.container_name),
        needs=("unit", "container", "pod"),
    ),
    Dimension(
        "container",
        "container, by the name that it had, else by its id",
        ("container_name", "runtime", "container_id"),
        _container,
        needs=("container",),
    ),
    Dimension(
        "host",
        "host that recorded it",
        ("hostname", "host_id"),
        lambda i, _: i.host or (None, None),
        needs=("host",),
    ),
    Dimension(
        "remote",
        "remote address",
        ("addr", "loopback"),
        lambda _, r: (format_address(r.address), is_loopback(r.address)),
        needs=("address",),
    ),
    Dimension(
        "net",
        "internet, lan, multicast, loopback, or a network of the configuration",
        ("net",),
        lambda i, r: (networks.current().of(r.address, i.host),),
        needs=("address", NET),
    ),
    Dimension(
        "asn",
        "autonomous system of the remote address, with --asn-db",
        ("asn",),
        lambda _, r: (geography.current().asn(r.address),),
        needs=("address",),
    ),
    Dimension(
        "country",
        "country of the remote address, with --country-db",
        ("country",),
        lambda _, r: (geography.current().country(r.address),),
        needs=("address",),
    ),
    Dimension(
        "name",
        "name of the remote as the process asked for it, else its address",
        ("remote_name",),
        of_name=lambda name: name,
        needs=("address", REMOTE_NAME),
    ),
    Dimension(
        "domain",
        "registered domain of that name, such as example.co.uk of www.example.co.uk",
        ("domain",),
        of_name=registrable,
        needs=("address", REMOTE_NAME),
    ),
    Dimension(
        "peer-host",
        "host that the remote address belongs to, if it sends to the same ClickHouse",
        ("peer_hostname", "peer_host_id"),
        lambda _, __: (None, None),
        needs=("address",),
    ),
    Dimension(
        "conversation",
        "both ends of a connection, counted once: at the client's end, if that host sends to the same ClickHouse",
        ("client_host", "client_process", "server_host", "server_process", "port", "proto"),
        lambda i, r: (
            None,
            i.name,
            format_address(r.address),
            None,
            r.port,
            protocol_name(r.protocol),
        ),  # see ends
        needs=("host", "name", *OF_REMOTE),
    ),
    Dimension(
        "proto",
        "protocol",
        ("proto",),
        lambda _, r: (protocol_name(r.protocol),),
        needs=("protocol",),
    ),
    Dimension(
        "port",
        "service port, and the role of the process: client or server",
        ("port", "role"),
        lambda _, r: (r.port, Role(r.role).name.lower()),
        needs=("port", "role"),
    ),
    Dimension("hour", "local hour", ("hour",), unit=Unit.HOUR),
    Dimension("day", "local day", ("day",), unit=Unit.DAY),
    Dimension("month", "local month", ("month",), unit=Unit.MONTH),
)

ENDPOINT: Final = Dimension(
    "endpoint", "", ("endpoint",), lambda _, r: (r,), needs=("protocol", "role", "port", "address")
)
"""Remote, port, role and protocol in one label: for tables, which format it themselves."""

DOMAIN: Final = next(one for one in DIMENSIONS if one.name == "domain")

PEER: Final = next(one for one in DIMENSIONS if one.name == "peer-host")


CONVERSATION: Final = next(one for one in DIMENSIONS if one.name == "conversation")


def with_peers(by: Sequence[Dimension], peers: Callable[[], Peers]) -> list[Dimension]:
    """Return the dimensions so that remotes which are known hosts are labelled with them."""
    if PEER not in by:
        return list(by)
    known = peers()
    bound = replace(PEER, of_flow=lambda _, remote: known.get(remote.address) or (None, None))
    return [bound if dimension is PEER else dimension for dimension in by]


TIMES: Final = frozenset(d.name for d in DIMENSIONS if d.unit)


def parse(text: str) -> Dimension:
    """Return the dimension of a name; raise ValueError, with the known names, for another."""
    for dimension in DIMENSIONS:
        if dimension.name == text:
            return dimension
    raise invalid("group", text, ", ".join(dimension.name for dimension in DIMENSIONS))


def parse_several(text: str) -> list[Dimension]:
    """Return the dimensions of comma-separated names; raise ValueError for an unknown or repeated name."""
    found = [parse(part.strip()) for part in text.split(",")]
    for dimension in found:
        if found.count(dimension) > 1:
            raise invalid("groups", text, f"{dimension.name} only once")
    return found


def lacking(dimension: Dimension) -> str:
    """Return what a dimension requires and does not have, in words; empty: nothing."""
    known = geography.current()
    is_there = {"asn": known.has_asn, "country": known.has_country}
    name = dimension.name
    return (
        "" if is_there.get(name, True) else f"{name} requires --{name}-db PATH, a MaxMind DB file"
    )


def fields(by: Sequence[Dimension]) -> list[str]:
    """Return the names of all labels of a row."""
    return [name for dimension in by for name in dimension.fields]


def needed(by: Sequence[Dimension]) -> frozenset[str]:
    """Return the properties in ENDS that the labels of a row depend on."""
    return frozenset(name for dimension in by for name in dimension.needs)


def finest(by: Sequence[Dimension]) -> Unit | None:
    """Return the shortest unit of time among the dimensions; None: there is no dimension of time."""
    return shortest({dimension.unit for dimension in by})


def shortest(units: Collection[Unit | None]) -> Unit | None:
    """Return the shortest of some units; None: there is none."""
    return next((unit for unit in Unit if unit in units), None)


def labels(
    by: Sequence[Dimension],
    who: Identity,
    remote: Remote,
    when: Span | None,
    name: RemoteName | None = None,
) -> tuple[Label, ...]:
    """Return the labels of a flow's group; `when` is for dimensions of time, `name` the recorded name of its remote."""
    found: list[Label] = []
    for dimension in by:
        if dimension.of_flow:
            found += dimension.of_flow(who, remote)
        elif dimension.of_name:
            found.append(dimension.of_name(name.name) if name else format_address(remote.address))
        elif dimension.unit and when is not None:
            unit = when.shown_by(dimension.unit)
            found.append(label_of(unit, when.place(unit)))
    return tuple(found)


def label_of(unit: Unit, start: float) -> str:
    """Return the label of a unit: its month, its date, or its start."""
    text = local_iso(start)
    return {Unit.MONTH: text[:7], Unit.DAY: text[:10]}.get(unit, text)


def moment(label: str) -> float:
    """Return the start of a label of time, in UTC seconds; as text, repeated hours (DST) would sort wrongly."""
    missing = "-01" if len(label) == len("2026-11") else ""
    return datetime.fromisoformat(label + missing).timestamp()


def local_iso(when: float) -> str:
    """Format a time in ISO 8601 with the local UTC offset, to the second."""
    return datetime.fromtimestamp(when).astimezone().isoformat(timespec="seconds")
