"""The bytes of a range by network, and the usage of the internet, or of the networks that a filter names.

Five-minute totals have no remotes.  The averages are of the finest spans that have them: over five minutes where totals
per minute are left of all the range, else as long as its longest spans.  Of many hosts, whose rows per minute are too
many, they are over an hour or a day.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from bwtop.history.calendar import Unit, ceiling, longest
from bwtop.history.dimensions import NET
from bwtop.history.plan import Bounds
from bwtop.history.store import ByNetwork, HistoryStore, Moved, Selection
from bwtop.history.usage import percentile
from bwtop.model.filter import Filter
from bwtop.model.ledger import CATEGORIES
from bwtop.model.networks import INTERNET, UNKNOWN
from bwtop.model.rates import rate
from bwtop.model.series import Rates

_LONGER: Final = {Unit.FIVE_MINUTES: Unit.HOUR, Unit.HOUR: Unit.DAY}
"""Units of fewer rows."""


@dataclass(frozen=True, slots=True)
class NetworkUsage:
    """The traffic with some networks alone; see model.networks."""

    names: tuple[str, ...]
    """The internet, or what the filter names."""
    rx: int
    tx: int
    percentile: Rates | None
    """95th percentile of averages (nearest rank); None: no unit of time is over."""
    unit: Unit
    """The unit of the averages."""
    count: int
    """Number of averages."""


def is_answered(keep: Filter) -> bool:
    """Return whether a filter decides by categories and networks alone, and passes more than loopback."""
    is_loopback = all(CATEGORIES[of][1] for of in keep.categories())
    return keep.without("net").is_of_categories and not is_loopback


def ask(
    store: HistoryStore, bounds: Bounds, keep: Filter, now: float
) -> tuple[Mapping[str, Moved], NetworkUsage] | None:
    """Return the bytes by network, and the usage, of a filter that is answered; None: they would take too long."""
    finest = _finest(store, bounds, keep)
    if finest is None:
        return None
    unit, found = finest
    passing, names = keep.networks(), keep.networks() or (INTERNET,)
    sums, amounts = _by_place(found.networks(keep.categories()), unit, names)
    sums = {name: moved for name, moved in sums.items() if name in passing or not passing}
    over = {
        place: seconds
        for place, seconds in _recorded(found, unit).items()
        if seconds and found.start <= place and ceiling(unit, place) <= min(found.end, now)
    }
    rates = [
        (rate(rx, seconds), rate(tx, seconds))
        for seconds, (rx, tx) in ((s, amounts.get(place, (0, 0))) for place, s in over.items())
    ]
    high = percentile(rates) if rates else None
    rx, tx = (sum(moved[way] for moved in amounts.values()) for way in (0, 1))
    return sums, NetworkUsage(names, rx, tx, high, unit, len(rates))


def totals(
    store: HistoryStore, bounds: Bounds, found: Selection, keep: Filter
) -> Mapping[str, Moved] | None:
    """Return the bytes by network of a filter that is answered; None: they would take too long."""
    sums, passing = found.network_sums(keep.categories()), keep.networks()
    if sums is None:
        return None
    if _is_added_up(sums) and (finest := _finest(store, bounds, keep)):
        sums = finest[1].network_sums(keep.categories()) or sums
    return {name: moved for name, moved in sums.items() if name in passing or not passing}


def unit_of_remotes(
    store: HistoryStore, bounds: Bounds, found: Selection, keep: Filter
) -> Unit | None:
    """Return the unit whose spans have all remotes by themselves, if `found` has some that are added up; else None."""
    sums = found.network_sums(keep.categories())
    finest = _finest(store, bounds, keep) if sums and _is_added_up(sums) else None
    return finest and finest[0]


def _is_added_up(sums: Mapping[str, Moved]) -> bool:
    """Return whether there are remotes without a network: spans of an hour or more keep the largest of a process."""
    return any(sums.get(UNKNOWN, ()))


def _finest(store: HistoryStore, bounds: Bounds, keep: Filter) -> tuple[Unit, Selection] | None:
    """Return the shortest unit of at least five minutes that no span crosses the end of, and its selection.

    Units whose selections are large are passed over; None: all are.
    """
    unit: Unit | None = Unit.FIVE_MINUTES
    while unit:
        found = store.select(bounds, unit, frozenset({"address", NET}), keep)
        if found.is_large():
            unit = _LONGER.get(unit)
            continue
        left = [span.shown_by(unit) for span, _, _ in found.coverage() if span.crosses(unit)]
        if longest(unit, *left) is unit:
            return unit, found
        unit = longest(unit, *left)
    return None


def _recorded(found: Selection, unit: Unit) -> dict[int, float]:
    """Return the recorded seconds by the start of each unit."""
    seconds: dict[int, float] = {}
    for span, recorded, _ in found.coverage():
        place = span.place(unit)
        seconds[place] = seconds.get(place, 0.0) + recorded
    return seconds


def _by_place(
    rows: Iterable[ByNetwork], unit: Unit, names: Collection[str]
) -> tuple[dict[str, Moved], dict[int, Moved]]:
    """Return the bytes by network, and those of some networks by the start of each unit."""
    sums: dict[str, Moved] = {}
    amounts: dict[int, Moved] = {}
    for span, name, rx, tx in rows:
        if not (rx or tx):
            continue
        before = sums.get(name, (0, 0))
        sums[name] = (before[0] + rx, before[1] + tx)
        if name in names:
            place = span.place(unit)
            before = amounts.get(place, (0, 0))
            amounts[place] = (before[0] + rx, before[1] + tx)
    return sums, amounts
