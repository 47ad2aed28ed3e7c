"""Keys of the list: expand, sort, filter, group, select."""

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from bwtop.model.flows import UDP, UNATTRIBUTED, UNATTRIBUTED_IDENTITY, Identity, Role, Traffic
from bwtop.model.largest import LEAST
from bwtop.model.live import LINGER
from bwtop.model.sample import FlowTraffic
from bwtop.tui import dialogs, layout
from bwtop.tui.layout import ListColumn, parse_fields
from bwtop.tui.settings import Settings
from bwtop.tui.styles import Style
from bwtop.view.column import Cell, CellKind, Column
from bwtop.view.columns import PROCESS_COLUMNS
from bwtop.view.order import Order
from bwtop.view.rows import FIRST, Branch
from tests.build import NOW, key, remote
from tests.screen.harness import FIELDS, Harness

CURL, NAMED = key(101), key(202)

IDENTITIES = {
    CURL: Identity(
        "curl", uid=1000, user="ada", cmdline="curl -O https://x.example/big", exe="/usr/bin/curl"
    ),
    NAMED: Identity("named", uid=53, user="bind", unit="named.service", exe="/usr/sbin/named"),
}
TRAFFIC: FlowTraffic = {
    CURL: {remote("192.0.2.1"): Traffic(rx=500_000, tx=1000)},
    NAMED: {
        remote("192.0.2.53", 53, UDP): Traffic(rx=2000, tx=300),
        remote("127.0.0.1", 953): Traffic(rx=70, tx=70),
    },
}


def busy(columns: int = 80, rows: int = 24) -> Harness:
    harness = Harness(columns, rows)
    harness.feed(TRAFFIC, IDENTITIES)
    return harness


def names(harness: Harness) -> list[str]:
    """Return the listed processes, from the top."""
    return [word for line in harness.lines() for word in ("curl", "named") if f" {word} " in line]


def test_processes_are_listed_with_their_numbers() -> None:
    words = "▸ 101 ada curl 488.3 KiB 1000 B 488.3 KiB 1000 B"
    assert busy().line("curl").split() == words.split()


def style_of(harness: Harness, part: str) -> Style:
    """Return the style of a text on the screen."""
    return next(style for style, text in harness.styles(harness.row_of(part)) if part in text)


def test_kernel_threads_are_in_brackets_and_the_unattributed_has_no_pid() -> None:
    harness = busy()
    thread = key(33)
    harness.feed(
        {thread: {remote(): Traffic(1)}, UNATTRIBUTED: {remote("*", 0): Traffic(2)}},
        {thread: Identity("kworker/0:1", 0, user="root", kernel=True)}
        | {UNATTRIBUTED: UNATTRIBUTED_IDENTITY},
    )
    harness.press("end")
    assert harness.line("kworker").split()[:4] == ["▸", "33", "root", "[kworker/0:1]"]
    assert harness.line("(unattr").split()[:4] == ["▸", "-", "-", "(unattributed)"]
    assert style_of(harness, "[kworker/0:1]") is Style.KERNEL


def test_exited_process_is_dimmed_then_removed() -> None:
    harness = busy()
    harness.feed(exited=[NAMED])
    assert "† named" in harness.text()
    assert style_of(harness, "† named") is Style.EXITED
    harness.feed(elapsed=LINGER - 1)
    assert "† named" in harness.text()
    totals = [line[:40].split()[4:6] for line in harness.lines()[1:3]]
    harness.feed(elapsed=1.1)
    assert "named" not in harness.text()
    assert "curl" in harness.text()
    assert totals == [line[:40].split()[4:6] for line in harness.lines()[1:3]]


def test_a_name_that_comes_later_takes_the_place_of_the_first() -> None:
    harness = busy()
    harness.press("enter")
    harness.feed({}, {CURL: Identity("wget", 1000, user="ada")})
    assert harness.selected().split()[:4] == ["▾", "101", "ada", "wget"]
    assert "curl" not in harness.text()


def test_command_lines() -> None:
    harness = busy(110)
    harness.press("c")
    assert "curl -O https://x.example/" in harness.text()
    assert "/usr/sbin/named" not in harness.text()
    harness.press("c")
    assert "https://" not in harness.text()


class Names:
    """A resolver that knows every address."""

    def get(self, address: bytes) -> str:
        return f"host-{address[-1]}.example"


def test_names_of_remotes() -> None:
    harness = Harness(80, 24)
    harness.state.attached("tracepoint", [], Names())
    harness.feed(TRAFFIC, IDENTITIES)
    harness.press("enter")
    assert "to host-1.example:443 tcp" in harness.text()
    harness.press("/", *"host-53", "enter")
    assert names(harness) == ["named"]
    harness.press("n")
    assert names(harness) == []
    assert "names off" in harness.text()
    harness.press("n", "esc", "g", "g", "g", "g")
    assert "host-53.example" in harness.text()


@pytest.mark.parametrize("columns", [80, pytest.param(40, id="40, where most of a name is cut")])
def test_a_remote_tells_its_port_at_any_width(columns: int) -> None:
    harness = busy(columns)
    process = key(7)
    harness.feed(
        {process: {remote(f"203.0.113.{n}", 8000 + n): Traffic(10**9) for n in range(3)}},
        {process: Identity("many", 0)},
    )
    harness.press("home", "enter")
    for n in range(3):
        assert f":800{n} " in harness.text()
        assert columns == 40 or f"203.0.113.{n}:800{n} tcp" in harness.text()


