"""Escape untrusted text, such as names of processes and hosts, for a terminal, CSV and spreadsheets."""

import functools
import re
import unicodedata
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

_UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that a terminal may act upon or that are invisible: controls, bidi marks, line separators."""

_WIDE: Final = frozenset({"W", "F"})


def printable(text: str) -> str:
    """Return the text with control and invisible characters written as escapes."""
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
    """Return a value for CSV; text is cleaned, because a terminal may show it."""
    if isinstance(value, bool):
        return int(value)
    return clean(value) if isinstance(value, str) else value


def inert(text: str) -> str:
    """Return printable text that no spreadsheet takes for a formula (OWASP, "CSV Injection")."""
    return _FORMULA.sub(r"\1'\2", printable(text))


_FORMULA: Final = re.compile(r"(^|;)(\s*[=+\-@\uff1d\uff0b\uff0d\uff20])")
"""The start of a formula, also in full-width characters.  With decimal commas, semicolons separate cells."""


def width(text: str) -> int:
    """Return the width of printable text in terminal cells (Unicode UAX 11; combining marks take none)."""
    return len(text) if text.isascii() else sum(_cells(c) for c in text)


@functools.lru_cache(maxsize=1024)  # graphs are made of a few characters
def _cells(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in _WIDE else 1


def fit(text: str, cells: int, align: str = "<") -> str:
    """Return the text in exactly `cells` cells, cut with a "~" if it is longer; `align` is "<" or ">"."""
    room = cells - width(text)
    if room < 0:
        text, room = _cut(text, cells)
    return text + " " * room if align == "<" else " " * room + text


def squeeze(text: str, cells: int) -> str:
    """Return the text in at most `cells` cells, with a "~" for its middle if it is longer."""
    if width(text) <= cells:
        return text
    tail = ""
    for character in reversed(text):
        if width(character + tail) > (cells - 1) // 2:
            break
        tail = character + tail
    return fit(text, max(cells - width(tail), 0)).rstrip(" ") + tail


def _cut(text: str, cells: int) -> tuple[str, int]:
    """Return the text cut to fit with a "~", and the cells left over when a wide character does not fit."""
    room = cells - 1
    kept = ""
    for character in text:
        if _cells(character) > room:
            break
        room -= _cells(character)
        kept += character
    return (kept + "~", room) if cells > 0 else ("", 0)


def count(number: int, noun: str) -> str:
    """Return a number with its noun: "1 process", "2 processes", "2 countries"."""
    if number == 1:
        return f"1 {noun}"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{number} {noun[:-1]}ies"
    return f"{number} {noun}es" if noun.endswith("s") else f"{number} {noun}s"
