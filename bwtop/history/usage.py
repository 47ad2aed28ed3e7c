"""Usage for bills and caps, from five-minute totals by protocol category."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from bwtop.model.ledger import CATEGORIES, Category
from bwtop.model.series import Rates

PERCENTILE: Final = 0.95
"""Of the five-minute averages: the industry bills transit by it."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Usage of a range, from five-minute totals.

    Only the peak includes loopback, unless the filter asks for loopback alone.
    """

    peak: Rates
    """Highest five-minute averages of the flows that pass the filter."""
    percentile: Rates
    """95th percentile of the averages (nearest rank)."""
    count: int
    """Number of averages."""
    rx: int
    tx: int


def rank(count: int) -> int:
    """Return the index of the 95th percentile among `count` ascending values (nearest rank)."""
    return max(math.ceil(PERCENTILE * count), 1) - 1


def billed(categories: Collection[Category]) -> list[Category]:
    """Return the categories that are billed: those without loopback, unless only it is asked for."""
    return [of for of in categories if not CATEGORIES[of][1]] or list(categories)
