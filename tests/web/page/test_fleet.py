"""Test the page for the history of many hosts: a real browser, a real ClickHouse.

Every test ends with a check for faults.
"""

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest

from bwtop.clickhouse.client import Client
from bwtop.clickhouse.target import Target
from bwtop.history.dimensions import TIMES
from bwtop.model.flows import Host
from bwtop.text import units as fmt
from bwtop.text.escape import printable
from bwtop.web import files
from bwtop.web.history import FleetHistory
from tests.clickhouse import hosts
from tests.clickhouse.hosts import (
    BACKUP,
    DATABASE,
    FORMULA,
    HOSTILE,
    HOSTS,
    NGINX,
    RUNNING,
    TWINS,
    WEB,
)
from tests.clickhouse.servers import ClickHouse
from tests.history.keep import delta
from tests.web.browser import CONTRASTS, UNNAMED, Visit
from tests.web.page.scenes import REFUSED, WIDE, WIDTHS, Quiet, Visitor, api, resize, summed
from tests.web.serving import HAVING

MANY: Final = 200

YESTERDAY: Final = "?range=yesterday"

LOOK: Final = """
() => [...document.querySelectorAll("#rows tbody tr:not(.child)")].map((row) => row.children[1].textContent)
"""
"""Return the host of each row."""


def web(target: Target) -> Quiet:
    """Return a browser view of the history on a server."""
    history_access = FleetHistory(target.url(), lambda: Client(target, ""))
    return Quiet(
        Path("/nonexistent/history.db"), files=files.load(None, {}), history_access=history_access
    )


@pytest.fixture(scope="module")
def fleet(server: ClickHouse) -> Iterator[Quiet]:
    with web(server.target) as running:
        yield running


def label(host: Any) -> str:
    """Return the page's label of a host."""
    return printable(host.name) + (f" ({host.id[:8]})" if host in TWINS else "")


def named(page: Visit) -> None:
    """Wait until the hosts are loaded."""
    page.until(lambda: page.find("#hosts option").count() == len(HOSTS), "the hosts")


def shown(page: Visit) -> dict[tuple[str, str], list[str]]:
    """Return the numbers by (host, process)."""
    return {(row.cells[0], row.name): row.cells[1:3] for row in page.rows() if row.kind != "child"}


def link(page: Visit, host: Any) -> Any:
    return (
        page.find("#rows tbody a").filter(has_text=re.compile(f"^{re.escape(label(host))}$")).first
    )


def test_page_opens_by_host_and_process(visit: Visitor, fleet: Quiet) -> None:
    page = visit(fleet, YESTERDAY)
    named(page)
    assert shown(page) == {
        (label(host), who.name): list(map(fmt.size, hosts.moved(host, who)))
        for host in HOSTS
        for who in RUNNING[host]
    }
    assert (page.rows()[0].cells[0], page.rows()[0].name) == (WEB.name, "nginx")
    everything = [hosts.moved(host) for host in HOSTS]
    summed(page, (sum(rx for rx, _ in everything), sum(tx for _, tx in everything)))
    assert page.find("#by").input_value() == "host,process"
    heads = page.run(
        "() => [...document.querySelectorAll('#rows thead th')].map((h) => h.innerText)"
    )
    assert heads == ["process", "host", "↓ received", "↑ sent", "total ▼", "share"]


def test_page_shows_its_origin_without_waiting(
    visit: Visitor, fleet: Quiet, server: ClickHouse
) -> None:
    """The address of a live view leads to the past."""
    page = visit(fleet, "?view=live")
    page.has("#empty", "no data is recorded in this range")
    page.has("#host", f"history of many hosts, from {server.target.url()}")
    for hidden in ("nav", "#pause"):
        assert not page.find(hidden).is_visible()
    for shown in ("#elsewhere", "#range"):
        assert page.find(shown).is_visible()
    page.page.wait_for_timeout(1000)
    asked = [url.partition("/api/v1/")[2].partition("?")[0] for url in page.asked]
    assert sorted(filter(None, asked)) == ["about", "history", "hosts"]


def test_click_on_a_host_narrows_to_it_and_there_is_a_way_back(
    visit: Visitor, fleet: Quiet
) -> None:
    page = visit(fleet, YESTERDAY)
    named(page)
    before = page.rows()
    link(page, DATABASE).click()
    page.until(lambda: page.names() == ["backup", "postgres"], "its processes")
    assert (page.query["host"], page.query["by"]) == (DATABASE.name, "process")
    summed(page, hosts.moved(DATABASE))
    assert page.text("#title").endswith(f", {DATABASE.name}")
    assert page.find("#on-host").input_value() == DATABASE.name
    page.toggle("backup").click()
    page.until(lambda: len(page.children()) == 3, "its remotes")
    page.find("#all-hosts").click()
    page.until(lambda: page.rows() == before, "all of them")
    assert "host" not in page.query
    assert not page.find("#all-hosts").is_visible()
    page.page.go_back()
    page.until(lambda: page.query.get("host") == DATABASE.name)
    page.until(lambda: len(page.names()) == 2, "back")
    page.page.go_back()
    page.until(lambda: not page.children())
    page.page.go_back()
    page.until(lambda: page.rows() == before, "back twice")
    assert page.find("#on-host").input_value() == ""


