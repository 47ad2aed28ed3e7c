"""Messages about invalid values: `invalid X 'v'; expected ...`."""

from typing import Final

LONGEST: Final = 60
"""Characters of a value in a message; the rest of a longer one is left out."""


def quoted(value: object) -> str:
    """Return a value in quotes, with escapes for control characters, and with "…" for the rest of a long one."""
    shown = repr(value)
    return shown if len(shown) <= LONGEST + 2 else f"{shown[: LONGEST + 1]}…{shown[-1]}"


def invalid(what: str, value: object, expected: str) -> ValueError:
    """Return the error that names an invalid value and says what is expected instead."""
    return ValueError(f"invalid {what} {quoted(value)}; expected {expected}")
