"""Formatted sizes, rates and losses."""

import pytest

from bwtop.model.flows import Loss
from bwtop.text.units import losses, rate, size


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (5 * 2**20, "5.0 MiB"),
        (3 * 2**40, "3.0 TiB"),
    ],
)
def test_sizes_have_binary_prefixes(amount: int, shown: str) -> None:
    assert size(amount) == shown


@pytest.mark.parametrize(
    ("bytes_per_second", "shown"),
    [(0.0, "0 B/s"), (1.0, "1 B/s"), (0.4, "0 B/s"), (1536.0, "1.5 KiB/s")],
)
def test_rates_are_sizes_per_second(bytes_per_second: float, shown: str) -> None:
    assert rate(bytes_per_second) == shown


@pytest.mark.parametrize(
    ("bytes_per_second", "shown"),
    [
        (0.0, "0 bit/s"),
        (0.125, "1 bit/s"),
        (1.0, "8 bit/s"),
        (125.0, "1.0 kbit/s"),
        (1_250_000.0, "10.0 Mbit/s"),
        (125e6, "1.0 Gbit/s"),
    ],
)
def test_rates_in_bits_have_decimal_prefixes(bytes_per_second: float, shown: str) -> None:
    assert rate(bytes_per_second, bits=True) == shown


def test_no_loss_has_no_line() -> None:
    assert list(losses(Loss())) == []


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (Loss(spilled=7, spilled_bytes=2048), ["7 updates", "2.0 KiB", "'*'", "--max-flows"]),
        (Loss(unattributed=3, unattributed_bytes=5), ["5 B", "(unattributed)"]),
        (Loss(unnamed=4), ["names of 4 processes"]),
        (Loss(missed_events=9), ["9 events", "not counted"]),
    ],
)
def test_loss_names_kind_and_amount(loss: Loss, words: list[str]) -> None:
    (line,) = losses(loss)
    assert all(word in line for word in words), line


def test_each_kind_of_loss_has_its_own_line() -> None:
    assert len(list(losses(Loss(1, 1, 1, 1, 1, 1)))) == 4