def test_right_opens_then_goes_in_and_left_comes_back() -> None:
    harness = busy()
    for name, part in (
        ("enter", "▾"),
        ("enter", "▸"),
        ("down", " named "),
        ("right", " named "),
        ("right", "192.0.2.53"),
        ("right", "192.0.2.53"),
        ("left", "▾"),
        ("left", "▸"),
        ("left", " named "),
        ("left", " named "),
    ):
        harness.press(name)
        assert part in harness.selected()


def test_e_expands_all_rows_including_new_ones_and_collapses_all() -> None:
    harness = busy()
    harness.press("e")
    late = key(303)
    harness.feed({late: {remote("192.0.2.99"): Traffic(9)}}, {late: Identity("late", 1)})
    for address in ("192.0.2.1", "192.0.2.53", "192.0.2.99"):
        assert f"{address}:" in harness.text()
    harness.press("end", "e")
    assert "192.0.2" not in harness.text()
    assert harness.selected().split()[:4] == ["▸", "202", "bind", "named"]


def test_expanded_process_stays_expanded() -> None:
    harness = busy()
    harness.press("end", "enter")
    changes: tuple[Callable[[], None], ...] = (
        lambda: harness.feed({CURL: {remote("192.0.2.7"): Traffic(9)}}),
        lambda: harness.feed({NAMED: {remote("192.0.2.53", 53, UDP): Traffic(10**7)}}),
        lambda: harness.press("s", "home", "enter", "r"),
        lambda: harness.press("/", *"named", "enter"),
        lambda: harness.press("/", *[*["backspace"] * 5, *"curl"], "esc"),
        lambda: harness.press("t", "u", "t", "u"),
        lambda: harness.press(*"ggggggg"),
        lambda: harness.feed({}, IDENTITIES | {NAMED: Identity("named", 53, user="root")}),
    )
    for change in changes:
        change()
        text = harness.text()
        assert "to 192.0.2.53:53 udp" in text
        assert "192.0.2.1:443" not in text
        assert text.index("192.0.2.53") > text.index(" named ")


def test_reused_pid_is_not_expanded() -> None:
    harness = busy()
    harness.press("enter")
    other = CURL._replace(start=CURL.start + 10**9)
    harness.feed({other: {remote("192.0.2.77"): Traffic(10**9)}}, {other: Identity("curl2", 1)})
    assert "192.0.2.1:443" in harness.text()
    assert "192.0.2.77" not in harness.text()


def sorted_title(harness: Harness) -> str:
    """Return the title that is marked as sorted."""
    (title,) = harness.styled(Style.SORTED)
    return title.strip()


def test_keys_go_from_title_to_title_and_stop_at_the_ends() -> None:
    """Each press moves the mark by one column, as displayed."""
    harness = busy(200)
    titles = [f.cell.title.format(down="↓", up="↑") for f in FIELDS if f.sorts]
    assert sorted_title(harness) == "SHARE▼"
    harness.press("<")
    assert sorted_title(harness) == "↑ total▼"
    harness.press(*"<" * len(FIELDS))
    for title in titles:
        assert sorted_title(harness)[:-1] == title
        harness.press(">")
    for title in reversed(titles):
        assert sorted_title(harness)[:-1] == title
        harness.press("<")
    assert sorted_title(harness) == "PID▲"


@pytest.mark.parametrize(
    ("identifier", "kind", "shown"),
    [
        ("uid", CellKind.NUMBER, "1000"),
        ("exe", CellKind.TEXT, "/usr/bin/curl"),
        ("cmdline", CellKind.TEXT, "curl -O"),
        ("rx", CellKind.SIZE, "488.3 KiB"),
        ("rx", CellKind.NUMBER, "500000"),
        ("pod", CellKind.TEXT, "-"),
        ("pod", CellKind.NUMBER, "-"),
    ],
)
def test_any_column_can_be_shown(identifier: str, kind: CellKind, shown: str) -> None:
    """A cell in the table of columns suffices; remotes show what they have, and else nothing."""
    (column,) = [column for column in PROCESS_COLUMNS if column.id == identifier]
    field = ListColumn(column, Cell("X", 16, place=0, rank=1, kind=kind))
    harness = Harness(80, 24, Settings(fields=(*parse_fields(["process"]), field)))
    harness.feed(TRAFFIC, IDENTITIES)
    harness.press("e")
    assert harness.line("curl ").rstrip().endswith(shown) or f" {shown} " in harness.line("curl ")
    is_of_remotes = identifier == "rx"
    assert (shown in harness.line("to 192.0.2.1")) == is_of_remotes
    harness.press("g")
    harness.check()


def test_text_columns_are_left_of_numbers_in_any_order_of_rows() -> None:
    exe, uid = (next(c for c in PROCESS_COLUMNS if c.id == name) for name in ("exe", "uid"))
    added: tuple[Column[Any], ...] = (
        replace(uid, cells=(Cell("UID", 6, place=0, rank=10, kind=CellKind.NUMBER),)),
        replace(exe, cells=(Cell("EXE", 9, place=9, rank=11),)),
    )
    assert [field.id for field in layout.fields_of(added)] == ["exe", "uid"]


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.id)
def test_click_on_a_title_sorts_and_a_second_click_reverses(field: ListColumn) -> None:
    harness = busy(200)
    harness.press("s", "home", "enter", "s", "home", "down", "enter")
    row = harness.row_of("PROCESS")
    cell = harness.lines()[row].index(field.cell.title.format(down="↓", up="↑").rstrip("10"))
    harness.click(cell, row)
    assert harness.state.settings.order.column == field.column.id
    assert not harness.state.settings.order.reverse
    harness.click(cell, row)
    assert harness.state.settings.order.reverse


