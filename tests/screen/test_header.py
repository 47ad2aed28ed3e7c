"""The lines above the list: source, throughput, and anything unusual."""

import re
from typing import Final

import pytest

from bwtop.measure.intervals import Status
from bwtop.model.flows import OTHER, UDP, Identity, Loss, Traffic
from bwtop.model.sample import FlowTraffic
from bwtop.tui.styles import Style
from bwtop.view import filtered
from tests.build import CONTROLS, HOSTILE, key, remote
from tests.screen.harness import SIZES, Harness

CURL: Final = key(101)
IDENTITIES: Final = {CURL: Identity("curl", 1000, user="ada")}
TRAFFIC: Final[FlowTraffic] = {
    CURL: {
        remote(): Traffic(1024, 10),
        remote(protocol=UDP): Traffic(2048, 20),
        remote(protocol=OTHER, port=0): Traffic(4096, 40),
        remote("127.0.0.1"): Traffic(8192, 80),
    }
}
ALL_SIZES: Final = pytest.mark.parametrize("size", SIZES, ids=str)


def busy(columns: int = 80, rows: int = 24) -> Harness:
    harness = Harness(columns, rows)
    harness.feed(TRAFFIC, IDENTITIES)
    return harness


def above(harness: Harness) -> str:
    """Return the header."""
    return "\n".join(harness.lines()[: harness.row_of("↑/s")])


def test_header_shows_host_backend_and_time() -> None:
    first = busy().lines()[0]
    for words in ("bwtop", "host.example", "backend tracepoint", "not recording"):
        assert words in first
    assert re.search(r"\d\d:\d\d:\d\d$", first)


@pytest.mark.parametrize("size", [(40, 10), (80, 15)], ids=str)
def test_a_small_terminal_has_one_line_with_both_rates(size: tuple[int, int]) -> None:
    header = above(busy(*size))
    assert "\n" not in header
    assert "↓ 15.0 KiB ↑ 150 B" in " ".join(header.split())


@pytest.mark.parametrize("rows", [10, 24])
def test_header_shows_that_probes_are_being_attached(rows: int) -> None:
    harness = Harness(100, rows, attached=False)
    assert "attaching the probes…" in above(harness)
    harness.state.attached("fexit", [])
    harness.screen.changed()
    assert "attaching" not in harness.text()
    harness.state.is_building = True
    harness.screen.changed()
    assert "working…" in above(harness) or rows == 10


def test_rates_totals_and_peaks() -> None:
    harness = busy(100)
    harness.feed({CURL: {remote(): Traffic(1024, 512)}})
    down, up = (" ".join(line.split()) for line in harness.lines() if " peak " in line)
    assert down.startswith("↓ 1.0 KiB/s total 16.0 KiB peak 15.0 KiB/s")
    assert up.startswith("↑ 512 B/s total 662 B peak 512 B/s")


def networks(harness: Harness) -> str:
    return next(" ".join(line.split()) for line in harness.lines() if line.startswith("internet"))


def test_networks_begin_with_the_internet_and_those_that_do_not_fit_are_left_out() -> None:
    harness = busy(132)
    harness.feed({CURL: {remote(): Traffic(1024, 512), remote("10.1.1.1"): Traffic(2048, 0)}})
    assert (
        networks(harness) == "internet ↓ 1.0 KiB ↑ 512 B lan ↓ 2.0 KiB ↑ 0 B loopback ↓ 0 B ↑ 0 B"
    )
    harness.press("/", *"net:lan", "enter")
    assert networks(harness).startswith("internet ↓ 0 B ↑ 0 B lan ↓ 2.0 KiB ↑ 0 B")
    narrow = busy(80)
    assert networks(narrow) == "internet ↓ 7.0 KiB ↑ 70 B lan ↓ 0 B ↑ 0 B"
    narrow.press("l")
    assert networks(narrow).startswith("internet ↓ 7.0 KiB")


@pytest.mark.parametrize(("rows", "height"), [(24, 1), (40, 2), (60, 3)])
def test_graphs_go_back_two_minutes(rows: int, height: int) -> None:
    """They fill the line; the highest is an eighth less than full, and those older than two minutes are gone."""
    harness = Harness(200, rows)
    harness.feed({CURL: {remote(): Traffic(8000, 8000)}}, IDENTITIES)
    for _ in range(119):
        harness.feed({CURL: {remote(): Traffic(1000, 1000)}})
    assert above(harness).count("█") == 2 * (height - 1)
    assert above(harness).count("▲") == 2, "the mark of the spike in place of its top"
    harness.feed({CURL: {remote(): Traffic(1000, 1000)}})
    assert above(harness).count("▇") == 2 * 148


