"""Recorded names of the remotes of live traffic, where that is read from a history.

Names are asked for when their address first moves bytes, and again when they have changed.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import chain, islice
from typing import Final

from bwtop.history.names import SeenNames, SeenSpan, names_of_flow
from bwtop.model.flows import UNKNOWN_ADDRESS, Identity, ProcessKey, Remote
from bwtop.model.named import RemoteName
from bwtop.model.sample import Sample

KNOWN: Final = 32_768
"""Addresses, and flows, whose names are kept; beyond that all are asked for anew."""

FRESH: Final = 600.0
"""Seconds after which all names are asked for anew: those that were not seen again are no alternatives any more."""

_Flow = tuple[ProcessKey, Remote]


class RecentNames:
    """The names that a history has of remotes now."""

    def __init__(
        self,
        names: Callable[[Collection[bytes]], SeenNames],
        changed: Callable[[], Collection[bytes]],
        at_once: int | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take where names are from.

        names: returns the recorded names of addresses.

        changed: returns the addresses that have other names since the last call.

        at_once: the most addresses that are asked for together; names of more come with later samples.
        """
        self._ask, self._changed, self._at_once = names, changed, at_once
        self._monotonic = monotonic
        self._seen: dict[bytes, Sequence[SeenSpan]] = {}
        self._named: defaultdict[bytes, dict[_Flow, Sequence[RemoteName]]] = defaultdict(dict)
        self._flows = 0
        self._cleared = monotonic()

    def add(self, sample: Sample, now: float) -> None:
        """Add to a sample the names of its remotes; now: by the clock of the recorder, in UTC seconds."""
        if not sample.traffic:
            return
        self._forget()
        self._look_up(chain.from_iterable(sample.traffic.values()))
        for process, remotes in sample.traffic.items():
            who = sample.identities[process]
            for remote in remotes:
                if self._seen.get(remote.address) and (
                    names := self._of(process, who, remote, now)
                ):
                    sample.named[process, remote] = names

    def _forget(self) -> None:
        """Forget names that have changed, and all of them where they are many or old."""
        for address in self._changed():
            self._seen.pop(address, None)
            self._named.pop(address, None)
        is_old = self._monotonic() > self._cleared + FRESH
        if is_old or max(len(self._seen), self._flows) > KNOWN:
            self._seen.clear()
            self._named.clear()
            self._flows, self._cleared = 0, self._monotonic()

    def _look_up(self, remotes: Iterable[Remote]) -> None:
        """Ask for the names of addresses that are not known."""
        unknown = dict.fromkeys(
            remote.address for remote in remotes if remote.address not in self._seen
        )
        unknown.pop(UNKNOWN_ADDRESS, None)
        wanted = set(islice(unknown, self._at_once))
        if wanted:
            found = self._ask(wanted)
            self._seen |= {address: found.get(address, ()) for address in wanted}

    def _of(
        self, process: ProcessKey, who: Identity, remote: Remote, now: float
    ) -> Sequence[RemoteName]:
        """Return the names of a flow, the best first."""
        known, flow = self._named[remote.address], (process, remote)
        if flow not in known:
            seen = self._seen[remote.address]
            known[flow] = names_of_flow(seen, who, remote, (now, float("inf")))
            self._flows += 1
        return known[flow]
