"""Test the history view: totals, rows, bars, groups and exports."""

import csv
import io
import json
import re
import time
from pathlib import Path
from typing import Final

import pytest

from bwtop.history.calendar import DAY, HOUR
from bwtop.history.dimensions import TIMES
from bwtop.identity.machine import this_machine
from bwtop.model.flows import Identity, ProcessKey, Remote
from bwtop.sqlite.delta import Delta
from bwtop.text import units as fmt
from bwtop.text.escape import printable
from bwtop.web import files
from tests.history.keep import Kept, flows_of, policy, within
from tests.web.browser import PIXELS
from tests.web.page.scenes import (
    FAR,
    PROGRAMS,
    Past,
    Quiet,
    Visitor,
    api,
    bars,
    click_bar,
    days_ago,
    midnight,
    summed,
    sums,
)
from tests.web.serving import HAVING


def test_yesterday_has_the_right_totals_rows_and_bars(visit: Visitor, past: Past) -> None:
    page = visit(past, "?view=history&range=yesterday")
    page.until(lambda: page.rows(), "rows")
    wanted = api(past, "history?range=yesterday")
    assert (wanted["total"]["rx"], wanted["total"]["tx"]) == sums(past, "yesterday")
    summed(page, sums(past, "yesterday"))
    assert len(page.rows()) == len(PROGRAMS)
    expected = [
        (
            printable(f"[{row['name']}]" if row["kernel"] else row["name"]),
            [fmt.size(row["rx"]), fmt.size(row["tx"]), fmt.size(row["rx"] + row["tx"])],
        )
        for row in wanted["rows"]
    ]
    assert [(row.name, row.cells[:3]) for row in page.rows()] == expected
    shares = [float(row.cells[3].removesuffix(" %")) for row in page.rows()]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(100, abs=0.5)
    shown = bars(page)
    assert [row[1:] for row in shown] == [
        [fmt.size(bar["rx"]), fmt.size(bar["tx"])] for bar in wanted["bars"]
    ]
    assert len(shown) in (23, 24, 25)
    page.until(lambda: page.run(PIXELS)["above"] > 500, "bars above")
    page.until(lambda: page.run(PIXELS)["below"] > 200, "bars below")
    label = page.find("#chart").get_attribute("aria-label") or ""
    assert fmt.size(sums(past, "yesterday")[0]) in label
    assert page.text("#status") == ""
    assert page.text("#legend").split() == ["↓", "received", "↑", "sent"]


def yesterdays(past: Past, who: Identity) -> list[tuple[str, str]]:
    """Return the bytes of each remote of a process, as the page shows them."""
    start = midnight(1)
    sums: dict[Remote, tuple[int, int]] = {}
    for delta in within(past.deltas, start, start + DAY):
        for (_, one), remotes in delta.flows.items():
            if one == who:
                for far, (rx, tx) in remotes.items():
                    before = sums.get(far, (0, 0))
                    sums[far] = before[0] + rx, before[1] + tx
    return sorted((fmt.size(rx), fmt.size(tx)) for rx, tx in sums.values())


NAMES: Final = {
    "to 192.0.2.1:443 tcp",
    "from 192.0.2.1 on :8443 tcp",
    "to 192.0.2.2:53 udp",
    "to [2001:db8::1]:22 tcp",
    "to 127.0.0.1:8080 tcp",
    "to 198.51.100.7 icmp",
}
"""Those of FAR."""


def test_each_process_opens_to_its_remotes(visit: Visitor, past: Past) -> None:
    page = visit(past, f"?view=history&range={days_ago(1)}")
    for who in PROGRAMS:
        shown = f"[{who.name}]" if who.kernel else printable(who.name)
        page.row(shown)
        page.toggle(shown).click()
        page.until(page.children, f"remotes of {shown}")
        found = sorted(tuple(child.cells[:2]) for child in page.children())
        assert found == yesterdays(past, who), shown
        assert {child.name for child in page.children()} <= NAMES
        page.toggle(shown).click()
        page.until(lambda: not page.children(), "closing")


