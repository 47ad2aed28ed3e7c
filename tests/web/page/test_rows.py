"""Test the rows of the live view: they hold still while you point, select, read or pause."""

import csv
import io
import json
import re
import time
from datetime import UTC, datetime
from typing import Final

import pytest
from playwright.sync_api import Route

from bwtop.model.flows import Identity, Loss, Traffic
from bwtop.model.sample import Sample
from bwtop.text import units as fmt
from bwtop.text.escape import printable
from tests.build import key, remote
from tests.web.browser import LOST, PIXELS, Visit
from tests.web.page.scenes import HOSTILE, REFUSED, Scene, Visitor, api, clocked, questions, resize

HELD: Final = re.compile("/api/v1/live[?]")
"""The question of a page that pauses, after which the next interval is none of its business."""


def still(visit: Visitor, scene: Scene) -> Visit:
    """Return a page with three rows in the order of their rates, whose clock stands still."""
    scene.move({"one": 3000, "two": 2000, "three": 1000})
    page = visit(scene)
    clocked(page)
    page.until(lambda: page.names() == ["one", "two", "three"])
    page.page.clock.pause_at(time.time() + 30)
    return page


def test_rows_keep_their_places_under_the_pointer(visit: Visitor, scene: Scene) -> None:
    page = still(visit, scene)
    rows = page.find("#rows tbody tr")
    element = rows.nth(1).element_handle()
    rows.nth(1).hover()
    scene.move({"one": 1, "two": 20_000, "three": 400_000})
    page.until(lambda: page.row("three").cells[2] == "390.6 KiB/s", "new numbers")
    assert page.names() == ["one", "two", "three"]
    page.page.mouse.move(5, 5)
    scene.move({"one": 1, "two": 30_000, "three": 400_000})
    page.until(lambda: page.row("two").cells[2] == "29.3 KiB/s", "new numbers")
    assert page.names() == ["one", "two", "three"]
    page.page.clock.fast_forward(2200)
    scene.move({"one": 1, "two": 20_000, "three": 400_000})
    page.until(lambda: page.names() == ["three", "two", "one"], "the right order")
    assert element.inner_text().startswith("two")  # the row is still the same element


def test_rows_move_two_seconds_after_the_pointer_came_to_rest_on_them(
    visit: Visitor, scene: Scene
) -> None:
    """Rows held for as long as a pointer rests on them would soon be in no order."""
    page = still(visit, scene)
    page.find("#rows tbody tr").nth(1).hover()
    page.page.clock.fast_forward(2200)
    scene.move({"one": 1, "two": 20_000, "three": 400_000})
    page.until(lambda: page.names() == ["three", "two", "one"], "the right order")


def test_sorting_acts_at_once_though_the_pointer_comes_from_the_rows(
    visit: Visitor, scene: Scene
) -> None:
    """The pointer has just left the rows, which hold still, but sorting acts at once."""
    page = still(visit, scene)
    page.find("#rows tbody tr").nth(1).hover()
    page.header("name").click()
    page.until(lambda: page.direction("name") == "ascending")
    scene.move({"one": 3000, "two": 2000, "three": 1000})
    page.until(lambda: page.names() == ["one", "three", "two"], "the order of names")


def test_sorting_waits_for_its_answer_though_the_pointer_is_on_the_rows_again(
    visit: Visitor, scene: Scene
) -> None:
    page = still(visit, scene)
    page.run(
        """() => {
          document.querySelector("[data-column=name]").click();
          document.querySelector("#rows tbody").dispatchEvent(new PointerEvent("pointermove"));
        }"""
    )
    page.until(lambda: page.names() == ["one", "three", "two"], "the order of names")
    scene.move({"one": 1, "zero": 2, "three": 3})
    page.until(lambda: page.row("three").cells[2] == "3 B/s", "new numbers")
    assert page.names() == ["one", "three", "two", "zero"], "now they hold still"


def test_no_number_changes_while_paused(visit: Visitor, scene: Scene) -> None:
    """Rows open, and settings such as the unit change."""
    scene.move({"one": 1000})
    page = visit(scene)
    page.until(lambda: page.row("one").cells[2] == "1000 B/s")
    pause = page.find("#pause")
    with page.page.expect_response(HELD):
        pause.click()
    assert pause.inner_text() == "Resume"
    assert pause.get_attribute("aria-pressed") is None, "that would be: Resume is on"
    scene.move({"one": 5000})
    page.page.wait_for_timeout(700)
    page.toggle("one").click()
    page.until(lambda: page.row("one").open == "true", "open")
    assert [child.name for child in page.children()] == ["to 192.0.2.7:443 tcp"]
    page.find("#units").select_option("bits")
    page.until(lambda: page.row("one").cells[2] == "8.0 kbit/s")
    pause.click()
    page.until(lambda: page.row("one").cells[2] == "40.0 kbit/s", "going on")
    assert pause.inner_text() == "Pause"


