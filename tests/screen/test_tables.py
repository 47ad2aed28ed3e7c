"""The tables behind the screen (keys, columns, styles, glyphs) agree with each other."""

import inspect
import re
import sys
from collections.abc import Sequence
from typing import Final

import pytest
import urwid

from bwtop.model.filter_fields import FIELDS as FILTER_FIELDS
from bwtop.text.escape import width
from bwtop.tui import (
    commands,
    details,
    dialogs,
    editing,
    export,
    footer,
    keys,
    layout,
    moments,
    search,
    setup,
    spikes,
    tags,
)
from bwtop.tui.glyphs import ASCII, CONSOLE, UNICODE, Glyphs
from bwtop.tui.keymap import Context, Key, spelled
from bwtop.tui.keys import KEYS
from bwtop.tui.layout import FIELDS
from bwtop.tui.lines import length
from bwtop.tui.state import Effect
from bwtop.tui.styles import (
    DARK,
    EMBER,
    LIGHT,
    OCEAN,
    PAPER,
    PLAIN,
    THEMES,
    Look,
    Style,
    palette,
)
from bwtop.view.columns import PROCESS_COLUMNS
from tests.screen.harness import Harness

GLYPHS: Final = pytest.mark.parametrize(
    "glyphs", [UNICODE, ASCII, CONSOLE], ids=["unicode", "ascii", "console"]
)


COMMANDS: Final = (
    commands,
    details,
    dialogs,
    editing,
    export,
    moments,
    search,
    setup,
    spikes,
    tags,
)


def key_id(key: Key) -> str:
    return f"{key.context}-{'-'.join(key.keys)}"


@pytest.mark.parametrize("key", KEYS, ids=key_id)
def test_every_key_has_a_command_and_help(key: Key) -> None:
    assert key.keys
    assert key.help
    assert inspect.getdoc(key.command)
    assert any(getattr(m, key.command.__name__, None) is key.command for m in COMMANDS)
    assert all(keys.DEFAULT.find(key.context, name) is key for name in key.keys)


def test_every_command_has_a_key() -> None:
    returns_effect = {
        function
        for module in COMMANDS
        for _, function in inspect.getmembers(module, inspect.isfunction)
        if inspect.signature(function).return_annotation is Effect
        and len(inspect.signature(function).parameters) == 1
        and function.__module__ == module.__name__
    }
    assert returns_effect == {key.command for key in KEYS}


@pytest.mark.parametrize("context", [c for c in Context if c not in (Context.LIST, Context.LINE)])
def test_all_hints_of_a_small_context_fit_a_small_terminal(context: Context) -> None:
    hints = [key.hint for key in keys.DEFAULT.of(context) if key.hint]
    shown = "".join(text for _, text in footer.hints(keys.DEFAULT, context, 40))
    assert hints
    assert all(hint in shown for hint in hints)


