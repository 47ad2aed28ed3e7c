"""Pasted text, without a terminal: it runs no command, and is one insertion into the filter."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, Final

import pytest
import urwid
from hypothesis import example, given
from hypothesis import strategies as st

from bwtop.model.flows import Identity, Traffic
from bwtop.tui.dialogs import GUARD
from bwtop.tui.entry import MOST
from bwtop.tui.input import PAUSE
from bwtop.tui.keymap import Context
from bwtop.tui.keys import DEFAULT
from bwtop.tui.paste import BEGIN, BURST, END, END_KEY, KEPT, PATIENCE, Brackets, Event, Paste
from bwtop.tui.state import ScreenState
from bwtop.tui.styles import Style
from bwtop.tui.terminal import Terminal
from tests.build import key, remote
from tests.screen.harness import Harness

PID: Final = 1 << 23
"""Beyond the kernel's largest pid, so that no signal can ever arrive."""

TEXT: Final = "Kill it\nyes it is\nquit, yes\n"
"""As commands: open the signals, choose one, confirm it, quit."""

TYPED: Final = [{"\n": "enter"}.get(character, character) for character in TEXT]

IGNORED: Final = "pasted text ignored; press / to filter"

OPENED: Final = {
    "list": (),
    "details": ("i",),
    "sort chooser": ("s",),
    "signals": ("K",),
    "question": ("K", "enter"),
    "help": ("h",),
}


def busy(*keys: str) -> Harness:
    harness = Harness()
    curl = key(PID)
    harness.feed({curl: {remote(): Traffic(9, 9)}}, {curl: Identity("curl")})
    harness.press(*keys)
    return harness


@contextmanager
def builds(state: ScreenState) -> Iterator[list[str]]:
    """Collect the filters that rows are made for."""
    found: list[str] = []
    build = state.build

    def counted(**options: Any) -> None:
        found.append(state.settings.filter)
        build(**options)

    state.build = counted  # type: ignore[method-assign]  # it is the real one that works
    yield found
    state.build = build  # type: ignore[method-assign]


# Pastes outside the filter.


@pytest.mark.parametrize("events", [[Paste(TEXT)], TYPED], ids=["bracketed", "burst"])
@pytest.mark.parametrize("keys", OPENED.values(), ids=OPENED)
def test_paste_runs_no_command(keys: tuple[str, ...], events: list[Event]) -> None:
    harness = busy(*keys)
    harness.now += 1
    before, context = harness.below(), harness.state.context
    harness.read(*events)
    message = harness.state.message
    assert message
    assert message[0] == IGNORED
    harness.state.say("")
    assert harness.state.context is context
    assert harness.below().split("\n")[:-1] == before.split("\n")[:-1]


def test_message_names_the_key_of_the_filter() -> None:
    harness = Harness(keymap=DEFAULT.bound(Context.LIST, {"edit-filter": ["f3"]}))
    harness.read(Paste("x"))
    assert "press F3 to filter" in harness.lines()[-1]
    harness = Harness(keymap=DEFAULT.bound(Context.LIST, {"edit-filter": []}))
    harness.read(Paste("x"))
    assert harness.lines()[-1].rstrip() == "pasted text ignored"


def test_keys_beside_a_paste_in_one_read_count() -> None:
    """Few keys in one read are typed, too."""
    harness = busy()
    harness.read("i", Paste(TEXT), "r")
    assert harness.state.details
    assert harness.state.settings.order.reverse
    harness = busy()
    harness.read(*"turbanl")
    assert harness.state.message is None
    assert harness.state.settings.bits
    assert harness.input.take(harness.size, ["K", "enter", "window resize"]) == ["window resize"]


def test_key_that_repeats_is_no_burst() -> None:
    harness = Harness()
    processes = {key(PID + n): Identity(f"p{n:02}") for n in range(40)}
    harness.feed({of: {remote(): Traffic(1, 1)} for of in processes}, processes)
    harness.read(*"j" * 20)
    assert harness.state.listing.path == (20,)
    harness.read(*["up", "down"] * BURST)
    assert harness.state.listing.path == (20,)
    assert harness.state.message is None


def test_burst_goes_on_until_keys_pause() -> None:
    harness = busy()
    harness.read(*TYPED)
    for _ in range(3):
        harness.now += PAUSE * 0.9
        harness.read(*"qu")
    harness.read("down")  # not a character, so not part of the paste
    harness.now += PAUSE * 1.1
    harness.press("i")
    assert harness.state.details


# Questions.


@pytest.mark.parametrize("number", [1, 2])
def test_keys_typed_ahead_of_a_choice_or_question_are_dropped(number: int) -> None:
    harness = busy()
    opening = ["K", "enter"][:number]
    harness.press(*opening[:-1])
    harness.now += 1
    harness.read(opening[-1], "enter", "y", "window resize")
    assert harness.state.context is (Context.CHOOSER, Context.CONFIRM)[number - 1]


def test_question_ignores_an_early_yes_but_no_early_no() -> None:
    harness = busy("K", "enter")
    harness.read("n")
    assert harness.state.context is Context.LIST
    harness.press("K", "enter")
    question = harness.lines()[-1]
    harness.now += GUARD * 0.9
    harness.read("y")
    assert harness.lines()[-1] == question
    harness.now += GUARD * 0.2
    harness.read("y")
    assert "SIGTERM to curl" in harness.lines()[-1]


# Pastes into the filter.


def test_paste_into_the_filter_is_one_line_and_one_build() -> None:
    """It goes where the cursor is."""
    harness = busy("/")
    with builds(harness.state) as made:
        harness.read(Paste("curl\r\n\t-user:\x1b\x9bzoë\u2028ß"))
    assert made == ["curl -user: zoë ß"]
    assert harness.line("/curl -user: zoë ß")
    assert harness.state.context is Context.FILTER
    harness.press("left")
    harness.read(Paste("xy"))
    assert harness.state.settings.filter == "curl -user: zoë xyß"