def test_clicks_select_then_open_and_the_mark_opens_at_once() -> None:
    harness = busy()
    row = harness.row_of(" named ")
    harness.click(20, row)
    assert " named " in harness.selected()
    assert "▸" in harness.selected()
    harness.now += 1
    harness.click(20, row)
    assert "▾" in harness.selected()
    harness.click(0, row)
    assert "▸" in harness.selected()
    harness.click(0, harness.row_of(" curl "))
    assert "192.0.2.1:443" in harness.text()
    assert " curl " in harness.selected()


def test_click_outside_rows_does_nothing() -> None:
    harness = busy()
    harness.press("end")
    before = harness.below()
    for row in (0, 1, 3, 15, 20):
        harness.click(30, row)
    harness.click(30, harness.row_of(" curl "), button=2)
    harness.screen.mouse_event(harness.size, "mouse release", 0, 30, 6, True)
    harness.screen.mouse_event(harness.size, "mouse drag", 1, 30, 6, True)
    assert harness.below() == before


def crowd(rows: int = 24, count: int = 200) -> Harness:
    """Return a screen with processes p0 to p199, the first the busiest."""
    harness = Harness(80, rows)
    harness.feed(
        {key(n + 1): {remote(): Traffic(10**6 - n)} for n in range(count)},
        {key(n + 1): Identity(f"p{n}", n) for n in range(count)},
    )
    harness.check()
    return harness


def selected_name(harness: Harness) -> str:
    return harness.selected().split()[3]


def test_click_means_the_row_last_drawn() -> None:
    """The list may have changed since the last redraw, even without that row."""
    harness = crowd()
    row = harness.row_of(" p5 ")
    harness.feed({key(6): {remote(): Traffic(10**9)}})
    harness.click(20, row)
    assert selected_name(harness) == "p5"
    row = harness.row_of(" p9 ")
    harness.type("/p0")
    for column in (20, 0):
        harness.click(column, row)
    harness.check()


MOVES = {
    "down": "p1",
    "j j k": "p1",
    "up": "p0",
    "end": "p199",
    "G up": "p198",
    "end down": "p199",
    "end home": "p0",
    "page_down page_up": "p0",
    "ctrl_f down ctrl_b": "p1",
}


@pytest.mark.parametrize("pressed", MOVES)
def test_keys_move_the_selection(pressed: str) -> None:
    harness = crowd()
    for one in pressed.split():
        harness.press(one.replace("_", " "))
        harness.check()
    assert selected_name(harness) == MOVES[pressed]


def test_a_page_is_as_long_as_the_list_and_keeps_a_row_in_sight() -> None:
    harness = crowd()
    listed = sum(f" p{n} " in harness.text() for n in range(200))
    harness.press("page down")
    assert selected_name(harness) == f"p{listed - 1}"
    harness.check()
    harness.press("page down")
    assert f" p{listed - 1} " in harness.text()


def test_the_wheel_goes_three_rows() -> None:
    harness = crowd()
    for button, name in ((5, "p3"), (5, "p6"), (4, "p3")):
        harness.click(20, 10, button)
        assert selected_name(harness) == name


@pytest.mark.parametrize("rows", [5, 10, 24, 60])
def test_the_selected_row_is_always_in_sight(rows: int) -> None:
    harness = crowd(rows)
    for name in ("end", "up", "page up", "home", "down", "page down", "e", "down", "G", "k", "e"):
        harness.press(name)
        assert harness.selected()
    for size in ((80, 5), (80, 50), (40, 10)):
        harness.size = size
        assert harness.selected()


def test_no_row_is_left_blank_while_there_are_rows_to_show() -> None:
    harness = crowd(24)
    harness.press("end")
    harness.check()
    harness.size = (80, 60)
    top = harness.row_of("PROCESS")
    assert all(line.strip() for line in harness.lines()[top:])


# Groups.


def test_groups() -> None:
    harness = busy()
    for labels in (
        ("/usr/bin/curl", "/usr/sbin/named"),
        ("ada", "bind"),
        ("(no unit)", "named.service"),
        ("192.0.2.1", "192.0.2.53", "127.0.0.1"),
    ):
        harness.press("g")
        for label in labels:
            assert f" ×1 {label} " in harness.text()  # noqa: RUF001 - a sign
    harness.press("g")
    for label in (" ×2 internet ", " ×1 loopback "):  # noqa: RUF001 - a sign
        assert label in harness.text()
    harness.press("g")
    assert " ×2 (no container) " in harness.text()  # noqa: RUF001 - a sign
    harness.press("g")
    assert names(harness) == ["curl", "named"]


def test_group_shows_its_living_processes_of_all() -> None:
    harness = busy()
    twin = key(303)
    curl = Identity("curl", 1000, user="ada", exe="/usr/bin/curl")
    harness.feed({twin: {remote("192.0.2.3"): Traffic(1500, 1)}, **TRAFFIC}, {twin: curl})
    harness.feed(TRAFFIC, exited=[twin])
    harness.press("g")
    assert harness.line("/usr/bin/curl").split()[:3] == ["▸", "1/2", "/usr/bin/curl"]


