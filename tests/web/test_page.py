"""The page in a real browser: what moves now, from the real program as root, and what was, from a history.

Every test ends with a look at what the page must never do: complain on the console, violate its policy, or ask anybody
but its own server.
"""

import csv
import io
import json
import math
import os
import random
import re
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Route

from bwtop import format as fmt
from bwtop.history.calendar import DAY, HOUR, Unit, ceiling, floor
from bwtop.history.delta import Delta
from bwtop.history.dimensions import DIMENSIONS, TIMES, local_iso
from bwtop.history.machine import this_machine
from bwtop.history.ranges import parse as parse_range
from bwtop.model.flows import TCP, UDP, Identity, ProcessKey, Remote, Role, Traffic
from bwtop.model.sample import FlowTraffic, Sample
from bwtop.text import printable
from bwtop.web import files
from tests.build import key, remote
from tests.history.desktop import a_desktops_day
from tests.history.keep import Kept, policy, total, within
from tests.kernel.running import command_as
from tests.web.browser import CONTRASTS, LOST, PIXELS, UNNAMED, Mover, Visit, chromium, mover
from tests.web.serving import Serving, Web, serving

SOMEBODY: Final = 31234
"""A uid that is nobody's."""

REFUSED: Final = r"the server responded with a status of (400|503)"
"""How Chromium tells of an answer that is a refusal."""

Visitor = Callable[..., Visit]


@pytest.fixture(scope="module")
def opened() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def visit(opened: Browser) -> Iterator[Visitor]:
    """Opens pages; at the end of the test none of them may have done anything wrong."""
    visits: list[Visit] = []

    def begin(origin: str | Web | Serving, query: str = "", **options: Any) -> Visit:
        if not isinstance(origin, str):
            origin = f"http://127.0.0.1:{origin.port}"
        visits.append(Visit(opened, origin, query, **options))
        return visits[-1]

    yield begin
    for each in visits:
        each.close()
    for each in visits:
        each.check()


# What moves now.

live = pytest.mark.kernel


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """The program itself, as root."""
    with serving("--db", str(tmp_path_factory.mktemp("real") / "history.db")) as running:
        yield running


@pytest.fixture(scope="module")
def sink() -> Iterator[Mover]:
    with mover("sink") as running:
        running.tcp_ports["127.0.0.5"] = running.listen("127.0.0.5")
        running.udp_ports["127.0.0.6"] = running.bind("127.0.0.6")
        yield running


@pytest.fixture(scope="module")
def steady(sink: Mover) -> Iterator[Mover]:
    """Moves the same ten times a second, as long as this module runs."""
    with mover("steady") as running:
        running.steady("127.0.0.5", sink.tcp_ports["127.0.0.5"], 20_011)
        yield running


@pytest.fixture(scope="module")
def watched(opened: Browser, real: Serving, steady: Mover) -> Iterator[Visit]:
    """A page that is open all the time, and counts its elements each second."""
    page = Visit(opened, f"http://127.0.0.1:{real.port}", "?filter=name:steady")
    page.row("steady")
    page.toggle("steady").click()
    page.until(page.children, "the remote")
    page.run(
        """() => {
          window.counts = [];
          setInterval(() => window.counts.push(document.getElementsByTagName("*").length), 1000);
        }"""
    )
    yield page
    page.close()


def moved(name: str, sink: Mover) -> Mover:
    """A process that has moved known bytes: prime amounts, below a kilobyte, so that each is shown to the byte."""
    running = mover(name)
    running.tcp("127.0.0.5", sink.tcp_ports["127.0.0.5"], 997)
    running.udp("127.0.0.6", sink.udp_ports["127.0.0.6"], 101, 7)
    return running


def api(server: Serving | Web, path: str) -> Any:
    answer = server.ask(f"/api/v1/{path}")
    assert answer.status == 200, answer
    return answer.document


@live
@pytest.mark.usefixtures("watched")
def test_process_appears_with_its_pid_user_and_rates(
    visit: Visitor, real: Serving, sink: Mover
) -> None:
    page = visit(real)
    with mover("appearing") as one:
        one.steady("127.0.0.5", sink.tcp_ports["127.0.0.5"], 1009)
        row = page.row("appearing")
        assert row.more == str(one.pid)
        user, down, _, _, _, _ = row.cells
        assert user == "root"
        assert down == "0 B/s"
        page.until(
            lambda: all(
                re.match(r"[1-9].* (B|KiB)/s$", c) for c in page.row("appearing").cells[2:4]
            )
        )
        assert "python3" in row.title
        page.has("#status", "measuring (tracepoint), recording")
        assert re.match(r"↓ .+/s ↑ .+/s \u2013 bwtop$", page.page.title())


@live
def test_row_opens_to_its_remotes_with_exact_totals(
    visit: Visitor, real: Serving, sink: Mover
) -> None:
    page = visit(real)
    with moved("opening", sink) as one:
        row = page.row("opening")
        assert row.open == "false"
        page.toggle("opening").click()
        page.until(lambda: len(page.children()) == 2, "its remotes")
        tcp, udp = sink.tcp_ports["127.0.0.5"], sink.udp_ports["127.0.0.6"]
        found = {child.name: child.cells[-2:] for child in page.children()}
        assert found == {
            f"to 127.0.0.5:{tcp} tcp": ["0 B", "997 B"],
            f"to 127.0.0.6:{udp} udp": ["0 B", "707 B"],
        }
        assert page.row("opening").cells[-2:] == ["0 B", "1.7 KiB"]
        assert page.row("opening").open == "true"
        one.tcp("127.0.0.5", tcp, 2)
        page.until(lambda: any(child.cells[-1] == "999 B" for child in page.children()), "999 B")
        button = page.toggle("opening")
        button.focus()
        for expected in (0, 2):
            page.page.keyboard.press("Enter")
            page.until(lambda count=expected: len(page.children()) == count, "Enter")  # type: ignore[misc]
        page.page.keyboard.press("Space")
        page.until(lambda: not page.children(), "Space")


@live
def test_totals_are_those_of_the_api(visit: Visitor, real: Serving, sink: Mover) -> None:
    with moved("equal-a", sink), moved("equal-b", sink) as other:
        other.tcp("127.0.0.5", sink.tcp_ports["127.0.0.5"], 1_000_003)
        page = visit(real, "?filter=name:equal-*")
        page.until(lambda: len(page.rows()) == 2)
        page.until(lambda: page.row("equal-b").cells[-1] == fmt.size(1_000_003 + 997 + 707))
        wanted = {
            row["name"]: (row["pid"], fmt.size(row["rx_total"]), fmt.size(row["tx_total"]))
            for row in api(real, "live?filter=name:equal-*&idle=show")["processes"]
        }
        shown = {row.name: (int(row.more), *row.cells[-2:]) for row in page.rows()}
        assert shown == wanted


