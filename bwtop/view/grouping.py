"""The properties of groups of processes: the one that they are grouped by, and those that they share."""

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Final

from bwtop.model.flows import Identity
from bwtop.model.geography import current
from bwtop.model.ledger import Flow


class Grouping(StrEnum):
    """The property that the rows of the top level stand for."""

    PROCESS = "process"
    EXECUTABLE = "executable"
    USER = "user"
    UNIT = "unit"
    REMOTE = "remote"
    NET = "net"
    ASN = "asn"
    COUNTRY = "country"
    CONTAINER = "container"
    HOST = "host"
    CONVERSATION = "conversation"


OF_FLEETS: Final = frozenset({Grouping.HOST, Grouping.CONVERSATION})
"""Groupings of several hosts."""


def groupings(*, fleet: bool) -> list[Grouping]:
    """Return the groupings that there is something to tell of: of several hosts, and of databases in use."""
    left_out = {
        **dict.fromkeys(OF_FLEETS, not fleet),
        Grouping.ASN: not current().has_asn,
        Grouping.COUNTRY: not current().has_country,
    }
    return [one for one in Grouping if not left_out.get(one)]


def _executable(identity: Identity) -> str:
    if identity.exe:
        return identity.exe
    return f"[{identity.name}]" if identity.kernel else identity.name


def _user(identity: Identity) -> str:
    return identity.user or ("(no user)" if identity.uid is None else str(identity.uid))


def _unit(identity: Identity) -> str:
    return identity.container_label or identity.unit or "(no unit)"


def _container(identity: Identity) -> str:
    return identity.container_label or "(no container)"


def _host(identity: Identity) -> str:
    return identity.host.label or identity.host.id if identity.host else "(this machine)"


def _host_id(identity: Identity) -> str:
    return identity.host.id if identity.host else ""


LABELS: Final[dict[Grouping, Callable[[Identity], str]]] = {
    Grouping.EXECUTABLE: _executable,
    Grouping.USER: _user,
    Grouping.UNIT: _unit,
    Grouping.CONTAINER: _container,
    Grouping.HOST: _host,
}

KEYS: Final = {**LABELS, Grouping.HOST: _host_id}
"""The common property of a group: its label, or the id of a host, because host names may repeat."""

OF_FLOW: Final[dict[Grouping, Callable[[Flow], str]]] = {
    Grouping.NET: lambda flow: flow.net,
    Grouping.ASN: lambda flow: current().asn(flow.remote.address) or "(unknown)",
    Grouping.COUNTRY: lambda flow: current().country(flow.remote.address) or "(unknown)",
}
"""The common property of flows in groups that a process can be in several of."""

_SHARED: Final = (
    *("uid", "exe", "user", "unit", "container", "container_name", "image", "pod"),
    *("kernel", "host"),
)
"""Properties that a group has if all its processes do."""


def common(label: str, identities: list[Identity]) -> Identity:
    """Return the identity of a group: the properties that all its processes share."""
    first = identities[0]
    if len(identities) == 1:
        return replace(first, name=label)
    shared = {
        name: getattr(first, name)
        for name in _SHARED
        if all(getattr(other, name) == getattr(first, name) for other in identities)
    }
    return Identity(label, **shared)
