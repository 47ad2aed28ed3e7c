"""Writing what is shown into a file: as CSV or JSON all its processes and remotes, as text the list as it looks."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import PurePath
from typing import Final

from bwtop.rights.writing import check_name
from bwtop.text.escape import count, printable
from bwtop.tui.header import header
from bwtop.tui.keymap import Context
from bwtop.tui.lines import Line
from bwtop.tui.state import Effect, Question, ScreenState
from bwtop.tui.styles import Style
from bwtop.tui.table import Rows, titles
from bwtop.view.interval import Interval, shown
from bwtop.view.rows import FIRST

TEXT: Final = "txt"

_ROWS: Final = 24
"""Rows of the screen whose header a text has: one with a line for each graph."""


@dataclass(frozen=True)
class Exporter:
    """The ways out of the screen."""

    write: Callable[[str, bytes, bool], None]
    """Writes a file of a name, over an existing one only if the last argument is true.

    Raises FileExistsError, other OSErrors, and ValueError.
    """
    formatted: Callable[[str, Interval, str], str]
    """Returns an interval as "csv" or "json"; the last argument is the backend."""


@dataclass(frozen=True)
class _File:
    name: str
    data: bytes
    rows: int


def write_rows(state: ScreenState) -> Effect:
    """Start typing the name of a file to write what is shown to."""
    if state.exporter is None:
        state.say("nothing can be written here", Style.WARNING)
        return Effect.DRAW
    when = time.strftime("%Y-%m-%d-%H%M%S", time.localtime(state.shown_until or time.time()))
    state.type_in(Context.FILE, f"bwtop-{when}.csv")
    return Effect.DRAW


def take_name(state: ScreenState) -> Effect:
    """Write what is shown to the file."""
    try:
        name = check_name(state.typed_line())
    except ValueError as error:
        state.say(str(error), Style.ERROR)
        return Effect.DRAW
    state.context = Context.LIST
    make = _text if name.endswith(f".{TEXT}") else _interval
    if not state.hold(make(state, name), partial(_write, state, replace=False)):
        state.say("rows are being made; try again", Style.WARNING)
    return Effect.DRAW


def cancel_name(state: ScreenState) -> Effect:
    """Write nothing."""
    state.context = Context.LIST
    return Effect.DRAW


def _interval(state: ScreenState, name: str) -> Callable[[], _File]:
    """Return what makes the file, in the background: meanwhile another moment may be shown."""
    assert state.exporter
    formatted, tree, backend = state.exporter.formatted, state.tree, state.backend
    end = datetime.fromtimestamp(state.shown_until, UTC)

    def make() -> _File:
        interval = shown(tree, end)
        form = PurePath(name).suffix.removeprefix(".")
        return _File(name, formatted(form, interval, backend).encode(), len(interval.processes))

    return make


def _text(state: ScreenState, name: str) -> Callable[[], _File]:
    """Return what makes the file of all rows of the list, and of what stands above them, as they look."""
    tree, drawn = state.tree, Rows(state, state.columns)
    above = [*header(state, state.columns, _ROWS), titles(state, state.columns)]

    def make() -> _File:
        rows = [drawn.line(row, len(path) - 1, selected=False) for path, row in tree.walk(FIRST)]
        return _File(name, "".join(map(_plain, [*above, *rows])).encode(), len(rows))

    return make


def _plain(line: Line) -> str:
    return "".join(text for _, text in line).rstrip() + "\n"


def _write(state: ScreenState, file: _File, *, replace: bool) -> None:
    """Write a file in the background; ask before an existing one is overwritten."""

    def write() -> str | None:
        assert state.exporter
        try:
            state.exporter.write(file.name, file.data, replace)
        except FileExistsError:
            return None
        except (OSError, ValueError) as error:
            return getattr(error, "strerror", None) or str(error)
        return ""

    def written(error: str | None) -> None:
        if error is None:
            _ask(state, file)
        elif error:
            state.say(f"{printable(file.name)}: {error}", Style.ERROR)
        else:
            state.say(f"wrote {count(file.rows, 'row')} to {printable(file.name)}")

    state.in_thread(write, written)


def _ask(state: ScreenState, file: _File) -> None:
    """Ask whether to overwrite a file, unless something else is asked or typed by now."""
    if state.context is not Context.LIST:
        state.say(f"{printable(file.name)} exists; write to another name", Style.WARNING)
        return

    def overwrite(state: ScreenState) -> Effect:
        _write(state, file, replace=True)
        return Effect.DRAW

    state.question = Question("Overwrite ", file.name, "?", overwrite, state.now())
    state.context = Context.CONFIRM
