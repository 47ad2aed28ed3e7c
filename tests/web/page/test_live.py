"""Test the live view of the real program, run as root."""

import os
import re
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from bwtop.text.escape import printable
from tests.clickhouse.servers import free_port
from tests.kernel.running import command_as
from tests.web.browser import LOST, PIXELS, Mover, Visit, mover
from tests.web.page.scenes import HOSTILE, REFUSED, SOMEBODY, WIDE, Scene, Visitor, live, moved
from tests.web.serving import Serving, serving


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Run the program as root."""
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
    """Run a process with constant traffic during this module."""
    with mover("steady") as running:
        running.steady("127.0.0.5", sink.tcp_ports["127.0.0.5"], 20_011)
        yield running


@pytest.fixture(scope="module")
def watched(opened: Browser, real: Serving, steady: Mover) -> Iterator[Visit]:
    """Yield an open page that counts its elements each second."""
    page = Visit(opened, f"http://127.0.0.1:{real.port}", "?filter=process:steady")
    page.row("steady")
    page.toggle("steady").click()
    page.until(page.children, "the remote")
    page.run(
        """() => {
          window.counts = [];
          setInterval(() => window.counts.push(document.querySelectorAll("*:not(#notes *)").length), 1000);
        }"""
    )
    yield page
    page.close()


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
        tcp, udp = sink.tcp_ports["127.0.0.5"], sink.udp_ports["127.0.0.6"]
        wanted = {
            f"to 127.0.0.5:{tcp} tcp": ["0 B", "997 B"],
            f"to 127.0.0.6:{udp} udp": ["0 B", "707 B"],
        }
        page.until(
            lambda: {child.name: child.cells[-2:] for child in page.children()} == wanted,
            "its remotes",
        )
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
def test_each_column_sorts_and_sorts_the_other_way(visit: Visitor, real: Serving) -> None:
    largest = ["sort-a", "sort-c", "sort-b"]
    with ExitStack() as stack:
        for name, size in zip(largest, (300_007, 3001, 3), strict=True):
            one = stack.enter_context(mover(name))
            one.steady("127.0.0.7", one.listen("127.0.0.7"), size)
        page = visit(real, "?filter=process:sort-*")
        page.until(lambda: page.names() == largest, "by rate")
        assert page.direction("rate") == "descending"
        for column in ("name", "user", "rx_rate", "tx_rate", "rx_total", "tx_total", "rate"):
            is_text = column in ("name", "user")
            first = {"name": sorted(largest), "user": page.names()}.get(column, largest)
            ways = ["ascending", "descending"] if is_text else ["descending", "ascending"]
            for way, names in zip(ways, (first, first[::-1]), strict=True):
                page.header(column).click()
                assert page.direction(column) == way, column
                if column != "user":
                    page.until(lambda wanted=names: page.names() == wanted, f"{column} {way}")  # type: ignore[misc]
            assert page.find("#rows th[aria-sort]:not([aria-sort=none])").count() == 1


@live
def test_protocols_and_loopback_and_units(visit: Visitor, real: Serving, sink: Mover) -> None:
    with moved("toggled", sink) as one:
        one.steady("127.0.0.5", sink.tcp_ports["127.0.0.5"], 1009)
        page = visit(real, "?filter=process:toggled")
        page.row("toggled")
        page.toggle("toggled").click()
        page.until(lambda: len(page.children()) == 2)
        boxes = {name: page.find(f"#proto input[value={name}]") for name in ("tcp", "udp", "other")}
        boxes["udp"].click()
        page.until(lambda: [c.name[-3:] for c in page.children()] == ["tcp"], "udp off")
        assert page.query["proto"] == "tcp,other"
        boxes["tcp"].click()
        page.has("#empty", "no traffic matches the filter")
        boxes["other"].click()  # nothing at all would be nothing to look at
        assert boxes["other"].is_checked()
        boxes["udp"].click()
        page.until(lambda: [c.name[-3:] for c in page.children()] == ["udp"], "udp alone")
        boxes["tcp"].click()
        page.until(lambda: len(page.children()) == 2)
        loopback = page.find("#loopback")
        loopback.select_option("hide")
        page.has("#empty", "no traffic matches the filter")
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
def test_chart_has_colours_on_both_sides_and_a_legend(
    visit: Visitor, real: Serving, steady: Mover
) -> None:
    page = visit(real, "?filter=process:steady,sink")
    page.row("steady")
    page.until(lambda: f"steady ({steady.pid})" in page.text("#legend"), "the legend")
    page.until(lambda: min(page.run(PIXELS).values()) > 20, "colours above and below")
    label = r"received and sent in the last [0-9]+ seconds: now +↓ .+/s ↑ [1-9].+/s"
    page.until(
        lambda: re.search(label, page.find("#chart").get_attribute("aria-label") or ""), "its label"
    )
    page.filter("process:nobody-at-all")
    page.until(lambda: max(page.run(PIXELS).values()) == 0, "an empty chart")


@live
@pytest.mark.usefixtures("steady")
def test_exited_process_is_dimmed(visit: Visitor, real: Serving, sink: Mover) -> None:
    page = visit(real, "?filter=process:exiting,steady")
    page.row("steady")
    with moved("exiting", sink) as one:
        assert page.row("exiting").kind == ""
    page.until(lambda: page.row("exiting").kind == "dim", "dimmed")
    assert page.row("exiting").more == f"{one.pid} exited"
    assert page.row("exiting").cells[-1] == "1.7 KiB"
    colours = page.run(
        """() => [".dim th", "tr:not(.dim):not(.child) td"].map((one) =>
             document.querySelector(`#rows tbody ${one}`)).map((one) => one && getComputedStyle(one).color)"""
    )
    assert None not in colours
    assert colours[0] != colours[1]


@live
def test_hostile_names_are_text(visit: Visitor, real: Serving, sink: Mover) -> None:
    with ExitStack() as stack:
        page = visit(real)
        for one in [stack.enter_context(moved(name, sink)) for name in HOSTILE]:
            shown = printable(one.name)
            assert page.row(shown).more == str(one.pid)
            page.toggle(shown).click()
            page.until(lambda name=shown: page.row(name).open == "true", shown)  # type: ignore[misc]
        assert page.run("() => document.querySelectorAll('#rows b, img, #legend b').length") == 0
        for text in [page.text("body"), *(row.title for row in page.rows())]:
            assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text), text
        page.page.reload()
        for shown in map(printable, HOSTILE):
            page.until(lambda name=shown: page.row(name).open == "true", shown)  # type: ignore[misc]


@live
def test_page_reconnects_to_a_restarted_server(visit: Visitor, tmp_path: Path, sink: Mover) -> None:
    flags = ("--db", str(tmp_path / "history.db"))
    with mover("lasting") as one:
        one.steady("127.0.0.5", sink.tcp_ports["127.0.0.5"], 1009)
        port = free_port()
        with serving(*flags, bind=f"127.0.0.1:{port}") as server:
            page = visit(server)
            page.expect_fault(LOST)
            page.row("lasting")
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


def test_page_opened_before_its_server_is_there(visit: Visitor, scene: Scene) -> None:
    """A page restored after a reboot waits for the server."""
    page = visit(scene)
    page.expect_fault(LOST)
    page.has("#status", "measuring")
    page.page.route("**/api/v1/about", lambda route: route.abort())
    page.page.reload()
    page.has("#status", "not connected")
    page.page.unroute("**/api/v1/about")
    page.has("#status", "measuring")


@live
def test_without_root_the_page_follows_the_recorder(visit: Visitor, sink: Mover) -> None:
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
            page.has("#status", "no bwtop records")
            page.has("#empty", "no bwtop records")
            with serving("--db", database) as recorder:
                page.has("#status", f"(pid {recorder.pid}), one second behind")
                page.until(lambda: page.row("followed").cells[2] != "0 B/s")
                recorder.stop()
            page.has("#status", "the recorder has exited")
            page.until(lambda: page.page.title() == "bwtop", "no rates of now")
            page.page.reload()
            page.row("followed")
            assert (page.page.title(), page.text("#title")) == ("bwtop", "Then")
            with serving("--db", database) as recorder:
                page.has("#status", f"(pid {recorder.pid}), one second behind")


@live
def test_status_fits_a_narrow_page(visit: Visitor, real: Serving) -> None:
    page = visit(real, viewport={"width": 320, "height": 700})
    page.has("#status", "measuring")
    found = page.run(WIDE)
    assert found[0] <= found[1], found


@live
def test_open_page_does_not_grow(watched: Visit, real: Serving) -> None:
    """Half a minute of traffic adds no element and no connection."""
    watched.until(lambda: len(watched.run("() => window.counts")) >= 30, "half a minute")
    counts = watched.run("() => window.counts")[5:]
    assert set(counts) == {counts[0]}
    assert counts[0] < 500
    streams = [url for url in watched.asked if "/stream" in url]
    assert len(streams) == 2  # the second has the row open
    watched.check()


def test_stream_ends_with_the_live_view(visit: Visitor, scene: Scene) -> None:
    """The history view and a closed page hold no stream."""

    def count() -> int:
        scene.move({"one": 1})  # it is seen with the next interval that a client has gone
        page.page.wait_for_timeout(100)
        return len(scene.threads())

    page = visit(scene)
    page.expect_fault(REFUSED)  # there is no history
    scene.move({"one": 1})
    page.row("one")
    page.until(lambda: count() == 3, "broadcaster, server and stream")
    page.find("#to-history").click()
    page.until(lambda: count() == 2, "its end")
    page.find("#to-live").click()
    page.until(lambda: count() == 3, "another")
    page.page.goto("about:blank")
    page.until(lambda: count() == 2, "its end")
    page.asked = [url for url in page.asked if url != "about:blank"]