ODD: Final = {
    "paused": ((" ",), "PAUSED"),
    "no tcp": (("t",), "tcp off|-tcp"),
    "no udp": (("u",), "udp off|-udp"),
    "no other": (("o",), "other off|-other"),
    "no loopback": (("l",), "loopback off|lo hide"),
    "loopback only": (("l", "l"), "loopback only|lo only"),
    "filter": (("/", *"ada", "enter"), "filter ada|/ada"),
}


@ALL_SIZES
@pytest.mark.parametrize("odd", ODD)
def test_anything_unusual_is_on_every_screen(size: tuple[int, int], odd: str) -> None:
    """Linux allows a host name of 64 characters."""
    names, words = ODD[odd]
    harness = busy(*size)
    harness.state.host = "h" * 64
    assert not re.search(words, above(harness))
    harness.press(*names)
    assert re.search(words, above(harness))
    style = Style.PAUSED if odd == "paused" else Style.OFF
    assert any(re.search(words, text) for text in harness.styled(style))
    if odd != "filter":
        harness.press(*names[:1] * (3 - len(names) if "loopback" in odd else 1))
        assert not re.search(words, above(harness))


@pytest.mark.parametrize("size", SIZES[1:], ids=str)
def test_all_that_is_unusual_is_shown_together(size: tuple[int, int]) -> None:
    harness = busy(*size)
    harness.press("t", "u", "o", "l", " ", "g", "a", "a", "a")
    for words in ("tcp off", "udp off", "other off", "loopback off", "PAUSED"):
        assert words in above(harness)
    if size[0] >= 80:
        harness.press("n")
        assert "names off" in above(harness)


@pytest.mark.parametrize("rows", [10, 24])
def test_toggles_change_rows_totals_and_graphs_together(rows: int) -> None:
    harness = Harness(132, rows)
    harness.feed(TRAFFIC, IDENTITIES)
    for pressed, rate in (
        (("t",), "6.0 KiB"),
        (("u",), "4.0 KiB"),
        (("o",), "0 B"),
        (("t",), "9.0 KiB"),
        (("l",), "1.0 KiB"),
        (("l",), "8.0 KiB"),
        (("l", "u", "o"), "15.0 KiB"),
    ):
        harness.press(*pressed)
        assert f"↓ {rate}" in " ".join(above(harness).split())
        if rows == 24:
            assert f"total {rate} peak {rate}/s" in " ".join(above(harness).split())
        if rate == "0 B":
            assert "no traffic matches the filter and toggles" in harness.text()
        else:
            assert f" {rate} " in " ".join(harness.line("curl").split())


def test_degradations_are_shown_as_text() -> None:
    words = [f"no {what}: this kernel does not have it" for what in ("sctp", "dccp", "zerocopy")]
    harness = busy(80, 43)
    harness.state.attached("tracepoint", words)
    assert all(text in above(harness) for text in words)
    harness.size = (80, 24)
    assert words[0] in above(harness)
    assert "…" in above(harness)
    assert words[0] in harness.styled(Style.WARNING)[0]
    harness.size = (80, 10)
    assert "degraded" in above(harness)


def test_refused_backend_is_in_the_header_and_its_reason_in_the_help() -> None:
    harness = busy(120, 24)
    harness.state.attached("tracepoint", [], passed_over=["fexit: tcp_sendmsg: EPERM"])
    assert "backend tracepoint (fexit refused)" in above(harness)
    harness.size = (80, 24)
    assert "refused" not in above(harness)
    harness.press("h")
    harness.size = (200, 300)
    assert "not used: backend fexit: tcp_sendmsg: EPERM" in harness.text()


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        ("tracepoint", "recording"),
        ("tracepoint", "not recording"),
        ("tracepoint", "recorded by bwtop --record (pid 4194304)"),
        ("", "from the history of bwtop --record (pid 77), one second behind"),
    ],
)
def test_header_names_the_recorder(backend: str, words: str) -> None:
    harness = busy()
    harness.state.attached(backend, [], None, lambda: Status(words))
    first = harness.lines()[0]
    assert (f"backend {backend}  {words}" if backend else words) in first
    assert ("backend" in first) == bool(backend)
    harness.press("h")
    harness.size = (200, 300)
    assert words in harness.text()


