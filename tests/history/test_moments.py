"""Moments of the history: what `[`, `]`, `@` and `v` of the full screen show, against plain sums."""

import io
from collections.abc import Iterable

import pytest

from bwtop.history.moments import (
    MOST,
    Moment,
    MomentQuery,
    NothingError,
    answer,
    look,
    unpacked,
)
from bwtop.history.plan import Bounds
from bwtop.history.ranges import Range, RangeError, parse_moment
from bwtop.model.flows import Identity, format_address
from bwtop.model.sample import Sample
from bwtop.sqlite.delta import Delta
from tests.build import key
from tests.history.keep import (
    CURL,
    DAY,
    HOUR,
    MINUTE,
    NGINX,
    NOON,
    REMOTES,
    Kept,
    Sums,
    at,
    delta,
    local,
    place,
    policy,
    total,
    within,
)
from tests.history.named import named, named_delta


def second(start: float, number: int) -> Delta:
    """Return the interval of two processes, with other bytes in each."""
    flows = {
        (key(1), CURL): {REMOTES[0]: (number, 0), REMOTES[2]: (0, 1)},
        (key(2), NGINX): {REMOTES[1]: (1, number)},
    }
    return Delta(start, 1.0, flows)


def seconds(start: float, count: int) -> list[Delta]:
    return [second(start + number, number) for number in range(count)]


def moment(kept: Kept, query: MomentQuery) -> Moment:
    """Return the answer as the screen gets it, from another process."""
    head, body = answer(kept.past(), query.text())
    kept.let_go()
    assert head == {}, head
    return unpacked(io.BytesIO(body))


def sums(samples: Iterable[Sample]) -> Sums:
    moved = [t for s in samples for remotes in s.traffic.values() for t in remotes.values()]
    return sum(t.rx for t in moved), sum(t.tx for t in moved)


def bounds(found: Moment) -> tuple[float, float]:
    return found.start, found.end


@pytest.fixture(scope="module")
def tiers() -> Kept:
    """Return a history of two days: hours are left of the oldest part, minutes of the next, seconds of the newest."""
    kept = Kept(policy(seconds=HOUR, minutes=4 * HOUR))
    for start in (NOON - DAY, NOON - 3 * HOUR, NOON - 2 * MINUTE):
        kept.append(*seconds(start, 120))
    kept.steps(NOON + 1)
    return kept


def test_steps_go_through_seconds_minutes_and_hours(tiers: Kept) -> None:
    found = moment(tiers, MomentQuery(steps=-1))
    assert (bounds(found), found.detail) == ((NOON - 1, NOON), "seconds")
    assert sums(found.samples[-1:]) == total(within(tiers.deltas, NOON - 1, NOON))
    assert {process.pid for process in found.samples[-1].traffic} == {1, 2}
    found = moment(tiers, MomentQuery(found.here, -10))
    assert bounds(found) == (NOON - 11, NOON - 10)
    found = moment(tiers, MomentQuery((NOON - 120, NOON - 119), -1))
    assert found.detail == "minutes"
    assert bounds(found) == (NOON - 3 * HOUR + 60, NOON - 3 * HOUR + 120)
    assert found.gap == (found.end, NOON - 120)
    assert sums(found.samples[-1:]) == total(within(tiers.deltas, *bounds(found)))
    found = moment(tiers, MomentQuery(found.here, -2))
    assert found.detail == "hours"
    assert bounds(found) == (NOON - DAY, NOON - DAY + HOUR)
    assert found.seconds == 120
    assert sums(found.samples[-1:]) == total(within(tiers.deltas, *bounds(found)))
    with pytest.raises(NothingError):
        look(tiers.past(), MomentQuery(found.here, -1))
    tiers.let_go()


