"""A range of time is parsed, or refused in one line."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bwtop.history.calendar import DAY, HOUR, MINUTE
from bwtop.history.ranges import HELP, RangeError, parse, parse_moment
from tests.build import CONTROLS, HOSTILE
from tests.examples import examples
from tests.history.keep import local, move_to

Zone = Callable[[str], None]

DST = "Europe/Berlin"


@pytest.fixture(name="zone")
def _zone() -> Iterator[Zone]:
    with local(DST):
        yield move_to


def at(text: str, name: str = DST) -> float:
    """Return the first time at which the clocks of a zone show this, by its own rules."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(name)).timestamp()


def utc(text: str) -> float:
    return at(text, "UTC")


NOW = at("2026-11-12 13:14:15") + 0.5  # a Thursday


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("today", "2026-11-12", "2026-11-13"),
        ("yesterday", "2026-11-11", "2026-11-12"),
        ("week", "2026-11-09", "2026-11-16"),
        ("last-week", "2026-11-02", "2026-11-09"),
        ("month", "2026-11-01", "2026-12-01"),
        ("last-month", "2026-10-01", "2026-11-01"),
        ("2026-12", "2026-12-01", "2027-01-01"),
        ("2028-02", "2028-02-01", "2028-03-01"),
        ("2028-02-29", "2028-02-29", "2028-03-01"),
        ("2026-11-01 .. 2026-11-03", "2026-11-01", "2026-11-03"),
        ("2026-11..2026-12", "2026-11-01", "2026-12-01"),
        ("yesterday..today", "2026-11-11", "2026-11-12"),
        ("2026-11-01T08:00..12:00", "2026-11-01 08:00", "2026-11-01 12:00"),
        ("2026-11-01 08:00:01..12:00:59", "2026-11-01 08:00:01", "2026-11-01 12:00:59"),
        ("20:14..20:16", "2026-11-12 20:14", "2026-11-12 20:16"),
        ("00:00..00:00:01", "2026-11-12", "2026-11-12 00:00:01"),
        ("08:00..2026-11-13", "2026-11-12 08:00", "2026-11-13"),
        ("2026-11-01..12:00", "2026-11-01", "2026-11-01 12:00"),
        ("2026-11-01..2026-11-03 08:00", "2026-11-01", "2026-11-03 08:00"),
        ("2026-12-31 23:59..2027-01-01 00:01", "2026-12-31 23:59", "2027-01-01 00:01"),
    ],
)
def test_range_is_of_the_local_clock(zone: Zone, text: str, start: str, end: str) -> None:
    found = parse(text, NOW)
    assert (found.start, found.end) == (at(start), at(end))
    assert parse(f"  {text.upper()}\n", NOW) == found
    assert found.text == text.lower()
    days = (found.end - found.start) / DAY
    assert found.is_period == (days > 1.5 and not re.search(r":|^[0-9]+[mhdw]$", text))


@pytest.mark.parametrize(
    ("now", "text", "expected"),
    [
        ("2026-03-29 10:00", "20:00", "2026-03-28 20:00"),
        ("2026-03-29 10:00", "01:30", "2026-03-29 01:30"),
        ("2026-10-25 10:00", "20:00", "2026-10-24 20:00"),
        ("2026-10-25 10:00", "23:30:10", "2026-10-24 23:30:10"),
        ("2026-10-25 10:00", "9:00", "2026-10-25 09:00"),
    ],
)
def test_time_of_day_still_to_come_is_that_of_yesterday_where_clocks_change(
    zone: Zone, now: str, text: str, expected: str
) -> None:
    assert parse_moment(text, at(now)) == at(expected)


@pytest.mark.parametrize("text", re.findall(r"'[^']+'|[^, ']+", HELP))
def test_every_range_in_the_help_parses(zone: Zone, text: str) -> None:
    found = parse(text.strip("'"), NOW)
    assert 0 <= found.start < found.end


def test_all_is_from_the_beginning_to_the_end_of_today(zone: Zone) -> None:
    found = parse("all", NOW)
    assert (found.start, found.end) == (0, at("2026-11-13"))


