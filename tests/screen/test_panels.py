"""Panels on top of the list: sort chooser, filter, details, signals, help; and the footer."""

import os
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Final

import pytest

from bwtop.model.flows import (
    UDP,
    UNATTRIBUTED,
    UNATTRIBUTED_IDENTITY,
    Identity,
    ProcessKey,
    Traffic,
)
from bwtop.model.named import Learned, NameSource
from bwtop.model.sample import FlowTraffic
from bwtop.text.escape import width
from bwtop.tui import commands, dialogs, keys, panels, procfs
from bwtop.tui.keymap import Context, Key, spelled
from bwtop.tui.state import MESSAGE_SECONDS
from bwtop.tui.styles import Style
from bwtop.view.columns import PROCESS_COLUMNS
from tests.build import NOW, key, remote, sample
from tests.processes import until
from tests.screen.harness import SIZES, Harness, Left

ALL_SIZES: Final = pytest.mark.parametrize("size", SIZES, ids=str)
PID: Final = 1 << 23
"""Beyond the kernel's largest pid, so that no signal can ever arrive."""

CURL, NAMED, KWORKER = key(PID), key(PID + 1), key(PID + 2)
COMMAND: Final = "curl --output  /dev/null https://x.example/" + "y" * 60
IDENTITIES: Final = {
    CURL: Identity("curl", 1000, COMMAND, "/usr/bin/curl", user="ada", started=NOW, unit="a.scope"),
    NAMED: Identity("named", 53, "named -g", user="bind", unit="named.service"),
    KWORKER: Identity("kworker/0:1", 0, user="root", kernel=True),
    UNATTRIBUTED: UNATTRIBUTED_IDENTITY,
}
TRAFFIC: Final[FlowTraffic] = {
    CURL: {remote(): Traffic(500_000, 1000), remote("2001:db8::1"): Traffic(1, 1)},
    NAMED: {remote("192.0.2.53", 53, UDP): Traffic(2000, 300)},
    KWORKER: {remote("192.0.2.9", 2049): Traffic(90, 9)},
    UNATTRIBUTED: {remote("*", 0): Traffic(5, 5)},
}


def busy(columns: int = 80, rows: int = 24) -> Harness:
    harness = Harness(columns, rows)
    harness.feed(TRAFFIC, IDENTITIES)
    return harness


def bottom(harness: Harness) -> str:
    return harness.lines()[-1].rstrip()


def click_on(harness: Harness, text: str) -> None:
    """Click the last place of a text."""
    row = max(n for n, line in enumerate(harness.lines()) if text in line)
    harness.now += 1
    harness.click(harness.lines()[row].rindex(text) + 1, row)


# Sorting.


@pytest.mark.parametrize("index", range(len(PROCESS_COLUMNS)), ids=lambda n: PROCESS_COLUMNS[n].id)
def test_the_chooser_sorts_by_every_column(index: int) -> None:
    harness = busy(100)
    column = PROCESS_COLUMNS[index]
    harness.press("s", "home", *["down"] * index, "enter")
    assert f"sort {column.id}{'▼' if column.descending else '▲'}" in harness.text()
    tops = [row for row in harness.state.tree.tops if column.get(row) is not None]
    values = [column.get(row) for row in tops]
    assert values == sorted(values, reverse=column.descending)  # type: ignore[type-var]


@pytest.mark.parametrize("leaving", ["esc", "q"])
def test_chooser_can_be_cancelled(leaving: str) -> None:
    """Also after the wheel has moved the mark."""
    harness = busy()
    harness.press("s", "home")
    assert harness.state.chooser
    for button, index in ((5, 3), (4, 0)):
        harness.click(0, 10, button)
        assert harness.state.chooser.index == index
    harness.press(leaving)
    assert "sort rate▼" in harness.text()
    assert "Sort by" not in harness.text()


@pytest.mark.parametrize("size", [(40, 10), (80, 24), (132, 43)], ids=str)
def test_a_click_takes_a_choice(size: tuple[int, int]) -> None:
    harness = busy(*size)
    harness.press("s", "home")
    click_on(harness, "name       process")
    assert harness.state.settings.order.column == "name"
    assert harness.state.context is Context.LIST