def test_paused_rows_are_held_beyond_the_shown_ones(visit: Visitor, scene: Scene) -> None:
    """They are loaded once: what you sort, show or open is of the held interval."""
    scene.move({"one": 3000, "two": 2000, "three": 1000, "four": 500})
    page = visit(scene, "?limit=2")
    page.until(lambda: page.names() == ["one", "two"])
    with page.page.expect_response(HELD):
        page.find("#pause").click()
    page.has("#status", "paused")
    assert not page.find("#csv").is_visible()
    scene.move({"one": 9000, "five": 70})
    page.header("name").click()
    page.until(lambda: page.names() == ["four", "one"], "sorted")
    page.find("#more").click()
    page.until(lambda: page.names() == ["four", "one", "three", "two"], "more")
    page.toggle("one").click()
    page.until(page.children)
    assert page.children()[0].cells[2] == page.row("one").cells[2] == "2.9 KiB/s"
    assert page.text("#title") == "Then"
    assert "seconds: then ↓ 3.2 KiB/s" in (page.find("#chart").get_attribute("aria-label") or "")
    assert questions(scene).count("/api/v1/live") == 1
    page.find("#pause").click()
    page.until(lambda: page.row("one").cells[2] == "8.8 KiB/s")
    assert page.find("#csv").is_visible()


def test_rows_of_another_scope_are_of_now(visit: Visitor, scene: Scene) -> None:
    """The held interval has other rows: the page goes on."""
    scene.move({"one": 1000})
    page = visit(scene)
    page.row("one")
    for change in (
        lambda: page.filter("one"),
        lambda: page.find("#proto input[value=udp]").click(),
        lambda: page.find("#loopback").select_option("hide"),
    ):
        page.find("#pause").click()
        page.has("#status", "paused")
        scene.move({"one": 5000})
        change()
        page.until(lambda: page.row("one").cells[2] == "4.9 KiB/s")
        assert page.find("#pause").inner_text() == "Pause"
        scene.move_until(
            {"one": 7},
            lambda: (
                page.row("one").cells[2] == "7 B/s"
                and page.text("#title") == "Now"
                and "measuring" in page.text("#status")
            ),
            page,
        )


@pytest.mark.parametrize("late", ["interval", "connection"])
def test_rows_of_a_later_interval_are_not_held(visit: Visitor, scene: Scene, late: str) -> None:
    """Where the rest of the held interval cannot be had any more, the page says so."""
    scene.move({"one": 3000, "two": 2000, "three": 1000, "four": 500})
    page = visit(scene, "?limit=2")
    page.until(lambda: page.names() == ["one", "two"])

    def answer(route: Route) -> None:
        if late == "connection":
            route.abort()
            return
        scene.move({"one": 9000, "four": 70_000})
        route.continue_()

    page.expect_fault(LOST)
    page.page.route("**/api/v1/live?*", answer)
    page.find("#pause").click()
    page.has("#status", "paused; only the rows shown are held")
    page.toggle("one").click()
    page.until(page.children)
    assert [child.name for child in page.children()] == ["its remotes are not held"]
    page.header("tx_total").click()
    page.until(lambda: page.direction("tx_total") == "descending")
    page.find("#more").click()
    page.until(lambda: page.names() == ["one", "two", "three"], "the one more that the page has")
    assert [row.cells[2] for row in page.rows() if row.kind != "child"] == (
        ["2.9 KiB/s", "2.0 KiB/s", "1000 B/s"]
    )
    assert not page.find("#more").is_visible()


