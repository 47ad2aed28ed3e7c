"""Test the chart of both views, and the page without Chart.js."""

from pathlib import Path
from typing import TYPE_CHECKING

from bwtop.history.calendar import HOUR
from bwtop.history.dimensions import local_iso
from bwtop.text import units as fmt
from bwtop.web import files
from tests.web.browser import Visit
from tests.web.page.scenes import (
    REFUSED,
    Past,
    Scene,
    Visitor,
    bars,
    click_bar,
    days_ago,
    midnight,
    ranged,
    scene_points,
    summed,
    sums,
)

if TYPE_CHECKING:
    from playwright.sync_api import Route


def test_chart_has_no_hole_after_a_look_at_the_history(visit: Visitor, scene: Scene) -> None:
    """Intervals missed meanwhile are filled in: they must not look idle."""
    scene.move({"one": 1000})
    page = visit(scene)
    page.row("one")
    page.find("#to-history").click()
    page.until(lambda: page.query.get("view") == "history")
    page.expect_fault(REFUSED)  # there is no history
    for _ in range(10):
        scene.move({"one": 1000})
        page.page.wait_for_timeout(30)
    page.find("#to-live").click()
    page.row("one")
    scene.move({"one": 1000})
    page.until(lambda: page.row("one").cells[-1] == fmt.size(12_000))
    page.chart_drawn()
    bars = page.run(
        """() => globalThis.Chart.getChart("chart").data.datasets
             .filter((set) => set.name.startsWith("one")).at(-1).data.slice(-12)"""
    )
    assert bars == [-1000] * 12


def check_axis(page: Visit) -> None:
    """Check the values, labels and ticks of a second each, 20 of which had no interval of their own."""
    page.chart_drawn()
    sent, labels, ticks = page.run(
        """() => {
          const chart = globalThis.Chart.getChart("chart");
          const sent = chart.data.datasets.filter((set) => set.name.startsWith("one")).at(-1).data;
          return [sent.map((value) => value && Math.round(value)), chart.data.labels, chart.scales.x.ticks.map((tick) => tick.label)];
        }"""
    )
    assert sent[-31:] == [-1000, *[None] * 19, *[-1000] * 11]
    assert [sent[place] for place in (-60, -61)] == [-1000, None]
    assert labels[-11] == "10 s ago, average of 20 s"
    assert labels[-31] == "30 s ago"
    assert [tick for tick in ticks if tick] == ["−100 s", "−80 s", "−60 s", "−40 s", "−20 s", "now"]  # noqa: RUF001 - a minus


def test_time_axis_is_one_of_time(visit: Visitor, scene: Scene) -> None:
    """Where bwtop stood still for 20 seconds, there is a gap of 20 seconds, though no interval is missing."""
    page = visit(scene)
    lengths = [1.0] * 30 + [20.0] + [0.9, 1.1] * 5
    for count, seconds in enumerate(lengths, 1):
        scene.move({"one": round(1000 * seconds)}, seconds=seconds)
        page.until(lambda wanted=count: len(scene_points(page)) == wanted)  # type: ignore[misc]
    check_axis(page)
    page.go()
    page.until(lambda: len(scene_points(page)) == len(lengths))
    check_axis(page)


def test_series_keep_their_colours(visit: Visitor, scene: Scene) -> None:
    names = [f"p{number}" for number in range(8)]
    page = visit(scene)
    colours: dict[str, str] = {}
    for turn in range(6):
        scene.move({name: 1000 * (1 + (turn + place) % 8) for place, name in enumerate(names)})
        page.until(lambda number=turn: len(scene_points(page)) == number + 1)  # type: ignore[misc]
        shown = page.run(
            """() => [...document.querySelectorAll("#legend li")].map((item) =>
                 [item.textContent, item.querySelector("i").style.backgroundColor])"""
        )
        assert len(shown) <= 6
        assert len({colour for _, colour in shown}) == len(shown)
        kept = {name: colour for name, colour in shown if name in colours}
        assert all(colours[name] == colour for name, colour in kept.items())
        colours = dict(shown)


def test_busy_process_has_a_series_wherever_its_row_is(visit: Visitor, scene: Scene) -> None:
    """It need not be among the rows of the page."""
    page = visit(scene, "?sort=name&limit=1")
    page.has("#status", "measuring")
    for _ in range(2):
        scene.move({"able": 1000, "baker": 900, "charlie": 90_000})
    page.until(lambda: page.names() == ["able"])
    page.until(lambda: f"charlie ({sum(b'charlie')})" in page.text("#legend"), "its series")


def test_rows_do_not_wait_for_the_chart(visit: Visitor, scene: Scene) -> None:
    scene.move({"one": 3001})
    page = visit(scene)
    page.row("one")
    held: list[Route] = []
    page.page.route("**/chart.js", lambda route: held.append(route))
    page.go()
    page.row("one")
    page.until(lambda: held, "the request for Chart.js")
    assert page.run("() => globalThis.Chart === undefined")
    assert page.find("#plot").is_visible(), "its place is kept"
    assert not page.find("#no-charts").is_visible()
    held[0].continue_()
    page.chart_drawn()


