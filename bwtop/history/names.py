"""Recorded names of remotes: which one a flow, or a row of a report, is shown with."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from bwtop.history.dimensions import ENDPOINT, OF_REMOTE, PEER, Dimension, Label
from bwtop.model.filter import Filter
from bwtop.model.flows import UNKNOWN_ADDRESS, Identity, Remote, Role, pack_address
from bwtop.model.named import NameSource, RemoteName

RANKS: Final = {
    NameSource.SNI: 0,
    NameSource.HOST: 0,
    NameSource.DNS: 1,
    NameSource.HOST_DNS: 2,
}
"""The recorded sources, by how well they tell the name of a flow; of equal ones the latest name holds."""


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


SeenNames = Mapping[bytes, Sequence[SeenSpan]]
"""Names by packed address."""


def best(seen: Iterable[tuple[SeenSpan, bool]], end: float) -> RemoteName | None:
    """Return the name that holds before a time, of names and whether the flow's own process has asked for each.

    What another process was told by DNS is worth less, and what it sent to the remote nothing.
    """
    found = []
    for one, is_own in seen:
        source = one.source if is_own else NameSource.HOST_DNS
        if one.first < end and (source is one.source or one.source is NameSource.DNS):
            found.append((RANKS[source], -min(one.last, end), -one.first, one.name, source))
    if not found:
        return None
    *_, name, source = min(found)
    return RemoteName(name, source)


Names = Callable[[Collection[bytes], float], SeenNames]
"""Return the names of some addresses that were first seen before a time (see store.HistoryStore)."""


class RowNames:
    """The names of the rows of an answer: of their process, host and port as far as their labels say them."""

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

        def is_own(one: SeenSpan) -> bool:
            who = one.who or _NOBODY
            is_possible = self._keep.undecided(None, who) is not None
            return is_possible and port in (None, one.port or port) and _fits(of_process, who)

        return best(
            ((one, is_own(one)) for one in seen if _fits(of_host, one.who or _NOBODY)), self._end
        )


_Parts = Sequence[tuple[Dimension, tuple[Label, ...]]]
"""The dimensions of a row, each with its labels."""

_NOBODY: Final = Identity("")
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


def _is_of_remote(one: Dimension) -> bool:
    return one.name == PEER.name or not frozenset(OF_REMOTE).isdisjoint(one.needs)


def _fits(parts: _Parts, who: Identity) -> bool:
    """Return whether a process has labels."""
    return all(one.of_flow and one.of_flow(who, _NO_REMOTE) == labels for one, labels in parts)