@live
def test_each_column_sorts_and_sorts_the_other_way(visit: Visitor, real: Serving) -> None:
    names = {"sort-b": 3, "sort-c": 3001, "sort-a": 300_007}
    movers = [mover(name) for name in names]
    try:
        for one, size in zip(movers, names.values(), strict=True):
            one.steady("127.0.0.7", one.listen("127.0.0.7"), size)
        page = visit(real, "?filter=name:sort-*")
        page.until(lambda: len(page.names()) == 3)
        largest = ["sort-a", "sort-c", "sort-b"]
        page.until(lambda: page.names() == largest, "by rate")
        assert page.direction("rate") == "descending"
        for column in ("name", "user", "rx_rate", "tx_rate", "rx_total", "tx_total", "rate"):
            before = page.query.get("sort", "rate")
            page.header(column).click()
            text = column in ("name", "user")
            alone = before not in (column, f"-{column}")
            assert page.direction(column) == ("ascending" if text else "descending"), column
            assert alone
            first = {"name": sorted(names), "user": None}.get(column, largest)
            if first:
                page.until(lambda wanted=first: page.names() == wanted, column)  # type: ignore[misc]
            page.header(column).click()
            assert page.direction(column) == ("descending" if text else "ascending"), column
            if first:
                page.until(lambda wanted=first: page.names() == wanted[::-1], f"-{column}")  # type: ignore[misc]
            sorting = page.run(
                "() => [...document.querySelectorAll('#rows th[aria-sort]')].map((h) => h.ariaSort)"
            )
            assert sorting.count("none") == len(sorting) - 1
    finally:
        for one in movers:
            one.end()


@live
def test_filter_language(visit: Visitor, real: Serving, sink: Mover) -> None:
    tcp = sink.tcp_ports["127.0.0.5"]
    with moved("filtered", sink), moved("unfiltered", sink):
        page = visit(real)
        page.row("filtered")
        page.row("unfiltered")
        page.filter("name:filtered")
        page.until(lambda: page.names() == ["filtered"], "name:")
        page.toggle("filtered").click()
        page.until(lambda: len(page.children()) == 2)
        page.filter("name:filtered -proto:udp")
        page.until(lambda: len(page.children()) == 1, "-proto:udp")
        assert page.children()[0].name.endswith(" tcp")
        page.filter(f"filtered port:{tcp} -name:un*")
        page.until(lambda: page.names() == ["filtered"], "port:")
        assert [child.cells[-1] for child in page.children()] == ["997 B"]
        page.filter("nobody-is-called-so")
        page.has("#empty", "nothing that passes the filter has moved")
        page.filter("")
        page.row("unfiltered")


@live
def test_wrong_filter_gets_one_line_and_recovers(
    visit: Visitor, real: Serving, steady: Mover
) -> None:
    page = visit(real)
    page.expect_fault(REFUSED)
    page.expect_fault("MIME type")
    page.row("steady")
    field = page.find("#filter")
    field.fill("name:steady port:99999")
    page.until(lambda: page.find("#error").is_visible(), "the error")
    assert page.text("#error") == "filter: '99999' is not a port"
    assert field.get_attribute("aria-invalid") == "true"
    page.page.wait_for_timeout(6000)  # it is nobody's fault that nothing comes meanwhile
    assert "stale" not in page.text("#status")
    field.fill("name:steady port:9999-")
    page.until(lambda: not page.find("#error").is_visible(), "its end")
    assert field.get_attribute("aria-invalid") == "false"
    field.fill("name:steady")
    page.until(lambda: page.names() == ["steady"], "steady")


@live
def test_protocols_and_loopback_and_units(visit: Visitor, real: Serving, sink: Mover) -> None:
    with moved("toggled", sink) as one:
        one.steady("127.0.0.5", sink.tcp_ports["127.0.0.5"], 1009)
        page = visit(real, "?filter=name:toggled")
        page.row("toggled")
        page.toggle("toggled").click()
        page.until(lambda: len(page.children()) == 2)
        boxes = {name: page.find(f"#proto input[value={name}]") for name in ("tcp", "udp", "other")}
        boxes["udp"].click()
        page.until(lambda: [c.name[-3:] for c in page.children()] == ["tcp"], "udp off")
        assert page.query["proto"] == "tcp,other"
        boxes["tcp"].click()
        page.has("#empty", "nothing that passes the filter has moved")
        boxes["other"].click()  # nothing at all would be nothing to look at
        assert boxes["other"].is_checked()
        boxes["udp"].click()
        page.until(lambda: [c.name[-3:] for c in page.children()] == ["udp"], "udp alone")
        boxes["tcp"].click()
        page.until(lambda: len(page.children()) == 2)
        loopback = page.find("#loopback")
        loopback.select_option("hide")
        page.has("#empty", "nothing that passes the filter has moved")
        loopback.select_option("only")
        page.until(lambda: len(page.children()) == 2, "loopback only")
        loopback.select_option("show")
        page.find("#units").select_option("bits")
        page.until(lambda: page.row("toggled").cells[2].endswith("bit/s"), "bits")
        assert page.row("toggled").cells[-1].endswith("B")
        page.until(lambda: "bit/s" in page.text("#summary"))
        page.find("#units").select_option("bytes")
        page.until(lambda: page.row("toggled").cells[2].endswith("B/s"), "bytes")


@live
def test_pause_holds_and_resume_goes_on(visit: Visitor, real: Serving, steady: Mover) -> None:
    page = visit(real, "?filter=name:steady")
    page.row("steady")
    pause = page.find("#pause")
    pause.click()
    assert pause.get_attribute("aria-pressed") == "true"
    assert pause.inner_text() == "Resume"
    held = page.rows()
    before = len(api(real, "live?filter=name:steady")["processes"])
    assert before == 1
    total_then = api(real, "live?filter=name:steady")["processes"][0]["tx_total"]

    def total_now() -> int:
        return int(api(real, "live?filter=name:steady")["processes"][0]["tx_total"])

    page.until(lambda: total_now() > total_then + 400_000, "further intervals")
    assert page.rows() == held
    pause.click()
    page.until(lambda: page.rows() != held, "going on")
    assert pause.inner_text() == "Pause"


@live
def test_chart_has_colours_on_both_sides_and_a_legend(
    visit: Visitor, real: Serving, steady: Mover
) -> None:
    page = visit(real, "?filter=name:steady,sink")
    page.row("steady")
    page.until(lambda: f"steady ({steady.pid})" in page.text("#legend"), "the legend")
    page.until(lambda: min(page.run(PIXELS).values()) > 20, "colours above and below")
    label = page.find("#chart").get_attribute("aria-label") or ""
    assert re.search(
        r"received and sent in the last [0-9]+ seconds: now +↓ .+/s ↑ [1-9].+/s", label
    )
    page.filter("name:nobody-at-all")
    page.until(lambda: max(page.run(PIXELS).values()) == 0, "an empty chart")


@live
def test_exited_process_is_dimmed(visit: Visitor, real: Serving, sink: Mover) -> None:
    page = visit(real)
    with moved("exiting", sink) as one:
        assert page.row("exiting").kind == ""
    page.until(lambda: page.row("exiting").kind == "dim", "dimmed")
    assert page.row("exiting").more == f"{one.pid} exited"
    assert page.row("exiting").cells[-1] == "1.7 KiB"
    colours = page.run(
        """() => [".dim th", "tr:not(.dim):not(.child) td"].map((one) =>
             document.querySelector(`#rows tbody ${one}`)).map((one) => one && getComputedStyle(one).color)"""
    )
    assert colours[0] not in (None, colours[1])


HOSTILE: Final = (
    "<b>x</b>\"'&",
    "<img src=x>",
    "\x1b[2J\x1b]0;x\x07",
    "\u202egnp.exe",
    "a\nb\tc",
    "${x}{{y}}",
    "日本語",
    "=1+2",
)


