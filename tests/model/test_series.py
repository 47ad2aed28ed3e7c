"""Graphs show the measured rates, each in its place."""

from itertools import accumulate

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bwtop.model.flows import UDP, Traffic
from bwtop.model.ledger import CATEGORIES, Category, Ledger, category
from bwtop.model.series import LENGTH, Rates, Series, Timeline, added, peak
from tests.build import key, remote, sample

WEB, DNS = remote(), remote("127.0.0.1", 53, UDP)

whole = st.integers(1, 1 << 24).map(float)
"""Rates that are stored exactly."""


# Of one process.


@given(
    st.lists(
        st.tuples(
            st.integers(0, LENGTH * 2).flatmap(lambda most: st.integers(0, most)),
            st.none() | st.tuples(whole, whole),
            st.integers(1, LENGTH),
        ),
        max_size=30,
    )
)
def test_series_has_the_last_rates_and_zeros_between(
    steps: list[tuple[int, Rates | None, int]],
) -> None:
    """In each step some intervals pass, the last with or without traffic; then the graph is read."""
    series, number = Series(), 1
    known: dict[int, Rates] = {}
    for passed, rates, count in steps:
        number += passed
        if rates and number not in known:
            known[number] = rates
            series.put(number, rates)
        numbers = range(number - count + 1, number + 1)
        assert series.last(number, count) == [known.get(n, (0.0, 0.0)) for n in numbers]


def test_old_lap_is_not_shown() -> None:
    series = Series()
    for number in range(1, LENGTH + 1):
        series.put(number, (1.0, 2.0))
    series.put(2 * LENGTH - 1, (5.0, 6.0))
    expected = [(1.0, 2.0)] + [(0.0, 0.0)] * (LENGTH - 2) + [(5.0, 6.0)]
    assert series.last(2 * LENGTH - 1, LENGTH) == expected


@given(
    st.lists(
        st.dictionaries(st.integers(1, 3 * LENGTH), st.tuples(whole, whole), max_size=9), max_size=4
    ),
    st.integers(3 * LENGTH, 4 * LENGTH),
)
def test_highest_rate_is_of_all_series_together(known: list[dict[int, Rates]], number: int) -> None:
    every = [Series() for _ in known]
    for series, rates in zip(every, known, strict=True):
        for place in sorted(rates):
            series.put(place, rates[place])
    sums = [
        sum(sum(rates.get(place, (0.0, 0.0))) for rates in known)
        for place in range(number - LENGTH + 1, number + 1)
    ]
    assert Series.highest(every, number) == max(sums)
    together = Series()
    for series in every:
        together.absorb(series, number)
    assert Series.highest([together], number) == pytest.approx(max(sums))
    assert list(map(sum, together.last(number, LENGTH))) == pytest.approx(sums)


@given(
    st.lists(
        st.tuples(st.integers(0, LENGTH + 5), st.integers(0, 9), st.integers(0, 9), st.booleans())
    )
)
def test_highest_rate_at_any_time(steps: list[tuple[int, int, int, bool]]) -> None:
    """Intervals pass, and sometimes it is looked for: it is that of what last() has."""
    series, number = Series(), 1
    for passed, rx, tx, looks in steps:
        number += passed
        series.put(number, (rx, tx))
        if looks:
            assert Series.highest([series], number) == max(map(sum, series.last(number, LENGTH)))
    number += LENGTH // 2
    assert Series.highest([series], number) == max(map(sum, series.last(number, LENGTH)))


def test_series_are_added_interval_by_interval() -> None:
    assert added([[(1.0, 2.0), (3.0, 4.0)], [(10.0, 20.0), (30.0, 40.0)]]) == [
        (11.0, 22.0),
        (33.0, 44.0),
    ]
    with pytest.raises(ValueError, match="shorter"):
        added([[(1.0, 2.0)], []])


# Of all processes.


def timeline(
    points: list[tuple[float, int]], seconds: float = 120.0, tx: int = 0, udp: int = 0
) -> Timeline:
    """Return a timeline with intervals of these seconds and received bytes."""
    made, ledger = Timeline(seconds), Ledger()
    for elapsed, rx in points:
        moved = {WEB: Traffic(rx, tx), DNS: Traffic(udp)}
        made.add(ledger.take(sample({key(1): moved}, elapsed=elapsed)))
    return made


def received(made: Timeline, count: int = 120) -> list[float | None]:
    return [rates and rates[0] for rates in made.columns(count, CATEGORIES)]


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([], [None, None, None, None]),
        ([(1, 5)], [None, None, None, 5]),
        ([(1, 5), (1, 0), (1, 7)], [None, 5, 0, 7]),
        ([(1, 9), (1, 1), (1, 2), (1, 3), (1, 4)], [1, 2, 3, 4]),
        ([(2, 10), (2, 4)], [5, 5, 2, 2]),
        ([(10, 50)], [5, 5, 5, 5]),
        ([(10, 50), (3, 6)], [5, 2, 2, 2]),
        ([(0.25, 0)], [None, None, None, 0]),
        ([(0.5, n) for n in range(8)], [2, 6, 10, 14]),
        ([(0.25, n) for n in range(8)], [None, None, 12, 28]),
    ],
)
def test_column_has_the_highest_rate_of_its_second(
    points: list[tuple[float, int]], expected: list[float | None]
) -> None:
    assert received(timeline(points, seconds=4), 4) == expected


