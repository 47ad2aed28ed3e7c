"""Rates and totals: the only place that computes bytes per second."""

from collections.abc import Iterable
from typing import NamedTuple


class Counted(NamedTuple):
    """The numbers of a row: bytes of the interval, bytes per second, bytes since bwtop started."""

    rx: int = 0
    tx: int = 0
    rx_rate: float = 0.0
    tx_rate: float = 0.0
    rx_total: int = 0
    tx_total: int = 0


def summed(rows: Iterable[Counted]) -> Counted:
    """Return the sums of several rows."""
    return Counted(*map(sum, zip(*rows, strict=True)))


def rate(amount: int, elapsed: float) -> float:
    """Return bytes per second; 0 for an interval of zero length."""
    return amount / elapsed if elapsed > 0 else 0.0
