"""Retention tiers: what the history keeps, and for how long."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bwtop.history.calendar import Unit
from bwtop.text.escape import count
from bwtop.text.invalid import invalid


@dataclass(frozen=True)
class Tier:
    """One tier of the history and its default retention."""

    name: str
    level: int
    seconds: float
    """Default retention, in seconds."""
    help: str
    unit: Unit | None = None
    """Length of its spans; None: the tier is no level of the rollup."""


FOREVER: Final = float("inf")

TIERS: Final = (
    Tier("seconds", 0, 3600, "every second, with process ids"),
    Tier("minutes", 1, 7 * 86400, "totals per minute", Unit.MINUTE),
    Tier("hours", 2, 90 * 86400, "totals per hour", Unit.HOUR),
    Tier("days", 3, FOREVER, "totals per day", Unit.DAY),
    Tier("months", 4, FOREVER, "totals per month, to add up years quickly", Unit.MONTH),
    Tier("5min", -1, 400 * 86400, "five-minute totals, for percentiles and peaks"),
)
"""Level 0 has the measured intervals.  Each level above it has the totals of the level below, by program and remote.

The five-minute totals are no level: they are kept beside them.
"""

_ALIASES: Final = {"fives": "5min"}
"""Former names of tiers, which parse_retention() still accepts."""

KEEP_REMOTES: Final = 1000
"""Default number of remotes that a process keeps in a span of an hour or longer."""

HOURS: Final = 2
DAYS: Final = 3
COARSEST: Final = 4

UNITS: Final = {tier.level: tier.unit for tier in TIERS if tier.unit}

_LENGTHS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}


def parse_retention(text: str) -> dict[str, float]:
    """Return the retention of every tier in seconds, from text such as "minutes=30d,days=forever"; see completed()."""
    return completed(parse_tiers(text))


def parse_tiers(text: str) -> dict[str, float]:
    """Return the retention of the named tiers; raise ValueError for one that contradicts another or the defaults."""
    asked: dict[str, float] = {}
    for part in text.split(","):
        name, _, length = (piece.strip() for piece in part.partition("="))
        name = _ALIASES.get(name, name)
        if name not in {tier.name for tier in TIERS}:
            raise invalid("level of detail", name, ", ".join(tier.name for tier in TIERS))
        asked[name] = _duration(length)
    completed(asked)
    return asked


def completed(
    asked: Mapping[str, float], kept: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Return the retention of every tier.

    A tier that was not asked for has what it has in `kept`, by default its default, or as much as the finer tier where
    that is longer.  Raises ValueError if a tier would be kept shorter than the finer one.
    """
    kept = default_retention() if kept is None else kept
    found: dict[str, float] = {}
    finer = 0.0
    for tier in TIERS:
        if tier.level < 0:
            finer = 0.0
        found[tier.name] = asked.get(tier.name, max(kept[tier.name], finer))
        if found[tier.name] < finer:
            raise ValueError(
                f"{tier.name} must be kept at least as long as the finer tier: {_spelled(finer)}"
            )
        finer = found[tier.name]
    return found


def _duration(text: str) -> float:
    if text == "forever":
        return FOREVER
    if found := re.fullmatch(r"([0-9]{1,6})([smhdwy])", text, re.ASCII):
        return float(int(found[1]) * _LENGTHS[found[2]])
    raise invalid("duration", text, "90m, 36h, 30d, 2y or forever")


def spell_retention(retention: Mapping[str, float]) -> str:
    """Spell a retention so that parse_retention() returns it again."""
    return ",".join(f"{name}={_spelled(seconds)}" for name, seconds in retention.items())


def _spelled(seconds: float) -> str:
    if seconds == FOREVER:
        return "forever"
    unit = max((u for u in _LENGTHS if seconds % _LENGTHS[u] == 0), key=lambda u: _LENGTHS[u])
    return f"{seconds / _LENGTHS[unit]:.0f}{unit}"


def in_words(seconds: float) -> str:
    """Return a retention in words: "7 days"."""
    if seconds == FOREVER:
        return "forever"
    days = round(seconds / 86400)
    return count(days, "day") if days else count(round(seconds / 3600), "hour")


def default_retention() -> dict[str, float]:
    """Return the default retention of every tier, in seconds."""
    return {tier.name: tier.seconds for tier in TIERS}