# Filtering.


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        ("", "curl named kworker (unatt"),
        ("CUR", "curl"),
        ("-curl", "named kworker (unatt"),
        ("user:a*,root", "curl kworker"),
        ("port:50-500", "curl named"),
        ("proto:tcp -port:443", "kworker (unatt"),
        ("remote:192.0.2.0/24", "curl named kworker"),
        ("user:ada port:53", ""),
    ],
)
def test_the_filter_works_as_it_is_typed(text: str, listed: str) -> None:
    harness = busy()
    harness.press("/", *text)
    assert f"/{text}" in bottom(harness)
    found = {word for word in ("curl", "named", "kworker", "(unatt") if shown(harness, word)}
    assert found == set(listed.split())
    harness.press("enter")
    assert harness.state.context is Context.LIST
    assert found == {
        word for word in ("curl", "named", "kworker", "(unatt") if shown(harness, word)
    }


def shown(harness: Harness, word: str) -> bool:
    top = harness.row_of("PROCESS")
    return any(word in line for line in harness.lines()[top + 1 : -1])


def test_a_filter_leaves_only_the_flows_that_pass_and_their_numbers() -> None:
    harness = busy()
    harness.press("/", *"remote:2001:db8::1", "enter", "enter")
    assert "[2001:db8::1]:443" in harness.text()
    assert "192.0.2.1" not in harness.text()
    assert harness.line(" curl ").split()[-4:] == ["1", "B", "1", "B"]


def test_esc_clears_the_filter_while_it_is_typed_and_after() -> None:
    for names in (["esc"], ["enter", "esc"]):
        harness = busy()
        harness.press("/", *"named")
        assert not shown(harness, "curl")
        harness.press(*names)
        assert shown(harness, "curl")
        assert "filter named" not in harness.text()


def test_a_filter_can_be_edited_again() -> None:
    harness = busy()
    harness.press("/", *"named", "enter", "/", *["backspace"] * 6, *"curx", "backspace", "l")
    assert bottom(harness) == "/curl"
    assert shown(harness, "curl")
    harness.press("home", "-", "end", "enter")
    assert harness.state.settings.filter == "-curl"


@pytest.mark.parametrize("mistake", ["foo:x", "port:http", "pid:-1", "proto:http", "role:x"])
@pytest.mark.parametrize("rows", [10, 24])
def test_filter_error_is_shown_and_the_last_valid_filter_stays(mistake: str, rows: int) -> None:
    """It has no effect when it is kept with Enter, either."""
    harness = busy(120, rows)
    harness.press("/", *"named ", *mistake)
    assert any(text.strip() for text in harness.styled(Style.ERROR))
    assert harness.state.filter_error[:50] in harness.text()
    harness.press("enter")
    assert not shown(harness, "curl")
    assert shown(harness, "named")
    assert mistake not in harness.text() or harness.styled(Style.ERROR)


@pytest.mark.parametrize("text", ["x" * 100, "漢字" * 40, "e\u0301" * 90])
def test_the_end_of_a_long_filter_and_its_cursor_are_in_sight(text: str) -> None:
    harness = busy(40)
    harness.press("/", *text, "!")
    assert bottom(harness).endswith("!")
    canvas = harness.screen.render(harness.size, focus=True)
    assert canvas.cursor == (39, 23)
    harness.check()


def test_letters_are_text_while_a_filter_is_typed() -> None:
    harness = busy(200)
    letters = sorted(
        {name for k in keys.DEFAULT.of(Context.LIST) for name in k.keys if len(name) == 1}
    )
    harness.press("/", *letters)
    assert harness.state.settings.filter == "".join(letters)


def test_list_scrolls_while_a_filter_is_typed() -> None:
    harness = busy()
    harness.press("/", "e", "down")
    assert "kworker" in harness.selected() or "named" in harness.selected()
    assert bottom(harness) == "/e  exe: part of the path of the program"


# Details.


