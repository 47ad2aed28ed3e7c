"""Test the page by keyboard, at every width, in light and dark, and for screen readers."""

import re

import pytest

from bwtop.history.calendar import HOUR
from bwtop.history.dimensions import local_iso
from tests.web.browser import CONTRASTS, UNNAMED, Visit
from tests.web.page.scenes import WIDE, WIDTHS, Past, Scene, Visitor, midnight, resize


def test_keyboard_alone_reaches_everything(visit: Visitor, past: Past, scene: Scene) -> None:
    scene.move({"one": 3000, "two": 2000})
    live_only = {"pause"}
    history_only = {"range", "from", "through", "by", "per"}
    both = {"to-live", "to-history", "filter", "loopback", "units", "csv", "json"}
    for server, query, own in ((scene, "", live_only), (past, "?view=history&range=yesterday", history_only)):  # fmt: skip
        page = visit(server, query)
        page.until(lambda: page.rows())  # noqa: B023 - called within the turn
        reached: list[str] = []
        for _ in range(90):
            page.page.keyboard.press("Tab")
            reached.append(
                page.run(
                    """() => {
                      const at = document.activeElement;
                      return at.id || at.value || at.dataset.column && `column ${at.dataset.column}`
                        || (at.className === "toggle" ? `row ${at.textContent}` : at.tagName);
                    }"""
                )
            )
        found = set(reached)
        assert own | both | {"tcp", "udp", "other"} <= found
        columns = page.run(
            "() => [...document.querySelectorAll('#rows [data-column]')].map((one) => `column ${one.dataset.column}`)"
        )
        assert set(columns) <= found
        assert {f"row {name}" for name in page.names()} <= found
        assert reached.index("to-live") < reached.index("filter") < reached.index(columns[0])
        page.find("h1").click()
        page.page.keyboard.press("/")
        assert page.run("() => document.activeElement.id") == "filter"
        page.page.keyboard.type("process:one/")
        assert page.find("#filter").input_value() == "process:one/"
        page.until(lambda: page.query.get("filter") == "process:one/")  # noqa: B023
        page.page.keyboard.press("Escape")
        page.until(lambda: "filter" not in page.query)  # noqa: B023
        assert page.find("#filter").input_value() == ""


@pytest.mark.parametrize("control", ["#proto input[value=udp]", "#loopback"])
def test_slash_goes_to_the_filter_from_a_checkbox_and_a_list(
    visit: Visitor, scene: Scene, control: str
) -> None:
    scene.move({"one": 3000})
    page = visit(scene)
    page.row("one")
    page.find(control).focus()
    page.page.keyboard.press("/")
    assert page.run("() => document.activeElement.id") == "filter"
    assert page.find("#filter").input_value() == ""


def test_slash_stays_in_a_date(visit: Visitor, past: Past) -> None:
    """There it goes on to the next part of the date."""
    page = visit(past, "?view=history&range=yesterday")
    page.until(lambda: page.rows())
    page.find("#from").focus()
    page.page.keyboard.press("/")
    assert page.run("() => document.activeElement.id") == "from"


@pytest.mark.parametrize("view", ["live", "history"])
def test_accessibility_basics(visit: Visitor, past: Past, scene: Scene, view: str) -> None:
    scene.move({"one": 3000})
    server = past if view == "history" else scene
    page = visit(server, f"?view={view}&range=yesterday")
    page.until(lambda: page.rows())
    assert page.run(UNNAMED) == []
    assert page.run("() => document.querySelectorAll('h1').length") == 1
    assert page.run("() => document.documentElement.lang") == "en"
    chart = page.find("#chart")
    assert chart.get_attribute("role") == "img"
    assert re.search("[0-9]", chart.get_attribute("aria-label") or "")
    assert {row.open for row in page.rows()} == {"false"}
    assert page.find("nav [aria-current=page]").inner_text().lower() == view
    headings = page.run("() => [...document.querySelectorAll('h1, h2')].map((h) => h.textContent)")
    assert all(headings)
    assert page.run("() => document.querySelectorAll('#rows thead th:not([scope])').length") == 0
    assert page.find("#rows caption").count() == 1
    snapshot = page.find("#rows").aria_snapshot()
    assert "▸" not in snapshot, "a mark is no part of a name"


@pytest.mark.parametrize("view", ["live", "history"])
def test_light_and_dark_can_be_read(visit: Visitor, past: Past, scene: Scene, view: str) -> None:
    scene.move({"one": 3000, "two": 20})
    scene.move({"one": 3000}, exited=[sum(b"two")])
    server = past if view == "history" else scene
    page = visit(server, f"?view={view}&range=yesterday")
    page.until(lambda: page.rows())
    page.toggle(page.names()[0]).click()
    page.until(lambda: page.children())
    page.find("#filter-help summary").click()
    page.run("() => { document.getElementById('bars-box').open = true; }")
    if view == "live":
        page.find("#pause").click()
    page.run(
        """() => {
          for (const id of ["error", "notes", "empty"]) {
            document.getElementById(id).hidden = false;
            document.getElementById(id).append("words");
          }
        }"""
    )
    grounds = set()
    for scheme in ("light", "dark"):
        page.page.emulate_media(color_scheme=scheme)
        found = page.run(CONTRASTS)
        assert len(found) > 40
        weak = [each for each in found if each["ratio"] < 4.5]
        assert weak == [], scheme
        grounds.add(page.run("() => getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2


def fits(page: Visit, query: str) -> None:
    """Check a page, with rows, help and bars opened, at every width."""
    page.go(query)
    page.until(lambda: page.rows())
    for toggle in page.find("#rows .toggle").all()[:2]:
        toggle.click()
    page.find("#filter-help summary").click()
    page.run("() => { document.getElementById('bars-box').open = true; }")
    for width in WIDTHS:
        resize(page, width)
        found = page.run(WIDE)
        assert found[0] <= found[1], (query, width, found)
        assert found[2:] == [], (query, width)
        clipped = page.run(
            """() => [...document.querySelectorAll("#rows .number")].filter((one) =>
                 one.checkVisibility() && one.scrollWidth > one.clientWidth + 1).map((one) => one.textContent)"""
        )
        assert clipped == [], "numbers are shown whole"
    name = page.find("#rows tbody tr").first.locator("th").bounding_box()
    assert name
    assert name["width"] > 70


def test_every_width_does_without_scrolling_sideways(
    visit: Visitor, past: Past, scene: Scene
) -> None:
    scene.move({"one": 3_000_000_000, "a_name_of_15_by": 2000})
    hour = f"{local_iso(midnight(1) + HOUR)}..{local_iso(midnight(1) + 2 * HOUR)}"
    quoted = hour.replace("+", "%2B")
    fits(visit(scene), "")
    page = visit(past)
    for query in ("yesterday", f"{quoted}&by=remote&per=hour", f"{quoted}&units=bits"):
        fits(page, f"?view=history&range={query}")
