"""Lines of styled text, and their conversion to urwid canvases."""

from collections.abc import Sequence
from itertools import groupby
from typing import Final

import urwid

from bwtop.text.escape import fit, width
from bwtop.tui.styles import Style

Line = list[tuple[Style, str]]
"""Pieces from left to right; their texts are safe for the terminal."""


def length(line: Line) -> int:
    """Return the width of a line in cells."""
    return sum(width(text) for _, text in line)


def exactly(line: Line, cells: int, style: Style = Style.NORMAL) -> Line:
    """Return the line cut or padded with blanks to a number of cells."""
    room = cells
    pieces: Line = []
    for of, text in line:
        taken = width(text)
        if taken > room:
            pieces.append((of, fit(text, room)))
            return pieces
        pieces.append((of, text))
        room -= taken
    if room:
        pieces.append((style, " " * room))
    return pieces


def spread(left: Line, right: Line, cells: int, style: Style = Style.NORMAL) -> Line:
    """Return two lines as one, at the left and the right end; drop the right one if both do not fit."""
    room = cells - length(right)
    if length(left) + 1 > room:
        return exactly(left, cells, style)
    return exactly(left, room, style) + right


_BARS: Final = (Style.RX_BAR, Style.TX_BAR)


def selected(line: Line) -> Line:
    """Return the line as that of the selected row; bars stay visible."""
    styles = (
        (Style.SELECTED_BAR if style in _BARS else Style.SELECTED, text) for style, text in line
    )
    return [
        (style, "".join(text for _, text in pieces))
        for style, pieces in groupby(styles, key=lambda piece: piece[0])
    ]


def canvas(
    lines: Sequence[Line], size: tuple[int, int], cursor: tuple[int, int] | None = None
) -> urwid.Canvas:
    """Return a canvas of exactly `size` (columns, rows): pad with blanks, cut the rest."""
    columns, rows = size
    texts, attributes, charsets = [], [], []
    for place in range(rows):
        line = lines[place] if place < len(lines) else []
        encoded, attribute, charset = b"", [], []
        for style, text in exactly(line, columns):
            if not text:
                continue  # urwid ends the line at an empty run
            piece, runs = urwid.apply_target_encoding(text)
            encoded += piece
            attribute.append((style.value, len(piece)))
            charset += runs
        texts.append(encoded)
        attributes.append(attribute)
        charsets.append(charset)
    return urwid.TextCanvas(texts, attributes, charsets, cursor=cursor, maxcol=columns)