@pytest.mark.parametrize(
    ("opened", "typed"), [((), "/process:curl"), (("/",), "process:curl"), ((), "/zzz")]
)
def test_filter_typed_ahead_is_one_build(opened: tuple[str, ...], typed: str) -> None:
    harness = busy(*opened)
    with builds(harness.state) as made:
        harness.read(*typed, "enter")
    assert made == [typed.removeprefix("/")]
    assert harness.state.context is Context.LIST
    harness.read("i")
    assert harness.state.details


def test_enter_within_a_burst_does_not_leave_the_filter() -> None:
    harness = busy("/")
    harness.read(*"process:curl", "enter", "q")
    assert harness.line("/process:curl q")
    assert harness.state.context is Context.FILTER


@pytest.mark.parametrize("columns", [10, 40, 80])
@pytest.mark.parametrize("held", [False, True], ids=["pasted", "key held"])
def test_long_filter_is_cut_with_a_message(columns: int, held: bool) -> None:
    harness = Harness(columns, 24)
    harness.press("/")
    harness.read(*("ab" * 5000 if held else [Paste("ab" * 50_000)]))
    assert len(harness.state.settings.filter) == MOST
    assert harness.state.message == (f"filter cut at {MOST} characters", Style.WARNING)
    if columns > 50:
        assert f"filter cut at {MOST} characters" in harness.lines()[-1]
    harness.check()
    harness.press("backspace", "x")
    assert harness.state.settings.filter.endswith("ax")


def test_longer_filter_of_the_command_line_stays_whole() -> None:
    """As of `bwtop --pid $(pgrep -d, chrome)`: a pid cut in the middle would be another one."""
    harness = Harness()
    pids = "pid:" + ",".join(str(pid) for pid in range(10_000, 10_200))
    harness.state.filter(pids)
    harness.press("/", "enter", "/", "up", "down")
    assert harness.state.settings.filter == pids
    harness.press("x")
    assert harness.state.message == (f"filter cut at {len(pids) + 1} characters", Style.WARNING)
    harness.press("ctrl w", "ctrl y")
    assert harness.state.settings.filter == pids
    harness.check()


# The terminal's bytes.


def events(brackets: Brackets, reads: list[bytes]) -> list[Event]:
    """Return keys and pastes, decoded as urwid's screen does it."""
    urwid.set_encoding("utf-8")
    screen = Terminal()
    found: list[Event] = []
    for read in reads:
        codes = [*(screen._partial_codes or ()), *read]
        screen._partial_codes = None
        keys, _ = screen.parse_input(None, None, brackets.cut(codes))
        found += brackets.put_back(keys)
    return found


STREAM: Final = "a\x1b[A" + BEGIN + "zoë\x1b[Mq\n" + END + "b" + END + "c" + BEGIN + END + "ü"
FOUND: Final = ["a", "up", Paste("zoë\x1b[Mq\n"), "b", "c", Paste(""), "ü"]


@given(st.sets(st.integers(1, len(STREAM.encode()) - 1)))
@example(set(range(1, len(STREAM.encode()))))
def test_paste_is_found_wherever_reads_cut_it(places: set[int]) -> None:
    stream, cuts = STREAM.encode(), [0, *sorted(places), None]
    reads = [stream[begin:end] for begin, end in pairwise(cuts)]
    assert events(Brackets(), reads) == FOUND


def test_escape_before_brackets_does_not_hide_them() -> None:
    """urwid decodes that as "meta end paste"."""
    stream = "\x1b" + BEGIN + "q\x1b" + END + "i"
    assert events(Brackets(), [stream.encode()])[-2:] == [Paste("q\x1b"), "i"]


def test_invalid_utf_8_is_replaced() -> None:
    assert events(Brackets(), [b"\x1b[200~a\xffb\xc3\x1b[201~"]) == [Paste("a\ufffdb\ufffd")]


def test_large_paste_is_not_kept_whole() -> None:
    found = events(Brackets(), [BEGIN.encode(), *[b"x" * 10_000] * 100, END.encode(), b"i"])
    (paste, after) = found
    assert isinstance(paste, Paste)
    assert len(paste.text) == KEPT + len(END) - 1
    assert after == "i"


@pytest.mark.parametrize("cut", range(1, len(END)))
def test_end_of_a_large_paste_is_found_where_it_is_cut(cut: int) -> None:
    text, end = b"x" * 2 * KEPT, END.encode()
    found = events(Brackets(), [BEGIN.encode() + text + end[:cut], end[cut:] + b"i"])
    assert found[1:] == ["i"]


def unfinished() -> Brackets:
    """Return a paste without an end, after its time is up."""
    now = [1000.0]
    brackets = Brackets(lambda: now[0])
    for piece in (BEGIN, "a", "b"):
        assert events(brackets, [piece.encode()]) == []
        now[0] += PATIENCE * 0.9
    assert not brackets.give_up()
    now[0] += PATIENCE * 0.2
    return brackets


def test_paste_without_an_end_is_over_with_the_next_key_or_without() -> None:
    assert events(unfinished(), [b"", b"i"]) == [Paste("ab"), "i"]
    brackets = unfinished()
    assert brackets.give_up()
    assert brackets.put_back([END_KEY]) == [Paste("ab")]


def test_end_without_a_paste_is_ignored() -> None:
    assert events(Brackets(), [END.encode() + b"i"]) == ["i"]
    assert Brackets().put_back([END_KEY, "i"]) == ["i"]
    assert not Brackets().give_up()