@pytest.mark.parametrize("size", [(40, 10), (80, 24), (132, 43)], ids=str)
def test_recording_fault_is_a_warning_while_it_lasts(size: tuple[int, int]) -> None:
    harness = busy(*size)
    now = Status("not recording", "not recording: the disk is full: /x/history.db")
    harness.state.attached("tracepoint", ["no sctp"], None, lambda: now)
    assert "not recording" in harness.styled(Style.WARNING)[0]
    if size[1] > 16:
        assert "the disk is full" in above(harness)
    now = Status("recording")
    harness.screen.changed()
    assert "not recording" not in harness.text()


def test_hostile_recorder_name_is_escaped() -> None:
    harness = busy()
    harness.state.attached("", [], None, lambda: Status("".join(HOSTILE), "\x1b[2J"))
    assert not CONTROLS.search(harness.text().replace("\n", ""))


LOSS: Final = Loss(3, 4096, 1, 2048, 1, 2)
LOSS_WORDS: Final = (
    "remotes of 3 flows; their 4.0 KiB count as '*'",
    "processes of 2.0 KiB",
    "names of 1 process",
    "2 events skipped by the kernel",
)


def test_losses_are_shown_as_text() -> None:
    harness = busy(132, 43)
    harness.feed(loss=Loss(3, 4096))
    harness.feed(loss=Loss(0, 0, 0, 0, 1))
    assert f"lost: {LOSS_WORDS[0]}" in above(harness)
    assert f"lost: {LOSS_WORDS[2]}" in above(harness)
    harness.size = (80, 10)
    assert "lost" in above(harness)
    harness.press("z", "y")
    assert "lost" not in harness.text()


def test_help_has_losses_and_degradations_that_do_not_fit_the_header() -> None:
    harness = busy(80, 24)
    harness.state.attached("tracepoint", ["no sctp", "no dccp"])
    harness.feed(loss=LOSS)
    harness.size = (200, 300)
    harness.press("h")
    below = harness.text().partition("bwtop: which process")[2]
    assert all(words in below for words in ("no sctp", "no dccp", *LOSS_WORDS))


def test_filter_line_counts_matches() -> None:
    harness = busy()
    harness.press("/", *"proto:udp", "enter")
    words = " ".join(harness.line("filter proto:udp").split())
    assert words == "filter proto:udp 1 process of all ↓ 15.0 KiB/s ↑ 150 B/s"
    harness.press("g")
    assert "1 executable" in harness.text()


def test_header_shows_sort_grouping_average_and_interval() -> None:
    harness = busy(100)
    for words in ("sort rate▼", "by process", "avg 1s", "every 1s"):
        assert words in above(harness)
    harness.press("s", "home", "enter", "g", "g", "a", "+", "r")
    for words in ("sort pid▼", "by user", "avg 2s", "every 2s"):
        assert words in above(harness)
    harness.press(*"-" * 9)
    assert "every 0.1s" in above(harness)
    harness.press(*"+" * 20)
    assert "every 3600s" in above(harness)
    assert harness.state.settings.interval == 3600.0


def test_bits() -> None:
    harness = busy(100)
    harness.press("b")
    assert "↓ 122.9 kbit/s" in " ".join(above(harness).split())
    assert "122.9 kbit" in harness.line("curl")
    harness.press("b")
    assert "bit" not in harness.text().replace("b bits", "")


def test_rates_are_averaged_over_the_chosen_seconds() -> None:
    harness = busy(80)
    for _ in range(9):
        harness.feed({}, {})
    for average in (2, 10, 40, 1):
        harness.press("a")
        rate = {10: "1.5 KiB", 40: "1.5 KiB"}.get(average, "0 B")
        assert f"avg {average}s" in above(harness)
        assert harness.line("curl").split()[4:6] == rate.split()


