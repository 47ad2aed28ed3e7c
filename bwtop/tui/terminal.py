"""The terminal: its capabilities, and its restoration."""

import curses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import urwid

try:
    from urwid.display import raw as raw_display
except ImportError:  # before urwid 2.4
    from urwid import raw_display
try:
    from urwid.display import InputClosedError
except ImportError:  # before urwid 3
    InputClosedError = OSError

from bwtop.tui.glyphs import ASCII, UNICODE, Glyphs
from bwtop.tui.paste import BRACKETS_OFF, BRACKETS_ON, Brackets
from bwtop.tui.styles import THEMES, palette

_SECOND_BUFFER_ON: Final = "\x1b[?1049h"
_SECOND_BUFFER_OFF: Final = "\x1b[?1049l"
"""urwid asks for mode 47, which some terminals do not know.  This comes first, so that it saves the cursor; tmux would
otherwise restore one that another program had saved.
"""

UNKNOWN_SIZE: Final = (80, 24)
"""Columns and rows assumed for a terminal of unknown size."""


class TerminalLostError(Exception):
    """The terminal is gone."""


class Terminal(raw_display.Screen):  # type: ignore[misc]  # urwid 2.1.2 has no types
    """The urwid screen, which also reports a lost terminal and separates pastes from keys."""

    def __init__(self) -> None:
        super().__init__()
        self.brackets = Brackets()

    def _start(self, *args: Any, **kwargs: Any) -> None:
        """Show the second buffer on any terminal, and enable bracketed pastes; see urwid."""
        self.write(_SECOND_BUFFER_ON)
        super()._start(*args, **kwargs)
        self.write(BRACKETS_ON)

    def _stop(self) -> None:
        """Undo what `_start` did."""
        self.write(BRACKETS_OFF)
        super()._stop()
        self.write(_SECOND_BUFFER_OFF)
        self.flush()

    def get_cols_rows(self) -> tuple[int, int]:
        """Return the size. A terminal of unknown size reports 0: serial consoles, `docker exec -t`."""
        columns, rows = super().get_cols_rows()
        if columns <= 0 or rows <= 0:
            self.maxrow = UNKNOWN_SIZE[1]
            return UNKNOWN_SIZE
        return columns, rows

    def get_available_raw_input(self) -> list[int]:
        """Return the bytes of one read. After a hangup a read returns nothing (urwid 2.1.2 fails on it) or EIO."""
        try:
            codes = super().get_available_raw_input()
        except (OSError, TypeError, InputClosedError) as error:
            raise TerminalLostError from error
        return self.brackets.cut(codes)

    def flush(self) -> None:
        """Flush the output; raise TerminalLostError."""
        try:
            super().flush()
        except OSError as error:
            raise TerminalLostError from error


def open_terminal(theme: str, environment: Mapping[str, str]) -> Terminal:
    """Return a screen with the styles of a theme, in as many colours as the terminal has."""
    terminal = Terminal()
    terminal.set_terminal_properties(colors=colours(environment))
    terminal.register_palette(palette(theme))
    return terminal


def colours(environment: Mapping[str, str]) -> int:
    """Return 256, 16 or 1. A non-empty NO_COLOR (https://no-color.org) turns colours off; so does TERM=dumb."""
    kind = environment.get("TERM", "dumb")
    if environment.get("NO_COLOR") or kind == "dumb":
        return 1
    number = _terminfo_colours(kind)
    if number >= 256 or environment.get("COLORTERM") in ("truecolor", "24bit"):
        return 256
    return 16 if number >= 8 else 1


def _terminfo_colours(kind: str) -> int:
    """Return the number of colours in terminfo(5); -1 for none; 16 for an unknown terminal."""
    try:
        curses.setupterm(kind, 1)
    except curses.error:
        return 256 if "256color" in kind else 16
    return curses.tigetnum("colors")


_LIGHT_BACKGROUNDS: Final = ("7", "15")


def default_theme(environment: Mapping[str, str]) -> str:
    """Return the theme for COLORFGBG ("FOREGROUND;BACKGROUND", set by rxvt, Konsole and others), or dark."""
    background = environment.get("COLORFGBG", "").rpartition(";")[2]
    theme = "light" if background in _LIGHT_BACKGROUNDS else "dark"
    assert theme in THEMES
    return theme


def glyphs(environment: Mapping[str, str]) -> Glyphs:
    """Return the symbols for the locale and set the encoding of urwid; locale(7): LC_ALL, else LC_CTYPE, else LANG."""
    name = next(filter(None, map(environment.get, ("LC_ALL", "LC_CTYPE", "LANG"))), "C")
    is_unicode = name.lower().replace("-", "").endswith(("utf8", "utf8@euro"))
    if environment.get("TERM") == "dumb":
        is_unicode = False
    urwid.set_encoding("utf-8" if is_unicode else "ascii")
    return UNICODE if is_unicode else ASCII


def started_with() -> dict[str, str]:
    """Return the initial environment of the process: Python changes the C locale to C.UTF-8 in its own (PEP 538)."""
    try:
        block = Path("/proc/self/environ").read_bytes()
    except OSError:
        return dict(os.environ)
    pairs = (entry.partition(b"=") for entry in block.split(b"\0") if entry)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}
