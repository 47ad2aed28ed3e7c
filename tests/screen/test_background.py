"""The terminal's answer about its background, cut out of the keys."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwtop.tui.background import PATIENCE, AnswerFilter, may_ask

WHITE = "\x1b]11;rgb:ffff/ffff/ffff\x07"


class Asked:
    """A background that was asked for, with a clock that only tests move."""

    def __init__(self) -> None:
        self.now = 100.0
        self.found: list[bool] = []
        self._background = AnswerFilter(self._take, lambda: self.now)
        self._background.asked()

    def _take(self, *, is_light: bool) -> None:
        self.found.append(is_light)

    def read(self, *texts: str) -> str:
        """Return what is left of some reads."""
        return "".join("".join(map(chr, self._background.cut(list(map(ord, t))))) for t in texts)


@pytest.mark.parametrize(
    ("color", "is_light"),
    [
        ("rgb:ffff/ffff/ffff", True),
        ("rgb:f/f/f", True),
        ("rgb:fd/f6/e3", True),
        ("rgba:ffff/ffff/ffff/8000", True),
        ("rgb:0/0/0", False),
        ("rgb:1e1e/1e1e/2e2e", False),
        ("rgb:00/2b/36", False),
        ("rgb:0000/0000/ffff", False),
        ("rgb:00/ff/00", True),
    ],
)
@pytest.mark.parametrize("end", ["\x07", "\x1b\\"])
def test_answer_says_how_light(color: str, is_light: bool, end: str) -> None:
    asked = Asked()
    assert asked.read(f"a\x1b]11;{color}{end}b") == "ab"
    assert asked.found == [is_light]


@given(st.lists(st.integers(1, len(WHITE) - 1), max_size=4))
def test_answer_may_come_in_pieces(places: Iterable[int]) -> None:
    """A first piece of one or two characters is a key, Esc or Alt-]."""
    cuts = [0, *sorted({place for place in places if place > 2}), len(WHITE)]
    asked = Asked()
    pieces = [WHITE[start:end] for start, end in pairwise(cuts)]
    assert asked.read(*pieces, "j") == "j"
    assert asked.found == [True]


@pytest.mark.parametrize(
    "text", ["\x1b", "\x1b]", "\x1b]x", "\x1b]11;no color\x07" + "x" * 40, "\x1b[A", "]11;", ""]
)
def test_keys_stay_keys(text: str) -> None:
    asked = Asked()
    assert asked.read(text, "j") == f"{text}j"
    assert asked.found == []


def test_answer_without_a_question_is_left_alone() -> None:
    asked = Asked()
    asked.now += PATIENCE
    assert asked.read(WHITE) == WHITE
    asked = Asked()
    assert asked.read(WHITE) == asked.read(WHITE) == ""  # one question, two answers
    asked.now += PATIENCE
    assert asked.read(WHITE) == WHITE
    assert asked.found == [True, True]


@pytest.mark.parametrize(
    ("kind", "may"),
    [("xterm-256color", True), ("tmux-256color", True), ("linux", False), ("vt100", False)],
)
def test_terminals_that_would_show_the_question_are_not_asked(kind: str, may: bool) -> None:
    assert may_ask({"TERM": kind}) is may
    assert not may_ask({})