@pytest.mark.parametrize(
    ("text", "length"),
    [("24h", DAY), ("7d", 7 * DAY), ("90m", 90 * MINUTE), ("2w", 14 * DAY), ("1M", MINUTE)],
)
def test_rolling_range_ends_now_and_begins_with_a_minute(
    zone: Zone, text: str, length: int
) -> None:
    found = parse(text, NOW)
    assert found.end == NOW
    assert found.start % MINUTE == 0
    assert 0 <= NOW - length - found.start < MINUTE


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("2026-11-12..", "2026-11-12"),
        ("2026-11-12 08:00..", "2026-11-12 08:00"),
        ("08:00..", "2026-11-12 08:00"),
        ("last-month..", "2026-10-01"),
    ],
)
def test_open_end_is_now(zone: Zone, text: str, start: str) -> None:
    found = parse(text, NOW)
    assert (found.start, found.end) == (at(start), NOW)


@pytest.mark.parametrize(
    ("text", "now", "hours"),
    [
        ("today", "2026-03-29 12:00", 23),
        ("today", "2026-10-25 12:00", 25),
        ("yesterday", "2026-03-30 00:00", 23),
        ("yesterday", "2026-10-26 23:59:59", 25),
        ("2026-10-25", "2026-11-12", 25),
        ("2026-10-24..2026-10-26", "2026-11-12", 49),
        ("last-week", "2026-10-28", 7 * 24 + 1),
        ("2026-03", "2026-11-12", 31 * 24 - 1),
        ("24h", "2026-10-25 12:00", 24),
        ("2026-03-29 00:00..06:00", "2026-11-12", 5),
    ],
)
def test_days_may_be_shorter_or_longer(zone: Zone, text: str, now: str, hours: int) -> None:
    found = parse(text, at(now))
    assert found.end - found.start == hours * HOUR


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-10-25 02:30..03:30", "00:30", "02:30"),
        ("2026-10-25 02:00..02:30", "00:00", "01:30"),
        ("2026-10-25 02:30..02:15", "00:30", "01:15"),
        ("2026-10-25 01:30..02:30", "2026-10-24 23:30", "01:30"),
        ("2026-10-25 02:30..2026-10-25 02:30", "00:30", "01:30"),
    ],
)
def test_range_includes_both_repeated_hours(zone: Zone, text: str, start: str, end: str) -> None:
    found = parse(text, NOW)
    expected = [utc(t if len(t) > 5 else f"2026-10-25 {t}") for t in (start, end)]
    assert [found.start, found.end] == expected


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-03-29 02:30..04:00", "01:30", "02:00"),
        ("2026-03-29 01:00..02:30", "00:00", "01:30"),
        ("2026-03-29 02:10..02:50", "01:10", "01:50"),
    ],
)
def test_skipped_local_time_uses_the_earlier_offset(
    zone: Zone, text: str, start: str, end: str
) -> None:
    found = parse(text, NOW)
    assert [found.start, found.end] == [utc(f"2026-03-29 {t}") for t in (start, end)]


@pytest.mark.parametrize(
    ("name", "text", "start", "end"),
    [
        ("Asia/Kathmandu", "2026-11-01 00:15..01:00", "2026-10-31 18:30", "2026-10-31 19:15"),
        ("Australia/Lord_Howe", "2026-10-04", "2026-10-03 13:30", "2026-10-04 13:00"),
        ("Australia/Lord_Howe", "2026-04-05 01:30..01:45", "2026-04-04 14:30", "2026-04-04 15:15"),
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04 03:00", "2018-11-05 02:00"),
        ("America/Sao_Paulo", "2018-11-04 00:00..02:00", "2018-11-04 03:00", "2018-11-04 04:00"),
        ("Pacific/Apia", "2011-12-29..2011-12-31", "2011-12-29 10:00", "2011-12-30 10:00"),
    ],
)
def test_zones_have_their_own_days(zone: Zone, name: str, text: str, start: str, end: str) -> None:
    zone(name)
    found = parse(text, NOW)
    assert (found.start, found.end) == (utc(start), utc(end))


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("yesterday", "2026-12-31", "2027-01-01"),
        ("week", "2026-12-28", "2027-01-04"),
        ("last-week", "2026-12-21", "2026-12-28"),
        ("last-month", "2026-12-01", "2027-01-01"),
    ],
)
def test_year_may_have_begun(zone: Zone, text: str, start: str, end: str) -> None:
    found = parse(text, at("2027-01-01 00:00:01"))
    assert (found.start, found.end) == (at(start), at(end))