def test_steps_forward_come_back_the_same_way(tiers: Kept) -> None:
    here: Bounds = (NOON - DAY, NOON - DAY + HOUR)
    ways = []
    for _ in range(4):
        found = moment(tiers, MomentQuery(here, 1))
        ways.append((found.detail, found.start))
        here = found.here
    assert ways == [
        ("minutes", NOON - 3 * HOUR),
        ("minutes", NOON - 3 * HOUR + 60),
        ("seconds", NOON - 120),
        ("seconds", NOON - 119),
    ]
    head, _ = answer(tiers.past(), MomentQuery((NOON - 1, NOON), 1).text())
    tiers.let_go()
    assert head == {"why": "nothing is recorded later"}


def test_minutes_between_seconds_are_steps() -> None:
    """A server gets only minutes of the time in which it was away; steps left them out, and told a gap."""
    kept = Kept(policy())
    kept.append(*[delta(NOON + n * 20, n + 1, seconds=20.0) for n in range(30)])
    kept.steps(NOON + 10 * MINUTE)
    kept.connection.execute(
        "DELETE FROM interval WHERE start >= ? AND start < ?", (NOON + 120, NOON + 420)
    )
    starts = [NOON + n for n in (80, 100, 120, 180, 240, 300, 360, 420, 440)]
    here: Bounds = (NOON + 460, NOON + 480)
    for start in reversed(starts):
        found = moment(kept, MomentQuery(here, -1))
        here = found.here
        assert (found.start, found.gap) == (start, None)
    for start in starts[1:]:
        found = moment(kept, MomentQuery(here, 1))
        here = found.here
        assert found.start == start


def test_every_moment_has_the_bytes_of_its_time_once(tiers: Kept) -> None:
    """Forward from the beginning to the end: no byte is missing, none comes twice."""
    here: Bounds = (NOON - 2 * DAY, NOON - 2 * DAY)
    moved = (0, 0)
    while True:
        try:
            found = look(tiers.past(), MomentQuery(here, 1))
        except NothingError:
            break
        finally:
            tiers.let_go()
        rx, tx = sums(found.samples[-1:])
        moved, here = (moved[0] + rx, moved[1] + tx), found.here
    assert moved == total(tiers.deltas)


@pytest.mark.parametrize(
    ("when", "start", "gap"),
    [
        (NOON - 10, NOON - 10, False),
        (NOON - 9.5, NOON - 10, False),
        (NOON + 300, NOON - 1, True),
        (NOON - 3 * HOUR + 70, NOON - 3 * HOUR + 60, False),
        (NOON - HOUR, NOON - 3 * HOUR + 60, True),
    ],
)
def test_time_leads_to_what_was_recorded_then_or_before(
    tiers: Kept, when: float, start: float, gap: bool
) -> None:
    found = moment(tiers, MomentQuery(at=when))
    assert (found.start, bool(found.gap)) == (start, gap)


@pytest.mark.parametrize(
    "span",
    [
        (NOON - 60, NOON),
        (NOON - 3 * HOUR, NOON - 3 * HOUR + 120),
        (NOON - 3 * HOUR, NOON),
        (NOON - DAY, NOON),
        (NOON - DAY, NOON + DAY),
    ],
)
def test_span_has_the_sums_of_its_time(tiers: Kept, span: tuple[float, float]) -> None:
    found = moment(tiers, MomentQuery(span=span))
    assert (bounds(found), found.gap) == (span, None)
    (sample,) = found.samples
    assert sums([sample]) == total(within(tiers.deltas, *span))
    assert sample.elapsed == found.seconds == len(within(tiers.deltas, *span))


def test_short_span_that_begins_before_the_kept_seconds_has_all_its_bytes() -> None:
    kept = Kept(policy(seconds=HOUR))
    kept.append(*seconds(NOON - HOUR - 10 * MINUTE, 20 * MINUTE))
    kept.steps(NOON)
    whole = (NOON - HOUR - 2 * MINUTE, NOON - HOUR + 3 * MINUTE)
    for query in (MomentQuery(span=whole), MomentQuery(at=whole[1] - 1, anchor=whole)):
        found = moment(kept, query)
        assert (bounds(found), found.detail, found.seconds) == (whole, "minutes", 300)
        assert sums(found.samples) == total(within(kept.deltas, *whole))


