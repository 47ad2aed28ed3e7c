"""The names of remotes that are known now, the best first."""

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from bwtop.model.flows import ProcessKey, Remote, Role
from bwtop.model.named import Learned, NameSource, RemoteName
from bwtop.model.sample import Sample

KNOWN: Final = 8192
"""Remotes of processes, and addresses, whose names are kept; beyond that the least recently used go."""

ALTERNATIVES: Final = 16
"""Names kept of each, the latest."""

RECORDED: Final = 16_384
"""Flows whose recorded names are kept; more than one reading has."""

Recorded = Mapping[tuple[ProcessKey, Remote], Sequence[RemoteName]]
"""Names of the remotes of flows, the best first, as a history has them."""

_Place = tuple[ProcessKey | None, bytes, int | None]
"""Process, address and port; None: any."""


class _Seen(NamedTuple):
    name: RemoteName
    until: float


class RemoteNames:
    """Names that were seen, here or by a recorder, and those of reverse DNS.  Other threads may read while one learns."""

    def __init__(
        self,
        reverse: Callable[[bytes], str | None] = lambda _: None,
        is_wanted: Callable[[], bool] = lambda: True,
        most: int = RECORDED,
    ) -> None:
        """reverse: returns the name of a packed address by reverse DNS; None if unknown.

        is_wanted: returns False while remotes are to have no names.

        most: the flows whose recorded names are kept; beyond that the least recently used go.
        """
        self.reverse = reverse
        self._is_wanted = is_wanted
        self._seen: OrderedDict[_Place, tuple[_Seen, ...]] = OrderedDict()
        self._recorded: OrderedDict[tuple[ProcessKey | None, Remote], Sequence[RemoteName]] = (
            OrderedDict()
        )
        self._most = most
        self._now = 0.0

    def of_past(self, recorded: Recorded) -> "RemoteNames":
        """Return the names of a moment of the past: those recorded of it, and those of reverse DNS now."""
        found = RemoteNames(self.reverse, self._is_wanted, max(len(recorded), 1))
        found.record(recorded)
        return found

    def advance(self, sample: Sample) -> None:
        """Take the names of an interval."""
        self.learn(sample.learned, sample.time.timestamp())
        self.record(sample.named)

    def record(self, recorded: Recorded) -> None:
        """Take recorded names of flows, in place of all that were known of them."""
        for flow, names in recorded.items():
            self._recorded[flow] = names
            self._recorded.move_to_end(flow)
        while len(self._recorded) > self._most:
            self._recorded.popitem(last=False)

    def learn(self, learned: Iterable[Learned], now: float) -> None:
        """Take names that were seen; now: in seconds of any clock."""
        self._now = now
        for one in learned:
            until = now + one.seconds
            self._keep((one.process, one.address, one.port), one.name, one.source, until)
            if one.source is NameSource.DNS:
                self._keep((None, one.address, None), one.name, NameSource.HOST_DNS, until)

    def _keep(self, place: _Place, name: str, source: NameSource, until: float) -> None:
        """Keep a name as the latest of its place."""
        others = (seen for seen in self._seen.pop(place, ()) if seen.name.name != name)
        latest = _Seen(RemoteName(name, source), until)
        self._seen[place] = (latest, *others)[:ALTERNATIVES]
        if len(self._seen) > KNOWN:
            self._seen.popitem(last=False)

    def of(self, process: ProcessKey | None, remote: Remote) -> Sequence[RemoteName]:
        """Return the names of a remote of a process, the best first; reverse DNS is asked if there is no better one."""
        if not self._is_wanted():
            return ()
        if found := self.seen(process, remote):
            return found
        name = self.reverse(remote.address)
        return (RemoteName(name, NameSource.REVERSE),) if name else ()

    def seen(self, process: ProcessKey | None, remote: Remote) -> Sequence[RemoteName]:
        """Return the names of a remote of a process that were seen, the best first."""
        if self._recorded and (recorded := self._recorded.get((process, remote))):
            with contextlib.suppress(KeyError):
                self._recorded.move_to_end((process, remote))
            return recorded
        names: dict[str, RemoteName] = {}
        for place in _places(process, remote):
            for found in self._seen.get(place, ()):
                if found.until > self._now:
                    names.setdefault(found.name.name, found.name)
                    with contextlib.suppress(KeyError):
                        self._seen.move_to_end(place)
        return (*names.values(),)

    def of_flows(self, flows: Iterable[tuple[ProcessKey | None, Remote]]) -> Sequence[RemoteName]:
        """Return the names that the first of some flows to one address has, the best first."""
        return next(filter(None, (self.of(*flow) for flow in flows)), ())


def _places(process: ProcessKey | None, remote: Remote) -> Iterator[_Place]:
    """Yield where to look for a remote's names, best first; the port of a server is its own."""
    if process:
        if remote.role == Role.CLIENT:
            yield process, remote.address, remote.port
        yield process, remote.address, None
    yield None, remote.address, None


def others(names: Sequence[RemoteName]) -> int:
    """Return the number of names beside the first that are as good as it."""
    rank = _RANKS[names[0].source] if names else 0
    return sum(_RANKS[one.source] == rank for one in names[1:])


_RANKS: Final = {
    NameSource.SNI: 0,
    NameSource.HOST: 0,
    NameSource.DNS: 1,
    NameSource.HOST_DNS: 2,
    NameSource.REVERSE: 3,
}