@live
def test_hostile_names_are_text(visit: Visitor, real: Serving, sink: Mover) -> None:
    movers = [moved(name, sink) for name in HOSTILE]
    try:
        page = visit(real)
        for one in movers:
            shown = printable(one.name)
            row = page.row(shown)
            assert row.more == str(one.pid)
            page.toggle(shown).click()
            page.until(lambda name=shown: page.row(name).open == "true", shown)  # type: ignore[misc]
        assert page.run("() => document.querySelectorAll('#rows b, img, #legend b').length") == 0
        titles = [row.title for row in page.rows()]
        for text in [page.text("body"), *titles]:
            assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text), text
        page.page.reload()
        for one in movers:
            shown = printable(one.name)
            page.until(lambda name=shown: page.row(name).open == "true", shown)  # type: ignore[misc]
    finally:
        for one in movers:
            one.end()


@live
def test_server_that_comes_back_is_found_again(visit: Visitor, tmp_path: Path, sink: Mover) -> None:
    flags = ("--db", str(tmp_path / "history.db"))
    with mover("lasting") as one:
        one.steady("127.0.0.5", sink.tcp_ports["127.0.0.5"], 1009)
        with serving(*flags) as server:
            page = visit(server)
            page.expect_fault(LOST)
            page.row("lasting")
            port = server.port
            os.kill(server.pid, signal.SIGKILL)
        page.until(
            lambda: re.search("connection lost|stale|not connected", page.text("#status")), "lost"
        )
        assert "warning" in (page.find("#status").get_attribute("class") or "")
        page.until(lambda: page.find("body.stale").count() == 1, "stale")
        with serving(*flags, bind=f"127.0.0.1:{port}"):
            page.has("#status", "measuring (tracepoint)")
            page.until(lambda: page.find("body.stale").count() == 0, "no longer stale")
            before = page.row("lasting").cells[-1]
            page.until(lambda: page.row("lasting").cells[-1] != before, "going on")


@live
def test_page_opened_before_its_server_is_there(opened: Browser, tmp_path: Path) -> None:
    """Such as after a reboot: the page that is restored waits."""
    with serving("--db", str(tmp_path / "history.db")) as server:
        page = Visit(opened, f"http://127.0.0.1:{server.port}")
        page.expect_fault(LOST)
        page.has("#status", "measuring")
        page.page.route("**/api/v1/about", lambda route: route.abort())
        page.page.reload()
        page.has("#status", "not connected")
        page.page.unroute("**/api/v1/about")
        page.has("#status", "measuring")
    page.close()
    page.check()


@live
def test_without_root_it_follows_and_says_when_nobody_records(visit: Visitor, sink: Mover) -> None:
    with tempfile.TemporaryDirectory(prefix="bwtop-test-") as directory:
        os.chown(directory, SOMEBODY, SOMEBODY)
        database = f"{directory}/history.db"

        def somebody(*flags: str) -> list[str]:
            return command_as(SOMEBODY, *flags)

        with (
            serving("--db", database, started=somebody) as server,
            mover("followed") as one,
        ):
            one.steady("127.0.0.5", sink.tcp_ports["127.0.0.5"], 1009)
            page = visit(server)
            page.has("#status", "nobody records")
            page.has("#empty", "nobody records")
            with serving("--db", database) as recorder:
                page.has("#status", f"(pid {recorder.pid}), a second late")
                page.until(lambda: page.row("followed").cells[2] != "0 B/s")
                recorder.stop()
            page.has("#status", "the bwtop that recorded has ended")
            with serving("--db", database) as recorder:
                page.has("#status", f"(pid {recorder.pid}), a second late")


# What moves now, as the test wants it.


class Quiet(Web):
    """A server that does not take Playwright's threads for its own."""

    def threads(self) -> list[threading.Thread]:
        return [each for each in super().threads() if not each.name.startswith("asyncio_")]