INVALID = """
tomorrow|last-day|last-year|2026|2026-1|26-11|2026-11-1|20261101|2026-W45|2026-W45-1|2026-11-01x
2026-11-01 08:00|08:00|09:00..08:00|8:00..9:00|13:15..|24:00..|2026-00|2026-13|0000-01|2026-02-29|2026-11-31|2026-00-01|0000-00-00
9999-12|9999-12-31|0000-01-01..|9999-12-31 23:59..|0001-01-01 00:00..
0h|0000m|h|-1h|+1h|1.5h|1 h|24|24s|3y|1000000h|24h..7d|99999999999999999999h
\u0662\u0664h|2026-11-0\u0661|\uff12\uff10\uff12\uff16-11|\u0968\u096ah
..|...|..2026-11-01|..12:00|2026-11-01...|2026-11-01..2026-11-02..|a..b|..2026-12|all..
2026-11-03..2026-11-01|2026-11-01..2026-11-01|2026-11-01 12:00..08:00|today..yesterday
2026-11-01 08:00..08:00|2026-11-13..|2026-11-12 13:15..|2026-11-01-
2026-11-01 24:00..|2026-11-01 8:00..|2026-11-01 08:60..|2026-11-01 08:00:60..|2026-11-01 08..
2026-11-01..24:00|2026-11-01..8:00|2026-11-01..12
"""


@pytest.mark.parametrize(
    "text", ["", " ", *re.split(r"[|\n]", INVALID.strip()), *HOSTILE, "\0", "9" * 5000]
)
def test_invalid_range_is_refused_in_one_line(zone: Zone, text: str) -> None:
    with pytest.raises(RangeError) as caught:
        parse(text, NOW)
    assert str(caught.value)
    assert not CONTROLS.search(str(caught.value))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fortnight", "last-month"),
        ("2026-02-30", "expected a date and time that exist"),
        ("1969-12-30", "expected 1970 or later"),
        ("0001-01-03..", "expected 1970 or later"),
        ("1969-12", "expected 1970 or later"),
        ("2026-11-03..2026-11-01", "expected an end after its start"),
        ("0d", "expected a length above zero"),
    ],
)
def test_refusal_says_why(zone: Zone, text: str, words: str) -> None:
    with pytest.raises(RangeError, match=words):
        parse(text, NOW)


likely = st.lists(
    st.sampled_from(
        re.split(
            "[|]",
            "..|-|:|t|h|w|today|last-month|all|0|99|9999|2026|0001|12|2026-10-25|2026-03-29|02:30"
            "|24:00| |\n",
        )
    ),
    max_size=8,
).map("".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(400))
@given(st.text() | likely, st.floats(1, 4e9))
@example("0001-01-01..9999-12-31", NOW)
@example("0001-01", NOW)
@example("9999-12-30", NOW)
def test_any_text_is_a_range_or_refused(zone: Zone, text: str, now: float) -> None:
    refused = ""
    try:
        found = parse(text, now)
        assert found.start < found.end
    except RangeError as error:
        refused = str(error) or "\n"
    assert not CONTROLS.search(refused)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-10-25T02:00:00+02:00..2026-10-25T02:00:00+01:00", "00:00", "01:00"),
        ("2026-10-25 02:00+02:00..03:00", "00:00", "01:00"),
        ("2026-10-25 02:00+01:00..03:00", "01:00", "02:00"),
        ("2026-10-25 00:30z..01:30", "00:30", "01:30"),
        ("2026-10-25 02:00..03:00", "00:00", "02:00"),
    ],
)
def test_utc_offset_selects_a_repeated_hour(text: str, start: str, end: str, zone: Zone) -> None:
    found = parse(text, at("2026-10-26 12:00"))
    day = "2026-10-25"
    assert (found.start, found.end) == (utc(f"{day} {start}"), utc(f"{day} {end}"))