def test_host_is_a_link_that_opens_elsewhere(visit: Visitor, fleet: Quiet) -> None:
    page = visit(fleet, YESTERDAY)
    named(page)
    address = link(page, WEB).get_attribute("href")
    with page.context.expect_page() as coming:
        link(page, WEB).click(modifiers=["Control"])
    coming.value.close()
    assert "host" not in page.query
    other = visit(fleet, address)
    other.until(lambda: other.names() == ["nginx", "backup"])
    summed(other, hosts.moved(WEB))


def test_process_of_a_host_opens_to_its_remotes_there(visit: Visitor, fleet: Quiet) -> None:
    """Other hosts run a process of the same name with the same remotes."""
    page = visit(fleet, f"{YESTERDAY}&by=host,process")
    named(page)
    for host in (WEB, TWINS[0]):
        row = page.find("#rows tbody tr").filter(has_text=label(host)).filter(has_text="backup")
        row.locator(".toggle").click()
        page.until(lambda: len(page.children()) == 3, "its remotes")
        wanted = api(
            fleet,
            f"history?range=yesterday&by=process,remote,port,proto&host={host.id}&process=backup",
        )["rows"]
        cells = [[fmt.size(each["rx"]), fmt.size(each["tx"])] for each in wanted]
        assert [child.cells[:2] for child in page.children()] == cells
        assert sum(each["rx"] for each in wanted) == hosts.moved(host, BACKUP)[0]
        row.locator(".toggle").click()
        page.until(lambda: not page.children(), "closed")


def test_each_grouping(visit: Visitor, fleet: Quiet) -> None:
    page = visit(fleet, YESTERDAY)
    named(page)
    offered = page.run("() => [...document.getElementById('by').options].map((one) => one.value)")
    flows = [d.name for d in HAVING if d.name not in TIMES and d.name != "host"]
    assert offered == ["host", *(f"host,{name}" for name in flows), *flows]
    for by in offered:
        page.find("#by").select_option(by)
        wanted = api(fleet, f"history?range=yesterday&by={by}")["rows"]
        skipped = 1 if by.startswith("host,") else 0
        cells = [[fmt.size(row["rx"]), fmt.size(row["tx"])] for row in wanted]
        page.until(
            lambda cells=cells, skipped=skipped: (  # type: ignore[misc]
                [row.cells[skipped : skipped + 2] for row in page.rows()] == cells
            ),
            by,
        )
        assert not any(re.search("undefined|null|NaN", str(row)) for row in page.rows()), by
    page.find("#by").select_option("host")
    page.until(lambda: sorted(page.names()) == sorted(map(label, HOSTS)), "the hosts")
    page.find("#per").select_option("day")
    page.until(lambda: page.query.get("per") == "day")
    page.until(lambda: page.run(LOOK)[0] == label(WEB), "a host of its own column")


@pytest.mark.parametrize(("host", "runs"), [(HOSTILE, "nginx"), (TWINS[1], "backup")])
def test_host_of_a_name_that_is_hostile_or_not_its_own(
    visit: Visitor, fleet: Quiet, host: Host, runs: str
) -> None:
    """Its link has its id."""
    page = visit(fleet, f"{YESTERDAY}&by=host")
    named(page)
    assert label(HOSTILE) == "<img src=x onerror=alert(1)>\\x1b[2J\\u202e,*"
    page.until(lambda: {label(host), *map(label, TWINS)} <= set(page.names()), "all")
    link(page, host).click()
    page.until(lambda: page.names() == [runs], "what runs there")
    assert page.query["host"] == host.id
    summed(page, hosts.moved(host))
    assert page.text("#title").endswith(f", {label(host)}")
    page.find("#on-host").fill("<b>bold</b>")
    page.page.keyboard.press("Enter")
    page.has("#empty", "no matching host has recorded data in this range")
    assert page.text("#title").endswith(", <b>bold</b>")
    assert page.run("() => document.querySelectorAll('img, main b, #rows script').length") == 0


def test_hosts_are_chosen_by_typing(visit: Visitor, fleet: Quiet) -> None:
    page = visit(fleet, f"{YESTERDAY}&by=host")
    named(page)
    field = page.find("#on-host")
    field.press_sequentially(WEB.name)
    page.until(lambda: page.names() == [label(WEB)], "one, without Enter")
    field.fill("")
    page.until(lambda: len(page.names()) == len(HOSTS), "all")
    field.press_sequentially("web*,db-?")
    page.page.wait_for_timeout(400)
    assert "host" not in page.query, "it may not be complete"
    page.page.keyboard.press("Enter")
    page.until(lambda: set(page.names()) == {label(WEB), label(DATABASE)}, "a pattern")
    page.expect_fault(REFUSED)
    field.fill("web*,,")
    page.page.keyboard.press("Enter")
    page.has("#error", "host: invalid host ''; expected a name, a shell pattern or a host id")
    assert field.get_attribute("aria-invalid") == "true"
    field.fill(FORMULA.name)
    page.until(lambda: page.names() == [label(FORMULA)], "the formula")
    assert field.get_attribute("aria-invalid") == "false"
    offered = page.run(
        "() => [...document.getElementById('hosts').options].map((one) => [one.value, one.label])"
    )
    plain = {WEB, DATABASE, FORMULA}
    assert offered == [
        [host.name if host in plain else host.id, label(host)] for host in sorted(HOSTS)
    ]


