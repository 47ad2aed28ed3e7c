"""A picture of a terminal: the emulator's screen as SVG, the same bytes for the same screen.

Lengths are in pixels. Text is stretched to the grid of cells, so that columns line up in any font.

"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr

import pyte
from pyte.screens import Char

CELL_WIDTH = 9
CELL_HEIGHT = 18
BASELINE = 14
"""From the top of a cell."""

FONT = "DejaVu Sans Mono, Menlo, Consolas, monospace"
FONT_SIZE = 14.95
"""Size at which a character of DejaVu Sans Mono or Menlo is `CELL_WIDTH` wide."""

MARGIN = 14
TITLE_HEIGHT = 32
CORNER = 9

FOREGROUND = "#d4d7dd"
BACKGROUND = "#16181d"
TITLE_BACKGROUND = "#2a2d35"
TITLE_FOREGROUND = "#a3a8b4"
BORDER = "#3a3e48"
BUTTONS = ("#f0655a", "#f3bd4e", "#5fc454")

COLORS = {
    "black": "#24272e",
    "red": "#e5636c",
    "green": "#8cc570",
    "brown": "#e0b661",  # pyte's word for yellow
    "blue": "#61a4ec",
    "magenta": "#c678dd",
    "cyan": "#4fb8c4",
    "white": "#c8ccd4",
    "brightblack": "#767d8b",
    "brightred": "#ff8087",
    "brightgreen": "#a9e08d",
    "brightbrown": "#f7d384",
    "brightblue": "#86beff",
    "brightmagenta": "#de9af0",
    "bfightmagenta": "#de9af0",  # so spelled by pyte 0.8.2, as a background
    "brightcyan": "#74d5e0",
    "brightwhite": "#ffffff",
}

LOWER_BLOCKS = "▁▂▃▄▅▆▇█"
"""From an eighth of the height of a cell to all of it."""

LEFT_BLOCKS = "▏▎▍▌▋▊▉"
"""From an eighth of the width of a cell to seven eighths."""


class Style(NamedTuple):
    """The style of a character, with colours as in SVG."""

    foreground: str
    background: str
    attributes: str


class Cell(NamedTuple):
    """A character with its columns: one or two."""

    character: str
    column: int
    width: int
    style: Style


def svg(screen: pyte.Screen, title: str) -> str:
    """Return the screen in a window with this title."""
    width = screen.columns * CELL_WIDTH + 2 * MARGIN
    height = screen.lines * CELL_HEIGHT + TITLE_HEIGHT + 2 * MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
            f' viewBox="0 0 {width} {height}" role="img" aria-label={quoteattr(title)}'
            f' font-family="{FONT}" font-size="{FONT_SIZE}">',
            *_window(width, height, title),
            '<g shape-rendering="crispEdges">',  # or light shines through between neighbours
            *(part for row in range(screen.lines) for part in _row(screen, row)),
            "</g>",
            "</svg>",
            "",
        ]
    )


def _window(width: int, height: int, title: str) -> Iterator[str]:
    outline = f'x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="{CORNER}"'
    yield f'<rect {outline} fill="{BACKGROUND}"/>'
    yield (
        f'<path d="M0.5 {TITLE_HEIGHT}V{CORNER + 0.5}a{CORNER} {CORNER} 0 0 1 {CORNER} -{CORNER}'
        f'H{width - CORNER - 0.5}a{CORNER} {CORNER} 0 0 1 {CORNER} {CORNER}V{TITLE_HEIGHT}z"'
        f' fill="{TITLE_BACKGROUND}"/>'
    )
    yield f'<rect {outline} fill="none" stroke="{BORDER}"/>'
    for place, color in enumerate(BUTTONS):
        yield f'<circle cx="{20 + 20 * place}" cy="{TITLE_HEIGHT // 2}" r="6" fill="{color}"/>'
    yield (
        f'<text x="{width / 2:g}" y="{TITLE_HEIGHT // 2 + 5}" text-anchor="middle"'
        f' font-size="13" fill="{TITLE_FOREGROUND}">{escape(title)}</text>'
    )


def _row(screen: pyte.Screen, row: int) -> Iterator[str]:
    """Yield backgrounds first: a glyph may reach into the next cell."""
    top = TITLE_HEIGHT + MARGIN + row * CELL_HEIGHT
    cells = list(_cells(screen, row))
    for background, run in groupby(cells, key=lambda cell: cell.style.background):
        if background != BACKGROUND:
            yield _rectangle(list(run), top, background)
    for _, run in groupby(cells, key=_alike):
        yield from _run(list(run), top)


def _cells(screen: pyte.Screen, row: int) -> Iterator[Cell]:
    """Yield the cells; pyte follows a wide character with a cell that holds an empty string."""
    line = screen.buffer[row]
    for column in range(screen.columns):
        if character := line[column].data:
            wide = column + 1 < screen.columns and not line[column + 1].data
            yield Cell(character, column, 2 if wide else 1, _style(line[column]))


def _alike(cell: Cell) -> tuple[Style, str]:
    """Return the key of a run: ASCII runs together, any other character alone or repeated.

    Other characters may come from another font with another width.

    """
    return cell.style, "" if cell.character.isascii() else cell.character


def _run(cells: list[Cell], top: int) -> Iterator[str]:
    style = cells[0].style
    text = "".join(cell.character for cell in cells)
    if cells[0].character in LOWER_BLOCKS:
        share = (LOWER_BLOCKS.index(cells[0].character) + 1) / len(LOWER_BLOCKS)
        yield _rectangle(cells, top, style.foreground, height=share * CELL_HEIGHT)
    elif cells[0].character in LEFT_BLOCKS:
        share = (LEFT_BLOCKS.index(cells[0].character) + 1) / (len(LEFT_BLOCKS) + 1)
        for cell in cells:
            yield _rectangle([cell], top, style.foreground, width=share * CELL_WIDTH)
    elif text.strip() or "text-decoration" in style.attributes:
        yield (
            f'<text x="{_left(cells)}" y="{top + BASELINE}" textLength="{_width(cells)}"'
            f' lengthAdjust="spacingAndGlyphs" xml:space="preserve"'
            f' fill="{style.foreground}"{style.attributes}>{escape(text)}</text>'
        )


def _rectangle(
    cells: list[Cell],
    top: int,
    color: str,
    *,
    width: float | None = None,
    height: float = CELL_HEIGHT,
) -> str:
    """Draw a block on the bottom of these cells, from their left."""
    width = _width(cells) if width is None else width
    return (
        f'<rect x="{_left(cells)}" y="{top + CELL_HEIGHT - height:g}"'
        f' width="{width:g}" height="{height:g}" fill="{color}"/>'
    )


def _left(cells: list[Cell]) -> int:
    return MARGIN + cells[0].column * CELL_WIDTH


def _width(cells: Iterable[Cell]) -> int:
    return sum(cell.width for cell in cells) * CELL_WIDTH


def _style(char: Char) -> Style:
    foreground, background = _color(char.fg, FOREGROUND), _color(char.bg, BACKGROUND)
    if char.reverse:
        foreground, background = background, foreground
    return Style(foreground, background, _attributes(char))


def _attributes(char: Char) -> str:
    lines = ["underline"] * char.underscore + ["line-through"] * char.strikethrough
    return "".join(
        [
            ' font-weight="bold"' * char.bold,
            ' font-style="italic"' * char.italics,
            f' text-decoration="{" ".join(lines)}"' * bool(lines),
        ]
    )


def _color(name: str, default: str) -> str:
    """Return the name of a colour, or six hexadecimal digits; a name that pyte may add later fails here."""
    if name == "default":
        return default
    return COLORS[name] if name in COLORS else f"#{int(name, 16):06x}"