def test_a_group_is_the_sum_of_its_processes_which_are_below_it() -> None:
    harness = busy()
    twin = key(303)
    harness.feed(
        {twin: {remote("192.0.2.3"): Traffic(1500, 1)}, **TRAFFIC},
        {twin: Identity("curl", 1000, user="ada", exe="/usr/bin/curl")},
    )
    harness.press("g")
    line = harness.line("/usr/bin/curl")
    assert line.split()[:3] == ["▸", "×2", "/usr/bin/curl"]  # noqa: RUF001 - a sign
    assert line.split()[3:7] == ["489.7", "KiB", "1001", "B"]
    harness.press("home", "enter", "down", "enter")
    assert [w for line in harness.lines() for w in ("101", "303") if f" {w} " in line] == [
        "101",
        "303",
    ]
    assert "to 192.0.2.1:443" in harness.text()


def test_groups_never_shrink() -> None:
    """An exited process that is off the list still counts in its group."""
    harness = busy()
    harness.feed(exited=[CURL])
    harness.feed(elapsed=LINGER + 1)
    assert "curl" not in harness.text()
    harness.press("g", "g")
    assert harness.line(" ada ").split()[-4:] == ["488.3", "KiB", "1000", "B"]


def test_a_remote_s_group_has_the_processes_that_speak_to_it() -> None:
    harness = busy()
    harness.press("g", "g", "g", "g", "/", *"named", "enter", "e")
    assert "127.0.0.1" in harness.text()
    assert "192.0.2.1 " not in harness.text()
    assert len([line for line in harness.lines() if " named (bind) " in line]) == 2


# Pause and reset.


def test_a_pause_holds_all_numbers_and_nothing_is_lost() -> None:
    harness = busy(100)
    harness.press(" ")
    before = harness.lines()[1:]
    for _ in range(130):
        harness.feed({NAMED: {remote(): Traffic(1024)}, key(9): {remote(): Traffic(5)}})
    harness.feed(exited=[NAMED])
    assert harness.lines()[1:] == before
    held = NOW.astimezone().strftime("PAUSED %H:%M:%S")
    assert f" {held} " in harness.lines()[0]
    harness.press("r")
    assert names(harness) == ["named", "curl"]
    harness.press("r", "enter", "t", "t", "a", "a", "a", "a", " ")
    assert "PAUSED" not in harness.text()
    assert " 132.0 KiB " in harness.line(" † named")
    assert "(unknown)" in harness.text()


@pytest.mark.parametrize("paused", [False, True])
def test_reset_zeroes_totals(paused: bool) -> None:
    harness = busy()
    if paused:
        harness.press(" ")
    harness.press("z")
    before = harness.lines()[1:3]
    assert harness.lines()[-1].startswith("Reset all totals to zero?  y yes n no")
    harness.press("n")
    assert harness.lines()[1:3] == before
    harness.press("z", "y")
    for line in (harness.lines()[1], harness.lines()[2]):
        assert "total        0 B" in line
    harness.press(*" " * paused)
    harness.feed({NAMED: {remote(): Traffic(7, 8)}})
    assert names(harness)[0] == "named"
    assert harness.line(" named ").split()[-4:] == ["7", "B", "8", "B"]


def test_an_empty_list_says_why() -> None:
    harness = Harness()
    for words in ("measuring…", "no traffic yet"):
        assert words in harness.text()
        moves = ("enter", "right", "left", "up", "down", "page down", "end", "home")
        for name in (*moves, *"eKii"):
            harness.press(name)
            harness.check()
        harness.feed()


def test_share_is_of_all_shown_traffic() -> None:
    harness = Harness(132, 24)
    harness.feed({key(n): {remote(): Traffic(100 * n)} for n in (1, 3)})
    assert re.findall(r"\d+%", harness.text()) == ["75%", "25%"]


def test_the_small_graph_has_the_last_ten_intervals() -> None:
    harness = Harness(132, 24)
    for rx in (800, *range(0, 900, 100), 100):
        harness.feed({CURL: {remote(): Traffic(rx)}}, IDENTITIES)
    assert "  ▁▁▂▃▃▄▅▅▁ " in harness.line(" curl ")


def test_bars_and_graphs_have_one_scale_and_the_colour_of_their_direction() -> None:
    harness = Harness(200, 24)
    rates = {CURL: Traffic(1024, 0), NAMED: Traffic(0, 512), key(3): Traffic(3, 3)}
    for _ in range(40):
        harness.feed({of: {remote(): traffic} for of, traffic in rates.items()}, IDENTITIES)
    harness.press("end")
    curl, named = (harness.styles(harness.row_of(f" {name} ")) for name in ("curl", "named"))
    assert (Style.RX_BAR, "   1.0 KiB") in curl
    assert (Style.TX_BAR, "     ") in named
    assert not {Style.TX_BAR, Style.SELECTED_BAR} & {style for style, _ in curl}
    assert [text for style, text in curl if style is Style.RX] == ["▇" * 19]
    assert next(text for style, text in named if style is Style.TX) == "▄" * 19
    harness.press("up")
    assert (Style.SELECTED_BAR, "     ") in harness.styles(harness.row_of(" named "))


def test_top_remote_of_a_process_and_of_a_group() -> None:
    harness = Harness(columns=140)
    far = {remote("192.0.2.1", 443): Traffic(900, 0), remote("192.0.2.2", 80): Traffic(0, 100)}
    harness.feed({key(1): far}, {key(1): Identity("curl", exe="/usr/bin/curl")})
    for name in ("curl", "/usr/bin/curl"):
        assert "192.0.2.1:443" in harness.line(name)
        assert " 90% +1 " in harness.line(name)
        harness.press("g")
    harness.press("g", "g")
    assert "PROCS REMOTE" in harness.line("LAST ")
    assert "curl" in harness.line("192.0.2.1")