def test_broken_chart_js_is_ignored(visit: Visitor, scene: Scene) -> None:
    page = visit(scene)
    page.page.route("**/chart.js", lambda route: route.abort())
    page.expect_fault("ERR_FAILED")
    page.go()
    page.until(lambda: page.find("#no-charts").is_visible(), "the word that there are no charts")
    assert not page.find("#plot").is_visible()
    scene.move({"one": 3001})
    page.row("one")


def test_without_chart_js_the_page_works_and_says_so(visit: Visitor, tmp_path: Path) -> None:
    without = {path: file for path, file in files.load(None, {}).items() if path != files.CHART}
    with Scene(tmp_path / "none.db", files=without) as server:
        server.move({"one": 3001})
        page = visit(server)
        page.row("one")
        page.toggle("one").click()
        page.until(lambda: len(page.children()) == 1)
        assert not page.find("#chart").is_visible()
        server.move({"one": 3001})
        page.until(lambda: page.row("one").cells[-1] == "5.9 KiB")
        assert "libjs-chart.js" in page.text("main")
        assert page.run("() => globalThis.Chart === undefined")


def test_clicking_bars_goes_from_a_month_to_a_day_to_an_hour_and_back(
    visit: Visitor, past: Past
) -> None:
    day = days_ago(3)
    page = visit(past, f"?view=history&range={days_ago(9)}..{days_ago(0)}")
    page.until(lambda: len(bars(page)) == 9, "days")
    assert bars(page)[6][0] == day
    click_bar(page, 6)
    ranged(page, day)
    summed(page, sums(past, day))
    page.until(lambda: len(bars(page)) in (23, 24, 25), "hours")
    page.until(lambda: page.find("#up").is_visible())
    assert page.text("#up") == f"all of {day[:7]}"
    hour = bars(page)[7]
    click_bar(page, 7)
    page.until(lambda: len(bars(page)) == 60, "minutes")
    start = midnight(3) + 7 * HOUR
    assert page.query["range"] == f"{local_iso(start)}..{local_iso(start + HOUR)}"
    assert fmt.size(sums(past, page.query["range"])[0]) == hour[1]
    assert bars(page)[10][1:] == hour[1:]
    before = page.page.url
    click_bar(page, 10)  # there is nothing finer
    assert page.page.url == before
    assert page.text("#up") == f"all of {day}"
    page.find("#up").click()
    ranged(page, day)
    page.until(lambda: len(bars(page)) in (23, 24, 25), "hours again")
    page.find("#up").click()
    ranged(page, day[:7])
    page.until(lambda: bars(page) and len(bars(page)[0][0]) == len(day), "the month")
    page.until(lambda: not page.find("#up").is_visible(), "nowhere to go up from there")
    for expected in (day, None, day):
        page.page.go_back()
        page.until(
            lambda wanted=expected: wanted is None or page.query.get("range") == wanted  # type: ignore[misc]
        )
    page.until(lambda: page.query["range"] == day)
    summed(page, sums(past, day))
    page.page.go_back()
    page.until(lambda: len(bars(page)) == 9, "where it began")
    page.page.go_forward()
    ranged(page, day)


def test_chart_as_a_table_leads_to_the_same_by_keyboard(visit: Visitor, past: Past) -> None:
    day = days_ago(2)
    page = visit(past, f"?view=history&range={days_ago(4)}..{days_ago(0)}")
    page.until(lambda: bars(page))
    page.find("#bars-box summary").focus()
    page.page.keyboard.press("Enter")
    page.until(lambda: page.find("#bars").is_visible())
    link = page.find("#bars a").nth(2)
    assert link.inner_text() == day
    link.focus()
    page.page.keyboard.press("Enter")
    ranged(page, day)
    page.until(lambda: len(bars(page)) in (23, 24, 25))
    page.find("#bars a").nth(5).click()
    page.until(lambda: len(bars(page)) == 60)
    assert page.find("#bars a").count() == 0


def test_bars_say_what_was_not_recorded(visit: Visitor, past: Past) -> None:
    page = visit(past, f"?view=history&range={days_ago(6)}..{days_ago(3)}")
    page.until(lambda: len(bars(page)) == 3)
    assert bars(page)[1] == [days_ago(5), "not recorded", "not recorded"]
    page.go(f"?view=history&range={days_ago(5)}")
    page.has("#status", "no data is recorded from")
    page.has("#empty", "no data is recorded in this range")


def test_chart_follows_a_change_of_the_colour_scheme(visit: Visitor, past: Past) -> None:
    page = visit(past, "?view=history&range=yesterday", color_scheme="light")
    page.chart_drawn()
    colour = "() => globalThis.Chart.getChart('chart').data.datasets[0].backgroundColor"
    before = page.run(colour)
    page.page.emulate_media(color_scheme="dark")
    page.until(lambda: page.run(colour) != before, "other colours")