@pytest.mark.parametrize(("elapsed", "columns"), [(0.1, 1), (1.0, 1), (10.0, 10)])
def test_one_busy_interval_is_as_wide_as_it_was_long(elapsed: float, columns: int) -> None:
    quiet = [(elapsed, 0)] * round(60 / elapsed)
    shown = received(timeline([*quiet, (elapsed, 1000), *quiet[1:]]))
    assert None not in shown
    busy = [place for place, rate in enumerate(shown) if rate]
    assert busy == list(range(60, 60 + columns))
    assert [shown[place] for place in busy] == [pytest.approx(1000 / elapsed)] * columns


@pytest.mark.parametrize("late", [-0.3, -0.01, 0.01, 0.08, 0.3])
@pytest.mark.parametrize("age", [1, 10, 100])
def test_busy_second_is_one_column_though_the_last_reading_was_late(late: float, age: int) -> None:
    """Otherwise the whole graph would swell and shrink with the clock."""
    quiet = [(1.0, 0)] * 119
    shown = received(timeline([*quiet, (1.0, 1000), *quiet[1:age], (1.0 + late, 0)]))
    assert [place for place, rate in enumerate(shown) if rate] == [119 - age]


@pytest.mark.parametrize("jitter", [0.98, 0.9997, 1.0, 1.0003, 1.02])
@pytest.mark.parametrize("interval", [0.1, 0.5, 1.0, 2.0, 10.0])
def test_steady_traffic_has_no_holes_and_no_steps(interval: float, jitter: float) -> None:
    """Clocks are never exact, and the width of a screen divides nothing."""
    elapsed = interval * jitter
    made = timeline([(elapsed, 10**6)] * round(200 / interval))
    for count in (1, 7, 40, 119, 120):
        assert received(made, count) == [pytest.approx(10**6 / elapsed)] * count


@given(
    st.lists(st.tuples(st.floats(0.05, 30), st.integers(0, 10**6)), min_size=1, max_size=80),
    st.integers(1, 200),
)
@example([(1.0, 0), (1.0, 0), (2.0, 0)], 11)
def test_unmeasured_columns_are_none(points: list[tuple[float, int]], count: int) -> None:
    seconds, span = 60.0, 60.0 / count
    shown = received(timeline(points, seconds), count)
    measured = [rate for rate in shown if rate is not None]
    assert shown == [None] * (count - len(measured)) + measured, "no holes"
    covered = min(sum(elapsed for elapsed, _ in points), seconds)
    assert measured
    assert abs(len(measured) * span - covered) <= span
    ages = accumulate((elapsed for elapsed, _ in reversed(points)), initial=0.0)
    newest_first = list(zip(ages, reversed(points), strict=False))
    rates = [rx / elapsed for age, (elapsed, rx) in newest_first if age < seconds]
    surely = [rx / elapsed for age, (elapsed, rx) in newest_first if age < seconds - span]
    assert set(measured) <= set(rates)
    assert max(measured) >= max(surely, default=0.0), "no peak is left out"
    assert measured[-1] >= points[-1][1] / points[-1][0]


def test_skipped_seconds_are_a_gap() -> None:
    made = timeline([(1, 5), (1, 6)], seconds=6)
    made.skip(2.0)
    made.add(Ledger().take(sample({key(1): {WEB: Traffic(7)}})))
    assert received(made, 6) == [None, 5, 6, None, None, 7]


def test_both_directions_have_their_own_highest_rate() -> None:
    made, ledger = Timeline(2), Ledger()
    for rx, tx in ((1, 1), (8, 2), (3, 9)):
        made.add(ledger.take(sample({key(1): {WEB: Traffic(rx, tx)}}, elapsed=0.25)))
    assert made.columns(2, CATEGORIES) == [None, (32.0, 36.0)]


@pytest.mark.parametrize(
    ("categories", "expected"),
    [
        ({category(WEB)}, (3.0, 4.0)),
        ({category(DNS)}, (5.0, 0.0)),
        ({category(WEB), category(DNS)}, (8.0, 4.0)),
        (set(CATEGORIES), (8.0, 4.0)),
        (set(), (0.0, 0.0)),
    ],
)
def test_only_the_wanted_categories_are_shown(categories: set[Category], expected: Rates) -> None:
    made = timeline([(1.0, 3)], tx=4, udp=5)
    assert made.columns(120, categories) == [None] * 119 + [expected]
    assert made.columns(120, iter(categories))[-1] == expected, "any iterable will do"


def test_old_intervals_are_dropped() -> None:
    """Also within a span shared with newer intervals."""
    made = timeline([(1.0, 10**6)] + [(1.0, 1)] * 4, seconds=4)
    assert received(made, 4) == [1, 1, 1, 1]
    assert received(made, 1) == [1]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ([], (0.0, 0.0)),
        ([None, None], (0.0, 0.0)),
        ([None, (0.0, 5.0), (3.0, 0.0), None], (3.0, 5.0)),
    ],
)
def test_peak_is_the_highest_of_each_direction(
    columns: list[Rates | None], expected: Rates
) -> None:
    assert peak(columns) == expected