@pytest.mark.parametrize("ids", list(permutations(("pid", "process", "top"))), ids=str)
def test_columns_of_a_group_stand_under_their_titles_in_any_order(ids: tuple[str, ...]) -> None:
    """The top remote stood under the title of the label where its column was before it."""
    fields = parse_fields([*ids, "rx_rate"])
    harness = Harness(120, settings=Settings(fields=fields, graphs=False))
    far = {remote("192.0.2.1", 443): Traffic(900, 0)}
    harness.feed({key(1): far}, {key(1): Identity("curl", exe="/usr/bin/curl")})
    harness.press("g")
    titles, row = harness.line("EXECUTABLE"), harness.line("/usr/bin/curl")
    assert row.index("to 192.0.2.1:443") == titles.index("TOP REMOTE")
    places = [titles.index(title) for title in ("PROCS", "EXECUTABLE", "TOP REMOTE")]
    label, after = row.index("/usr/bin/curl"), [at for at in places if at > places[1]]
    assert places[1] <= label < min([*after, titles.index("↓/s")])
    assert row.count(f"{harness.state.glyphs.times}1 ") == 1


def test_row_of_exited_processes_leaves_the_top_remote_its_column() -> None:
    fields = parse_fields(["pid", "top", "process", "rx_rate"])
    harness = ended(120, Settings(fields=fields))
    titles, row = harness.line("TOP REMOTE"), harness.line("† 4 exited")
    assert row.index("† 4 exited") == titles.index("PROCESS")
    assert row.index("to 192.0.2.") == titles.index("TOP REMOTE")


@pytest.mark.parametrize("pressed", ["<", ">"])
def test_sort_column_beside_one_that_is_not_shown_is_the_default(pressed: str) -> None:
    """Wherever that is: it was the last one that is shown."""
    fields = parse_fields(["process", "share", "rx_rate", "tx_rate"])
    harness = Harness(settings=Settings(fields=fields, order=Order("pid")))
    harness.press(pressed)
    assert harness.state.settings.order == Order()


def test_copies_are_of_the_selected_row() -> None:
    harness = Harness()
    copied: list[str] = []
    harness.state.copy = copied.append
    far = {remote("2001:db8::1", 443): Traffic(9, 0)}
    harness.feed({key(1): far}, {key(1): Identity("curl", 0, "curl -s x", "/usr/bin/curl")})
    harness.press("y", "Y", "enter", "down", "y", "Y", "home", "g", "y")
    assert copied == ["1", "curl -s x", "2001:db8::1", "curl -s x", "/usr/bin/curl"]
    assert "copied /usr/bin/curl" in harness.lines()[-1]


def test_header_says_which_row_of_how_many() -> None:
    harness = Harness(columns=120)
    processes = {key(n): Identity(f"p{n}") for n in range(1, 31)}
    harness.feed({of: {remote(): Traffic(1)} for of in processes}, processes)
    assert "row 1 of 30" in harness.text()
    harness.press("end")
    assert "row 30 of 30" in harness.text()


# Exited processes.


def ended(columns: int = 80, settings: Settings | None = None) -> Harness:
    """Return a screen with a living process and four that have exited, one of them large."""
    harness = Harness(columns, 24, settings)
    gone = {key(n): Identity(f"p{n}") for n in range(1, 5)}
    traffic: FlowTraffic = {of: {remote(): Traffic(0, 1000 + of.stored_pid)} for of in gone}
    traffic[key(4)] = {remote(f"192.0.2.{n}"): Traffic(LEAST) for n in range(100)}
    harness.feed({**traffic, CURL: {remote(): Traffic(9)}}, gone | IDENTITIES)
    harness.feed(exited=gone)
    harness.pass_time()
    return harness


@pytest.mark.parametrize(
    ("columns", "text"), [(80, "▸† 4 exited  "), (56, "▸† 4 exited  ↓ 9.8 GiB  ↑ 2.9 KiB")]
)
def test_exited_processes_are_one_row_that_opens(columns: int, text: str) -> None:
    harness = ended(columns)
    assert text in harness.text()
    assert not re.search("p[1-4]", harness.text())
    harness.press("end", "right", "down", "down")
    assert "† p3" in harness.selected()
    harness.feed({CURL: {remote(): Traffic(9)}})
    assert "† p3" in harness.selected()
    harness.press("enter")
    assert "to 192.0.2.1:443" in harness.text()
    harness.press("left", "left", "left")
    assert "† 4 exited" in harness.selected()


@pytest.mark.parametrize("pressed", ["x", "/state:exited", "/curl | state:exited", "off"])
def test_exited_processes_can_be_rows_of_their_own(pressed: str) -> None:
    harness = ended(80, Settings(fold_exited=pressed != "off"))
    harness.type(pressed if pressed != "off" else "")
    assert "4 exited" not in harness.text()
    assert all(f"† p{n} " in harness.text() for n in range(1, 5))
    harness.press("esc", "x")
    assert ("† 4 exited" in harness.text()) == (pressed in ("x", "off"))


def test_selected_process_stays_in_sight_when_it_exits() -> None:
    harness = busy()
    harness.feed({key(n): {remote(): Traffic(1)} for n in range(1, 5)})
    harness.press("end")
    assert " named " in harness.selected()
    harness.feed(exited=[NAMED, *(key(n) for n in range(1, 5))])
    harness.pass_time()
    assert "† named" in harness.selected()
    assert "† 4 exited" in harness.text()