def test_details_show_all_facts_of_a_process() -> None:
    harness = busy(100, 43)
    harness.press("i")
    text = harness.text()
    started = datetime.astimezone(NOW).strftime("%Y-%m-%d %H:%M:%S")
    for words in ("/usr/bin/curl", "ada (uid 1000)", "a.scope", started, "remotes   2"):
        assert words in text
    assert COMMAND in "".join(line.strip() for line in text.splitlines()).replace(" " * 11, "")
    assert "peak 488.3 KiB/s" in text
    harness.press("down")
    assert "named.service" in harness.text().partition("program")[2]
    harness.press("i", "i")
    assert "program" not in harness.text()
    harness.press("g", "i")
    assert "No process is selected" in harness.text()
    harness.press("enter", "right", "right")
    assert "program" in harness.text(), "that of the group"
    harness = busy()
    harness.press("/", *"named", "enter", "i", "esc")
    assert not harness.state.details, "they close before the filter is cleared"
    assert not shown(harness, "curl")
    harness.press("esc")
    assert shown(harness, "curl")


def test_names_of_a_remote_are_in_its_row_and_details() -> None:
    curl, far = key(1), remote("192.0.2.1", 443)
    harness = Harness(100, 43)
    reading = sample({curl: {far: Traffic(9)}}, identities={curl: Identity("curl")})
    sources = [
        ("one.test", NameSource.DNS),
        ("old.test", NameSource.SNI),
        ("new.test", NameSource.SNI),
    ]
    reading.learned = [
        Learned(
            curl, far.address, far.port if source is NameSource.SNI else None, name, source, 3600
        )
        for name, source in sources
    ]
    harness.state.advance(reading)
    harness.press("right", "down", "i")
    assert "to new.test:443 +1 tcp" in harness.text()
    assert "to 192.0.2.1:443 tcp" in harness.text()
    assert "new.test (TLS), old.test (TLS), one.test (DNS)" in harness.text()
    harness.press("n")
    assert "new.test" not in harness.text()


@pytest.mark.parametrize("pause", [0.1, 0.3])
def test_double_enter_opens_the_details_and_keeps_the_expansion(pause: float) -> None:
    harness = busy()
    before = harness.text()
    harness.press("enter")
    harness.now += pause - 0.5
    harness.press("enter")
    assert "program   /usr/bin/curl" in harness.text()
    assert "to 192.0.2.1" not in harness.text()
    assert "192.0.2.1, internet" in harness.text()
    harness.press("esc")
    assert harness.text().splitlines()[5:] == before.splitlines()[5:]
    for name in ("enter", "end", "enter"):  # on two rows it is no double one
        harness.press(name)
        harness.now -= 0.4
    assert not harness.state.details


def test_clicks_on_details_that_hide_the_list_do_nothing() -> None:
    harness = busy(40, 10)
    harness.press("down")
    harness.check()
    harness.press("i")
    harness.check()
    row, expanded = harness.state.listing.selected, list(harness.state.expansion.exceptions)
    for line in range(1, 9):
        harness.click(5, line)
        harness.click(5, line)
    assert harness.state.listing.selected == row
    assert list(harness.state.expansion.exceptions) == expanded


# Signals.


