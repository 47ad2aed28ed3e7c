"""The retention of each tier is parsed, or refused in one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwtop.history.tiers import FOREVER, TIERS, parse_retention

HOUR, DAY = 3600.0, 86400.0
USUAL = {tier.name: tier.seconds for tier in TIERS}
SUMS = tuple(tier.name for tier in TIERS if tier.level >= 0)


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("minutes=30d,days=forever", {"minutes": 30 * DAY, "days": FOREVER}),
        (" seconds= 90m , hours=20w ", {"seconds": 1.5 * HOUR, "hours": 140 * DAY}),
        ("seconds=0s", {"seconds": 0.0}),
        ("days=2y", {"days": 730 * DAY}),
        ("5min=1h", {"5min": HOUR}),
        ("fives=1h,minutes=30d", {"5min": HOUR, "minutes": 30 * DAY}),  # its former name
        ("seconds=10d", {"seconds": 10 * DAY, "minutes": 10 * DAY}),
        ("seconds=forever", dict.fromkeys(SUMS, FOREVER)),
        (",".join(f"{name}=1h" for name in SUMS), dict.fromkeys(SUMS, HOUR)),
    ],
)
def test_unnamed_tier_keeps_its_default_or_that_of_the_finer_tier(
    text: str, changed: dict[str, float]
) -> None:
    assert parse_retention(text) == USUAL | changed


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", ", ".join(USUAL)),
        ("weeks=1d", "weeks"),
        ("Minutes=1d", "Minutes"),
        ("minutes=1d,", "''"),
        ("minutes", "''"),
        ("minutes=30", "'30'"),
        ("minutes=-1d", "'-1d'"),
        ("minutes=1.5d", "'1.5d'"),
        ("minutes=1D", "'1D'"),
        ("minutes=1d=2d", "'1d=2d'"),
        ("minutes=1000000d", "'1000000d'"),
        ("minutes=\u0663d", "invalid duration"),
        ("seconds=2d,minutes=1d", "minutes must be kept"),
        ("minutes=30d,hours=7d", "hours must be kept"),
        ("hours=forever,days=9y", "days must be kept"),
    ],
)
def test_invalid_retention_is_refused(text: str, reason: str) -> None:
    with pytest.raises(
        ValueError, match=r"kept|invalid duration|invalid level of detail"
    ) as caught:
        parse_retention(text)
    assert reason in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


parts = st.tuples(
    st.sampled_from([*USUAL, "weeks"]), st.sampled_from(["0s", "30m", "2h", "9d", "3y", "forever"])
).map("=".join)


@given(st.text() | st.lists(parts, max_size=5).map(",".join))
def test_coarser_sums_are_kept_at_least_as_long(text: str) -> None:
    try:
        found = parse_retention(text)
    except ValueError as error:
        refused = str(error)
    else:
        refused = "in one line"
        assert found.keys() == USUAL.keys()
        lengths = [found[tier.name] for tier in TIERS if tier.level >= 0]
        assert lengths == sorted(lengths)
    assert len(refused.splitlines()) == 1