def test_process_that_moved_much_stays_in_the_order_by_total() -> None:
    harness = ended()
    harness.feed(elapsed=LINGER)
    harness.pass_time()
    assert "† p4 " in harness.text()
    assert "† p3 " not in harness.text()
    harness.feed({key(n): {remote(): Traffic(1)} for n in (5, 6)}, {})
    harness.feed(exited=[key(5), key(6)])
    harness.pass_time()
    assert "† 3 exited" in harness.text()
    harness.press("s", "end", "enter")
    lines = [line.split()[1:3] for line in harness.lines() if "†" in line]
    assert lines == [["4", "-"], ["2", "exited"]]
    assert " 9.8 GiB " in harness.line("† p4")


def workers(exited: int, count: int = 5) -> Harness:
    """Return a screen with the processes of a unit, opened; the last ones have exited."""
    harness = Harness(110, 24)
    known = {key(n): Identity(f"w{n}", unit="jobs.service") for n in range(1, count + 1)}
    harness.feed({of: {remote(): Traffic(of.stored_pid)} for of in known}, known)
    harness.feed(exited=list(known)[count - exited :])
    harness.press("g", "g", "g", "right")
    return harness


def test_exited_processes_of_a_group_are_one_row_that_opens() -> None:
    harness = workers(exited=3)
    assert harness.line("jobs.service").split()[1] == "2/5"
    assert harness.line("† 3 exited").index("†") == harness.line(" w1 ").index("w1")
    assert "† w" not in harness.text()
    harness.press("end", "right", "down", "down")
    assert "† w4" in harness.selected()
    harness.feed({key(1): {remote(): Traffic(9)}})
    harness.pass_time()
    assert "† w4" in harness.selected()
    harness.press("left")
    assert "† 3 exited" in harness.selected()
    harness.press("x")
    assert all(f"† w{n} " in harness.text() for n in (3, 4, 5))
    assert " exited" not in harness.text()


def test_selected_process_of_a_group_stays_in_sight_when_it_exits() -> None:
    harness = workers(exited=2)
    harness.press("end", "up")
    assert " w1 " in harness.selected()
    harness.feed(exited=[key(1)])
    harness.pass_time()
    assert "† w1" in harness.selected()
    assert "† 2 exited" in harness.text()
    harness.press("home")
    harness.feed()
    harness.pass_time()
    assert "† 3 exited" in harness.text()


@pytest.mark.parametrize("columns", [30, 40, 80, 200])
@pytest.mark.parametrize("origin", ["", "clickhouse://db"])
def test_row_of_exited_processes_stands_below_the_others_of_its_group(
    columns: int, origin: str
) -> None:
    harness = Harness(columns, 24, origin=origin)
    known = {key(n): Identity(f"w{n}", unit="jobs.service") for n in range(1, 6)}
    harness.feed({of: {remote(): Traffic(2**30, 2**30)} for of in known}, known)
    harness.feed(exited=[key(n) for n in (3, 4, 5)])
    harness.press("g", "g", "g", "right")
    mark, state = ("", "quiet") if origin else ("† ", "exited")
    line = harness.line(f"{mark}3 {state}")
    assert line.index(f"{mark}3 ") == harness.line(" w1 ").index("w1")
    assert "~" not in line


@pytest.mark.parametrize("exited", [1, 5])
def test_a_single_exited_process_and_a_group_without_others_do_not_fold(exited: int) -> None:
    harness = workers(exited)
    assert " exited" not in harness.text()
    assert harness.text().count("† w") == exited


# Many remotes.


def scattered(count: int = 410) -> Harness:
    """Return a screen with a process that has many remotes, the first the busiest."""
    harness = Harness(80, 50)
    far = {remote(f"198.51.{n // 256}.{n % 256}"): Traffic(10**6 - n) for n in range(count)}
    harness.feed({CURL: far}, IDENTITIES)
    harness.press("enter")
    return harness


def test_remotes_beyond_twenty_are_below_a_row_that_opens() -> None:
    harness = scattered()
    assert "198.51.0.19:443" in harness.text()
    assert "198.51.0.20:443" not in harness.text()
    line = harness.line("+390 more").split()
    assert line[:6] == ["▸", "+390", "more", "371.9", "MiB", "0"]
    harness.press("end")
    assert "+390 more" in harness.selected()
    harness.press("right", "right", "down")
    assert "198.51.0.21:443" in harness.selected()
    harness.feed({CURL: {remote("198.51.0.1"): Traffic(1)}})
    harness.pass_time()
    assert "198.51.0.21:443" in harness.selected()
    harness.press("left", "left")
    assert "+390 more" in harness.selected()
    harness.press("e", "e")
    assert "198.51.0.20:443" not in harness.text()


def test_remotes_below_that_row_are_copied_and_tagged_as_the_others() -> None:
    """The row has no process of its own: its name was copied, and nothing was tagged."""
    harness = scattered()
    copied: list[str] = []
    harness.state.copy = copied.append
    harness.press("end", "y", "Y", "m")
    assert harness.state.tags.keys() == {CURL}
    harness.press("end", "right", "down", "y", "Y", "m")
    assert copied == [
        str(CURL.pid),
        IDENTITIES[CURL].cmdline,
        "198.51.0.20",
        IDENTITIES[CURL].cmdline,
    ]
    assert not harness.state.tags