@pytest.mark.parametrize(
    ("span", "whole"),
    [
        ((NOON - 3 * HOUR + 10, NOON - 3 * HOUR + 80), (NOON - 3 * HOUR, NOON - 3 * HOUR + 120)),
        ((NOON - DAY, NOON - DAY + HOUR / 2), (NOON - DAY, NOON - DAY + HOUR)),
    ],
)
def test_span_is_shown_as_long_as_what_is_left_of_it(
    tiers: Kept, span: Bounds, whole: Bounds
) -> None:
    found = moment(tiers, MomentQuery(span=span))
    assert bounds(found) == whole
    assert sums(found.samples[-1:]) == total(within(tiers.deltas, *whole))


def test_anchor_is_the_other_end_of_a_span(tiers: Kept) -> None:
    anchor = (NOON - 20.0, NOON - 19.0)
    found = moment(tiers, MomentQuery((NOON - 18, NOON - 17), -5, anchor=anchor))
    assert (bounds(found), found.here) == ((NOON - 23, NOON - 19), (NOON - 23, NOON - 22))
    assert sums(found.samples) == total(within(tiers.deltas, *bounds(found)))


def test_graphs_have_the_moments_before(tiers: Kept) -> None:
    for query in (MomentQuery(at=NOON - 1), MomentQuery(at=NOON - 3 * HOUR + 60)):
        found = moment(tiers, query)
        assert len(found.samples) == 10
        width = found.end - found.start
        for number, sample in enumerate(found.samples):
            start = found.start - (9 - number) * width
            assert sums([sample]) == total(within(tiers.deltas, start, start + width))
    seconds = [span.start for span, _, _ in moment(tiers, MomentQuery(at=NOON - 1)).amounts]
    assert seconds == [NOON - 120 + number for number in range(120)]
    amounts = moment(tiers, MomentQuery(at=NOON - 1)).amounts
    moved = [both for _, _, sums in amounts for both in sums.values()]
    expected = total(within(tiers.deltas, NOON - 120, NOON))
    assert (sum(rx for rx, _ in moved), sum(tx for _, tx in moved)) == expected


def test_remotes_beyond_the_most_are_one() -> None:
    kept = Kept()
    far = [place(n) for n in range(MOST + 5)]
    flows = {(key(1), Identity("scan")): {one: (1 + (n >= 5), 1) for n, one in enumerate(far)}}
    kept.append(Delta(NOON, 1.0, flows))
    found = moment(kept, MomentQuery(steps=-1))
    (remotes,) = found.samples[-1].traffic.values()
    assert len(remotes) == MOST + 1
    assert sums(found.samples) == total(kept.deltas)


def test_empty_history_has_no_moment() -> None:
    for query in (MomentQuery(steps=-1), MomentQuery(at=NOON), MomentQuery(steps=1, base=(1, 2))):
        head, body = answer(Kept().past(), query.text())
        assert head["why"].startswith("nothing is recorded")
        assert body == b""


def test_clock_that_runs_apart_leaves_no_interval_out() -> None:
    kept = Kept()
    kept.append(*(delta(NOON + 1.0003 * n, rx=1 + n) for n in range(20)))
    here: Bounds = (NOON - 1, NOON - 1)
    for n in range(20):
        found = moment(kept, MomentQuery(here, 1))
        assert sums(found.samples[-1:]) == (1 + n, 10)
        if n > 9:
            assert [sums([sample])[0] for sample in found.samples] == list(range(n - 8, n + 2))
        here = found.here


NOW = at("2026-09-20T15:00:00Z")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10m", NOW - 600),
        ("-90s", NOW - 90),
        ("2H", NOW - 7200),
        ("3d", NOW - 3 * DAY),
        ("14:30", NOW - 1800),
        ("9:05", NOW - 355 * 60),
        ("14:30:15", NOW - 1785),
        ("15:30", NOW - DAY + 1800),
        ("yesterday 20:00", NOW - 19 * HOUR),
        ("  Yesterday   20:00 ", NOW - 19 * HOUR),
        ("today 08:00", NOW - 7 * HOUR),
        ("2026-09-01 08:00", NOW - 19 * DAY - 7 * HOUR),
    ],
)
def test_typed_time(text: str, expected: float) -> None:
    with local("UTC"):
        assert parse_moment(text, NOW) == expected


