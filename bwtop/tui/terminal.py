"""The terminal: its capabilities, and its restoration."""

import curses
import os
import termios
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
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

from bwtop.tui.background import QUESTION, AnswerFilter, may_ask
from bwtop.tui.glyphs import ASCII, CONSOLE, UNICODE, Glyphs
from bwtop.tui.paste import BRACKETS_OFF, BRACKETS_ON, Brackets
from bwtop.tui.styles import DARK, LIGHT, PLAIN, palette

_SECOND_BUFFER_ON: Final = "\x1b[?1049h"
_SECOND_BUFFER_OFF: Final = "\x1b[?1049l"
"""urwid asks for mode 47, which some terminals do not know.  This comes first, so that it saves the cursor; tmux would
otherwise restore one that another program had saved.
"""

UNKNOWN_SIZE: Final = (80, 24)
"""Columns and rows assumed for a terminal of unknown size."""


CONSOLE_TERM: Final = "linux"
"""The TERM of the Linux console."""


class TerminalLostError(Exception):
    """The terminal is gone."""


class Terminal(raw_display.Screen):  # type: ignore[misc]  # urwid 2.1.2 has no types
    """The urwid screen, which also reports a lost terminal and separates pastes and answers from keys."""

    def __init__(self, *, asks: bool = False) -> None:
        """Make a screen; with `asks` it asks for the terminal's background and chooses the theme by the answer."""
        super().__init__()
        self.brackets = Brackets()
        self._asks = asks
        self.automatic = PLAIN
        """The theme for the background, as far as it is known."""
        self._theme: str | None = None
        """The theme that was chosen; None: the automatic one."""
        self._background = AnswerFilter(self._take_background)

    def _start(self, *args: Any, **kwargs: Any) -> None:
        """Show the second buffer on any terminal, and enable bracketed pastes; see urwid."""
        self.write(_SECOND_BUFFER_ON)
        super()._start(*args, **kwargs)
        self.write(BRACKETS_ON)
        if self._asks:
            self.write(QUESTION)
            self._background.asked()

    def _take_background(self, *, is_light: bool) -> None:
        """Draw everything anew in the theme for a background."""
        self.automatic = LIGHT if is_light else DARK
        self.use_theme(self._theme)

    def use_theme(self, theme: str | None) -> None:
        """Draw everything anew in a theme; None: in the one for the background."""
        self._theme = theme
        self.register_palette(palette(theme or self.automatic))
        self.clear()

    def copy(self, text: str) -> None:
        """Put a text into the clipboard: OSC 52 of xterm; a terminal that does not know it ignores it."""
        self.write(f"\x1b]52;c;{b64encode(text.encode(errors='replace')).decode()}\x1b\\")
        self.flush()

    def _stop(self) -> None:
        """Undo what `_start` did."""
        self._background.drop_late(self._term_input_file)
        self.write(BRACKETS_OFF)
        super()._stop()
        self.write(_SECOND_BUFFER_OFF)
        self.flush()

    def discard_output(self) -> None:
        """Discard the output that the terminal has not taken, so that it takes what restores it.

        TCOON alone starts only what TCOOFF has stopped, not what Ctrl-S has (n_tty_ioctl_helper() in the kernel).

        """
        with suppress(termios.error):  # it is gone
            termios.tcflush(self._term_output_file, termios.TCOFLUSH)
            for action in (termios.TCOOFF, termios.TCOON):
                termios.tcflow(self._term_output_file, action)

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
        return self.brackets.cut(self._background.cut(codes))

    def flush(self) -> None:
        """Flush the output; raise TerminalLostError."""
        try:
            super().flush()
        except OSError as error:
            raise TerminalLostError from error


def open_terminal(theme: str | None, environment: Mapping[str, str]) -> Terminal:
    """Return a screen with the styles of a theme, or of that for the background, in as many colours as there are."""
    number = colours(environment)
    terminal = Terminal(asks=theme is None and number > 1 and may_ask(environment))
    terminal.set_terminal_properties(colors=number)
    terminal.automatic = default_theme(environment)
    terminal.use_theme(theme)
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
    """Return the theme for COLORFGBG ("FOREGROUND;BACKGROUND", set by rxvt, Konsole and others), or for a Linux console."""
    background = environment.get("COLORFGBG", "").rpartition(";")[2]
    if background.isdecimal():
        return LIGHT if background in _LIGHT_BACKGROUNDS else DARK
    return DARK if environment.get("TERM") == CONSOLE_TERM else PLAIN


def glyphs(environment: Mapping[str, str]) -> Glyphs:
    """Return the symbols for the locale and set the encoding of urwid; locale(7): LC_ALL, else LC_CTYPE, else LANG."""
    name = next(filter(None, map(environment.get, ("LC_ALL", "LC_CTYPE", "LANG"))), "C")
    is_unicode = name.lower().replace("-", "").endswith(("utf8", "utf8@euro"))
    if environment.get("TERM") == "dumb":
        is_unicode = False
    urwid.set_encoding("utf-8" if is_unicode else "ascii")
    if environment.get("TERM") == CONSOLE_TERM and is_unicode:
        return CONSOLE
    return UNICODE if is_unicode else ASCII


def started_with() -> dict[str, str]:
    """Return the initial environment of the process: Python changes the C locale to C.UTF-8 in its own (PEP 538)."""
    try:
        block = Path("/proc/self/environ").read_bytes()
    except OSError:
        return dict(os.environ)
    pairs = (entry.partition(b"=") for entry in block.split(b"\0") if entry)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}