def test_grouping_by_each_dimension_and_by_time(visit: Visitor, past: Past) -> None:
    when = f"{days_ago(4)}..{days_ago(1)}"
    page = visit(past, f"?view=history&range={when}")
    page.until(lambda: page.rows())
    for dimension in HAVING:
        if dimension.name in (*TIMES, "host"):
            continue
        page.find("#by").select_option(dimension.name)
        wanted = api(past, f"history?range={when}&by={dimension.name}")["rows"]
        cells = [[fmt.size(r["rx"]), fmt.size(r["tx"])] for r in wanted]
        page.until(lambda cells=cells: [r.cells[:2] for r in page.rows()] == cells, dimension.name)  # type: ignore[misc]
        names = page.names()
        assert len(set(names)) == len(names), dimension.name
        assert not any(re.search("undefined|null|NaN", name) for name in names)
    page.find("#by").select_option("user")
    months = {days_ago(days)[:7] for days in (4, 3, 2)}
    for unit, count in (("day", 3), ("hour", 72), ("month", len(months))):
        page.find("#per").select_option(unit)
        wanted = api(past, f"history?range={when}&by={unit},user&limit=100")["rows"]
        cells = [[fmt.size(r["rx"]), fmt.size(r["tx"])] for r in wanted]
        page.until(lambda cells=cells: [r.cells[:2] for r in page.rows()] == cells, unit)  # type: ignore[misc]
        labels = {name.split("  ")[0] for name in page.names()}
        assert len(labels) <= count
        assert not any("undefined" in name for name in page.names())
    page.find("#per").select_option("")
    page.until(lambda: "per" not in page.query)


def test_one_machine_has_no_host_controls(visit: Visitor, past: Past) -> None:
    """The page offers no hosts, but accepts them in the URL."""
    page = visit(past, "?view=history&range=yesterday&host=nobody")
    page.until(lambda: len(page.rows()) == len(PROGRAMS), "all rows")
    offered = page.run(
        "() => [...document.querySelectorAll('#by option, #by optgroup')].map((one) => one.value)"
    )
    assert offered == [d.name for d in HAVING if d.name not in (*TIMES, "host")]
    for hidden in ("#host-box", "#all-hosts", "#elsewhere"):
        assert not page.find(hidden).is_visible()
    assert page.find("nav").is_visible()
    assert page.text("#host") == this_machine().name
    assert "host:" not in page.run("() => document.getElementById('fields').textContent")
    page.go("?view=history&range=yesterday&by=host")
    page.until(lambda: page.names() == [printable(this_machine().name)], "itself")
    assert page.find("#rows tbody a").count() == 0
    assert not any("/api/v1/hosts" in url for url in page.asked)


def test_rows_of_time_can_be_put_back_in_its_order(visit: Visitor, past: Past) -> None:
    page = visit(past, f"?view=history&range={days_ago(4)}..{days_ago(1)}&by=user&per=day")
    page.until(lambda: page.rows())
    names = page.names()
    for expected in ("descending", "ascending", "none"):
        page.header("total").click()
        page.until(lambda e=expected: page.direction("total") == e)  # type: ignore[misc]
    page.until(lambda: page.names() == names)


def test_history_filters_sorts_and_limits(visit: Visitor, past: Past) -> None:
    page = visit(past, "?view=history&range=yesterday")
    page.until(lambda: page.rows())
    page.filter("port:53 -process:plain")
    wanted = api(past, "history?range=yesterday&filter=port:53%20-process:plain")
    page.until(lambda: len(page.rows()) == len(wanted["rows"]), "filtered")
    summed(page, (wanted["total"]["rx"], wanted["total"]["tx"]))
    page.filter("")
    page.until(lambda: len(page.rows()) == len(PROGRAMS))
    for column, place in (("rx", 0), ("tx", 1), ("total", 2)):
        for sign, direction in (("", "descending"), ("-", "ascending")):
            page.header(column).click()
            page.until(lambda c=column, d=direction: page.direction(c) == d)  # type: ignore[misc]
            rows = api(past, f"history?range=yesterday&sort={sign}{column}")["rows"]
            amounts = [(r["rx"], r["tx"], r["rx"] + r["tx"])[place] for r in rows]
            assert amounts == sorted(amounts, reverse=not sign)
            cells = [fmt.size(amount) for amount in amounts]
            page.until(lambda c=cells, p=place: [r.cells[p] for r in page.rows()] == c)  # type: ignore[misc]
    page.find("#loopback").select_option("only")
    wanted = api(past, "history?range=yesterday&loopback=only")["total"]
    summed(page, (wanted["rx"], wanted["tx"]))
    page.go("?view=history&range=yesterday&limit=4")
    page.until(lambda: len(page.rows()) == 4)
    page.find("#more").click()
    page.until(lambda: len(page.rows()) == len(PROGRAMS))
    assert not page.find("#more").is_visible()


