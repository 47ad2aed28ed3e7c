"""Rows of several hosts: the place of host names, and the features of a local screen that others lack."""

import os
import subprocess
from typing import Final

import pytest

from bwtop.identity.names import PeerNames
from bwtop.model.flows import UNATTRIBUTED_IDENTITY, Host, Identity, ProcessKey, Role, Traffic
from bwtop.tui import dialogs, panels
from bwtop.tui.glyphs import UNICODE, Glyphs
from bwtop.tui.layout import parse_fields
from bwtop.tui.settings import Settings
from bwtop.tui.styles import Style
from bwtop.view.columns import HOST_COLUMNS
from bwtop.view.grouping import OF_FLEETS, Grouping
from bwtop.view.order import Order
from tests.build import key, packed, remote
from tests.screen.harness import Harness
from tests.screen.test_panels import started

ORIGIN: Final = "clickhouse://me@db:9000/bwtop"
PID: Final = 1 << 23
"""Beyond the kernel's largest pid, so that no signal can ever arrive."""

WEB, MAIL, TWIN = Host("web1", "id-of-web"), Host("mail", "id-of-mail"), Host("web1", "id-of-twin")
CURL, NGINX, EXIM, SSHD = (key(PID + n) for n in range(4))
NOBODY: Final = ProcessKey(7, None)
IDENTITIES: Final = {
    CURL: Identity("curl", 1000, "curl -s", user="ada", unit="a.scope", host=WEB),
    NGINX: Identity("nginx", 33, user="www", host=WEB),
    EXIM: Identity("exim", 8, user="mail", host=MAIL),
    SSHD: Identity("sshd", 0, user="root", host=TWIN),
    NOBODY: Identity(UNATTRIBUTED_IDENTITY.name, host=MAIL),
}
AMOUNTS: Final = {CURL: 100_000, NGINX: 40_000, EXIM: 20_000, SSHD: 5000, NOBODY: 1}


def fleet(
    columns: int = 80,
    rows: int = 24,
    settings: Settings | None = None,
    glyphs: Glyphs = UNICODE,
    identities: dict[ProcessKey, Identity] = IDENTITIES,
) -> Harness:
    """Return a screen with five processes of three hosts."""
    harness = Harness(columns, rows, settings, glyphs, origin=ORIGIN)
    traffic = {one: {remote(): Traffic(amount)} for one, amount in AMOUNTS.items()}
    harness.feed({one: traffic[one] for one in identities}, identities)
    return harness


def own(settings: Settings | None = None) -> Harness:
    """Return a local screen with the same processes."""
    harness = Harness(100, 60, settings)
    harness.feed({CURL: {remote(): Traffic(1)}}, {CURL: Identity("curl", 1000, user="ada")})
    return harness


def listed(harness: Harness) -> list[list[str]]:
    """Return the words of the rows below the titles."""
    top = harness.row_of("↑/s") + 1
    lines = [line.removeprefix("▸").removeprefix("▾") for line in harness.lines()[top:-1]]
    return [line.split() for line in lines if line.strip()]


# The column.


@pytest.mark.parametrize("columns", [80, 120])
def test_host_column_comes_first(columns: int) -> None:
    """A narrow screen has none; configured columns follow it."""
    harness = fleet(columns)
    rows = [row[:2] for row in listed(harness)]
    assert rows[:2] == [["web1", str(PID)], ["web1", str(PID + 1)]]
    assert rows[2:4] == [["mail", str(PID + 2)], ["web1", str(PID + 3)]]
    assert rows[4:] == [["mail", "-"]], "that is unattributed"
    assert any("(unattributed)" in text for text in harness.styled(Style.KERNEL))
    assert "HOST" not in fleet(40).text()
    fields = parse_fields(["process", "rx_rate", "pid"])
    configured = fleet(columns, settings=Settings(fields=fields))
    assert configured.line("PROCESS").split() == ["HOST", "PROCESS", "PID", "↓/s▼"]


@pytest.mark.parametrize("how", ["click", "keys"])
def test_list_is_sorted_by_host(how: str) -> None:
    harness = fleet()
    if how == "click":
        harness.click(3, harness.row_of("PROCESS"))
    else:
        harness.press(*["<"] * 20)
    harness.pass_time()
    assert harness.state.settings.order == Order("hostname")
    assert "HOST▲" in harness.line("PROCESS")
    assert [row[0] for row in listed(harness)] == ["mail", "mail", "web1", "web1", "web1"]