class Scene(Quiet):
    """A server whose intervals the test puts."""

    def __init__(self, database: Path, **options: Any) -> None:
        super().__init__(database, files=options.get("files") or files.load(None, {}))
        self.measure()
        self._now = datetime.now(UTC)

    def move(self, sent: dict[str, int], exited: Sequence[int] = ()) -> None:
        """An interval: who sent how many bytes."""
        self._now += timedelta(seconds=1)
        traffic: FlowTraffic = {}
        identities: dict[ProcessKey, Identity] = {}
        for name, amount in sent.items():
            pid = sum(name.encode())
            traffic[key(pid)] = {remote("192.0.2.7"): Traffic(amount // 2, amount)}
            identities[key(pid)] = Identity(
                name.replace("_", " "),
                0,
                exe=f"/usr/bin/{name}",
                user="root",
                started=datetime(2026, 11, 1, tzinfo=UTC),
            )
        self.put(Sample(self._now, 1.0, traffic, identities, {key(pid) for pid in exited}))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Scene(tmp_path / "none.db") as running:
        yield running


def test_rows_keep_their_places_under_the_pointer(visit: Visitor, scene: Scene) -> None:
    scene.move({"one": 3000, "two": 2000, "three": 1000})
    page = visit(scene)
    page.until(lambda: page.names() == ["one", "two", "three"])
    rows = page.find("#rows tbody tr")
    element = rows.nth(1).element_handle()
    rows.nth(1).hover()
    scene.move({"one": 1, "two": 20_000, "three": 400_000})
    page.until(lambda: page.row("three").cells[2] == "390.6 KiB/s", "new numbers")
    assert page.names() == ["one", "two", "three"]
    page.page.mouse.move(5, 5)
    scene.move({"one": 1, "two": 20_000, "three": 400_000})

    def moves_on() -> bool:
        scene.move({"one": 1, "two": 20_000, "three": 400_000})
        page.page.wait_for_timeout(500)
        return page.names() == ["three", "two", "one"]

    page.until(moves_on, "the right order")
    assert element.inner_text().startswith("two")  # the row is still the same element


def test_sorting_acts_at_once_though_the_pointer_comes_from_the_rows(
    visit: Visitor, scene: Scene
) -> None:
    """Whoever sorts has just been somewhere, and that is mostly the table."""
    scene.move({"one": 3000, "two": 2000, "three": 1000})
    page = visit(scene)
    page.until(lambda: page.names() == ["one", "two", "three"])
    page.find("#rows tbody tr").nth(1).hover()
    page.header("name").click()
    page.until(lambda: page.direction("name") == "ascending")
    scene.move({"one": 3000, "two": 2000, "three": 1000})
    page.page.wait_for_timeout(700)
    assert page.names() == ["one", "three", "two"]


def test_row_opens_while_the_page_is_paused(visit: Visitor, scene: Scene) -> None:
    """Pause is for having a look; no number changes, but what is asked for is shown."""
    scene.move({"one": 3001})
    page = visit(scene)
    page.row("one")
    page.find("#pause").click()
    page.toggle("one").click()
    page.until(lambda: page.row("one").open == "true", "open")
    assert [child.name for child in page.children()] == ["to 192.0.2.7:443 tcp"]


def test_no_number_changes_while_paused(visit: Visitor, scene: Scene) -> None:
    """Not even when something else is changed, such as the unit."""
    scene.move({"one": 1000})
    page = visit(scene)
    page.until(lambda: page.row("one").cells[2] == "1000 B/s")
    page.find("#pause").click()
    scene.move({"one": 5000})
    page.page.wait_for_timeout(700)
    page.find("#units").select_option("bits")
    page.until(lambda: page.row("one").cells[2].endswith("bit/s"))
    assert page.row("one").cells[2] == "8.0 kbit/s"


def test_what_is_held_can_be_sorted_though_it_was_not_shown(visit: Visitor, scene: Scene) -> None:
    scene.move({"one": 3000, "two": 2000, "three": 1000, "four": 500})
    page = visit(scene, "?limit=2")
    page.until(lambda: page.names() == ["one", "two"])
    page.find("#pause").click()
    assert not page.find("#csv").is_visible()
    scene.move({"one": 9000})
    page.header("name").click()
    page.until(lambda: page.names() == ["four", "one"], "sorted")
    assert page.row("one").cells[2] == "2.9 KiB/s"
    page.find("#more").click()
    page.until(lambda: len(page.names()) == 4)
    page.find("#pause").click()
    page.until(lambda: page.row("one").cells[2] == "8.8 KiB/s")
    assert page.find("#csv").is_visible()


def test_remotes_that_are_shown_are_held_too(visit: Visitor, scene: Scene) -> None:
    scene.move({"one": 1000})
    page = visit(scene)
    page.row("one")
    page.toggle("one").click()
    page.until(page.children)

    def late(route: Route) -> None:
        scene.move({"one": 5000})
        route.continue_()

    page.page.route("**/api/v1/live?*", late)
    page.find("#pause").click()
    page.page.wait_for_timeout(700)
    assert (
        [child.cells[2] for child in page.children()] == [page.row("one").cells[2]] == ["1000 B/s"]
    )


def test_selected_words_stay_selected(visit: Visitor, scene: Scene) -> None:
    """Nothing is written anew that is the same: neither a selection nor a screen reader is disturbed."""
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
    names = ["one", "two", "three"]
    scene.move(dict(zip(names, (3000, 2000, 1000), strict=True)))
    page = visit(scene)
    page.until(lambda: page.names() == names)
    page.page.keyboard.press("Tab")
    page.toggle("three").focus()
    page.page.wait_for_timeout(2200)  # rows that somebody has just come to stay in their places
    scene.move(dict(zip(names, (1000, 2000, 3000), strict=True)))
    page.until(lambda: page.names() == names[::-1], "other places")
    assert page.run("() => document.activeElement.textContent") == "three"


def test_late_refusal_of_an_old_filter_changes_nothing(visit: Visitor, scene: Scene) -> None:
    scene.move({"one": 1000})
    held: list[Route] = []
    page = visit(scene)
    page.row("one")
    page.expect_fault(REFUSED)
    page.page.route("**/api/v1/live?*", lambda route: held.append(route))
    page.filter("pid:x")
    page.until(lambda: held, "the question why")
    page.filter("")
    page.row("one")
    held[0].continue_()
    page.page.wait_for_timeout(500)
    assert page.names() == ["one"]
    assert not page.find("#error").is_visible()


def test_mistake_leaves_nothing_of_what_was_shown(visit: Visitor, scene: Scene) -> None:
    scene.move({"one": 1000})
    page = visit(scene)
    page.row("one")
    page.until(lambda: page.text("#legend"))
    page.until(lambda: max(page.run(PIXELS).values()) > 0)
    page.expect_fault(REFUSED)
    page.filter("pid:x")
    page.until(lambda: page.find("#error").is_visible())
    assert page.run("() => globalThis.Chart.getChart('chart') === undefined")
    assert (page.text("#legend"), page.text("#title"), page.text("#summary")) == ("", "", "")
    assert page.names() == []


def test_chart_has_no_hole_after_a_look_at_the_history(visit: Visitor, scene: Scene) -> None:
    """What was measured meanwhile is known: it must not look as if nothing had moved."""
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


def scene_points(page: Visit) -> list[float]:
    """What the chart shows of the last intervals, all series together."""
    found: list[float] = page.run(
        """() => {
          const sets = globalThis.Chart?.getChart("chart")?.data.datasets ?? [];
          const sums = (sets[0]?.data ?? []).map((_, at) => sets.reduce((sum, set) => sum + Math.abs(set.data[at]), 0));
          return sums.filter((sum) => sum);
        }"""
    )
    return found


def test_live_exports_are_what_the_api_says(visit: Visitor, scene: Scene) -> None:
    scene.move({"one": 3001, "two": 2003, "=three": 1009, "@four": 7})
    page = visit(scene, "?sort=name&filter=port:443")
    page.row("one")
    name, body = page.download("#csv")
    assert name == "bwtop-live.csv"
    rows = list(csv.DictReader(io.StringIO(body.decode())))
    wanted = api(scene, "live?sort=name&filter=port:443")
    assert [row["name"] for row in rows] == ["'=three", "'@four", "one", "two"]
    assert [p["name"] for p in wanted["processes"]] == ["=three", "@four", "one", "two"]
    for row, process in zip(rows, wanted["processes"], strict=True):
        (far,) = process["remotes"]
        for field in ("addr", "port", "proto", "role", "rx", "tx", "rx_total", "tx_total"):
            assert row[field] == str(far[field]), field
        assert row["pid"] == str(process["pid"])
    name, body = page.download("#json")
    assert name == "bwtop-live.json"
    assert json.loads(body) == wanted


def test_what_was_lost_is_said(visit: Visitor, scene: Scene) -> None:
    from bwtop.model.flows import Loss

    page = visit(scene)
    scene.move({"one": 1})
    page.row("one")
    assert not page.find("#notes").is_visible()
    scene.put(Sample(datetime.now(UTC), 1.0, {}, {}, set(), Loss(3, 4096, 0, 0, 0, 17)))
    page.has("#notes", "lost: 17 events skipped by the kernel; what they moved is not counted")
    page.has("#notes", "4.0 KiB")


SIZES: Final = (0, 1, 999, 1023, 1024, 1280, 1700, 1_000_003, 123_456_789_012, 2**62, 1536.5)


def test_numbers_are_those_of_the_other_views(visit: Visitor, scene: Scene) -> None:
    page = visit(scene)
    page.run("""async () => { window.format = await import("./format.js"); }""")
    for amount in SIZES:
        assert page.run("(n) => window.format.size(n)", amount) == fmt.size(amount), amount
        assert page.run("(n) => window.format.rate(n, 'bytes')", amount) == fmt.rate(amount)
    for amount in (*SIZES, 124_999.9, 124_994):
        shown = page.run("(n) => window.format.rate(n, 'bits')", amount)
        assert shown == fmt.rate(amount, bits=True), amount


def test_text_is_escaped_as_in_the_other_views(visit: Visitor, scene: Scene) -> None:
    page = visit(scene)
    page.run("""async () => { window.format = await import("./format.js"); }""")
    for text in (*HOSTILE, "\u2028", "\u200b", "\x9b", "\U000e0001", "\ue000"):
        assert page.run("(text) => window.format.plain(text)", text) == printable(text)


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


def test_a_chart_js_that_is_broken_is_none(visit: Visitor, scene: Scene) -> None:
    page = visit(scene)
    page.page.route("**/chart.js", lambda route: route.abort())
    page.expect_fault("ERR_FAILED")
    page.go()
    page.until(lambda: page.find("#no-charts").is_visible(), "the word that there are no charts")
    assert not page.find("#plot").is_visible()
    scene.move({"one": 3001})
    page.row("one")


def test_without_chart_js_the_page_works_and_says_so(
    visit: Visitor, tmp_path: Path, past: Web
) -> None:
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


# What was.

NAMES: Final = ("plain", "a,b", "c*?[d]", "=1+2", "<b>x</b>\"'&", "\x1b[2J\u202ex")
PAST_DAYS: Final = 40
PROGRAMS: Final = (
    *(
        Identity(name, place % 2 * 1000, exe=f"/usr/bin/p{place}", unit=f"u{place}.service")
        for place, name in enumerate(NAMES)
    ),
    Identity("kworker/0:1", None, kernel=True),
    Identity("boxed", 33, exe="/usr/sbin/nginx", container="docker:0123456789ab", pod="aaaa"),
    Identity("abd", 0, exe="/usr/bin/abd"),
    Identity("cxyd", 0, exe="/usr/bin/cxyd"),
)
FAR: Final[tuple[Remote, ...]] = (
    remote(),
    remote("192.0.2.1", 8443, TCP, Role.SERVER),
    remote("192.0.2.2", 53, UDP),
    remote("2001:db8::1", 22),
    remote("127.0.0.1", 8080),
    remote("198.51.100.7", 0, 1),
)


def _before(days: int) -> str:
    """The date of so many days ago."""
    return datetime.fromtimestamp(_midnight(days)).astimezone().strftime("%Y-%m-%d")


def _midnight(days: int) -> int:
    when: float = time.time()
    for _ in range(days):
        when = floor(Unit.DAY, when) - 1
    return floor(Unit.DAY, when)


class Past(Quiet):
    """A server with a history of the days before today, on one of which nothing was recorded.

    Amounts are such that no number lies just between two that can be shown.
    """

    def __init__(self, folder: Path) -> None:
        kept = Kept(policy(), folder / "history.db")
        self.deltas: list[Delta] = []
        randomly = random.Random(11)
        for days in range(PAST_DAYS, 0, -1):
            start, end = _midnight(days), ceiling(Unit.DAY, _midnight(days))
            for hour in range(start, end, HOUR if days < 8 else 6 * HOUR):
                if days == 5:
                    continue  # nothing was recorded
                flows = {
                    (ProcessKey(place + 1, 100 + place), who): {
                        far: (512 * randomly.randrange(1, 211), 512 * randomly.randrange(1, 101))
                        for far in FAR[: 1 + (place + days) % len(FAR)]
                    }
                    for place, who in enumerate(PROGRAMS)
                }
                self.deltas.append(Delta(hour + 600, 60.0, flows))
        kept.append(*self.deltas)
        kept.steps(time.time())
        kept.connection.close()
        super().__init__(folder / "history.db", files=files.load(None, {}))


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    with Past(tmp_path_factory.mktemp("past")) as running:
        yield running


def sums(past: Past, text: str) -> tuple[int, int]:
    wanted = parse_range(text, time.time())
    return total(within(past.deltas, wanted.start, wanted.end))


def bars(page: Visit) -> list[list[str]]:
    """The chart as a table."""
    found: list[list[str]] = page.run(
        """() => [...document.querySelectorAll("#bars tbody tr")].map((row) =>
             [...row.children].map((cell) => cell.textContent))"""
    )
    return found


def ranged(page: Visit, text: str) -> None:
    """Waits until a range is in the address and in the table."""
    page.until(lambda: page.query.get("range") == text, f"range {text}")


def summed(page: Visit, sent: tuple[int, int]) -> None:
    """Waits for a summary."""
    words = f"↓ {fmt.size(sent[0])} ↑ {fmt.size(sent[1])}"
    page.until(lambda: words in page.text("#summary"), words)


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


def click_bar(page: Visit, index: int) -> None:
    """Where the chart says that it is."""
    page.chart_drawn()
    place = page.run(
        """(index) => {
          const chart = globalThis.Chart.getChart("chart");
          const bar = chart.getDatasetMeta(0).data[index];
          return { x: bar.x, y: (chart.chartArea.top + chart.chartArea.bottom) / 2 };
        }""",
        index,
    )
    page.find("#chart").click(position=place)


def test_clicking_bars_goes_from_a_month_to_a_day_to_an_hour_and_back(
    visit: Visitor, past: Past
) -> None:
    day = _before(3)
    page = visit(past, f"?view=history&range={_before(9)}..{_before(0)}")
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
    start = _midnight(3) + 7 * HOUR
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
    day = _before(2)
    page = visit(past, f"?view=history&range={_before(4)}..{_before(0)}")
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
    page = visit(past, f"?view=history&range={_before(6)}..{_before(3)}")
    page.until(lambda: len(bars(page)) == 3)
    assert bars(page)[1] == [_before(5), "not recorded", "not recorded"]
    page.go(f"?view=history&range={_before(5)}")
    page.has("#status", "nothing is recorded from")
    page.has("#empty", "nothing is recorded of this time")


@pytest.mark.parametrize("who", PROGRAMS, ids=lambda who: repr(who.name))
def test_process_opens_to_its_remotes(visit: Visitor, past: Past, who: Identity) -> None:
    page = visit(past, f"?view=history&range={_before(1)}")
    shown = f"[{who.name}]" if who.kernel else printable(who.name)
    page.row(shown)
    page.toggle(shown).click()
    page.until(page.children, "remotes")
    start = _midnight(1)
    expected: dict[Remote, tuple[int, int]] = {}
    for delta in within(past.deltas, start, start + DAY):
        for (_, one), remotes in delta.flows.items():
            if one == who:
                for far, (rx, tx) in remotes.items():
                    before = expected.get(far, (0, 0))
                    expected[far] = before[0] + rx, before[1] + tx
    found = sorted(tuple(child.cells[:2]) for child in page.children())
    assert found == sorted((fmt.size(rx), fmt.size(tx)) for rx, tx in expected.values())
    names = {child.name for child in page.children()}
    wanted = {
        "to 192.0.2.1:443 tcp",
        "from 192.0.2.1 on :8443 tcp",
        "to 192.0.2.2:53 udp",
        "to [2001:db8::1]:22 tcp",
        "to 127.0.0.1:8080 tcp",
        "to 198.51.100.7 icmp",
    }
    assert names <= wanted
    page.toggle(shown).click()
    page.until(lambda: not page.children(), "closing")


def test_grouping_by_each_dimension_and_by_time(visit: Visitor, past: Past) -> None:
    when = f"{_before(4)}..{_before(1)}"
    page = visit(past, f"?view=history&range={when}")
    page.until(lambda: page.rows())
    for dimension in DIMENSIONS:
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
    for unit, count in (("day", 3), ("hour", 72), ("month", 1)):
        page.find("#per").select_option(unit)
        wanted = api(past, f"history?range={when}&by={unit},user&limit=100")["rows"]
        cells = [[fmt.size(r["rx"]), fmt.size(r["tx"])] for r in wanted]
        page.until(lambda cells=cells: [r.cells[:2] for r in page.rows()] == cells, unit)  # type: ignore[misc]
        labels = {name.split("  ")[0] for name in page.names()}
        assert len(labels) <= count
        assert not any("undefined" in name for name in page.names())
    page.find("#per").select_option("")
    page.until(lambda: "per" not in page.query)


def test_one_machine_is_not_told_from_others(visit: Visitor, past: Past) -> None:
    """Nothing about hosts is offered; but an address may ask."""
    page = visit(past, "?view=history&range=yesterday&host=nobody")
    page.until(lambda: len(page.rows()) == len(PROGRAMS), "all rows")
    offered = page.run(
        "() => [...document.querySelectorAll('#by option, #by optgroup')].map((one) => one.value)"
    )
    assert offered == [d.name for d in DIMENSIONS if d.name not in (*TIMES, "host")]
    for hidden in ("#host-box", "#all-hosts", "#elsewhere"):
        assert not page.find(hidden).is_visible()
    assert page.find("nav").is_visible()
    assert page.text("#host") == this_machine().name
    assert "host:" not in page.run("() => document.getElementById('fields').textContent")
    page.go("?view=history&range=yesterday&by=host")
    page.until(lambda: page.names() == [printable(this_machine().name)], "itself")
    assert page.find("#rows tbody a").count() == 0
    assert not any("/api/v1/hosts" in url for url in page.asked)


def test_dates_make_a_range(visit: Visitor, past: Past) -> None:
    page = visit(past, "?view=history&range=yesterday")
    page.until(lambda: page.rows())
    page.find("#from").fill(_before(4))
    ranged(page, _before(4))
    page.find("#through").fill(_before(2))
    ranged(page, f"{_before(4)}..{_before(1)}")
    summed(page, sums(past, f"{_before(4)}..{_before(1)}"))
    assert page.find("#range").input_value() == f"{_before(4)}..{_before(1)}"
    page.page.reload()
    page.until(lambda: page.rows())
    assert page.find("#from").input_value() == _before(4)
    assert page.find("#through").input_value() == _before(2)
    page.find("#range").select_option("all")
    ranged(page, "all")
    summed(page, total(past.deltas))
    assert page.find("#from").input_value() == ""


def typing(page: Visit, place: str, keys: str, pause: int) -> None:
    """One key after the other, in an order of month, day and year."""
    page.find(place).focus()
    for one in keys:
        page.page.keyboard.press(one)
        page.page.wait_for_timeout(pause)


@pytest.mark.parametrize("pause", [30, 800], ids=["fast", "slow"])
def test_dates_can_be_typed(visit: Visitor, past: Past, pause: int) -> None:
    """Key by key, and no date on the way to the one that is meant changes the other."""
    page = visit(past, f"?view=history&range={_before(9)}..{_before(3)}")
    page.until(lambda: page.rows())
    year, month, day = _before(2).split("-")
    length = page.run("() => history.length")
    typing(page, "#through", month + day + year, pause)
    page.find("h1").click()
    ranged(page, f"{_before(9)}..{_before(1)}")
    assert page.find("#from").input_value() == _before(9)
    assert page.run("() => history.length") <= length + 1
    page.page.go_back()
    ranged(page, f"{_before(9)}..{_before(3)}")


def test_date_that_is_left_unfinished_is_what_it_was(visit: Visitor, past: Past) -> None:
    when = f"{_before(9)}..{_before(3)}"
    page = visit(past, f"?view=history&range={when}")
    page.until(lambda: page.rows())
    typing(page, "#from", "112320", 30)
    page.find("h1").click()
    page.until(lambda: page.find("#from").input_value() == _before(9), "the date that holds")
    page.find("#through").focus()
    page.page.keyboard.press("Backspace")
    page.find("h1").click()
    page.until(lambda: page.find("#through").input_value() == _before(4), "the date that holds")
    assert page.query["range"] == when


def test_through_before_from_is_that_day_alone(visit: Visitor, past: Past) -> None:
    page = visit(past, f"?view=history&range={_before(5)}..{_before(3)}")
    page.until(lambda: page.rows())
    page.find("#through").fill(_before(7))
    page.find("h1").click()
    ranged(page, _before(7))
    assert page.find("#from").input_value() == _before(7)


def test_rows_of_time_can_be_put_back_in_its_order(visit: Visitor, past: Past) -> None:
    page = visit(past, f"?view=history&range={_before(4)}..{_before(1)}&by=user&per=day")
    page.until(lambda: page.rows())
    names = page.names()
    for expected in ("descending", "ascending", "none"):
        page.header("total").click()
        page.until(lambda e=expected: page.direction("total") == e)  # type: ignore[misc]
    page.until(lambda: page.names() == names)


def test_history_filters_sorts_and_limits(visit: Visitor, past: Past) -> None:
    page = visit(past, "?view=history&range=yesterday")
    page.until(lambda: page.rows())
    page.filter("port:53 -name:plain")
    wanted = api(past, "history?range=yesterday&filter=port:53%20-name:plain")
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


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("range=nonsense", "range: 'nonsense' is no range of time"),
        ("range=2026-02-30", "range: there is no such time as '2026-02-30'"),
        ("by=colour", "by: no way to group by 'colour'"),
        ("sort=name", "sort: 'name' is not one of total, rx, tx"),
        ("filter=pid:1", "filter: no field 'pid'"),
        ("loopback=maybe", "loopback: 'maybe' is not one of"),
        ("range=<b>x</b>", "range: '<b>x</b>' is no range of time"),
    ],
)
def test_wrong_addresses_get_one_line(visit: Visitor, past: Past, query: str, words: str) -> None:
    page = visit(past, f"?view=history&{query}")
    page.expect_fault(REFUSED)
    page.until(lambda: page.find("#error").is_visible(), "the error")
    assert words in page.text("#error")
    assert "\n" not in page.text("#error")
    assert page.rows() == []
    assert page.find("#error b").count() == 0
    if query.startswith("range"):
        page.find("#range").select_option("yesterday")
        page.until(lambda: page.rows(), "recovery")
        assert not page.find("#error").is_visible()