def test_rows_of_like_names_are_not_mixed_up(visit: Visitor, tmp_path: Path) -> None:
    """A process and a kernel thread of one name stay two rows."""
    kept = Kept(policy(), tmp_path / "history.db")
    start = midnight(1) + 600
    twins = (Identity("twin", None, kernel=True), Identity("twin", None))
    kept.append(
        Delta(
            start,
            60.0,
            {(ProcessKey(n, n), who): {FAR[0]: (n * 1000, 0)} for n, who in enumerate(twins, 1)},
        )
    )
    kept.steps(time.time())
    kept.connection.close()
    with Quiet(tmp_path / "history.db", files=files.load(None, {})) as server:
        page = visit(server, "?view=history&range=yesterday")
        page.until(lambda: page.rows())
        for unit in ("bits", "bytes", "bits"):
            page.find("#units").select_option(unit)
        assert sorted(page.names()) == ["[twin]", "twin"]


def test_remotes_beyond_the_listed_ones_are_others(visit: Visitor, tmp_path: Path) -> None:
    """Also where a program of the same name and user has all that are listed."""
    kept = Kept(policy(), tmp_path / "history.db")
    start = midnight(1) + 600
    twins = [Identity("twin", 0, exe=f"/usr/bin/{name}") for name in ("big", "small")]
    flows = {
        (ProcessKey(n, n), who): dict.fromkeys(FAR, (size, 0))
        for n, (who, size) in enumerate(zip(twins, (7000, 1009), strict=True), 1)
    }
    kept.append(Delta(start, 60.0, flows))
    kept.steps(time.time())
    kept.connection.close()
    with Quiet(tmp_path / "history.db", files=files.load(None, {})) as server:
        page = visit(server, "?view=history&range=yesterday")
        page.page.route(
            "**/api/v1/history?*process=*",
            lambda route: route.continue_(url=route.request.url.replace("limit=2000", "limit=2")),
        )
        page.until(lambda: page.names() == ["twin", "twin"])
        page.toggle("twin").nth(1).click()
        page.until(page.children, "a row below")
        assert [(row.name, row.cells[0]) for row in page.children()] == [("others", "5.9 KiB")]
        page.toggle("twin").nth(0).click()
        page.until(lambda: len(page.children()) == 4, "rows below")
        sizes = [row.cells[0] for row in page.children()]
        assert sizes == ["6.8 KiB", "6.8 KiB", "27.3 KiB", "5.9 KiB"]


def test_history_exports_are_what_the_api_says(visit: Visitor, past: Past) -> None:
    page = visit(past, "?view=history&range=yesterday&limit=3&sort=rx")
    page.until(lambda: len(page.rows()) == 3)
    name, body = page.download("#json")
    assert name == "bwtop-yesterday-by-process.json"
    wanted = api(past, "history?range=yesterday&sort=rx")
    assert json.loads(body) == wanted
    name, body = page.download("#csv")
    assert name == "bwtop-yesterday-by-process.csv"
    rows = list(csv.DictReader(io.StringIO(body.decode())))
    assert len(rows) == len(PROGRAMS)
    for row, process in zip(rows, wanted["rows"], strict=True):
        assert (int(row["rx"]), int(row["tx"])) == (process["rx"], process["tx"])
        expected = printable(process["name"])
        assert row["name"] == (f"'{expected}" if expected.startswith("=") else expected)
    assert any(row["name"] == "'=1+2" for row in rows)


def test_bars_of_an_hour_are_those_that_are_left(visit: Visitor, tmp_path: Path) -> None:
    """A note says what is left; bars that have nothing finer lead nowhere."""
    kept = Kept(policy(seconds=0, minutes=0), tmp_path / "history.db")
    start = midnight(2) + 7 * HOUR
    kept.append(*(Delta(start + n * 600, 60.0, flows_of(FAR[0], rx=1024)) for n in range(40)))
    kept.steps(time.time())
    kept.connection.close()
    with Quiet(tmp_path / "history.db", files=files.load(None, {})) as server:
        page = visit(server, f"?view=history&range={days_ago(2)}")
        page.until(lambda: len(bars(page)) in (23, 24, 25), "hours")
        click_bar(page, 8)
        page.until(lambda: len(bars(page)) == 12, "five minutes")
        assert [row[1] for row in bars(page)] == ["1.0 KiB", "not recorded"] * 6
        page.has("#notes", "part of this range has only totals by hour")
        before = page.page.url
        click_bar(page, 2)
        assert page.page.url == before
        page.filter("x")  # five-minute totals do not know processes
        page.until(lambda: len(bars(page)) == 1, "an hour")
        click_bar(page, 0)
        assert page.query["filter"] == "x"
