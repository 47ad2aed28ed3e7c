"""All styles, and their looks in each theme."""

from enum import StrEnum
from typing import Final, NamedTuple


class Style(StrEnum):
    """The role of a piece of text. urwid draws unknown names in default colours, so names are defined only here."""

    NORMAL = "normal"
    HEADER = "header"
    VALUE = "value"
    OFF = "off"
    RX = "rx"
    TX = "tx"
    RX_BAR = "rx bar"
    """The bar behind a rate."""
    TX_BAR = "tx bar"
    TITLE = "title"
    SORTED = "sorted"
    SELECTED = "selected"
    SELECTED_BAR = "selected bar"
    PROCESS = "process"
    KERNEL = "kernel"
    EXITED = "exited"
    REMOTE = "remote"
    TAGGED = "tagged"
    SPIKE = "spike"
    WARNING = "warning"
    ERROR = "error"
    PAUSED = "paused"
    KEY = "key"
    HINT = "hint"
    INPUT = "input"
    HEADING = "heading"


class Look(NamedTuple):
    """Foreground and background as urwid names them: with 16 colours, without colours, with 256."""

    foreground: str
    background: str
    mono: str
    high: str = ""
    """Foreground with 256 colours; empty: as with 16."""
    high_background: str = ""


_DARK: Final = {
    Style.NORMAL: Look("default", "default", ""),
    Style.HEADER: Look("default", "default", "", "g74"),
    Style.VALUE: Look("default,bold", "default", "bold", "g93,bold"),
    Style.OFF: Look("yellow", "default", "underline", "#d80"),
    Style.RX: Look("light green", "default", "", "#6d8"),
    Style.TX: Look("light cyan", "default", "", "#6cf"),
    Style.RX_BAR: Look("black", "dark green", "underline", "#dfd", "#060"),
    Style.TX_BAR: Look("black", "dark cyan", "underline", "#dff", "#06a"),
    Style.TITLE: Look("black", "light gray", "standout", "g85", "g23"),
    Style.SORTED: Look("black,bold", "light gray", "standout,bold", "#fd6,bold", "g23"),
    Style.SELECTED: Look("white", "dark blue", "standout", "g100", "#048"),
    Style.SELECTED_BAR: Look("black", "dark cyan", "standout,underline", "#000", "#6af"),
    Style.PROCESS: Look("default", "default", "", "g89"),
    Style.KERNEL: Look("light magenta", "default", "", "#c8f"),
    Style.EXITED: Look("default", "default", "", "g46"),
    Style.REMOTE: Look("default", "default", "", "g66"),
    Style.TAGGED: Look("yellow,bold", "default", "bold,underline", "#fd6,bold"),
    Style.SPIKE: Look("yellow,bold", "default", "bold", "#fd6,bold"),
    Style.WARNING: Look("yellow", "default", "bold", "#fa0"),
    Style.ERROR: Look("light red", "default", "bold", "#f66"),
    Style.PAUSED: Look("black", "yellow", "standout,bold", "#000,bold", "#fa0"),
    Style.KEY: Look("black", "light gray", "standout", "g93,bold", "g23"),
    Style.HINT: Look("default", "default", "", "g62"),
    Style.INPUT: Look("default,bold", "default", "bold", "g100,bold"),
    Style.HEADING: Look("default,bold", "default", "bold", "#fd6,bold"),
}

_LIGHT: Final = _DARK | {
    Style.HEADER: Look("default", "default", "", "g30"),
    Style.VALUE: Look("default,bold", "default", "bold", "g7,bold"),
    Style.OFF: Look("dark red", "default", "underline", "#a40"),
    Style.RX: Look("default", "default", "", "#060"),
    Style.TX: Look("dark blue", "default", "", "#06a"),
    Style.RX_BAR: Look("black", "dark green", "underline", "#000", "#8d8"),
    Style.TX_BAR: Look("black", "dark cyan", "underline", "#000", "#8cf"),
    Style.TITLE: Look("black", "light gray", "standout", "g11", "g82"),
    Style.SORTED: Look("black,bold", "light gray", "standout,bold", "#800,bold", "g82"),
    Style.SELECTED: Look("white", "dark blue", "standout", "g100", "#06a"),
    Style.PROCESS: Look("default", "default", "", "g7"),
    Style.KERNEL: Look("default,underline", "default", "", "#60a"),
    Style.EXITED: Look("default", "default", "", "g62"),
    Style.REMOTE: Look("default", "default", "", "g38"),
    Style.TAGGED: Look("dark magenta,bold", "default", "bold,underline", "#840,bold"),
    Style.SPIKE: Look("dark magenta,bold", "default", "bold", "#840,bold"),
    Style.WARNING: Look("dark red", "default", "bold", "#a40"),
    Style.ERROR: Look("dark red,bold", "default", "bold", "#c00,bold"),
    Style.KEY: Look("black", "light gray", "standout", "g7,bold", "g82"),
    Style.HINT: Look("default", "default", "", "g42"),
    Style.INPUT: Look("default,bold", "default", "bold", "g7,bold"),
    Style.HEADING: Look("default,bold", "default", "bold", "#800,bold"),
}