def started(pid: int) -> int:
    """Return ticks since boot, field 22 of stat in proc(5)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def watched(child: subprocess.Popen[bytes], ticks: int = 0) -> Harness:
    """Return a screen with a child, with its start shifted by some ticks."""
    process = ProcessKey((started(child.pid) + ticks) * 10_000_000 + 4_999_999, child.pid)
    harness = Harness(100, 24)
    harness.feed({process: {remote(): Traffic(1)}}, {process: Identity("child", os.getuid())})
    return harness


def test_details_of_a_program_that_exec_replaced_keep_its_own_command_line(
    child: subprocess.Popen[bytes],
) -> None:
    """The pid and the start are still those of a process, which has another one now."""
    harness = watched(child)
    harness.press("i")
    assert "time.sleep(600)" in harness.text()
    (process,) = harness.state.model.ledger.processes
    harness.feed(exited=[process])
    assert "time.sleep(600)" not in harness.text()


def test_command_line_of_megabytes_is_cut() -> None:
    """The kernel keeps as much; the screen has to draw it with each key."""
    command = [sys.executable, "-c", "import time; time.sleep(600)", *["x" * 100_000] * 15]
    with subprocess.Popen(command) as child:
        process = ProcessKey(started(child.pid) * 10_000_000, child.pid)
        until(Path(f"/proc/{child.pid}/cmdline").read_bytes, "exec() has not ended")
        whole = procfs.command_line(process)
        child.kill()
    assert whole
    assert whole.endswith("x…")
    assert len(whole) == procfs.LONGEST + 1


@pytest.mark.parametrize("text", ["x" * 100_000, "\u4e2d" * 100_000])
def test_fact_has_no_more_than_its_lines(text: str) -> None:
    lines = panels.fact("command", text, 40, most=3)
    assert ["".join(part for _, part in line).rstrip() for line in lines] == [
        f" {head:<10}{text[: 29 // width(text[0])]}" for head in ("command", "", "")
    ]


@pytest.mark.parametrize(("moves", "number"), [((), "SIGTERM"), (("down",), "SIGINT")])
def test_a_confirmed_signal_arrives(
    child: subprocess.Popen[bytes], moves: tuple[str, ...], number: str
) -> None:
    harness = watched(child)
    harness.press("K")
    assert f"Signal for child ({child.pid})" in harness.text()
    assert any("SIGTERM" in text for text in harness.styled(Style.SELECTED))
    harness.press(*moves, "enter")
    assert f"Send {number} to child ({child.pid})?" in bottom(harness)
    harness.now += 60
    assert child.poll() is None
    harness.press("y")
    assert f"{number} sent to child ({child.pid})" in bottom(harness)
    assert child.wait(30) in (-signal.Signals[number], 1)


@pytest.mark.parametrize("ticks", [-1, 1, -1000])
def test_another_process_with_the_same_pid_gets_no_signal(
    child: subprocess.Popen[bytes], ticks: int
) -> None:
    harness = watched(child, ticks)
    harness.press("K", "enter", "y")
    assert "its pid was reused" in bottom(harness)
    assert harness.styled(Style.ERROR)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.2)


def test_signal_error_is_shown_until_it_expires(child: subprocess.Popen[bytes]) -> None:
    harness = watched(child)
    child.kill()
    child.wait()
    harness.press("K", "enter", "y")
    assert "SIGTERM to child" in bottom(harness)
    assert "No such process" in bottom(harness)
    harness.pass_time(MESSAGE_SECONDS + 0.1)
    assert bottom(harness).startswith("h help")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Collect signals instead of sending them."""
    found: list[object] = []
    monkeypatch.setattr(dialogs, "send", lambda *what: found.append(what))
    return found


@pytest.mark.parametrize("name", ["n", "esc", "q", "x", "enter", " "])
def test_only_yes_confirms(sent: list[object], name: str) -> None:
    harness = busy()
    harness.press("K", "enter", name)
    assert (harness.state.context is Context.LIST) == (name in ("n", "esc", "q"))
    harness.press("n", "n")
    assert not sent


@ALL_SIZES
def test_a_question_says_how_to_answer(size: tuple[int, int]) -> None:
    harness = busy(*size)
    harness.feed(TRAFFIC, IDENTITIES | {CURL: Identity("fifteen-letters", 1)})
    harness.press("K", "enter")
    assert "SIGTERM" in bottom(harness)
    assert f"({PID})?" in bottom(harness)
    assert "fifteen-letters" in bottom(harness) or size[0] == 40
    assert "y yes" in bottom(harness)
    assert "n no" in bottom(harness)


def test_only_a_click_on_yes_confirms(sent: list[object]) -> None:
    harness = busy(100)
    harness.press("K", "enter")
    click_on(harness, "n no")
    assert "Send" not in harness.text()
    harness.press("K", "enter")
    for cell in range(bottom(harness).index("y yes")):
        harness.click(cell, 23)
        assert not sent
    assert "Send SIGTERM" in bottom(harness)
    click_on(harness, "y yes")
    assert len(sent) == 1


def test_question_keeps_its_process(sent: list[object]) -> None:
    """The list goes on during a question, and another process may become the first."""
    harness = busy()
    harness.press("K", "enter")
    harness.feed({NAMED: {remote(): Traffic(10**9)}}, exited=[CURL])
    harness.pass_time()
    assert f"Send SIGTERM to curl ({PID})?" in bottom(harness)
    assert " named " in harness.selected()
    harness.press("y")
    assert sent == [(CURL, signal.SIGTERM)]
    assert f"SIGTERM sent to curl ({PID})" in bottom(harness)


