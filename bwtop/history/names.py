"""Recorded names of remotes: which one a flow, or a row of a report, is shown with."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from bwtop.history.dimensions import ENDPOINT, OF_REMOTE, PEER, Dimension, Label
from bwtop.history.plan import Bounds
from bwtop.model.filter import Filter
from bwtop.model.flows import UNKNOWN_ADDRESS, Host, Identity, Remote, Role, pack_address
from bwtop.model.named import NameSource, RemoteName
from bwtop.model.remote_names import ALTERNATIVES
from bwtop.model.sample import Sample

RANKS: Final = {
    NameSource.SNI: 0,
    NameSource.HOST: 0,
    NameSource.DNS: 1,
    NameSource.HOST_DNS: 2,
}
"""The recorded sources, by how well they tell the name of a flow; of equal ones the latest name holds."""

HELD: Final = 3600.0
"""Seconds after it was last seen for which a name is one of several, as it is live."""


@dataclass(frozen=True, slots=True)
class SeenSpan:
    """A name of an address, and the span of time in which it was seen."""

    name: str
    source: NameSource
    port: int | None
    """None: the name is of all ports."""
    first: int
    """UTC seconds."""
    last: int
    who: Identity | None = None
    """The process that asked for it, with its host; None: unknown."""
    host: Host | None = None
    """The host that recorded it, also where the process is unknown."""


SeenNames = Mapping[bytes, Sequence[SeenSpan]]
"""Names by packed address."""


def best(seen: Iterable[tuple[SeenSpan, bool]], end: float) -> RemoteName | None:
    """Return the name that holds before a time, of names and whether the flow's own process has asked for each.

    What another process was told by DNS is worth less, and what it sent to the remote nothing.
    """
    found = min(_holding(seen, end), default=None)
    return RemoteName(found.name, found.source) if found else None


class _Holding(NamedTuple):
    """A name that holds before a time; of several the smallest is the best."""

    rank: int
    age: float
    """Minus the time when it was last seen before."""
    first: float
    """Minus the time when it was first seen."""
    name: str
    source: NameSource


def _holding(seen: Iterable[tuple[SeenSpan, bool]], end: float) -> Iterator[_Holding]:
    for one, is_own in seen:
        source = one.source if is_own else NameSource.HOST_DNS
        if one.first < end and (source is one.source or one.source is NameSource.DNS):
            yield _Holding(RANKS[source], -min(one.last, end), -one.first, one.name, source)


def names_of_flow(
    seen: Iterable[SeenSpan], who: Identity, remote: Remote, bounds: Bounds
) -> tuple[RemoteName, ...]:
    """Return the names of a flow within bounds of time, the best first: that of best(), and others seen shortly before."""
    port = remote.port if remote.role == Role.CLIENT else _NO_PORT
    program, host = _program(who), who.host and who.host.id

    def is_own(one: SeenSpan) -> bool:
        is_program = one.who is not None and _program(one.who) == program
        return is_program and one.port in (None, port)

    here = (one for one in seen if not (host and one.host) or one.host.id == host)
    start, end = bounds
    ranked = sorted(_holding(((one, is_own(one)) for one in here), end))
    names: dict[str, RemoteName] = {}
    for place, one in enumerate(ranked):
        if place == 0 or -one.age >= start - HELD:
            names.setdefault(one.name, RemoteName(one.name, one.source))
    return (*names.values(),)[:ALTERNATIVES]


def _program(who: Identity) -> tuple[object, ...]:
    """Return what tells the programs of a host apart."""
    of_container = (who.container, who.container_name, who.pod)
    return who.name, who.exe, who.uid, who.unit, *of_container, who.kernel


def add_names(sample: Sample, seen: SeenNames, bounds: Bounds) -> None:
    """Add the names that the remotes of a sample have within bounds of time."""
    for process, remotes in sample.traffic.items():
        who = sample.identities[process]
        for remote in remotes:
            known = seen.get(remote.address)
            if known and (names := names_of_flow(known, who, remote, bounds)):
                sample.named[process, remote] = names


Names = Callable[[Collection[bytes], float], SeenNames]
"""Return the names of some addresses that were first seen before a time (see store.HistoryStore)."""


class RowNames:
    """The names of the rows of an answer: of their process, host, port and name as far as their labels say them."""

    def __init__(self, names: Names, end: float, keep: Filter) -> None:
        """Make it; `end`: of the answer in UTC seconds, `keep`: its filter."""
        self._names, self._end, self._keep = names, end, keep

    def of(
        self, by: Sequence[Dimension], rows: Sequence[Sequence[Label]]
    ) -> list[RemoteName | None]:
        """Return the name of each row, given by its labels; None: it has no remote, or that has no name."""
        parts = [_parts(by, row) for row in rows]
        places = [_place(part) for part in parts]
        known = {address for address, _ in places if address}
        seen = self._names(known, self._end) if known else {}
        return [
            self._best(seen.get(address, ()), port, part) if address else None
            for (address, port), part in zip(places, parts, strict=True)
        ]

    def _best(
        self, seen: Sequence[SeenSpan], port: int | None, parts: "_Parts"
    ) -> RemoteName | None:
        of_process = [one for one in parts if one[0].of_flow and not _is_of_remote(one[0])]
        of_host = [one for one in of_process if one[0].name == "host"]
        of_name = [one for one in parts if one[0].of_name]

        def is_own(one: SeenSpan) -> bool:
            who = _who(one)
            is_possible = self._keep.undecided(None, who) is not None
            return is_possible and port in (None, one.port or port) and _fits(of_process, who)

        return best(
            (
                (one, is_own(one))
                for one in seen
                if _fits(of_host, _who(one)) and _is_called(of_name, one.name)
            ),
            self._end,
        )


_Parts = Sequence[tuple[Dimension, tuple[Label, ...]]]
"""The dimensions of a row, each with its labels."""

_NO_REMOTE: Final = Remote(0, 0, 0, UNKNOWN_ADDRESS)
_NO_PORT: Final = -1


def _parts(by: Sequence[Dimension], row: Sequence[Label]) -> _Parts:
    labels = iter(row)
    return [(one, tuple(islice(labels, len(one.fields)))) for one in by]


def _place(parts: _Parts) -> tuple[bytes | None, int | None]:
    """Return the address and port of a row; the port is None if it is any, and none at all if it is one of this host."""
    address: bytes | None = None
    port: int | None = None
    for one, labels in parts:
        if one is ENDPOINT and isinstance(labels[0], Remote):
            address = labels[0].address
            port = labels[0].port if labels[0].role == Role.CLIENT else _NO_PORT
        elif one.name == "remote":
            address = pack_address(str(labels[0]))
        elif one.name == "port":
            port = int(str(labels[0])) if labels[1] == Role.CLIENT.name.lower() else _NO_PORT
    return address, port


def _who(one: SeenSpan) -> Identity:
    """Return the process that asked for a name; an unknown one has a host alone."""
    return one.who or Identity("", host=one.host)


def _is_of_remote(one: Dimension) -> bool:
    return one.name == PEER.name or not frozenset(OF_REMOTE).isdisjoint(one.needs)


def _fits(parts: _Parts, who: Identity) -> bool:
    """Return whether a process has labels."""
    return all(one.of_flow and one.of_flow(who, _NO_REMOTE) == labels for one, labels in parts)


def _is_called(parts: _Parts, name: str) -> bool:
    """Return whether a name has labels."""
    return all(one.of_name and one.of_name(name) == labels[0] for one, labels in parts)
