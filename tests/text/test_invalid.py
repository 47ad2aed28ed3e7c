"""Messages about invalid values."""

import pytest
from hypothesis import given

from bwtop.text.invalid import LONGEST, invalid, quoted
from tests.build import CONTROLS
from tests.text.test_escape import anything


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a", "'a'"),
        ("a'b", '"a\'b"'),
        ("a\nb", r"'a\nb'"),
        (3, "3"),
        ("x" * LONGEST, f"'{'x' * LONGEST}'"),
        ("x" * 5000, f"'{'x' * LONGEST}…'"),
        (["x" * 5000], f"['{'x' * (LONGEST - 1)}…]"),
    ],
)
def test_value_is_quoted_and_cut(value: object, shown: str) -> None:
    assert quoted(value) == shown


@given(anything)
def test_any_value_is_short_and_without_control_characters(value: str) -> None:
    shown = quoted(value)
    assert len(shown) <= LONGEST + 3
    assert not CONTROLS.search(shown)


def test_message_names_value_and_expectation() -> None:
    assert str(invalid("size", "x", "1M or more")) == "invalid size 'x'; expected 1M or more"
