"""The protocol of a history store, of this host (SQLite) or of many (ClickHouse); query.History uses it."""

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from bwtop.history.boundaries import Span
from bwtop.history.calendar import Unit
from bwtop.history.names import SeenNames
from bwtop.history.plan import Bounds
from bwtop.history.usage import FiveMinutes, Usage
from bwtop.model.conditions import pids
from bwtop.model.filter import Filter
from bwtop.model.flows import Host, Identity, Loss, ProcessKey, Remote
from bwtop.model.ledger import Category
from bwtop.model.named import RemoteName

Flow = Hashable
"""The key of a flow in a store; it depends on the requested properties."""

Moved = tuple[int, int]
"""Bytes: (received, sent)."""

FlowSums = Mapping[Flow, Moved]
"""Bytes by flow."""

Order = tuple[str, bool]
"""The sum to sort by ("total", "rx" or "tx", the largest first), and True for the smallest first."""

Largest = tuple[Sequence[tuple[Remote, Moved]], int]
"""The largest remotes of some flows with their bytes, and the number of all their remotes."""

Measured = tuple[float, ProcessKey, Identity, Remote, int, int]
"""The bytes of a flow in a measured interval: (start of the interval, process, identity, remote, received, sent)."""

Amounts = tuple[Span, float, Mapping[Category, Moved]]
"""The bytes of a span or measured interval by category: (span, seconds recorded, bytes)."""

ByNetwork = tuple[Span, str, int, int]
"""The bytes of remotes of one class in a span: (span, class, received, sent)."""

Ends = Mapping[Flow, tuple[Identity, Remote]]
"""Process identity and remote by flow."""

FlowNames = Mapping[Flow, RemoteName]
"""Recorded name of the remote by flow; the others have none."""


class Selection(Protocol):
    """The traffic of a range of time, from the coarsest rows that fit."""

    start: float
    """Start in UTC seconds; where detail is deleted, it is the start of the recording host's hour or day."""
    end: float

    def sums(self) -> FlowSums:
        """Return the bytes by flow."""

    def ends(self, flows: Collection[Flow]) -> Ends:
        """Return the identity and remote of each flow, with the requested properties."""

    def names(self, flows: Collection[Flow]) -> FlowNames:
        """Return the recorded names of the remotes of flows, if these were requested: see names.best()."""

    def users(self) -> Mapping[int, str] | None:
        """Return the user names of the uids in sums(), where they are unambiguous; None: use those of this host."""

    def timeline(self, groups: Mapping[Flow, Flow] | None) -> Iterator[tuple[Span, Flow, int, int]]:
        """Yield (span, group, received, sent) of the flows in a group; None: all flows are in group 0."""

    def is_large(self) -> bool:
        """Return whether networks() would take long."""

    def networks(self, shown: Collection[Category]) -> Iterator[ByNetwork]:
        """Yield the bytes of some categories in each span, by class of the remotes, if NET was requested."""

    def network_sums(self, shown: Collection[Category]) -> Mapping[str, Moved] | None:
        """Return the bytes of some categories by class of the remotes; None: that would take long."""

    def losing(self) -> Sequence[Host]:
        """Return the hosts that the loss in coverage() is of, if there are several hosts; most bytes first."""

    def coverage(self) -> Iterable[tuple[Span, float, Loss]]:
        """Yield (span, seconds recorded, loss); time that several hosts have recorded counts once."""


@runtime_checkable
class RankingSelection(Selection, Protocol):
    """A selection that picks a few remotes faster than all are requested."""

    def largest(self, flows: Collection[Flow], order: Order, most: int) -> Largest:
        """Return the first `most` remotes of flows, if no property of remotes was requested."""


class HistoryStore(Protocol):
    """A history store, as a snapshot."""

    ranks_remotes: bool
    """Its selections are RankingSelections."""
    selects_hosts: bool
    """Its selections leave out hosts that do not pass, and its usage, totals and events are of the last selection's hosts."""

    def hosts(self) -> Sequence[Host]:
        """Return the recorded hosts."""

    def close(self) -> None:
        """Close the store."""

    def extent(self) -> Bounds | None:
        """Return the start and end of the recorded time, in UTC seconds; None: nothing is recorded."""

    def pids_since(self) -> float:
        """Return the time from which pids are stored, in UTC seconds."""

    def peers(self) -> Mapping[bytes, Host]:
        """Return the hosts by their own packed addresses, without addresses that several hosts have."""

    def names(self, addresses: Collection[bytes], end: float) -> SeenNames:
        """Return the names of some addresses that were first seen before a time."""

    def clocks(self) -> Mapping[Host, float]:
        """Return the seconds by which wrong clocks of the selected hosts are ahead, as far as they are known."""

    def select(
        self,
        bounds: Bounds,
        unit: Unit | None,
        needs: frozenset[str],
        keep: Filter,
    ) -> Selection:
        """Return the traffic within bounds, from rows that do not cross the end of a unit.

        `needs` names the required properties of flows (dimensions.ENDS).  The selection applies the
        filter's terms on pids, and those on hosts if `selects_hosts`; the caller applies the rest.
        """

    def beside(self, level: int, when: float, *, later: bool) -> Span | None:
        """Return the last span of a level that begins before a time, or the first that begins then or later."""

    def measured(self, start: float, end: float) -> Iterable[Measured]:
        """Yield the flows of the measured intervals that begin within bounds, the oldest interval first."""

    def amounts(self, level: int, start: float, end: float) -> Iterable[Amounts]:
        """Yield the bytes of the spans of a level (0: measured intervals) that begin within bounds, the oldest first."""

    def events(self, start: float, end: float) -> Iterable[tuple[float, str, float]]:
        """Yield the events as (time, kind, amount), in the order of recording."""

    def five_minutes(
        self, start: float, end: float, shown: Collection[Category]
    ) -> Iterable[tuple[float, float, int, int]]:
        """Yield the five-minute totals of some categories that begin within a range: (start, seconds, rx, tx)."""

    def usage(self, bounds: FiveMinutes, shown: Collection[Category]) -> Usage | None:
        """Return the usage of some categories in a range; None: no five minutes of it are over."""


def sql_of_pids(keep: Filter) -> str:
    """Return the SQL of a filter's terms on pids, for a column `pid`; empty if it has none."""
    return " AND ".join(
        f"pid {'NOT ' if term.negated else ''}IN ({', '.join(map(str, sorted(pids(term.values))))})"
        for term in keep.plain("pid")
    )
