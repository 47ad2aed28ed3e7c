"""Test the date fields, and times in another time zone."""

import time
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from bwtop.history.calendar import HOUR
from bwtop.sqlite.delta import Delta
from bwtop.web import files
from tests.history.keep import Kept, at, flows_of, local, policy, total
from tests.web.browser import Visit
from tests.web.page.scenes import (
    FAR,
    Past,
    Quiet,
    Visitor,
    bars,
    click_bar,
    clocked,
    days_ago,
    ranged,
    summed,
    sums,
)


def test_dates_make_a_range(visit: Visitor, past: Past) -> None:
    page = visit(past, "?view=history&range=yesterday")
    page.until(lambda: page.rows())
    page.find("#from").fill(days_ago(4))
    ranged(page, days_ago(4))
    page.find("#through").fill(days_ago(2))
    ranged(page, f"{days_ago(4)}..{days_ago(1)}")
    summed(page, sums(past, f"{days_ago(4)}..{days_ago(1)}"))
    assert page.find("#range").input_value() == f"{days_ago(4)}..{days_ago(1)}"
    page.page.reload()
    page.until(lambda: page.rows())
    assert page.find("#from").input_value() == days_ago(4)
    assert page.find("#through").input_value() == days_ago(2)
    page.find("#range").select_option("all")
    ranged(page, "all")
    summed(page, total(past.deltas))
    assert page.find("#from").input_value() == ""


def typing(page: Visit, place: str, keys: str, *, slowly: bool = False) -> None:
    """Type key by key: month, day, year.  Whoever types slowly pauses for 800 ms, and the page answers."""
    page.find(place).focus()
    for one in keys:
        page.page.keyboard.press(one)
        if slowly:
            page.page.clock.fast_forward(800)
        page.page.wait_for_timeout(100 if slowly else 30)


@pytest.mark.parametrize("slowly", [False, True], ids=["fast", "slow"])
def test_dates_can_be_typed(visit: Visitor, past: Past, *, slowly: bool) -> None:
    """Type key by key; no intermediate date changes the other field."""
    page = visit(past)
    clocked(page, f"?view=history&range={days_ago(9)}..{days_ago(3)}")
    page.until(lambda: page.rows())
    year, month, day = days_ago(2).split("-")
    length = page.run("() => history.length")
    typing(page, "#through", month + day + year, slowly=slowly)
    page.find("h1").click()
    ranged(page, f"{days_ago(9)}..{days_ago(1)}")
    assert page.find("#from").input_value() == days_ago(9)
    assert page.run("() => history.length") <= length + 1
    page.page.go_back()
    ranged(page, f"{days_ago(9)}..{days_ago(3)}")


def test_dates_typed_slowly_are_one_step_back(visit: Visitor, past: Past) -> None:
    """Each pause asks for the date so far, such as another month; a year is 0002 to 0202 on the way, which asks nothing."""
    page = visit(past)
    clocked(page, f"?view=history&range={days_ago(9)}..{days_ago(3)}")
    page.until(lambda: page.rows())
    before = len(past.asked)
    day = days_ago(44)  # another month and another day of the month
    year, month, date = day.split("-")
    typing(page, "#from", month + date + year, slowly=True)
    page.find("h1").click()
    ranged(page, f"{day}..{days_ago(3)}")
    asked = [parse_qs(request.query) for request in past.asked[before:]]
    assert all(one["range"][0] >= "1970" for one in asked if "range" in one), asked
    page.page.go_back()
    ranged(page, f"{days_ago(9)}..{days_ago(3)}")


def gone_back_from(visit: Visitor, past: Past, date: str, milliseconds: int) -> Visit:
    """Return a page that left a date it had typed so long ago by the button Back; the field has the focus."""
    page = visit(past)
    clocked(page, "?view=history&range=30d")
    page.until(lambda: page.rows())
    page.find("#range").select_option("yesterday")
    ranged(page, "yesterday")
    page.page.clock.pause_at(time.time() + 30)
    page.find("#from").focus()
    page.find("#from").fill(date)
    page.page.clock.fast_forward(milliseconds)
    return page


def test_back_leaves_the_typed_date_for_good(visit: Visitor, past: Past) -> None:
    """The field says what is shown, though it has the focus; leaving it changes nothing."""
    page = gone_back_from(visit, past, days_ago(4), 700)
    ranged(page, days_ago(4))
    page.page.go_back()
    ranged(page, "yesterday")
    page.until(lambda: page.find("#from").input_value() == "", "the field of yesterday")
    page.find("h1").click()
    page.page.wait_for_timeout(200)
    assert page.query["range"] == "yesterday"
    page.page.go_forward()
    ranged(page, days_ago(4))