def test_wrong_addresses_of_the_live_view_too(visit: Visitor, scene: Scene) -> None:
    scene.move({"one": 1})
    page = visit(scene, "?sort=colour&units=pounds&view=nothing&limit=-3")
    page.expect_fault(REFUSED)
    page.expect_fault("MIME type")
    page.until(lambda: page.find("#error").is_visible(), "the error")
    assert page.text("#error").startswith("sort: no column 'colour'")
    page.header("name").click()
    page.row("one")
    assert not page.find("#error").is_visible()


def test_history_says_that_there_is_none(visit: Visitor, scene: Scene) -> None:
    page = visit(scene, "?view=history")
    page.expect_fault(REFUSED)
    page.has("#error", "nothing has been recorded yet")


@pytest.mark.parametrize("change", ["nothing", "open", "units"])
def test_history_is_kept_up_to_date(visit: Visitor, past: Past, change: str) -> None:
    """Each minute, whatever somebody has done to the page meanwhile."""
    page = visit(past)
    page.page.clock.install()
    page.go("?view=history&range=yesterday")
    page.until(lambda: page.rows(), "rows")
    if change == "open":
        page.toggle("plain").click()
        page.until(page.children)
    elif change == "units":
        page.find("#units").select_option("bits")
    before = len(past.asked)
    page.page.clock.fast_forward(61_000)
    page.page.wait_for_timeout(300)
    asked = [request.query for request in past.asked[before:] if request.path.endswith("history")]
    assert [query for query in asked if "process=" not in query] != []


