"""Text from outside, made fit for a terminal.  Names of processes and hosts are chosen by whoever wants to."""

import re
import unicodedata
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

_UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that a terminal may act upon or that leave no trace: controls, bidi marks, line separators."""

_WIDE: Final = frozenset({"W", "F"})


def printable(text: str) -> str:
    """The text with every character that is not plainly visible written as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(c) if unicodedata.category(c) in _UNSAFE else c for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    return (
        f"\\x{code:02x}"
        if code < 0x100
        else f"\\u{code:04x}"
        if code < 0x10000
        else f"\\U{code:08x}"
    )


def cell(value: T, clean: Callable[[str], str] = printable) -> T | str | int:
    """A value for CSV: text without control characters, for it may land on a terminal all the same."""
    if isinstance(value, bool):
        return int(value)
    return clean(value) if isinstance(value, str) else value


def inert(text: str) -> str:
    """Printable text that no spreadsheet takes for a formula (OWASP, "CSV Injection")."""
    return _FORMULA.sub(r"\1'\2", printable(text))


_FORMULA: Final = re.compile(r"(^|;)(\s*[=+\-@\uff1d\uff0b\uff0d\uff20])")
"""How formulas begin, also in full width, as some programs take them; semicolons part cells where commas are decimal."""


def width(text: str) -> int:
    """Terminal cells that a printable text takes (Unicode's UAX 11; combining marks take none)."""
    return len(text) if text.isascii() else sum(_cells(c) for c in text)


def _cells(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in _WIDE else 1


def fit(text: str, cells: int, align: str = "<") -> str:
    """The text in exactly that many cells, cut with a "~" where it is longer; `align` is "<" or ">"."""
    room = cells - width(text)
    if room < 0:
        text, room = _cut(text, cells)
    return text + " " * room if align == "<" else " " * room + text


def squeeze(text: str, cells: int) -> str:
    """The text in at most that many cells, with a "~" for its middle where it is longer."""
    if width(text) <= cells:
        return text
    tail = ""
    for character in reversed(text):
        if width(character + tail) > (cells - 1) // 2:
            break
        tail = character + tail
    return fit(text, max(cells - width(tail), 0)).rstrip(" ") + tail


def _cut(text: str, cells: int) -> tuple[str, int]:
    """As much as fits before a "~", and the cells left over when a wide character did not."""
    room = cells - 1
    kept = ""
    for character in text:
        if _cells(character) > room:
            break
        room -= _cells(character)
        kept += character
    return (kept + "~", room) if cells > 0 else ("", 0)


def count(number: int, noun: str) -> str:
    """A number and what it counts: "1 process", "2 processes"."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}es" if noun.endswith("s") else f"{number} {noun}s"
