"""What a store of the past tells, be it this machine's or that of many: what query.History asks of it."""

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from bwtop.history.calendar import Unit
from bwtop.history.plan import Bounds
from bwtop.history.usage import Usage
from bwtop.model.filter import Filter
from bwtop.model.flows import Host, Identity, Loss, Remote

Flow = Hashable
"""What a store tells flows apart by, as far as that is asked for."""

FlowSums = Mapping[Flow, tuple[int, int]]
"""Bytes by flow: (received, sent)."""

Ends = Mapping[Flow, tuple[Identity, Remote]]
"""Who and where each flow is."""


class Selection(Protocol):
    """The traffic of some stretch of time, in the coarsest rows that fit."""

    start: float
    """Where it really begins, in UTC seconds: where detail is forgotten, a whole hour or day is in it or is not."""
    end: float

    def sums(self) -> FlowSums:
        """Bytes by flow."""

    def ends(self, flows: Collection[Flow]) -> Ends:
        """Who and where these flows are, as far as that was asked for."""

    def users(self) -> Mapping[int, str] | None:
        """Names of the uids in what sums() gave, where they are sure; None: they are this machine's."""

    def timeline(
        self, groups: Mapping[Flow, Flow] | None
    ) -> Iterator[tuple[float, Flow, int, int]]:
        """(start, group, received, sent) of the flows that are in a group; None: all flows are in group 0."""

    def coverage(self) -> Iterable[tuple[float, float, Loss]]:
        """(start, seconds recorded, what was lost); of several hosts the seconds of that which has the most."""


class HistoryStore(Protocol):
    """A store, as it is at one moment."""

    def hosts(self) -> Sequence[Host]:
        """Whose past it is."""

    def close(self) -> None:
        """Lets go of it."""

    def extent(self) -> Bounds | None:
        """When what is recorded begins and ends, as far as is known; None: nothing is."""

    def pids_since(self) -> float:
        """From when on processes are told apart by pid."""

    def select(
        self,
        bounds: Bounds,
        unit: Unit | None,
        needs: frozenset[str],
        keep: Filter,
    ) -> Selection:
        """The traffic within bounds, in rows that do not reach over a unit's end.

        Of flows only what is named in `needs` (dimensions.ENDS) need be told.  Of the filter that of pids holds, and
        hosts that it leaves out are not looked at; whatever else does not pass may be left in.
        """

    def events(self, start: float, end: float) -> Iterable[tuple[float, str, float]]:
        """(time, kind, amount) of what readers should know, in its order."""

    def usage_since(self) -> float | None:
        """From when on averages over five minutes are known; None: there are none."""

    def usage(self, start: float, end: float, keep: Filter) -> Usage | None:
        """From those, of what passes a filter of protocols and loopback alone; None where they do not tell."""