def test_programs_of_one_name_in_one_process_are_rows(visit: Visitor, scene: Scene) -> None:
    """They also have series of their own in the chart, in the past as in new intervals."""
    execs = [key(7), key(7)._replace(exec=1)]
    traffic = {
        one: {remote("192.0.2.7"): Traffic(size, 0)}
        for one, size in zip(execs, (7, 5), strict=True)
    }
    who = {one: Identity("again") for one in execs}
    page = visit(scene)
    scene.put(Sample(datetime.now(UTC), 1.0, traffic, who))
    page.until(lambda: [row.cells[1] for row in page.rows()] == ["7 B/s", "5 B/s"], "both rows")
    page.toggle("again").first.click()
    page.until(lambda: [row.open for row in page.rows()] == ["true", None, "false"], "one open")
    page.page.reload()
    page.until(lambda: page.text("#legend").count("again (7)") == 2, "both series")
    scene.put(Sample(datetime.now(UTC), 1.0, traffic, who))
    page.until(lambda: [row.cells[4] for row in page.rows()] == ["14 B", "14 B", "10 B"])
    page.until(lambda: page.text("#legend").count("again (7)") == 2, "both series")


def test_rates_of_a_network_stay_on_one_line(visit: Visitor, scene: Scene) -> None:
    page = visit(scene)
    scene.move({"one": 1_040_000, "two": 1_040_000_000})
    page.row("two")
    for width in (320, 390, 1280):
        resize(page, width)
        heights = page.run(
            """() => [...document.querySelectorAll("#title, #summary span")].map((one) => {
              const { top, bottom } = one.getBoundingClientRect();
              return bottom - top;
            })"""
        )
        assert len(heights) == 6
        assert max(heights) < 1.6 * min(heights), (width, heights)


def test_pause_moves_nothing(visit: Visitor, scene: Scene) -> None:
    page = visit(scene)
    scene.move({"one": 1})
    page.row("one")
    page.chart_drawn()
    for width in (390, 1280):
        resize(page, width)
        scene.move_until({"one": 1}, lambda: "measuring" in page.text("#status"), page)
        places = [page.find(name).bounding_box() for name in ("#proto", "#rows")]
        page.find("#pause").click()
        page.has("#status", "paused")
        assert [page.find(name).bounding_box() for name in ("#proto", "#rows")] == places, width
        page.find("#pause").click()


def test_selected_words_stay_selected(visit: Visitor, scene: Scene) -> None:
    """Unchanged text is not rewritten: selections and screen readers are not disturbed."""
    scene.move({"one": 1000})
    page = visit(scene)
    page.row("one")
    page.run(
        """() => {
          window.written = [];
          const note = (all) => all.forEach((one) => window.written.push(one.target.textContent));
          new MutationObserver(note).observe(document.querySelector("#rows tbody"), { childList: true, subtree: true, characterData: true });
        }"""
    )
    scene.move({"one": 1000})
    page.until(lambda: page.row("one").cells[-1] == "2.0 KiB")
    assert sorted(page.run("() => window.written")) == ["1000 B", "2.0 KiB"]


def test_focus_goes_with_its_row(visit: Visitor, scene: Scene) -> None:
    """It stays on a pressed header, too."""
    names = ["one", "two", "three"]
    scene.move(dict(zip(names, (3000, 2000, 1000), strict=True)))
    page = visit(scene)
    clocked(page)
    page.until(lambda: page.names() == names)
    page.header("rate").focus()
    for way in ("ascending", "descending"):
        page.page.keyboard.press("Enter")
        page.until(lambda way=way: page.direction("rate") == way, way)  # type: ignore[misc]
        assert page.run("() => document.activeElement.dataset.column") == "rate"
    page.toggle("three").focus()
    page.page.clock.fast_forward(2200)  # longer than rows hold still after input
    scene.move(dict(zip(names, (1000, 2000, 3000), strict=True)))
    page.until(lambda: page.names() == names[::-1], "other places")
    assert page.run("() => document.activeElement.textContent") == "three"


def test_invalid_filter_clears_the_rows_and_says_why(visit: Visitor, scene: Scene) -> None:
    """Its late refusal changes nothing after the next filter."""
    scene.move({"one": 1000})
    page = visit(scene)
    page.row("one")
    page.until(lambda: page.text("#legend"))
    page.until(lambda: max(page.run(PIXELS).values()) > 0)
    page.expect_fault(REFUSED)
    field = page.find("#filter")
    page.filter("port:99999")
    page.until(lambda: page.find("#error").is_visible())
    assert page.text("#error") == (
        "filter: invalid port '99999'; expected 0 to 65535 or a range such as 8000-8999"
    )
    assert field.get_attribute("aria-invalid") == "true"
    assert page.run("() => globalThis.Chart.getChart('chart') === undefined")
    assert (page.text("#legend"), page.text("#title"), page.text("#summary")) == ("", "", "")
    assert page.names() == []
    held: list[Route] = []
    page.page.route("**/api/v1/live?*", lambda route: held.append(route))
    page.filter("pid:x")
    page.until(lambda: held, "the question why")
    page.filter("")
    page.row("one")
    held[0].continue_()
    page.page.wait_for_timeout(500)
    assert page.names() == ["one"]
    assert not page.find("#error").is_visible()
    assert field.get_attribute("aria-invalid") == "false"


