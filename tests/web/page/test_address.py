"""Test the page's state in the URL, and errors for invalid URLs."""

from itertools import pairwise
from typing import Final

from tests.web.browser import Visit
from tests.web.page.scenes import REFUSED, Past, Scene, Visitor, days_ago

WRONG: Final = {
    "range=nonsense": "range: invalid range 'nonsense'; expected today, ",
    "by=colour": "by: invalid group 'colour'",
    "sort=name": "sort: invalid value 'name'; expected total, rx, tx",
    "filter=pid:1": "filter: invalid field 'pid'",
    "loopback=maybe": "loopback: invalid value 'maybe'; expected",
    "range=<b>x</b>": "range: invalid range '<b>x</b>'; expected today, ",
}


def test_wrong_addresses_get_one_line(visit: Visitor, past: Past) -> None:
    page = visit(past, "?view=history&range=yesterday")
    page.expect_fault(REFUSED)
    for query, words in WRONG.items():
        page.go(f"?view=history&{query}")
        page.until(lambda: page.find("#error").is_visible(), "the error")
        assert words in page.text("#error")
        assert "\n" not in page.text("#error")
        assert page.rows() == []
        assert page.find("#error b").count() == 0
    page.find("#range").select_option("yesterday")
    page.until(lambda: page.rows(), "recovery")
    assert not page.find("#error").is_visible()


def test_wrong_address_of_the_live_view_too(visit: Visitor, scene: Scene) -> None:
    scene.move({"one": 1})
    page = visit(scene, "?sort=colour&units=pounds&view=nothing&limit=-3")
    page.expect_fault(REFUSED)
    page.expect_fault("MIME type")
    page.until(lambda: page.find("#error").is_visible(), "the error")
    assert page.text("#error").startswith("sort: invalid column 'colour'")
    page.header("name").click()
    page.row("one")
    assert not page.find("#error").is_visible()


_CONTROLS: Final = """
() => ({
  inputs: [...document.querySelectorAll("#controls input, #controls select")].map((one) =>
    [one.id, one.type === "checkbox" ? one.checked : one.value]),
  headers: [...document.querySelectorAll("#rows th[aria-sort]")].map((one) => [one.textContent, one.ariaSort]),
  current: document.querySelector("nav [aria-current]").id,
  open: [...document.querySelectorAll('#rows [aria-expanded="true"]')].map((one) => one.textContent),
})
"""


def test_state_is_in_the_address_of_the_live_view(visit: Visitor, scene: Scene) -> None:
    scene.move({"one": 3000, "two": 2000, "three": 1000})
    page = visit(scene)
    page.row("one")
    page.filter("port:443")
    page.find("#proto input[value=other]").click()
    page.find("#loopback").select_option("hide")
    page.find("#units").select_option("bits")
    page.header("tx_total").click()
    page.header("tx_total").click()
    page.until(
        lambda: page.names()[:1] == ["three"], "the order, before rows under the pointer hold still"
    )
    page.toggle("one").click()
    page.toggle("three").click()
    page.until(lambda: len(page.children()) == 2)
    page.until(lambda: page.rows()[0].name == "three")
    shown, rows = page.run(_CONTROLS), page.rows()
    page.page.reload()
    page.until(lambda: page.rows() == rows, "the same rows")
    assert page.run(_CONTROLS) == shown
    other = visit(scene, page.page.url.partition("/?")[2] and f"?{page.page.url.partition('?')[2]}")
    other.until(lambda: other.rows() == rows, "the same rows elsewhere")
    assert other.run(_CONTROLS) == shown


def opened(page: Visit) -> int:
    """Return how many rows are open and have a row below."""
    rows = page.rows()
    return sum(row.open == "true" and below.kind == "child" for row, below in pairwise(rows))


def test_state_is_in_the_address_of_the_history(visit: Visitor, past: Past) -> None:
    page = visit(past)
    page.find("#to-history").click()
    page.find("#range").select_option("yesterday")
    page.until(lambda: page.rows())
    page.filter("-port:53")
    page.find("#proto input[value=other]").click()
    page.find("#loopback").select_option("hide")
    page.find("#units").select_option("bits")
    page.header("tx").click()
    page.header("tx").click()
    page.until(lambda: page.direction("tx") == "ascending")
    for name in ("a,b", "c*?[d]", "\\x1b[2J\\u202ex"):
        page.row(name)
        page.toggle(name).click()
    page.until(lambda: opened(page) == 3, "the remotes of each")
    shown, rows = page.run(_CONTROLS), page.rows()
    assert len(shown["open"]) == 3
    page.page.reload()
    page.until(lambda: page.rows() == rows, "the same rows")
    assert page.run(_CONTROLS) == shown
    other = visit(past, f"?{page.page.url.partition('?')[2]}")
    other.until(lambda: other.rows() == rows, "the same rows elsewhere")
    assert other.run(_CONTROLS) == shown
    for select, value in (("#by", "unit"), ("#per", "day")):
        page.find(select).select_option(value)
    page.until(lambda: page.query.get("per") == "day")
    day = days_ago(1)
    page.until(lambda: page.names() and all(name.startswith(day) for name in page.names()), day)
    shown, rows = page.run(_CONTROLS), page.rows()
    page.page.reload()
    page.until(lambda: page.rows() == rows, "grouped rows")
    assert page.run(_CONTROLS) == shown


def test_back_and_forward(visit: Visitor, past: Past) -> None:
    page = visit(past, "?view=history&range=yesterday&filter=process:plain")
    page.until(lambda: page.names() == ["plain"])
    page.find("#by").select_option("user")
    page.until(lambda: page.names() and page.names() != ["plain"])
    page.find("#to-live").click()
    page.until(lambda: page.query.get("view") is None)
    assert page.find("#pause").is_visible()
    assert not page.find("#range").is_visible()
    page.find("#filter").fill("process:other")
    page.until(lambda: page.query["filter"] == "process:other")
    page.page.go_back()
    page.until(lambda: page.query.get("view") == "history")
    page.until(lambda: page.names() and page.names() != ["plain"])
    assert page.query["filter"] == "process:plain"
    assert page.find("#filter").input_value() == "process:plain", "the field says what is shown"
    page.page.go_back()
    page.until(lambda: page.names() == ["plain"])
    assert page.find("#by").input_value() == "process"
    page.page.go_forward()
    page.until(lambda: page.find("#by").input_value() == "user")
