"""Bytes per second."""

import pytest

from bwtop.model.rates import Counted, rate, summed


@pytest.mark.parametrize(
    ("amount", "elapsed", "expected"),
    [(100, 2.0, 50.0), (1, 0.5, 2.0), (0, 1.0, 0.0), (100, 0.0, 0.0), (100, -1.0, 0.0)],
)
def test_rate_of_an_interval_of_no_length_is_zero(
    amount: int, elapsed: float, expected: float
) -> None:
    assert rate(amount, elapsed) == expected


def test_sums_are_by_column() -> None:
    assert summed([Counted(1, 2, 3.0, 4.0, 5, 6), Counted(10, 20, 30.0, 40.0, 50, 60)]) == (
        *(11, 22, 33.0, 44.0, 55, 66),
    )
    assert summed([]) == Counted()
