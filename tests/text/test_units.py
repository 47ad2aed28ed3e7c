"""Formatted sizes, rates and losses."""

import pytest

from bwtop.model.flows import Loss
from bwtop.text.units import losses, rate, size


@pytest.mark.parametrize(
    ("amount", "shown", "in_bits"),
    [
        (0, "0 B", "0 bit/s"),
        (0.4, "0 B", "3 bit/s"),
        (0.125, "0 B", "1 bit/s"),
        (1, "1 B", "8 bit/s"),
        (1.0, "1 B", "8 bit/s"),
        (1023, "1023 B", "8.2 kbit/s"),
        (1024, "1.0 KiB", "8.2 kbit/s"),
        (5 * 2**20, "5.0 MiB", "41.9 Mbit/s"),
        (125_000_000, "119.2 MiB", "1.0 Gbit/s"),
        (3 * 2**40, "3.0 TiB", "26.4 Tbit/s"),
    ],
)
def test_sizes_have_binary_and_bits_decimal_prefixes(
    amount: float, shown: str, in_bits: str
) -> None:
    assert size(amount) == shown
    assert rate(amount) == f"{shown}/s"
    assert rate(amount, bits=True) == in_bits


def test_each_kind_of_loss_has_its_own_line() -> None:
    assert list(losses(Loss())) == []
    assert len(list(losses(Loss(1, 1, 1, 1, 1, 1)))) == 4


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (Loss(spilled=7, spilled_bytes=2048), ["7 flows", "2.0 KiB", "'*'", "--max-flows"]),
        (Loss(unattributed=3, unattributed_bytes=5), ["5 B", "(unattributed)"]),
        (Loss(unnamed=4), ["names of 4 processes"]),
        (Loss(missed_events=9), ["9 events", "may not be counted"]),
    ],
)
def test_loss_names_kind_and_amount(loss: Loss, words: list[str]) -> None:
    (line,) = losses(loss)
    assert all(word in line for word in words), line
