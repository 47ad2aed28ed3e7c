"""The setup page: theme, mouse, graphs and columns, beside the list that shows them; it saves itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from bwtop.tui.keymap import Context
from bwtop.tui.layout import FIELDS, ListColumn
from bwtop.tui.state import Chooser, Effect, ScreenState
from bwtop.tui.styles import THEMES, Style

REQUIRED: Final = "process"
"""The column that stays."""

THEME_CHOICES: Final = (None, *THEMES)
"""None: as the terminal's background asks for."""

_SETTINGS: Final = 3
"""Lines before those of the columns."""


@dataclass
class SetupPage:
    """The open page."""

    saved: dict[str, Any]
    """The values when it was opened."""
    index: int = 0


def values(state: ScreenState) -> dict[str, Any]:
    """Return the settings of the page as values of a configuration file; None: not set."""
    settings = state.settings
    return {
        "theme": settings.theme,
        "mouse": settings.mouse,
        "graphs": settings.graphs,
        "columns": [field.id for field in settings.fields],
    }


def panel(state: ScreenState) -> Chooser | None:
    """Return the page as a list of lines; None if it is closed."""
    if state.setup is None:
        return None
    settings = state.settings
    lines = [
        f"theme    {settings.theme or 'auto'}",
        f"mouse    {'on' if settings.mouse else 'off'}",
        f"graphs   {'on' if settings.graphs else 'off'}",
        *(f"{_mark(state, field)} {field.id:<10} {field.help}" for field in _columns(state)),
    ]
    return Chooser("Setup", lines, state.setup.index, lambda *_: Effect.DRAW)


def _mark(state: ScreenState, field: ListColumn) -> str:
    return "[x]" if field in state.settings.fields else "[ ]"


def _columns(state: ScreenState) -> list[ListColumn]:
    """Return all columns: the shown ones in their order, then the others."""
    shown = state.settings.fields
    return [*shown, *(field for field in FIELDS if field not in shown)]


# Commands.


def show_setup(state: ScreenState) -> Effect:
    """Open the setup page."""
    state.setup = SetupPage(values(state))
    state.context = Context.SETUP
    return Effect.DRAW


def setup_up(state: ScreenState) -> Effect:
    """Go to the line above."""
    return _select(state, -1)


def setup_down(state: ScreenState) -> Effect:
    """Go to the line below."""
    return _select(state, 1)


def setup_home(state: ScreenState) -> Effect:
    """Go to the first line."""
    return _select(state, -len(FIELDS) - _SETTINGS)


def setup_end(state: ScreenState) -> Effect:
    """Go to the last line."""
    return _select(state, len(FIELDS) + _SETTINGS)


def _select(state: ScreenState, steps: int) -> Effect:
    if state.setup:
        last = _SETTINGS + len(FIELDS) - 1
        state.setup.index = min(max(state.setup.index + steps, 0), last)
    return Effect.DRAW


def setup_change(state: ScreenState) -> Effect:
    """Take the next value, or show or hide the column."""
    return _change(state, 1)


def setup_change_back(state: ScreenState) -> Effect:
    """Take the value before, or show or hide the column."""
    return _change(state, -1)


def _change(state: ScreenState, step: int) -> Effect:
    if state.setup is None:
        return Effect.DRAW
    if state.setup.index >= _SETTINGS:
        return _toggle_column(state, _columns(state)[state.setup.index - _SETTINGS])
    _CHANGES[state.setup.index](state, step)
    return Effect.REPAINT


def _next_theme(state: ScreenState, step: int) -> None:
    place = THEME_CHOICES.index(state.settings.theme) + step
    state.settings.theme = THEME_CHOICES[place % len(THEME_CHOICES)]
    state.use_theme(state.settings.theme)


def _toggle_mouse(state: ScreenState, _: int) -> None:
    state.settings.mouse = not state.settings.mouse
    state.use_mouse(state.settings.mouse)


def _toggle_graphs(state: ScreenState, _: int) -> None:
    state.settings.graphs = not state.settings.graphs


_CHANGES: Final[tuple[Callable[[ScreenState, int], None], ...]] = (
    _next_theme,
    _toggle_mouse,
    _toggle_graphs,
)


def _toggle_column(state: ScreenState, field: ListColumn) -> Effect:
    shown = list(state.settings.fields)
    if field.id == REQUIRED:
        state.say(f"column {REQUIRED} is required", Style.WARNING)
    elif field in shown:
        shown.remove(field)
    else:
        shown.append(field)
    return _show(state, shown, field)


def setup_left(state: ScreenState) -> Effect:
    """Move the column to the left."""
    return _move(state, -1)


def setup_right(state: ScreenState) -> Effect:
    """Move the column to the right."""
    return _move(state, 1)


def _move(state: ScreenState, step: int) -> Effect:
    shown = list(state.settings.fields)
    place = state.setup.index - _SETTINGS if state.setup else -1
    if 0 <= place < len(shown) and 0 <= place + step < len(shown):
        field = shown.pop(place)
        shown.insert(place + step, field)
        return _show(state, shown, field)
    return Effect.DRAW


def _show(state: ScreenState, fields: list[ListColumn], here: ListColumn) -> Effect:
    """Show columns, texts before numbers, and stay on one of them."""
    state.settings.fields = tuple(sorted(fields, key=lambda field: not field.is_text))
    if state.setup:
        state.setup.index = _SETTINGS + _columns(state).index(here)
    return Effect.DRAW


def close_setup(state: ScreenState) -> Effect:
    """Close the page and save what was changed."""
    page, state.setup = state.setup, None
    state.context = Context.LIST
    if page:
        now = values(state)
        _save(state, {name: now[name] for name in now if now[name] != page.saved[name]})
    return Effect.DRAW


def _save(state: ScreenState, changed: dict[str, Any]) -> None:
    save = state.save_settings
    if not changed:
        return
    if save is None:
        state.say("not saved: there is no configuration file here", Style.WARNING)
        return

    def work() -> str:
        try:
            return f"saved to {save(changed)}"
        except (OSError, ValueError) as error:
            return f"not saved: {getattr(error, 'strerror', None) or error}"

    def say(text: str) -> None:
        state.say(text, Style.ERROR if text.startswith("not") else Style.VALUE)

    state.in_thread(work, say)