def questions(server: Web) -> list[str]:
    """What the page asked for; its icon the browser fetches when it likes."""
    return [request.path for request in server.asked if request.path.startswith("/api/")]


def test_history_that_nobody_sees_asks_nothing(visit: Visitor, past: Past) -> None:
    page = visit(past)
    page.page.clock.install()
    page.go("?view=history&range=yesterday")
    page.until(lambda: page.rows(), "rows")
    page.run("() => Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    before = len(questions(past))
    page.page.clock.fast_forward(61_000)
    page.page.wait_for_timeout(300)
    assert questions(past)[before:] == []
    page.run(
        """() => {
          delete document.hidden;
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    page.until(lambda: questions(past)[before:], "at once when somebody does")


def test_remotes_add_up_to_their_process_while_it_goes_on(visit: Visitor, tmp_path: Path) -> None:
    """Sums and remotes are of one moment, and shown together."""
    kept = Kept(policy(), tmp_path / "history.db")
    who = (ProcessKey(1, 1), PROGRAMS[0])
    start = time.time() - 400
    kept.append(Delta(start, 1.0, {who: {FAR[0]: (4096, 0)}}))
    with Quiet(tmp_path / "history.db", files=files.load(None, {})) as server:
        page = visit(server, "?view=history&range=1h")
        page.row("plain")
        kept.append(Delta(start + 2, 1.0, {who: {FAR[0]: (2048, 0)}}))
        page.toggle("plain").click()
        page.until(page.children)
        assert page.row("plain").cells[0] == "6.0 KiB"
        assert [child.cells[0] for child in page.children()] == ["6.0 KiB"]
    kept.connection.close()


def test_refused_question_is_asked_again(visit: Visitor, scene: Scene) -> None:
    """Such as one of too many, or one before anything was recorded."""
    page = visit(scene)
    page.expect_fault(REFUSED)
    page.page.clock.install()
    page.go("?view=history")
    page.has("#error", "nothing has been recorded yet")
    before = len(scene.asked)
    page.page.clock.fast_forward(61_000)
    page.page.wait_for_timeout(300)
    assert [r for r in scene.asked[before:] if r.path == "/api/v1/history"]


def test_open_row_does_not_flicker_when_the_history_is_asked_again(
    visit: Visitor, past: Past
) -> None:
    page = visit(past, f"?view=history&range={_before(1)}")
    page.row("plain")
    page.toggle("plain").click()
    page.until(page.children)
    page.run(
        """() => {
          window.fewest = Infinity;
          const look = () => {
            window.fewest = Math.min(window.fewest, document.querySelectorAll("#rows .child").length);
          };
          new MutationObserver(look).observe(document.querySelector("#rows tbody"), { childList: true });
        }"""
    )
    page.header("rx").click()
    page.until(lambda: page.direction("rx") == "descending")
    page.page.wait_for_timeout(500)
    assert page.children()
    assert page.run("() => window.fewest") > 0


def test_row_closes_at_once_though_nobody_answers(visit: Visitor, past: Past) -> None:
    page = visit(past, f"?view=history&range={_before(1)}")
    page.row("plain")
    page.toggle("plain").click()
    page.until(page.children)
    page.expect_fault(LOST)
    page.page.route("**/api/v1/history?*", lambda route: route.abort())
    page.toggle("plain").click()
    page.until(lambda: not page.children(), "closed")
    page.has("#status", "not connected")


def test_remotes_that_cannot_be_had_are_missed_with_a_reason(visit: Visitor, past: Past) -> None:
    page = visit(past, f"?view=history&range={_before(1)}")
    page.row("plain")
    page.expect_fault(REFUSED)
    refusal = json.dumps({"error": "too many questions at once; try again"})
    page.page.route(
        "**/api/v1/history?*process=*", lambda route: route.fulfill(status=503, body=refusal)
    )
    page.toggle("plain").click()
    page.has("#error", "too many questions at once")


def test_rows_of_like_names_are_not_mixed_up(visit: Visitor, tmp_path: Path) -> None:
    """Two processes of one name, of which one is the kernel's, are two rows, and stay two."""
    kept = Kept(policy(), tmp_path / "history.db")
    start = _midnight(1) + 600
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


def test_browser_elsewhere_shows_the_time_of_the_server(visit: Visitor, past: Past) -> None:
    day = _before(3)
    seen = []
    for zone in ("UTC", "Pacific/Auckland", "America/Los_Angeles"):
        page = visit(past, f"?view=history&range={_before(6)}..{_before(0)}", timezone_id=zone)
        page.until(lambda: len(bars(page)) == 6)  # noqa: B023 - called within the turn
        page.find("#from").fill(day)
        ranged(page, f"{day}..{_before(0)}")
        page.until(lambda: len(bars(page)) == 3)  # noqa: B023
        click_bar(page, 0)
        ranged(page, day)
        page.until(lambda: len(bars(page)) > 20)  # noqa: B023
        seen.append((page.text("#title"), [bar[0] for bar in bars(page)]))
    assert seen[0] == seen[1] == seen[2]


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


# Both.

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
    page.toggle("one").click()
    page.toggle("three").click()
    page.until(lambda: len(page.children()) == 2)
    shown, rows = page.run(_CONTROLS), page.rows()
    assert rows[0].name == "three"
    page.page.reload()
    page.until(lambda: page.rows() == rows, "the same rows")
    assert page.run(_CONTROLS) == shown
    other = visit(scene, page.page.url.partition("/?")[2] and f"?{page.page.url.partition('?')[2]}")
    other.until(lambda: other.rows() == rows, "the same rows elsewhere")
    assert other.run(_CONTROLS) == shown


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
    page.until(lambda: len({row.open for row in page.rows()} | {"true"}) >= 2)
    page.until(lambda: len(page.children()) >= 3)
    page.page.wait_for_timeout(500)
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
    day = _before(1)
    page.until(lambda: page.names() and all(name.startswith(day) for name in page.names()), day)
    shown, rows = page.run(_CONTROLS), page.rows()
    page.page.reload()
    page.until(lambda: page.rows() == rows, "grouped rows")
    assert page.run(_CONTROLS) == shown


def test_back_and_forward(visit: Visitor, past: Past) -> None:
    page = visit(past, "?view=history&range=yesterday&filter=name:plain")
    page.until(lambda: page.names() == ["plain"])
    page.find("#by").select_option("user")
    page.until(lambda: page.names() and page.names() != ["plain"])
    page.find("#to-live").click()
    page.until(lambda: page.query.get("view") is None)
    assert page.find("#pause").is_visible()
    assert not page.find("#range").is_visible()
    page.find("#filter").fill("name:other")
    page.until(lambda: page.query["filter"] == "name:other")
    page.page.go_back()
    page.until(lambda: page.query.get("view") == "history")
    page.until(lambda: page.names() and page.names() != ["plain"])
    assert page.query["filter"] == "name:plain"
    assert page.find("#filter").input_value() == "name:plain", "the field says what is shown"
    page.page.go_back()
    page.until(lambda: page.names() == ["plain"])
    assert page.find("#by").input_value() == "process"
    page.page.go_forward()
    page.until(lambda: page.find("#by").input_value() == "user")


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
        page.page.keyboard.type("name:one/")
        assert page.find("#filter").input_value() == "name:one/"
        page.until(lambda: page.query.get("filter") == "name:one/")  # noqa: B023
        page.page.keyboard.press("Escape")
        page.until(lambda: "filter" not in page.query)  # noqa: B023
        assert page.find("#filter").input_value() == ""


def test_focus_stays_where_it_is(visit: Visitor, scene: Scene) -> None:
    """On a header that is pressed, and on a row while new numbers come."""
    scene.move({"one": 3000, "two": 2000})
    page = visit(scene)
    page.row("one")
    page.header("name").focus()
    page.page.keyboard.press("Enter")
    page.until(lambda: page.direction("name") == "ascending")
    assert page.run("() => document.activeElement.dataset.column") == "name"
    page.page.keyboard.press("Enter")
    page.until(lambda: page.direction("name") == "descending")
    page.toggle("two").focus()
    scene.move({"one": 7, "two": 9_000})
    page.until(lambda: page.row("two").cells[2] == "8.8 KiB/s")
    assert page.run("() => document.activeElement.textContent") == "two"


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
    grounds = set()
    for scheme in ("light", "dark"):
        page = visit(server, f"?view={view}&range=yesterday", color_scheme=scheme)
        page.until(lambda: page.rows())  # noqa: B023 - called within the turn
        page.toggle(page.names()[0]).click()
        page.until(lambda: page.children())  # noqa: B023
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
        found = page.run(CONTRASTS)
        assert len(found) > 40
        weak = [each for each in found if each["ratio"] < 4.5]
        assert weak == [], scheme
        grounds.add(page.run("() => getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2


def test_chart_follows_a_change_of_the_colour_scheme(visit: Visitor, past: Past) -> None:
    page = visit(past, "?view=history&range=yesterday", color_scheme="light")
    page.chart_drawn()
    colour = "() => globalThis.Chart.getChart('chart').data.datasets[0].backgroundColor"
    before = page.run(colour)
    page.page.emulate_media(color_scheme="dark")
    page.until(lambda: page.run(colour) != before, "other colours")


WIDE: Final = """
() => [document.documentElement.scrollWidth, innerWidth,
  ...[...document.querySelectorAll("body *")].filter((one) =>
    one.checkVisibility() && !one.matches(".skip, .unseen") && one.getBoundingClientRect().right > innerWidth + 1
    && !one.closest("#rows, #bars")).map((one) => `${one.tagName} ${one.id}`)]
"""


@pytest.mark.parametrize("width", [320, 390, 768, 1280, 1920])
def test_every_width_does_without_scrolling_sideways(
    visit: Visitor, past: Past, scene: Scene, width: int
) -> None:
    scene.move({"one": 3_000_000_000, "a_name_of_15_by": 2000})
    hour = f"{local_iso(_midnight(1) + HOUR)}..{local_iso(_midnight(1) + 2 * HOUR)}"
    quoted = hour.replace("+", "%2B")
    for server, query in (
        (scene, ""),
        (past, "?view=history&range=yesterday"),
        (past, f"?view=history&range={quoted}&by=remote&per=hour"),
        (past, f"?view=history&range={quoted}&units=bits"),
    ):
        page = visit(server, query, viewport={"width": width, "height": 800})
        page.until(lambda: page.rows())  # noqa: B023 - called within the turn
        for toggle in page.find("#rows .toggle").all()[:2]:
            toggle.click()
        page.find("#filter-help summary").click()
        page.run("() => { document.getElementById('bars-box').open = true; }")
        found = page.run(WIDE)
        assert found[0] <= found[1], (query, found)
        assert found[2:] == [], query
        clipped = page.run(
            """() => [...document.querySelectorAll("#rows .number")].filter((one) =>
                 one.checkVisibility() && one.scrollWidth > one.clientWidth + 1).map((one) => one.textContent)"""
        )
        assert clipped == [], "numbers are shown whole"
        name = page.find("#rows tbody tr").first.locator("th").bounding_box()
        assert name
        assert name["width"] > 70


@live
def test_status_fits_a_narrow_page(visit: Visitor, real: Serving) -> None:
    page = visit(real, viewport={"width": 320, "height": 700})
    page.has("#status", "measuring")
    found = page.run(WIDE)
    assert found[0] <= found[1], found


# What it costs.


@live
def test_open_page_grows_with_nothing(watched: Visit, real: Serving) -> None:
    """Half a minute and more with traffic: the same elements all the time, over one connection."""
    watched.until(lambda: len(watched.run("() => window.counts")) >= 30, "half a minute")
    counts = watched.run("() => window.counts")[5:]
    assert set(counts) == {counts[0]}
    assert counts[0] < 500
    streams = [url for url in watched.asked if "/stream" in url]
    assert len(streams) == 2  # the second has the row open
    watched.check()


def test_stream_ends_with_the_live_view(visit: Visitor, scene: Scene) -> None:
    """Who looks at the history, or has left, costs no connection."""

    def count() -> int:
        scene.move({"one": 1})  # it is seen with the next interval that a client has gone
        page.page.wait_for_timeout(100)
        return len(scene.threads())

    page = visit(scene)
    page.expect_fault(REFUSED)  # there is no history
    scene.move({"one": 1})
    page.row("one")
    page.until(lambda: count() == 3, "feed, server and stream")
    page.find("#to-history").click()
    page.until(lambda: count() == 2, "its end")
    page.find("#to-live").click()
    page.until(lambda: count() == 3, "another")
    page.page.goto("about:blank")
    page.until(lambda: count() == 2, "its end")
    page.asked = [url for url in page.asked if url != "about:blank"]


# Pictures.

PICTURES = os.environ.get("BWTOP_PICTURES")
BUDGET: Final = 150_000
"""Bytes of a picture."""


def picture(page: Visit, name: str, folder: Path) -> None:
    path = (Path(PICTURES) if PICTURES else folder) / name
    page.page.screenshot(path=path)
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert 20_000 < len(data) < BUDGET, "neither blank nor large"


@live
def test_picture_of_what_moves_now(visit: Visitor, tmp_path: Path) -> None:
    """The README's picture, when BWTOP_PICTURES names a directory for it (`make picture`)."""
    seconds = 62 if PICTURES else 4
    with (
        serving("--db", str(tmp_path / "history.db"), "-d", "0.5") as server,
        mover("postgres") as database,
        mover("nginx") as web,
        mover("backupd") as store,
        mover("backup") as backup,
        mover("updater") as updater,
        mover("browser") as reader,
        mover("sensord") as sensor,
    ):
        ports = {
            "127.0.0.5": database.listen("127.0.0.5"),
            "127.0.0.9": web.listen("127.0.0.9"),
            "127.0.0.20": store.listen("127.0.0.20"),
        }
        page = visit(server, viewport={"width": 1280, "height": 800}, color_scheme="light")
        page.has("#status", "measuring")
        began = time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            for one, host, most, period in (
                (backup, "127.0.0.20", 200_003, 7.0),
                (updater, "127.0.0.9", 125_003, 3.1),
                (reader, "127.0.0.9", 45_007, 1.7),
                (sensor, "127.0.0.5", 10_007, 5.0),
            ):
                one.tcp(host, ports[host], int(most * (1 + 0.8 * math.sin(passed / period))))
            updater.udp("127.0.0.1", 9, 101, 3)
            page.page.wait_for_timeout(50)
        page.row("backup", backup.pid)
        page.row("updater", updater.pid)
        page.toggle("updater", updater.pid).click()
        page.until(lambda: len(page.children()) == 2)
        page.until(lambda: min(page.run(PIXELS).values()) > 100)
        page.page.mouse.move(1270, 790)
        picture(page, "live.png", tmp_path)


def test_picture_of_what_was(visit: Visitor, tmp_path: Path) -> None:
    a_desktops_day(tmp_path / "history.db", _midnight(1))
    with Quiet(tmp_path / "history.db", files=files.load(None, {})) as server:
        page = visit(
            server,
            "?view=history&range=yesterday",
            viewport={"width": 1280, "height": 800},
            color_scheme="light",
        )
        page.row("firefox")
        page.toggle("firefox").click()
        page.until(page.children)
        page.page.mouse.move(1270, 790)
        picture(page, "history.png", tmp_path)


def test_helpers_see_what_is_wrong(opened: Browser, scene: Scene) -> None:
    """A watch that never barks is none: markup that the policy forbids, a log, a stranger."""
    page = Visit(opened, f"http://127.0.0.1:{scene.port}")
    page.run("() => console.error('this is wrong')")
    page.run(
        """() => {
          const script = document.createElement("img");
          script.src = "http://127.0.0.1:1/x.png";
          document.body.append(script);
        }"""
    )
    page.until(lambda: any("CSP" in fault for fault in page.faults), "the violation")
    with pytest.raises(AssertionError, match="this is wrong"):
        page.check()
    page.faults.clear()
    page.asked.append("http://127.0.0.1:1/x.png")
    with pytest.raises(AssertionError, match=r"127\.0\.0\.1:1/"):
        page.check()
    page.close()