_TURNED: Final = Look("default,standout", "default", "standout")
_BOLD: Final = Look("default,bold", "default", "bold")

_PLAIN: Final = dict.fromkeys(Style, Look("default", "default", "")) | {
    Style.VALUE: _BOLD,
    Style.OFF: Look("default,underline", "default", "underline", "#a66,underline"),
    Style.RX: Look("default", "default", "", "#086"),
    Style.TX: Look("default", "default", "", "#66f"),
    Style.RX_BAR: Look("black", "dark green", "underline", "#000", "#6a8"),
    Style.TX_BAR: Look("black", "dark cyan", "underline", "#000", "#68d"),
    Style.TITLE: _TURNED,
    Style.SORTED: Look("default,standout,bold", "default", "standout,bold"),
    Style.SELECTED: _TURNED,
    Style.SELECTED_BAR: Look("default,standout,underline", "default", "standout,underline"),
    Style.KERNEL: Look("default,underline", "default", "", "#66f"),
    Style.EXITED: Look("default", "default", "", "g46"),
    Style.TAGGED: Look("default,bold,underline", "default", "bold,underline"),
    Style.SPIKE: _BOLD,
    Style.WARNING: Look("default,bold", "default", "bold", "#a66,bold"),
    Style.ERROR: Look("default,bold", "default", "bold", "#d0a,bold"),
    Style.PAUSED: Look("default,standout,bold", "default", "standout,bold"),
    Style.KEY: _TURNED,
    Style.INPUT: _BOLD,
    Style.HEADING: _BOLD,
}
"""The terminal's own colours; the few others are halfway between black and white."""

_OCEAN: Final = _DARK | {
    Style.OFF: Look("yellow", "default", "underline", "#fd8"),
    Style.RX: Look("light cyan", "default", "", "#6fd"),
    Style.TX: Look("light cyan", "default", "", "#8af"),
    Style.SORTED: Look("black,bold", "light gray", "standout,bold", "#8df,bold", "g23"),
    Style.SELECTED: Look("white", "dark blue", "standout", "g100", "#06a"),
    Style.TAGGED: Look("yellow,bold", "default", "bold,underline", "#ff8,bold"),
    Style.SPIKE: Look("yellow,bold", "default", "bold", "#ff8,bold"),
    Style.HEADING: Look("default,bold", "default", "bold", "#8df,bold"),
}
"""Dark, of blues and greens."""

_EMBER: Final = _DARK | {
    Style.OFF: Look("yellow", "default", "underline", "#8df"),
    Style.RX: Look("yellow", "default", "", "#fd8"),
    Style.TX: Look("light red", "default", "", "#f8a"),
    Style.SORTED: Look("black,bold", "light gray", "standout,bold", "#fa6,bold", "g23"),
    Style.SELECTED: Look("white", "dark red", "standout", "g100", "#800"),
    Style.TAGGED: Look("light cyan,bold", "default", "bold,underline", "#8ff,bold"),
    Style.SPIKE: Look("light cyan,bold", "default", "bold", "#8ff,bold"),
    Style.HEADING: Look("default,bold", "default", "bold", "#fa6,bold"),
}
"""Dark, of yellows and reds."""

_PAPER: Final = _LIGHT | {
    Style.RX: Look("default", "default", "", "#660"),
    Style.TX: Look("dark magenta", "default", "", "#806"),
    Style.SORTED: Look("black,bold", "light gray", "standout,bold", "#806,bold", "g82"),
    Style.SELECTED: Look("white", "dark magenta", "standout", "g100", "#806"),
    Style.HEADING: Look("default,bold", "default", "bold", "#a00,bold"),
}
"""Light, of browns and purples."""

DARK: Final = "dark"
LIGHT: Final = "light"
PLAIN: Final = "plain"

OCEAN: Final = "ocean"
EMBER: Final = "ember"
PAPER: Final = "paper"

THEMES: Final[dict[str, dict[Style, Look]]] = {
    DARK: _DARK,
    LIGHT: _LIGHT,
    PLAIN: _PLAIN,
    OCEAN: _OCEAN,
    EMBER: _EMBER,
    PAPER: _PAPER,
}
"""For dark, light and unknown backgrounds, and three more of taste; the terminal keeps its own background.

The text of what lives has a contrast of 4.5 to 1 or more (WCAG 2.1, level AA). With 16 colours no text is dark gray: with
eight that is bold black.

"""

PaletteEntry = tuple[str, str, str, str, str, str]


def palette(theme: str) -> list[PaletteEntry]:
    """Return a theme as the argument of urwid's Screen.register_palette()."""
    return [
        (
            style.value,
            look.foreground,
            look.background,
            look.mono,
            look.high or look.foreground,
            look.high_background or look.background,
        )
        for style, look in THEMES[theme].items()
    ]
