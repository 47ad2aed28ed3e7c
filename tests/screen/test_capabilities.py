"""The whole program in terminals of every kind, without probes: sizes, colours, symbols, buffers, signals."""

import os
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyte
import pytest
import urwid

from bwtop.tui.background import QUESTION
from bwtop.tui.styles import DARK, LIGHT, PLAIN, THEMES, Style
from tests.screen.fake import fake
from tests.screen.terminal import Screen, Terminal

pytestmark = pytest.mark.screen


@contextmanager
def shown(*command: str, **options: object) -> Iterator[Terminal]:
    """Run the program in a terminal until a test is done, and quit; by default its background is dark."""
    options = {"background": "rgb:1616/1818/1d1d", **options}
    with Terminal([*command] or fake(), **options) as terminal:  # type: ignore[arg-type]  # each its own
        terminal.wait_for(lambda seen: "mover" in seen and "backend none" in seen)
        yield terminal
        terminal.type("q")
        assert terminal.wait() == 0


def drawn(raw: bytes, known: Sequence[int]) -> str:
    """Return the words that output leaves on a terminal that knows these modes of the second buffer."""
    screen = Screen(80, 24, known)
    pyte.ByteStream(screen).feed(raw)
    return " ".join(" ".join(screen.display).split())


def test_text_from_before_is_back_whichever_modes_the_terminal_knows() -> None:
    """urwid 2.1 asks for mode 47 alone: what it drew stayed on a terminal that knows only 1049."""
    before = ["sh", "-c", 'echo "text from before"; exec "$@"', "sh"]
    with shown(*before, *fake()) as terminal:
        assert terminal.alternate
        during = terminal.raw
    for known in ((1049,), (47, 1049), (47, 1047, 1049)):
        assert "backend none" in drawn(during, known)
        assert "text from before" not in drawn(during, known)
        assert drawn(terminal.raw, known) == "text from before"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT])
def test_fatal_signals_restore_the_terminal(number: signal.Signals) -> None:
    with Terminal(fake()) as terminal:
        before = terminal.settings()
        terminal.wait_for("backend none")
        os.kill(terminal.pid, number)
        assert terminal.wait() == 0
        assert terminal.settings() == before
        assert terminal.modes == (False, False, False, True)
        assert terminal.text() == ""


def test_terminal_without_a_size_is_taken_for_80_by_24() -> None:
    """It has none from the start, or loses it."""
    stty = ["sh", "-c", 'stty cols 0 rows 0 && exec "$@"', "sh"]
    with shown(*stty, *fake()) as terminal:
        for size in ((0, 0), (0, 24), (80, 0)):
            terminal.wait_for(lambda _: "h help" in terminal.lines()[23])
            terminal.resize(80, 20)  # the emulator drops rows at the top, until bwtop draws them
            terminal.wait_for(
                lambda _: "bwtop" in terminal.lines()[0] and "h help" in terminal.lines()[19]
            )
            terminal.screen.resize(lines=24, columns=80)
            terminal.announce(*size)
        terminal.wait_for(lambda _: "h help" in terminal.lines()[23])


def test_c_locale_gets_ascii() -> None:
    with shown(env={"LANG": "C"}) as terminal:
        assert "RX/s" in terminal.text()
        assert terminal.raw.isascii()


def colours(raw: bytes) -> set[bytes]:
    """Return the set colours: SGR parameters of ECMA-48 that are not plain."""
    found = {part for run in re.findall(rb"\x1b\[([0-9;]*)m", raw) for part in run.split(b";")}
    return {part for part in found if re.fullmatch(rb"3[0-8]|4[0-8]|9[0-7]|10[0-7]", part)}


SIXTEEN = {b"32", b"92"}
"""Two of the 16 colours; b"38" begins one of 256."""


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_colours_can_be_turned_off(env: dict[str, str]) -> None:
    with shown(env=env) as terminal:
        terminal.type("jh")
        terminal.wait_for("Keys")
        assert colours(terminal.raw) == set()
        terminal.type("h")


def test_terminal_of_few_colours_gets_those() -> None:
    with shown(env={"TERM": "xterm"}) as terminal:
        assert b"38" not in colours(terminal.raw)
        assert colours(terminal.raw) & SIXTEEN


def sets(theme: str, raw: bytes) -> bool:
    """Return True if the colour of what is received is that of a theme, of 256 colours."""
    look = THEMES[theme][Style.RX]
    number = urwid.AttrSpec(look.high, look.background, 256).foreground_number
    return re.search(rb"38;5;%d[;m]" % number, raw) is not None


@pytest.mark.parametrize(
    ("background", "flags", "theme"),
    [
        ("rgb:ffff/ffff/dddd", (), LIGHT),
        ("rgb:0000/2b2b/3636", (), DARK),
        (None, (), PLAIN),
        ("rgb:ffff/ffff/ffff", ("--theme", DARK), DARK),
    ],
)
def test_theme_is_that_of_the_background(
    background: str | None, flags: Sequence[str], theme: str
) -> None:
    """The terminal is asked unless a theme was chosen; the answer is no key, and leaves nothing behind."""
    with shown(*fake(*flags), background=background) as terminal:
        terminal.wait_for(lambda _: sets(theme, terminal.raw))
        assert (QUESTION.encode() in terminal.raw) == (not flags)
        assert "]11" not in terminal.wait_for("mover")
        others = [other for other in THEMES if other not in (theme, PLAIN)]
        assert not any(sets(other, terminal.raw) for other in others)
        assert not colours(terminal.raw) & SIXTEEN


def test_console_has_no_question_and_no_eighths_of_blocks() -> None:
    with shown(env={"TERM": "linux"}) as terminal:
        terminal.watch(1)
        assert QUESTION.encode() not in terminal.raw
        drawn = terminal.raw.decode()
        assert "↓" in drawn
        assert not set(drawn) & set("▁▂▃▄▅▆▇▸▾▲▼…")
        assert b"38" not in colours(terminal.raw)
        assert colours(terminal.raw) & SIXTEEN