def test_local_screen_has_no_host_column() -> None:
    for name in ("", "g", "s", "h"):
        harness = own()
        harness.press(*name)
        assert "HOST" not in harness.text()


def test_local_chooser_ignores_a_configured_sort_by_host() -> None:
    harness = own(Settings(order=Order("hostname")))
    harness.press("s")
    assert marked(harness).split()[0] == "rate"
    choices = harness.text().partition("Sort by")[2]
    assert [column.id for column in HOST_COLUMNS if column.id in choices] == []


def marked(harness: Harness) -> str:
    """Return the selected line of a chooser, which is below or beside the list with its own selected row."""
    return harness.styled(Style.SELECTED)[-1]


def test_the_chooser_sorts_by_host() -> None:
    harness = fleet(80, 60, Settings(order=Order("host_id")))
    harness.press("s")
    assert marked(harness).split()[0] == "host_id"
    harness.press("up", "enter")
    assert harness.state.settings.order == Order("hostname")


# The origin.


@pytest.mark.parametrize("columns", [80, 300])
def test_header_shows_the_origin(columns: int) -> None:
    first = fleet(columns).lines()[0]
    assert ORIGIN in first
    assert "host.example" not in first


def test_phase_with_several_hosts_is_connecting() -> None:
    harness = Harness(100, 300, attached=False, origin=ORIGIN)
    assert "connecting…" in harness.text()
    harness.state.attached("", [])
    harness.press("h")
    assert f"from {ORIGIN}" in harness.text()
    assert "backend" not in harness.text()


# Groups.


def grouped(harness: Harness, grouping: Grouping) -> Harness:
    while harness.state.settings.grouping is not grouping:
        harness.press("g")
    harness.pass_time()
    return harness


def test_hosts_with_equal_names_are_two_groups() -> None:
    one, two = f"{UNICODE.times}1", f"{UNICODE.times}2"
    harness = grouped(fleet(), Grouping.HOST)
    assert "by host" in harness.text()
    assert harness.line("PROCS").split()[:3] == ["PROCS", "HOST", f"{UNICODE.down}/s"]
    assert [row[:2] for row in listed(harness)] == [[two, "web1"], [two, "mail"], [one, "web1"]]
    harness.press("enter")
    assert [row[0] for row in listed(harness)] == [two, str(PID), str(PID + 1), two, one]


@pytest.mark.parametrize("columns", [80, 120])
def test_group_shows_its_host_or_several(columns: int) -> None:
    one = f"{UNICODE.times}1"
    harness = grouped(fleet(columns), Grouping.REMOTE)
    assert listed(harness)[0][:3] == ["(several)", f"{UNICODE.times}5", "192.0.2.1"]
    harness = grouped(fleet(columns), Grouping.USER)
    assert listed(harness)[0][:3] == ["web1", one, "ada"]
    title, row = harness.line("PROCS"), harness.line(" ada ")
    assert title.index("PROCS") + len("PROCS") == row.index(one) + len(one)


def test_conversation_of_two_hosts_is_one_row() -> None:
    """A remote that is a host has its name, with names or without DNS."""
    harness = fleet(100)
    peers = {packed("192.0.2.1"): WEB, packed("192.0.2.2"): MAIL}
    harness.state.attached("", [], PeerNames(None, lambda: peers), peers=lambda: peers)
    traffic = {
        CURL: {remote("192.0.2.2", 25): Traffic(500_000, 1_000_000)},
        EXIM: {remote("192.0.2.1", 25, role=Role.SERVER): Traffic(1_000_000, 500_000)},
    }
    harness.feed(traffic, {one: IDENTITIES[one] for one in traffic})
    harness.press("right")
    assert "to mail exim:25 tcp" in harness.text(), "with the program at the other end"
    grouped(harness, Grouping.CONVERSATION)
    assert "HOST" not in harness.line("PROCS")
    line = harness.line("web1 curl → mail exim :25 tcp")
    assert line.split()[:2] == ["▸", f"{UNICODE.times}2"]
    harness.press("home", "enter")
    assert {row[1] for row in listed(harness)[1:3]} == {"curl", "exim"}


def test_g_groups_by_host_only_with_several_hosts() -> None:
    every = [one for one in Grouping if one not in (Grouping.ASN, Grouping.COUNTRY)]
    of_one = [one for one in every if one not in OF_FLEETS]
    for harness, groupings in ((fleet(), every), (own(), of_one)):
        found = []
        for _ in range(2 * len(groupings)):
            found.append(harness.state.settings.grouping)
            harness.press("g")
        assert found == 2 * groupings


