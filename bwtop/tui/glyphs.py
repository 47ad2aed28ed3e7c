"""The symbols of the screen: a Unicode set and an ASCII set."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import urwid

from bwtop.text.escape import printable, width


@dataclass(frozen=True)
class Glyphs:
    """One set of symbols; each is one cell wide, except for words."""

    down: str
    up: str
    collapsed: str
    expanded: str
    ascending: str
    descending: str
    times: str
    exited: str
    """The mark of an exited process."""
    scroll: str
    dots: str
    bars: str
    """From empty to full."""
    unicode: bool

    def text(self, text: str) -> str:
        """Return untrusted text such that the terminal, urwid and bwtop agree about its width."""
        return _drawable(text, unicode=self.unicode)

    def graph(self, values: Sequence[float | None], most: float, height: int = 1) -> list[str]:
        """Return a graph, one string per row of cells, the highest first; unmeasured intervals stay blank.

        The highest cell is never full, so that the graph is no wall.

        """
        steps = len(self.bars) - 1
        levels = [0 if v is None else _level(v, most, steps * height - 1) for v in values]
        return [
            "".join(self.bars[min(max(level - steps * row, 0), steps)] for level in levels)
            for row in reversed(range(height))
        ]


def _level(value: float, most: float, steps: int) -> int:
    if value <= 0 or most <= 0:
        return 0
    return min(max(round(value / most * steps), 1), steps)


UNICODE: Final = Glyphs(
    down="↓",
    up="↑",
    collapsed="▸",
    expanded="▾",
    ascending="▲",
    descending="▼",
    times="×",  # noqa: RUF001 - a sign, not a letter
    exited="†",
    scroll="▐",
    dots="…",
    bars=" ▁▂▃▄▅▆▇█",
    unicode=True,
)
ASCII: Final = Glyphs(
    down="RX",
    up="TX",
    collapsed="+",
    expanded="-",
    ascending="^",
    descending="v",
    times="x",
    exited="x",
    scroll="|",
    dots="...",
    bars=" .:-=+*%#",
    unicode=False,
)

CONSOLE: Final = replace(
    UNICODE,
    **{
        name: getattr(ASCII, name)
        for name in (
            "collapsed",
            "expanded",
            "ascending",
            "descending",
            "exited",
            "scroll",
            "dots",
            "bars",
        )
    },
)
"""For the Linux console: its fonts have 256 or 512 characters."""


def _drawable(text: str, *, unicode: bool) -> str:
    """Return the text with control characters escaped and characters of disputed width or outside ASCII as "?"."""
    if text.isascii() and text.isprintable():  # most are, and are not worth a place in the cache
        return text
    return _cleaned(text, unicode=unicode)


@lru_cache(maxsize=4096)
def _cleaned(text: str, *, unicode: bool) -> str:
    """Do the work of _drawable()."""
    text = printable(text)
    if text.isascii():
        return text
    if not unicode:
        return text.encode("ascii", "replace").decode()
    agreed = ""
    for character in text:
        agreed += character if _is_agreed(agreed[-_NEAR:] + character) else "?"
    return agreed


_NEAR: Final = 8
"""Preceding characters that can change the width of one: modifiers, joiners, two-letter flags."""


@lru_cache(maxsize=4096)
def _is_agreed(text: str) -> bool:
    """Return True if urwid, whose Unicode tables differ from those of Python, computes the same width."""
    return bool(urwid.calc_width(text, 0, len(text)) == width(text))
