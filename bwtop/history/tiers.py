"""What is kept for how long: from every second to months."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bwtop.history.calendar import Unit


@dataclass(frozen=True)
class Tier:
    """What is kept for how long."""

    name: str
    level: int
    seconds: float
    """How long it is kept, unless somebody says otherwise."""
    help: str
    unit: Unit | None = None
    """Of the spans whose sums it has."""


FOREVER: Final = float("inf")

TIERS: Final = (
    Tier("seconds", 0, 3600, "every second, with process ids"),
    Tier("minutes", 1, 7 * 86400, "sums of every minute", Unit.MINUTE),
    Tier("hours", 2, 90 * 86400, "sums of every hour", Unit.HOUR),
    Tier("days", 3, FOREVER, "sums of every day", Unit.DAY),
    Tier("months", 4, FOREVER, "sums of every month: years are added up quickly", Unit.MONTH),
    Tier("fives", -1, 400 * 86400, "totals of five minutes, for percentiles and peaks"),
)
"""Level 0 is what was measured; each level above it has the sums of the one below, by program and remote.  The totals
of five minutes stand beside them."""

DAYS: Final = 3
COARSEST: Final = 4

UNITS: Final = {tier.level: tier.unit for tier in TIERS if tier.unit}

_LENGTHS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}


def parse_retention(text: str) -> dict[str, float]:
    """Seconds by tier, from "minutes=30d,days=forever"; what is not named stays as it is, or becomes long enough.

    Raises ValueError that says what there is.
    """
    asked: dict[str, float] = {}
    for part in text.split(","):
        name, _, length = (piece.strip() for piece in part.partition("="))
        if name not in {tier.name for tier in TIERS}:
            raise ValueError(
                f"nothing called {name!r} is kept; {', '.join(t.name for t in TIERS)} are"
            )
        asked[name] = _duration(length)
    found: dict[str, float] = {}
    finer = 0.0
    for tier in TIERS:
        if tier.level < 0:
            finer = 0.0
        found[tier.name] = asked.get(tier.name, max(tier.seconds, finer))
        if found[tier.name] < finer:
            raise ValueError(f"{tier.name} must be kept for as long as what is finer, or longer")
        finer = found[tier.name]
    return found


def _duration(text: str) -> float:
    if text == "forever":
        return FOREVER
    if found := re.fullmatch(r"([0-9]{1,6})([smhdwy])", text, re.ASCII):
        return float(int(found[1]) * _LENGTHS[found[2]])
    raise ValueError(f"{text!r} is no length of time such as 90m, 36h, 30d, 2y or forever")


def spell_retention(retention: Mapping[str, float]) -> str:
    """What parse_retention() makes the same of."""
    return ",".join(f"{name}={_spelled(seconds)}" for name, seconds in retention.items())


def _spelled(seconds: float) -> str:
    if seconds == FOREVER:
        return "forever"
    unit = max((u for u in _LENGTHS if seconds % _LENGTHS[u] == 0), key=lambda u: _LENGTHS[u])
    return f"{seconds / _LENGTHS[unit]:.0f}{unit}"


def default_retention() -> dict[str, float]:
    """Seconds by tier."""
    return {tier.name: tier.seconds for tier in TIERS}