def test_typed_range_is_a_span() -> None:
    with local("UTC"):
        found = parse_moment("yesterday", NOW)
        assert isinstance(found, Range)
        assert (found.start, found.end) == (NOW - 39 * HOUR, NOW - 15 * HOUR)
        found = parse_moment("08:00..12:00", NOW)
        assert isinstance(found, Range)


@pytest.mark.parametrize("text", ["", "soon", "25:00", "14:60", "someday 14:00", "10x", "1" * 500])
def test_invalid_time_is_one_line(text: str) -> None:
    with (
        local("UTC"),
        pytest.raises(RangeError, match=r"invalid time .*; expected 10m, 14:30") as no,
    ):
        parse_moment(text, NOW)
    assert "\n" not in str(no.value)


# Names of remotes.


def names_in(found: Moment) -> dict[tuple[str, str, int], list[str]]:
    """Return the names in the shown reading, by process, address and port."""
    sample = found.samples[-1]
    assert not any(before.named for before in found.samples[:-1])
    return {
        (sample.identities[who].name, format_address(far.address), far.port): [
            f"{one.name} {one.source}" for one in names
        ]
        for (who, far), names in sample.named.items()
    }


@pytest.fixture(scope="module")
def of_names() -> Kept:
    return named(Kept())


def test_remotes_have_the_names_of_their_process_as_of_then(of_names: Kept) -> None:
    first = moment(of_names, MomentQuery(at=NOON))
    assert names_in(first) == {
        ("curl", "192.0.2.1", 443): ["www.example.co.uk sni", "cdn.example.net dns"]
    }
    assert names_in(moment(of_names, MomentQuery(at=NOON + 1))) == {
        ("nginx", "192.0.2.1", 443): ["other.example.org sni", "cdn.example.net dns-host"]
    }
    other_port = moment(of_names, MomentQuery(at=NOON + 2))
    assert names_in(other_port) == {("curl", "192.0.2.1", 80): ["cdn.example.net dns"]}
    later = names_in(moment(of_names, MomentQuery(at=NOON + 60)))
    assert later["curl", "192.0.2.1", 443] == [
        "late.example.co.uk sni",
        "late2.example.co.uk sni",
        "www.example.co.uk sni",
        "cdn.example.net dns",
    ]


def test_span_has_the_names_that_held_in_it(of_names: Kept) -> None:
    found = names_in(moment(of_names, MomentQuery(span=(NOON, NOON + 5))))
    assert found["nginx", "2001:db8::2", 8443] == ["two.example.org dns"]
    assert found["nginx", "192.0.2.1", 443][0] == "other.example.org sni"
    assert not [far for far in found if far[1] in ("127.0.0.1", "*")]


def test_names_that_were_long_gone_are_no_alternatives(of_names: Kept) -> None:
    """The name of the moment is there, however long ago the process asked for it."""
    found = names_in(moment(of_names, MomentQuery(at=NOON + 3 * DAY)))
    assert found["curl", "192.0.2.1", 443] == ["www.example.co.uk sni"]


def test_hours_have_names_of_programs() -> None:
    kept = Kept(policy(seconds=HOUR, minutes=2 * HOUR))
    hours = ((NOON, "a.example"), (NOON + HOUR, "b.example"), (NOON + DAY, "c.example"))
    kept.append(*(named_delta(start, name) for start, name in hours), *seconds(NOON + 2 * DAY, 120))
    kept.steps(NOON + 2 * DAY + 120)
    for start, name in hours:
        found = moment(kept, MomentQuery(at=start))
        assert found.detail == "hours"
        assert names_in(found)["curl", "192.0.2.1", 443][0] == f"{name} sni"


def test_names_can_be_left_out(of_names: Kept) -> None:
    head, body = answer(of_names.past(), MomentQuery(at=NOON).text(), names=False)
    of_names.let_go()
    assert not head
    assert not names_in(unpacked(io.BytesIO(body)))