def test_back_within_a_pause_of_typing_drops_the_date(visit: Visitor, past: Past) -> None:
    page = gone_back_from(visit, past, days_ago(4), 300)
    page.page.go_back()
    ranged(page, "30d")
    page.page.clock.fast_forward(700)
    page.find("h1").click()
    page.page.wait_for_timeout(200)
    assert page.query["range"] == "30d"


def test_unfinished_date_is_restored(visit: Visitor, past: Past) -> None:
    when = f"{days_ago(9)}..{days_ago(3)}"
    page = visit(past)
    clocked(page, f"?view=history&range={when}")
    page.until(lambda: page.rows())
    page.page.clock.pause_at(time.time() + 30)  # a pause between keys would make a date of each
    typing(page, "#from", "112320")
    page.find("h1").click()
    page.until(lambda: page.find("#from").input_value() == days_ago(9), "the date that holds")
    page.find("#through").focus()
    page.page.keyboard.press("Backspace")
    page.find("h1").click()
    page.until(lambda: page.find("#through").input_value() == days_ago(4), "the date that holds")
    assert page.query["range"] == when


def test_through_before_from_is_that_day_alone(visit: Visitor, past: Past) -> None:
    page = visit(past, f"?view=history&range={days_ago(5)}..{days_ago(3)}")
    page.until(lambda: page.rows())
    page.find("#through").fill(days_ago(7))
    page.find("h1").click()
    ranged(page, days_ago(7))
    assert page.find("#from").input_value() == days_ago(7)


def test_browser_elsewhere_shows_the_time_of_the_server(visit: Visitor, past: Past) -> None:
    day = days_ago(3)
    seen = []
    for zone in ("Pacific/Auckland", "America/Los_Angeles"):
        page = visit(past, f"?view=history&range={days_ago(6)}..{days_ago(0)}", timezone_id=zone)
        page.until(lambda: len(bars(page)) == 6)  # noqa: B023 - called within the turn
        page.find("#from").fill(day)
        ranged(page, f"{day}..{days_ago(0)}")
        page.until(lambda: len(bars(page)) == 3)  # noqa: B023
        click_bar(page, 0)
        ranged(page, day)
        page.until(lambda: len(bars(page)) > 20)  # noqa: B023
        seen.append((page.text("#title"), [bar[0] for bar in bars(page)]))
    assert seen[0] == seen[1]


def test_hours_of_one_time_have_their_offset(visit: Visitor, tmp_path: Path) -> None:
    """Where clocks go back, 02:00 comes twice: in bars, rows, the title and the list of ranges."""
    with local("Europe/Berlin"):
        kept = Kept(policy(), tmp_path / "history.db")
        start = at("2026-10-25T00:30:00+02:00")
        kept.append(*(Delta(start + n * HOUR, 60.0, flows_of(FAR[0], rx=1024)) for n in range(25)))
        kept.steps(time.time())
        kept.connection.close()
        with Quiet(tmp_path / "history.db", files=files.load(None, {})) as server:
            page = visit(server, "?view=history&range=2026-10-25&by=user&per=hour")
            page.until(lambda: len(bars(page)) == 25, "hours")
            hours = ["01:00", "02:00 +02:00", "02:00 +01:00", "03:00"]
            assert [bar[0] for bar in bars(page)][1:5] == [f"10-25 {hour}" for hour in hours]
            rows = [name.partition("  ")[0] for name in page.names()]
            assert rows[1:5] == [f"2026-10-25 {hour}" for hour in hours]
            page.chart_drawn()
            labels = page.run("() => globalThis.Chart.getChart('chart').data.labels")
            assert labels[1:5] == hours
            assert page.text("#title") == "2026-10-25 00:00 to 2026-10-26 00:00"
            click_bar(page, 2)
            page.has("#title", "2026-10-25 02:00 +02:00 to 2026-10-25 02:00 +01:00")
            shown = page.run("() => document.getElementById('range').selectedOptions[0].text")
            assert shown == "10-25 02:00 +02:00\u201302:00 +01:00"
            page.go("?view=history&range=2026-10-25T02:00:03%2B02:00..2026-10-25T02:00:09%2B02:00")
            page.has("#title", "2026-10-25 02:00 to 2026-10-25 02:00")
            page.page.go_back()
            page.page.go_back()
            page.until(lambda: len(bars(page)) == 25, "hours")
            click_bar(page, 4)
            page.has("#title", "2026-10-25 03:00 to 2026-10-25 04:00")