def test_header_is_of_what_the_filter_passes() -> None:
    """Rates, totals, peak and graph; the line of the filter has the rates of all."""
    harness = Harness(columns=120)
    curl, sshd = key(1), key(2)
    web, ssh = remote("192.0.2.1", 443), remote("192.0.2.2", 22)
    for number in (1, 2):
        harness.feed(
            {curl: {web: Traffic(100 * number), ssh: Traffic(0, 7)}, sshd: {ssh: Traffic(5000, 1)}},
            {curl: Identity("curl"), sshd: Identity("sshd")},
        )
    harness.type("/curl port:443")
    harness.press("enter")
    down, up = (re.sub(" +", " ", line) for line in harness.lines()[1:3])
    assert down.startswith("↓ 200 B/s total 300 B peak 200 B/s")
    assert up.startswith("↑ 0 B/s total 0 B peak 0 B/s")
    assert harness.state.filtered.timeline.columns(120, range(6))[-2:] == [(100, 0), (200, 0)]
    assert "of all ↓ 5.1 KiB/s ↑ 8 B/s" in harness.text()
    harness.feed({curl: {web: Traffic(50)}})
    assert harness.state.filtered.timeline.columns(120, range(6))[-2:] == [(200, 0), (50, 0)]
    harness.press("esc", "/")
    harness.type("sshd")
    harness.press("enter")
    assert harness.state.filtered.timeline.columns(120, range(6))[-3:] == [
        *((5000, 1), (5000, 1), (0, 0))
    ]


def test_filtered_graph_has_a_gap_where_flows_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filtered, "MOST", 3)
    harness = Harness(columns=120)
    harness.feed({CURL: {remote(): Traffic(900)}}, IDENTITIES)
    harness.press("/", *"curl", "enter", " ")
    for number in range(1, 5):
        harness.feed({CURL: {remote(): Traffic(number)}})
    harness.press(" ")
    graph = harness.state.filtered.timeline.columns(120, range(6))
    assert graph[-5:] == [(900, 0), None, None, (3, 0), (4, 0)]


@pytest.mark.parametrize("left", ["pause", "clear"])
def test_filtered_graph_has_a_gap_where_seconds_are_not_kept(left: str) -> None:
    """After a long pause, or when a filter is recalled, the seconds between are no longer known flow by flow."""
    harness = Harness(columns=120)
    harness.feed({CURL: {remote(): Traffic(900)}}, IDENTITIES)
    harness.press("/", *"curl", "enter")
    harness.press(*([" "] if left == "pause" else ["esc"]))
    for number in range(1, 61):
        harness.feed({CURL: {remote(): Traffic(number)}})
    harness.press(*([" "] if left == "pause" else ["/", "up", "enter"]))
    graph = harness.state.filtered.timeline.columns(120, range(6))
    known = [(float(number), 0.0) for number in range(21, 61)]
    assert graph[-61:] == [(900, 0), *[None] * 20, *known]


def test_filtered_graph_has_what_was_hidden_meanwhile() -> None:
    harness = busy(120)
    harness.type("/port:443")
    harness.press("enter", "u")
    harness.feed({CURL: {remote(): Traffic(1), remote(protocol=UDP): Traffic(6000)}})
    assert harness.state.filtered.timeline.columns(120, harness.state.tree.categories)[-1] == (1, 0)
    harness.press("u")
    assert harness.state.filtered.timeline.columns(120, range(6))[-1] == (6001, 0)


def test_filtered_total_keeps_what_exited_processes_moved() -> None:
    """After 40 seconds an exited process has no row of its own; grouped or not, its bytes stay in the total."""
    harness = busy(120)
    harness.feed({key(102): {remote(): Traffic(512, 1)}}, {key(102): Identity("curl")})
    harness.type("/curl port:443")
    harness.press("enter")
    assert totals(harness) == ["11.5 KiB", "111 B"]
    harness.feed(exited={CURL})
    for _ in range(41):
        harness.feed()
    assert CURL not in harness.state.model.ledger.processes
    assert totals(harness) == ["11.5 KiB", "111 B"]
    harness.press("g")
    assert totals(harness) == ["11.5 KiB", "111 B"]


@pytest.mark.parametrize("text", ["-pid:{}", "-cmd:secret", "total:>1K"])
def test_filtered_total_gains_nothing_from_exited_processes(text: str) -> None:
    """They are kept by program, without what such filters ask for."""
    harness = busy(120)
    some = {key(n): {remote(): Traffic(600, 1)} for n in (102, 103)}
    harness.feed(some, {one: Identity("curl", cmdline="curl secret") for one in some})
    harness.type("/" + text.format(" -pid:".join(str(one.pid) for one in some)))
    harness.press("enter")
    before = totals(harness)
    harness.feed(exited=set(some))
    for _ in range(41):
        harness.feed()
    assert totals(harness) == before


def totals(harness: Harness) -> list[str]:
    """Return the totals of the header, received and sent."""
    return re.findall(r"total +(\S+ \S+)", above(harness))
