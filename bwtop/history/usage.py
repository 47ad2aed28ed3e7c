"""What bills and caps are about: averages over five minutes, of some categories of protocols."""

import math
from dataclasses import dataclass, replace
from typing import Final

from bwtop.model.filter import Filter, Loopback
from bwtop.model.ledger import CATEGORIES, Category
from bwtop.model.series import Rates

PERCENTILE: Final = 0.95
"""Of five-minute averages: what transit is billed by."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What bills and caps are about, from averages over five minutes.

    Loopback is left out of all but the peak, unless it is all that is asked for.
    """

    peak: Rates
    """The highest averages, of all that passes the filter."""
    percentile: Rates
    """95 % of the averages are not above it (nearest rank)."""
    count: int
    """Averages there are."""
    rx: int
    tx: int


def rank(count: int) -> int:
    """Which one of so many, in ascending order and counted from 0, 95 % of them do not exceed (nearest rank)."""
    return max(math.ceil(PERCENTILE * count), 1) - 1


def passing(keep: Filter) -> list[Category]:
    """Categories that pass a filter."""
    return [
        of
        for of, (name, loopback) in CATEGORIES.items()
        if (not keep.classes or name in keep.classes)
        and (keep.loopback is Loopback.SHOW or loopback == (keep.loopback is Loopback.ONLY))
    ]


def billed(keep: Filter) -> list[Category]:
    """Those of them that a bill is about."""
    return passing(
        replace(keep, loopback=Loopback.HIDE) if keep.loopback is Loopback.SHOW else keep
    )