@pytest.mark.parametrize(
    ("moves", "answer"),
    [
        (("g",), "select a process"),
        (("down", "down"), "kworker/0:1 cannot receive signals"),
        (("end",), "(unattributed) cannot receive signals"),
        (("t", "u"), "select a process"),
    ],
)
def test_rows_without_signals_get_a_message(moves: tuple[str, ...], answer: str) -> None:
    harness = busy()
    harness.press(*moves, "K")
    assert answer in bottom(harness)
    assert harness.state.context is Context.LIST


def test_exited_process_gets_no_signal_chooser() -> None:
    harness = busy()
    harness.feed(exited=[CURL])
    harness.press("/", *"curl", "enter", "K")
    assert "curl has exited" in bottom(harness)


def test_signal_on_a_remote_goes_to_its_process() -> None:
    harness = busy()
    harness.press("right", "right", "K")
    assert f"Signal for curl ({PID})" in harness.text()


# Help, and quitting.


@ALL_SIZES
def test_help_opens_and_closes(size: tuple[int, int]) -> None:
    harness = busy(*size)
    before = harness.below()
    for name in ("h", "?", "f1"):
        harness.press(name)
        assert "bwtop: which process" in harness.text()
        assert "Esc back" in bottom(harness)
        harness.press(name)
        assert harness.below() == before


@pytest.mark.parametrize("size", [(40, 10), (80, 24), (200, 60)], ids=str)
def test_all_of_the_help_can_be_read(size: tuple[int, int]) -> None:
    harness = busy(*size)
    harness.press("h")
    pages = [harness.below()]
    while not pages[1:] or pages[-1] != pages[-2]:
        harness.press("page down")
        pages.append(harness.below())
    assert "backend tracepoint" in pages[-1]
    assert ("Mouse" in pages[0]) == (size[0] == 200)
    for title in ("Keys", "Mouse", "Columns", "Filter:", "Here"):
        assert any(f" {title}" in page for page in pages)
    harness.press("up")
    assert harness.below() != pages[-1]
    harness.press("end")
    assert harness.below() == pages[-1]
    harness.press("home")
    assert harness.below() == pages[0]
    harness.press("down", "j", "k")
    assert harness.below() != pages[0]
    harness.press("up", "page up")
    assert harness.below() == pages[0]


def test_help_pages_skip_no_line() -> None:
    harness = busy(80, 24)
    harness.size = (80, 300)
    harness.press("h")
    everything = [line for line in harness.lines() if line.strip()]
    harness.size = (80, 24)
    seen = set(harness.lines())
    for _ in range(20):
        harness.press("page down")
        seen |= set(harness.lines())
    body = everything[[" bwtop: which" in line for line in everything].index(True) : -1]
    assert not [line for line in body if line not in seen]


def test_q_quits_from_the_list_only() -> None:
    harness = busy()
    for opening in ("s", "h", "K"):
        harness.press(opening, "q")
        assert harness.state.context is Context.LIST
    harness.press("/", "q")
    assert bottom(harness) == "/q"
    harness.press("esc")
    with pytest.raises(Left):
        harness.press("q")
    harness.press("ctrl l")
    assert harness.repainted == 1


# The footer.


@pytest.mark.parametrize(
    "hinted", [k for k in keys.DEFAULT.of(Context.LIST) if k.hint], ids=lambda k: k.hint
)
def test_click_on_a_hint_presses_its_key(hinted: Key) -> None:
    harness, pressed = busy(300), busy(300)
    if hinted.command is commands.leave:
        with pytest.raises(Left):
            click_on(harness, "q quit")
        return
    click_on(harness, f"{spelled(hinted.keys[0])} {hinted.hint} ")
    pressed.now += 0.5
    pressed.press(hinted.keys[0])
    assert harness.below() == pressed.below()
    assert harness.state.context is pressed.state.context


@pytest.mark.parametrize(
    ("pressed", "context", "shown"),
    [
        (("end", "K"), Context.LIST, "(unattributed) cannot receive signals"),
        (("/", *"named"), Context.FILTER, "/named"),
    ],
)
def test_message_and_filter_input_hide_the_hints(
    pressed: tuple[str, ...], context: Context, shown: str
) -> None:
    """A click on an absent hint must not quit bwtop."""
    harness = busy(100)
    harness.press(*pressed)
    for cell in range(100):
        harness.click(cell, 23)
    assert harness.state.context is context
    assert bottom(harness) == shown
