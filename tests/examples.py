"""The number of examples that Hypothesis tries: few in every run of the tests, many by `make test-thorough`."""

from typing import Final

from hypothesis import settings

USUAL: Final = 50
THOROUGH: Final = 1000


def register() -> None:
    """Register both profiles with Hypothesis, and load the usual one; pytest's --hypothesis-profile has the last word."""
    settings.register_profile("usual", database=None, deadline=None, max_examples=USUAL)
    settings.register_profile(
        "thorough", parent=settings.get_profile("usual"), max_examples=THOROUGH
    )
    settings.load_profile("usual")


def examples(usual: int) -> int:
    """Return the number of examples of a test that needs more or fewer than most."""
    assert settings.default, "a profile is loaded"
    return usual * settings.default.max_examples // USUAL