def test_selected_remote_stays_among_the_first() -> None:
    harness = scattered(30)
    harness.press(*["down"] * 20)
    assert "198.51.0.19:443" in harness.selected()
    harness.feed({CURL: {remote(f"198.51.0.{n}"): Traffic(1) for n in range(20, 30)}})
    harness.pass_time()
    assert "198.51.0.19:443" in harness.selected()
    assert "+9 more" in harness.text()
    harness.press("home")
    harness.feed({CURL: {remote(f"198.51.0.{n}"): Traffic(1) for n in range(20, 30)}})
    harness.pass_time()
    assert "+10 more" in harness.text()


@pytest.mark.parametrize(("count", "row"), [(21, False), (22, True)])
def test_a_single_remote_more_is_shown_itself(count: int, *, row: bool) -> None:
    assert (" more " in scattered(count).text()) == row


@pytest.mark.parametrize("pressed", [*range(5)])
def test_wide_terminal_is_used(pressed: int) -> None:
    """The list and the header's graph end at the edge; rows of groups have no blank columns."""
    harness = busy(200, 60)
    harness.press(*"g" * pressed)
    lines = harness.lines()
    titles = harness.line("TOP REMOTE")
    assert titles.rstrip().endswith("SHARE▼")
    assert len(titles.rstrip()) >= 198
    label = (" PROCESS", " EXECUTABLE", " USER", " UNIT", " REMOTE")[pressed]
    first = (
        ["PROCS", label.strip(), "TOP"] if pressed else ["PID", "USER", "PROCESS", "UNIT", "TOP"]
    )
    assert titles.split()[: len(first)] == first
    row = next(line for line in lines if line.startswith("▸"))
    assert row[titles.index(label) + 1] != " "


def test_remotes_stand_in_columns_where_there_is_room() -> None:
    harness = Harness(200, 60)
    harness.state.attached("tracepoint", [], Names())
    far = (
        remote("2001:db8::1"),
        remote("192.0.2.7", 53, UDP),
        remote("192.0.2.9", role=Role.SERVER),
    )
    harness.feed({CURL: {one: Traffic(9 - n) for n, one in enumerate(far)}}, IDENTITIES)
    harness.press("enter")
    rows = [line for line in harness.lines() if "host-" in line and "▾" not in line]
    assert [re.split(" {2,}", row.strip())[:4] for row in rows] == [
        ["to", "2001:db8::1", "443 tcp", "host-1.example"],
        ["to", "192.0.2.7", "53 udp", "host-7.example"],
        ["from 192.0.2.9", "on 443 tcp", "host-9.example", "internet"],
    ]
    assert len({row.index("host-") for row in rows}) == 1


# Where the view stays.


def test_view_is_at_the_top_after_a_sort() -> None:
    """The selection stays on its row only if that is in sight there."""
    harness = crowd()
    for moves, pressed, after in (
        (("down",), "r", "p199"),
        (("down", "down"), "r", "p0"),
        (("end", "up"), "r", "p198"),
    ):
        harness.press(*moves)
        before = selected_name(harness)
        harness.press(pressed)
        assert selected_name(harness) == after, before


def test_selection_stays_where_a_signalled_process_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogs, "send", lambda *_: None)
    harness = crowd()
    harness.press("down", "K", "enter", "y")
    harness.feed(exited=[key(2)])
    assert selected_name(harness) == "p2"
    assert " p0 " in harness.text()


def test_followed_row_stays_selected() -> None:
    harness = crowd()
    harness.press(*["down"] * 5, "F")
    assert "follow 6/200" in harness.text()
    changes: tuple[Callable[[], None], ...] = (
        lambda: harness.press("r"),
        lambda: harness.press("enter"),
        lambda: harness.feed(exited=[key(6)]),
        lambda: harness.pass_time(),
        lambda: harness.press("/", *"p7", "enter"),
        lambda: harness.press("esc"),
        lambda: harness.feed({key(300): {remote(): Traffic(1)}}),
    )
    for change in changes:
        change()
        assert " p5 " in harness.selected() or "p7" in harness.state.settings.filter
    assert "follow " in harness.text()
    harness.press("up")
    assert "follow " not in harness.text()
    harness.press("F", "F")
    assert "follow " not in harness.text()


def test_keys_go_from_process_to_process() -> None:
    harness = busy()
    harness.press("e")
    for name, part in (
        ("tab", " named "),
        ("tab", " named "),
        ("shift tab", " curl "),
        ("down", "192.0.2.1:443"),
        ("tab", " named "),
        ("down", "192.0.2.53:53"),
        ("shift tab", " named "),
    ):
        harness.press(name)
        assert part in harness.selected()
    harness.press("g", "home", "tab")
    assert " curl " in harness.selected()
    harness.press("tab")
    assert "/usr/sbin/named" in harness.selected()


def test_scroll_mark_shows_the_part_in_sight() -> None:
    harness = crowd(rows=24, count=36)
    top = harness.row_of("PROCESS") + 1

    def marks() -> str:
        return "".join("x" if line.endswith("▐") else "." for line in harness.lines()[top:-1])

    assert re.fullmatch(r"x{8,10}\.+", marks())
    harness.press("end")
    assert re.fullmatch(r"\.+x{8,10}", marks())
    harness.press("/", *"p1", "enter")
    assert set(marks()) == {"."}


# Both ends of loopback traffic.

APP, BASE, OTHER_APP = key(11), key(12), key(13)