def test_live_exports_are_what_the_api_says(visit: Visitor, scene: Scene) -> None:
    scene.move({"one": 3001, "two": 2003, "=three": 1009, "@four": 7})
    page = visit(scene, "?sort=name&filter=port:443&limit=2")
    page.row("@four")
    name, body = page.download("#csv")
    assert name == "bwtop-live.csv"
    rows = list(csv.DictReader(io.StringIO(body.decode())))
    assert [row["name"] for row in rows] == ["'=three", "'@four", "one", "two"]
    name, body = page.download("#json")
    assert name == "bwtop-live.json"
    wanted = api(scene, "live?sort=name&filter=port:443")
    assert json.loads(body) == wanted
    assert [row["pid"] for row in rows] == [str(one["pid"]) for one in wanted["processes"]]


def test_losses_are_shown(visit: Visitor, scene: Scene) -> None:
    page = visit(scene)
    scene.move({"one": 1})
    page.row("one")
    assert not page.find("#notes").is_visible()
    loss = Loss(3, 4096, 0, 0, 0, 17)
    scene.put(Sample(datetime.now(UTC), 1.0, {}, {}, set(), loss))
    for words in fmt.losses(loss):
        page.has("#notes", f"lost: {words}")


RATES: Final = re.compile("↓ .+/s ↑ .+/s \u2013 bwtop")


def check_stale(page: Visit) -> None:
    """Check that nothing presents the interval as that of now."""
    page.until(lambda: page.find("body.stale").count() == 1, "stale")
    assert page.page.title() == "bwtop"
    assert page.text("#title") == "Then"
    assert "seconds: then ↓" in (page.find("#chart").get_attribute("aria-label") or "")


def test_interval_that_none_followed_is_not_that_of_now(visit: Visitor, scene: Scene) -> None:
    page = visit(scene)
    clocked(page)
    scene.move({"one": 1000})
    page.row("one")
    assert RATES.fullmatch(page.page.title())
    page.page.clock.fast_forward(6000)
    check_stale(page)
    scene.move({"one": 7})
    page.until(lambda: page.row("one").cells[2] == "7 B/s", "going on")
    assert page.text("#title") == "Now"
    assert RATES.fullmatch(page.page.title())
    assert page.find("body.stale").count() == 0


def test_interval_of_long_ago_is_not_that_of_now(
    visit: Visitor, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the page is loaded, or a row opened, hours after a recorder has stopped."""
    scene.move({"one": 1000})
    monkeypatch.setattr(scene.broadcaster, "age", lambda: 7200.0)
    page = visit(scene)
    page.run(
        """() => {
          window.titles = [];
          const note = () => window.titles.push(document.title);
          new MutationObserver(note).observe(document.querySelector("title"), { childList: true });
        }"""
    )
    page.row("one")
    check_stale(page)
    page.toggle("one").click()
    page.until(page.children)
    check_stale(page)
    assert not [title for title in page.run("() => window.titles") if RATES.fullmatch(title)]


SIZES: Final = (0, 1, 999, 1023, 1024, 1280, 1700, 1_000_003, 123_456_789_012, 2**62, 1536.5)


def test_numbers_and_texts_are_those_of_the_other_views(visit: Visitor, scene: Scene) -> None:
    page = visit(scene)
    page.run("""async () => { window.format = await import("./format.js"); }""")
    for amount in SIZES:
        assert page.run("(n) => window.format.size(n)", amount) == fmt.size(amount), amount
        assert page.run("(n) => window.format.rate(n, 'bytes')", amount) == fmt.rate(amount)
    for amount in (*SIZES, 124_999.9, 124_994):
        shown = page.run("(n) => window.format.rate(n, 'bits')", amount)
        assert shown == fmt.rate(amount, bits=True), amount
    for text in (*HOSTILE, "\u2028", "\u200b", "\x9b", "\U000e0001", "\ue000"):
        assert page.run("(text) => window.format.plain(text)", text) == printable(text)