def test_local_screen_ignores_grouping_by_host() -> None:
    """A configuration file may ask for groups of hosts, and is read everywhere."""
    harness = own(Settings(grouping=Grouping.HOST))
    assert "by process" in harness.text()
    harness.press("g")
    assert harness.state.settings.grouping is Grouping.EXECUTABLE
    assert "by host" in fleet(settings=Settings(grouping=Grouping.HOST)).text()


# The filter.


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("host:web1", ["curl", "nginx", "sshd"]),
        ("host:WEB* -nginx", ["curl", "sshd"]),
        ("host:id-of-twin", ["sshd"]),
        ("-host:web1", ["exim", "(unattributed)"]),
        ("host:web", []),
    ],
)
def test_filter_has_a_host_field(text: str, names: list[str]) -> None:
    harness = fleet()
    harness.press("/", *text, "enter")
    harness.pass_time()
    assert not harness.state.filter_error
    assert [row.identity.name for row in harness.state.tree.tops] == names


def test_local_filter_has_no_host_field() -> None:
    harness = own()
    harness.press("/", *"host:web1")
    assert "invalid field 'host'; expected pid, user" in harness.text()
    assert harness.state.filter_error.endswith("net, asn, country, rate, total, state")


# Help.


def helped(harness: Harness) -> str:
    harness.size = (100, 300)
    harness.press("h")
    return harness.text()


def test_help_describes_hosts_where_there_are_several() -> None:
    text, local = helped(fleet()), helped(own())
    for words in ("network or host", "HOST ", "host of the process", " host: ", "or host id"):
        assert words in text
        assert words not in local
    assert "pod or remote\n" in local
    assert "a signal" in local
    assert "a signal" not in text
    assert "kill" not in fleet(300).lines()[-1]


# Signals and details.


def namesake(child: subprocess.Popen[bytes], host: Host | None, origin: str) -> Harness:
    """Return a screen with a process of the same pid and start."""
    process = ProcessKey(started(child.pid) * 10_000_000, child.pid)
    harness = Harness(100, 24, origin=origin)
    identity = Identity("other", os.getuid(), "other --there", host=host)
    harness.feed({process: {remote(): Traffic(1)}}, {process: identity})
    return harness


@pytest.mark.parametrize(
    ("host", "origin", "where"),
    [(WEB, ORIGIN, "web1"), (WEB, "", "web1"), (None, ORIGIN, "another host")],
)
def test_remote_process_gets_no_signal(
    child: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
    host: Host | None,
    origin: str,
    where: str,
) -> None:
    """Nor do its details read /proc here."""
    done: list[object] = []
    monkeypatch.setattr(dialogs, "send", lambda *what: done.append(what))
    monkeypatch.setattr(panels, "command_line", done.append)
    harness = namesake(child, host, origin)
    harness.press("K")
    answer = f"the process runs on {where}; bwtop signals local processes only"
    assert harness.lines()[-1].rstrip() == answer
    harness.press("enter", "y", "i")
    assert "other --there" in harness.text()
    assert done == []


def test_details_name_the_host() -> None:
    harness = fleet(100, 43)
    harness.press("i")
    assert harness.line(" host ").split() == ["host", "web1", "(id-of-web)"]
    harness = own()
    harness.press("i")
    assert "(uid 1000)" in harness.text()
    assert " host " not in harness.text()


@pytest.mark.parametrize("columns", [80, 120])
def test_refusal_fits_the_line_with_a_long_host_name(columns: int) -> None:
    identities = {CURL: Identity("curl", host=Host("x" * 64, "id"))}
    harness = fleet(columns, identities=identities)
    harness.press("K")
    assert harness.lines()[-1].rstrip().endswith("signals local processes only")


def test_idle_process_of_another_host_is_quiet_not_exited() -> None:
    harness = fleet(120)
    harness.feed(exited=[CURL])
    assert "curl (quiet)" in harness.text()
    assert "exited" not in harness.text()


def test_intervals_are_whole_seconds_as_hosts_record_them() -> None:
    harness = fleet(120)
    harness.press("-", "-", "-")
    assert harness.state.settings.interval == 1.0
    harness = own()
    harness.press("-")
    assert harness.state.settings.interval == 0.5