@pytest.mark.parametrize("columns", range(1, 301, 7))
def test_hints_are_shown_whole_or_not_at_all(columns: int) -> None:
    for context in Context:
        line = footer.hints(keys.DEFAULT, context, columns)
        assert length(line) <= columns
        whole = [f" {key.hint} " for key in keys.DEFAULT.of(context) if key.hint]
        assert [text for _, text in line[1::2]] == whole[: len(line) // 2]


@pytest.mark.parametrize(
    "context", [c for c in Context if c not in (Context.FILTER, Context.GRAPH)]
)
def test_each_cell_of_a_hint_is_its_key(context: Context) -> None:
    state = Harness(300).state
    state.context = context
    hinted = [key for key in keys.DEFAULT.of(context) if key.hint]
    cell = 0
    for key in hinted:
        cells = len(spelled(key.keys[0])) + len(key.hint) + 2
        found = {footer.at(state, 300, cell + offset) for offset in range(cells)}
        assert found == {key.keys[0]}
        cell += cells
    assert footer.at(state, 300, cell) is None


def help_text(glyphs: Glyphs = UNICODE, columns: int = 100) -> str:
    harness = Harness(columns, 300, glyphs=glyphs)
    harness.press("h")
    return harness.text()


def test_the_help_has_every_key() -> None:
    lines = [line.split() for line in help_text().splitlines()]
    wanted = {key_id(key): [*map(spelled, key.keys), *key.help.split()] for key in KEYS}
    assert [name for name, words in wanted.items() if words not in lines] == []


@GLYPHS
def test_the_help_has_every_column_and_every_field_of_filters(glyphs: Glyphs) -> None:
    text = help_text(glyphs)
    for field in FIELDS:
        title = field.cell.title.format(down=glyphs.down, up=glyphs.up)
        words = " ".join(f"{title} {field.help}".split())
        assert words in " ".join(text.split())
    for filter_field in FILTER_FIELDS:
        assert re.search(f"^ +{filter_field.name}: +[^ ]", text, re.MULTILINE)
        assert filter_field.help


def test_sort_chooser_has_every_column_with_help() -> None:
    harness = Harness(80, 60)
    harness.press("s")
    shown = [line.split()[:2] for line in harness.lines()]
    wanted = [[column.id, column.help.split()[0]] for column in PROCESS_COLUMNS]
    assert [words for words in wanted if words not in shown] == []


@GLYPHS
def test_every_field_of_the_list_has_a_title_that_fits_and_sorts_by_a_column(
    glyphs: Glyphs,
) -> None:
    ids = {column.id for column in PROCESS_COLUMNS}
    sign = max(width(glyphs.ascending), width(glyphs.descending))
    for placed in layout.place(FIELDS, 200):
        assert placed.field.column.id in ids
        assert width(placed.title(glyphs)) + sign <= placed.field.cell.width
    assert len({field.id for field in FIELDS}) == len({field.cell.title for field in FIELDS})
    assert sorted(field.cell.rank for field in FIELDS) == list(range(len(FIELDS)))
    assert len({field.cell.place for field in FIELDS}) == len(FIELDS)


@pytest.mark.parametrize("theme", THEMES)
def test_every_theme_has_every_style(theme: str) -> None:
    assert set(THEMES[theme]) == set(Style)
    assert {entry[0] for entry in palette(theme)} == {style.value for style in Style}


@pytest.mark.parametrize("theme", THEMES)
def test_every_look_is_valid_with_any_number_of_colours(theme: str) -> None:
    for style, look in THEMES[theme].items():
        urwid.AttrSpec(look.mono or "default", "default", 1)
        urwid.AttrSpec(look.foreground, look.background, 16)
        specification = urwid.AttrSpec(
            look.high or look.foreground, look.high_background or look.background, 256
        )
        assert specification.colors <= 256, style


def looks(look: Look) -> list[tuple[str, ...]]:
    """Return the looks with 1, 16 and 256 colours."""
    high = (look.high or look.foreground, look.high_background or look.background)
    return [(look.mono,), (look.foreground, look.background), high]


IMPORTANT = (Style.SELECTED, Style.TITLE, Style.OFF, Style.PAUSED, Style.ERROR, Style.WARNING)


@pytest.mark.parametrize("theme", THEMES)
def test_important_styles_stand_out_without_colours(theme: str) -> None:
    normal = looks(THEMES[theme][Style.NORMAL])
    for style in IMPORTANT:
        for look, other in zip(looks(THEMES[theme][style]), normal, strict=True):
            assert look != other, style


BLACK = (0, 0, 0)
WHITE = (255, 255, 255)


def luminance(rgb: Sequence[int]) -> float:
    """Return the relative luminance of WCAG 2.1."""
    linear = [c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(look: Look, ground: tuple[int, int, int], colours: int) -> float:
    """Return the contrast of WCAG 2.1 on a terminal of this background."""
    _, few, many = looks(look)
    rgb = urwid.AttrSpec(*(few if colours == 16 else many), colours).get_rgb_values()
    opposite = tuple(255 - part for part in ground)
    text = opposite if rgb[0] is None else rgb[:3]
    behind = ground if rgb[3] is None else rgb[3:]
    dark, light = sorted((luminance(text), luminance(behind)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colours", [16, 256])
@pytest.mark.parametrize(
    ("theme", "ground"),
    [
        *((theme, BLACK) for theme in (DARK, OCEAN, EMBER, PLAIN)),
        *((theme, WHITE) for theme in (LIGHT, PAPER, PLAIN)),
    ],
)
def test_every_style_can_be_read(theme: str, ground: tuple[int, int, int], colours: int) -> None:
    """WCAG 2.1 asks for 4.5 to 1; exited processes are dimmed."""
    contrasts = {style: contrast(THEMES[theme][style], ground, colours) for style in Style}
    wanted = {style: 2.5 if style is Style.EXITED else 4.5 for style in Style}
    assert {style: found for style, found in contrasts.items() if found < wanted[style]} == {}


@pytest.mark.parametrize("theme", THEMES)
def test_no_text_is_black_on_black_with_eight_colours(theme: str) -> None:
    """Dark gray is bold black there, and a bright background none or blinking."""
    for style, look in THEMES[theme].items():
        assert "dark gray" not in (look.foreground + look.background), style
        is_bright = look.background.startswith("light") and look.background != "light gray"
        assert not is_bright, style


@GLYPHS
def test_glyphs_are_of_their_character_set_and_of_one_cell(glyphs: Glyphs) -> None:
    signs = (
        *(glyphs.collapsed, glyphs.expanded, glyphs.ascending, glyphs.descending, glyphs.times),
        *(glyphs.exited, glyphs.scroll),
    )
    for sign in (*signs, *glyphs.bars):
        assert urwid.calc_width(sign, 0, len(sign)) == width(sign) == 1
    everything = "".join((*signs, *glyphs.bars, glyphs.down, glyphs.up, glyphs.dots))
    assert everything.isascii() != glyphs.unicode


def test_ordinary_text_is_not_kept_once_it_is_drawn() -> None:
    """The addresses of a million remotes are."""
    text = ".".join(["192", "0", "2", "1"])
    before = sys.getrefcount(text)
    assert UNICODE.text(text) == "192.0.2.1"
    assert sys.getrefcount(text) == before