def test_hosts_can_stand_in_the_filter(visit: Visitor, fleet: Quiet) -> None:
    page = visit(fleet, f"{YESTERDAY}&by=host")
    named(page)
    page.filter("host:web*,db-2 -process:nginx")
    page.until(lambda: set(page.names()) == {label(WEB), label(DATABASE)}, "two")
    assert page.rows()[0].cells[0] == fmt.size(hosts.moved(DATABASE)[0])
    page.find("#filter-help summary").click()
    assert "host:" in page.text("#fields")
    assert "pid:" not in page.text("#fields"), "it is not recorded"


def test_state_is_in_the_address(visit: Visitor, fleet: Quiet) -> None:
    page = visit(fleet)
    page.find("#range").select_option("yesterday")
    named(page)
    page.find("#on-host").fill("web*,db-2")
    page.page.keyboard.press("Enter")
    page.until(lambda: len(page.rows()) == 4)
    page.find("#rows .toggle").first.click()
    page.until(lambda: len(page.children()) == 3)
    rows = page.rows()
    assert page.query.keys() == {"range", "host", "open"}
    page.page.reload()
    page.until(lambda: page.rows() == rows, "the same rows")
    assert page.find("#on-host").input_value() == "web*,db-2"


def test_two_hundred_hosts(visit: Visitor, server: ClickHouse) -> None:
    """Hosts are found by typing, not by a row of buttons."""
    server.init("many")
    many = replace(server.target, database="many")
    with web(many) as running:
        with closing(Client(many, "")) as client:
            each = (
                delta(hosts.midnight() + 600, 512 * n, 512, 60.0, who=NGINX)
                for n in range(1, MANY + 1)
            )
            names = (Host(f"node-{n - 1:03}", str(UUID(int=n))) for n in range(1, MANY + 1))
            hosts.send_pasts({host: [one] for host, one in zip(names, each, strict=True)}, client)
        page = visit(running, YESTERDAY)
        page.until(lambda: page.find("#hosts option").count() == MANY, "the list")
        assert len(page.rows()) == 100
        assert page.rows()[0].cells[0] == f"node-{MANY - 1:03}"
        page.find("#more").click()
        page.until(lambda: len(page.rows()) == MANY, "more")
        page.find("#on-host").press_sequentially("node-123")
        page.until(lambda: [row.cells[0] for row in page.rows()] == ["node-123"], "one")
        summed(page, (512 * 124, 512))


def test_server_that_is_gone_gets_one_line_and_comes_back(visit: Visitor, tmp_path: Path) -> None:
    late = ClickHouse(tmp_path)
    with web(late.target) as running:
        page = visit(running, YESTERDAY)
        page.expect_fault(REFUSED)
        page.until(lambda: page.find("#error").is_visible(), "the error")
        words = page.text("#error")
        assert words.startswith(f"{late.target.url()}: ")
        assert "refused" in words
        assert "\n" not in words
        assert page.text("#status") == ""
        try:
            late.start()
            late.init()
            with closing(late.client()) as client:
                hosts.send_past(WEB, hosts.yesterday(WEB), client)
            page.until(lambda: page.names() == ["nginx", "backup"], "its past")
            assert not page.find("#error").is_visible()
            page.until(lambda: page.find("#hosts option").count() == 1, "its name")
        finally:
            late.stop()


def test_fleet_page_is_accessible(visit: Visitor, fleet: Quiet) -> None:
    page = visit(fleet)
    for by in ("host,process", "host", "process"):
        page.go(f"{YESTERDAY}&by={by}&host=web*,db-2")
        named(page)
        assert page.run(UNNAMED) == [], by
        for scheme in ("light", "dark"):
            page.page.emulate_media(color_scheme=scheme)
            weak = [each for each in page.run(CONTRASTS) if each["ratio"] < 4.5]
            assert weak == [], (by, scheme)


def test_every_width_does_without_scrolling_sideways(visit: Visitor, fleet: Quiet) -> None:
    page = visit(fleet)
    for query in ("", "&by=host", f"&by=process&host={HOSTILE.id}", "&by=host,remote&per=day"):
        page.go(YESTERDAY + query)
        named(page)
        for toggle in page.find("#rows .toggle").all()[:2]:
            toggle.click()
        for width in WIDTHS:
            resize(page, width)
            found = page.run(WIDE)
            assert found[0] <= found[1], (query, width, found)
            assert found[2:] == [], (query, width)
            for place in ("th", "td.host-column"):
                for cell in page.find(f"#rows tbody tr:not(.child) {place}").all()[:2]:
                    box = cell.bounding_box()
                    assert box
                    assert box["width"] > 70, (query, width, place)