def both_ends() -> Harness:
    """Return a screen with two clients of a service on loopback, one of which also moves bytes elsewhere."""
    harness = Harness(110, 24)
    service = remote("127.0.0.1", 5432, role=Role.SERVER)
    harness.feed(
        {
            APP: {remote("127.0.0.1", 5432): Traffic(5000, 100), remote(): Traffic(7, 3)},
            OTHER_APP: {remote("127.8.0.1", 5432): Traffic(2000, 10)},
            BASE: {service: Traffic(110, 7000), remote("127.0.0.1", 53, UDP): Traffic(1, 0)},
        },
        {APP: Identity("app"), OTHER_APP: Identity("task"), BASE: Identity("base")},
    )
    return harness


def test_both_ends_of_loopback_traffic_can_be_one_row() -> None:
    harness = both_ends()
    totals = harness.lines()[1:3]
    harness.press("L")
    line = harness.line("app +1 to base :5432 tcp").split()
    assert line[:2] == ["▸", "×3"]  # noqa: RUF001 - a sign
    assert line[8:12] == ["6.8", "KiB", "110", "B"]
    assert harness.line(" 11 ").split()[3:8] == ["app", "7", "B", "3", "B"]
    assert " task " not in harness.text()
    assert harness.line(" 12 ").split()[-5:-1] == ["1", "B", "0", "B"]
    assert harness.lines()[1:3] == totals
    harness.press("home", "right", "down")
    row = harness.row_of("app +1 to base")
    below = [line.split()[3] for line in harness.lines()[row + 1 : row + 4]]
    assert below == ["base", "app", "task"]
    harness.press("right", "down")
    assert "on :5432" in harness.selected()
    harness.press("/", *"port:5432", "enter")
    assert "app +1 to base" in harness.text()
    assert "6.9 KiB/s" in harness.lines()[1]
    assert "6.9 KiB/s" in harness.lines()[2]
    harness.press("esc", "L")
    assert "to base" not in harness.text()
    assert " task " in harness.text()


def test_ends_of_other_namespaces_and_lone_ends_stay() -> None:
    harness = both_ends()
    harness.feed({}, {BASE: Identity("base", container="docker:1")})
    harness.press("L")
    assert " to base :5432" not in harness.text()


def test_services_of_the_same_processes_are_one_row_which_folds_when_both_exit() -> None:
    harness = both_ends()
    near = {remote("127.0.0.1", port, UDP): Traffic(1, 2) for port in (20, 10, 30)}
    far = {remote("127.0.0.1", port, UDP, Role.SERVER): Traffic(2, 1) for port in (20, 10, 30)}
    names = {key(21): Identity("near"), key(22): Identity("far")}
    gone = key(23)
    harness.feed({key(21): near, key(22): far, gone: {remote(): Traffic(1)}}, names)
    harness.press("L")
    assert harness.line("near to far :10 udp +2").split()[-5:-1] == ["3", "B", "6", "B"]
    harness.feed(exited=[gone, *names])
    harness.pass_time()
    assert "† 3 exited" in harness.text()
    harness.press("end", "right", "end", "up")
    assert " to far " in harness.text()
    for _ in range(3):
        before = harness.selected()
        harness.feed()
        assert harness.selected()[:20] == before[:20]
        harness.press("right", "down")


def units(**of: str) -> Harness:
    """Return both_ends() with the units of the processes, grouped by unit and opened."""
    harness = both_ends()
    harness.size = (200, 24)
    processes = {"app": APP, "task": OTHER_APP, "base": BASE}
    harness.feed({}, {processes[name]: Identity(name, unit=unit) for name, unit in of.items()})
    harness.press("g", "g", "g", "e")
    return harness


def totals(harness: Harness, name: str) -> tuple[int, int]:
    """Return the totals of a listed row of processes, received and sent."""
    rows = [row for _, row in harness.state.tree.walk(FIRST) if isinstance(row, Branch)]
    (counted,) = [row.counted for row in rows if row.identity.name == name]
    return counted.rx_total, counted.tx_total


def test_ends_in_one_group_can_be_one_row_of_it() -> None:
    harness = units(app="shop", task="shop", base="shop")
    assert totals(harness, "shop") == (7118, 7113)
    harness.press("L")
    assert totals(harness, "app +1 to base :5432 tcp") == (7000, 110)
    assert totals(harness, "shop") == (7008, 113), "each byte once"
    assert "×3 shop" in harness.text()  # noqa: RUF001 - a sign
    harness.press("home", "down")
    assert "app +1 to base" in harness.selected()
    for _ in range(6):
        before = harness.selected()[:60]
        harness.feed()
        assert harness.selected()[:60] == before
        harness.press("down")


@pytest.mark.parametrize(
    ("columns", "label"),
    [
        (200, "app +1 to base :5432 tcp"),
        (120, "app +1 to base :5432"),
        (80, "app +1 to base"),
        (40, "ap~se"),
    ],
)
def test_a_narrow_terminal_has_the_names_of_both_ends(columns: int, label: str) -> None:
    harness = units(app="shop", task="shop", base="shop")
    harness.press("L")
    harness.size = (columns, 24)
    assert harness.line("×3   ").split("×3   ")[1].startswith(f"{label} ")  # noqa: RUF001 - a sign


def test_ends_in_two_groups_stay_in_both() -> None:
    harness = units(app="shop", task="shop", base="data")
    before = {name: totals(harness, name) for name in ("shop", "data")}
    harness.press("L")
    assert " to base" not in harness.text()
    assert {name: totals(harness, name) for name in ("shop", "data")} == before


def test_a_group_is_tagged_with_the_processes_of_joined_rows() -> None:
    harness = units(app="shop", task="shop", base="shop")
    harness.press("L", "home", "m")
    assert set(harness.state.tags) == {APP, OTHER_APP, BASE}
