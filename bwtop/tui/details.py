"""The details of a process as a page: all its facts, its remotes, and what its program usually moves."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bwtop.history.programs import ProgramQuery, ProgramUsage
from bwtop.model.flows import ProcessKey
from bwtop.text import units as fmt
from bwtop.text.escape import fit, squeeze
from bwtop.tui import procfs
from bwtop.tui.dialogs import selected_process
from bwtop.tui.keymap import Context
from bwtop.tui.lines import Line, exactly
from bwtop.tui.panels import fact, facts, graphs, pid_of, section
from bwtop.tui.state import Effect, ScreenState
from bwtop.tui.styles import Style
from bwtop.view.rows import Branch, Leaf, RowId

MOST_REMOTES: Final = 50
"""Remotes on the page, in the order of the list."""

WHOLE: Final = 100_000
"""Lines that a fact may take: the page scrolls."""

_GRAPH_ROWS: Final = 3

_REMOTE: Final = 26
"""Cells of the name of a remote at least."""


@dataclass
class DetailsPage:
    """The open page; what is looked up comes later."""

    row: RowId
    key: ProcessKey | None
    top: int = 0
    """The first line in sight."""
    parent: str | None = None
    listening: list[str] | None = None
    is_looked_up: bool = False
    usage: ProgramUsage | str | None = None
    """The history's answer about the program, or why there is none; None: nothing yet."""


# Commands.


def toggle_details(state: ScreenState) -> Effect:
    """Open the details of the selected process below the list; if they are open, as a page."""
    if not state.details:
        state.details = True
        return Effect.DRAW
    row = selected_process(state)
    if row is None:
        return close_page(state)
    state.page = page = DetailsPage(row.id, row.key)
    state.context = Context.DETAILS
    _look_up(state, page, row)
    return Effect.DRAW


def close_page(state: ScreenState) -> Effect:
    """Close the details."""
    state.details, state.page = False, None
    state.context = Context.LIST
    return Effect.DRAW


def page_line_up(state: ScreenState) -> Effect:
    """Scroll one line up."""
    return _scroll(state, -1)


def page_line_down(state: ScreenState) -> Effect:
    """Scroll one line down."""
    return _scroll(state, 1)


def page_up(state: ScreenState) -> Effect:
    """Scroll one page up."""
    return _scroll(state, -state.listing.page)


def page_down(state: ScreenState) -> Effect:
    """Scroll one page down."""
    return _scroll(state, state.listing.page)


def page_home(state: ScreenState) -> Effect:
    """Scroll to the beginning."""
    return _scroll(state, -WHOLE)


def page_end(state: ScreenState) -> Effect:
    """Scroll to the end; drawing corrects the position."""
    return _scroll(state, WHOLE)


def _scroll(state: ScreenState, lines: int) -> Effect:
    if state.page:
        state.page.top = max(state.page.top + lines, 0)
    return Effect.DRAW


# What is looked up.


def _look_up(state: ScreenState, page: DetailsPage, row: Branch) -> None:
    """Ask /proc and the history in the background."""
    key = page.key
    if key and not row.exited and state.is_here(row.identity):

        def take(found: tuple[str | None, list[str] | None]) -> None:
            page.parent, page.listening = found
            page.is_looked_up = True

        state.in_thread(lambda: (procfs.parent(key), procfs.listening(key)), take)
    if state.history.look_at_program is None:
        return
    identity = row.identity
    host = identity.host.id if identity.host else ""
    question = ProgramQuery(identity.name, identity.exe, host, state.shown_until or time.time())

    def say(usage: ProgramUsage | str) -> None:
        page.usage = usage

    state.history.look_at_program(question, say)


# Drawing.


def page_lines(state: ScreenState, columns: int, rows: int) -> list[Line]:
    """Return the lines of the page in sight."""
    page = state.page
    assert page
    path = state.tree.find(page.row)
    row = state.tree.row(path) if path else None
    if not isinstance(row, Branch):
        return [exactly([(Style.TITLE, " This process has left the list")], columns, Style.TITLE)]
    name = state.glyphs.text(row.identity.name)
    title = exactly([(Style.TITLE, f" {name} ({pid_of(row)})")], columns, Style.TITLE)
    lines = list(_lines(state, page, row, columns))
    room = max(rows - 1, 1)
    state.listing.page = room
    page.top = min(page.top, max(len(lines) - room, 0))
    return [title, *lines[page.top : page.top + room]]


def _lines(state: ScreenState, page: DetailsPage, row: Branch, columns: int) -> Iterator[Line]:
    for label, value in (*facts(state, row), *_looked_up(page), *_usage(page)):
        yield from fact(label, state.glyphs.text(value), columns, most=WHOLE)
    yield []
    yield from graphs(state, row, columns, _GRAPH_ROWS)
    yield from section("Remotes")
    remotes = state.tree.remotes(row)
    for leaf in remotes[:MOST_REMOTES]:
        yield _remote(state, leaf, columns)
    if len(remotes) > MOST_REMOTES:
        yield [(Style.HINT, f"   and {len(remotes) - MOST_REMOTES} more")]


def _looked_up(page: DetailsPage) -> Iterator[tuple[str, str]]:
    if page.is_looked_up:
        yield "parent", page.parent or "-"
        ports = ", ".join(page.listening or ()) or "on no port"
        unknown = "unknown: only its own user can read that"
        yield "listens", unknown if page.listening is None else ports


def _usage(page: DetailsPage) -> Iterator[tuple[str, str]]:
    """Yield what the history says of all processes of the program."""
    usage = page.usage
    if isinstance(usage, str):
        yield "history", usage
    elif usage:
        day, week = usage.usual_day, usage.usual_day and 7 * usage.usual_day
        first = usage.first and time.strftime("%Y-%m-%d", time.localtime(usage.first))
        yield "history", f"first seen {first}" if first else "nothing of it yet"
        yield "today", _against(usage.today, day, "day")
        yield "this week", _against(usage.week, week, "week")


def _against(moved: int, usual: float | None, unit: str) -> str:
    """Return an amount and the usual one: "1.2 GiB of usually 3.4 GiB a day"."""
    if usual is None:
        return f"{fmt.size(moved)}; what is usual is known after a day"
    return f"{fmt.size(moved)} of usually {fmt.size(round(usual))} a {unit}"


def _remote(state: ScreenState, leaf: Leaf, columns: int) -> Line:
    """Return a remote with its name, rates and totals; what does not fit is left out from the right."""
    counted, glyphs = leaf.counted, state.glyphs
    bits = state.settings.bits
    cells: Line = [
        (Style.RX, f" {glyphs.down} {fit(fmt.rate_cell(counted.rx_rate, bits=bits), 10, '>')}"),
        (Style.TX, f" {glyphs.up} {fit(fmt.rate_cell(counted.tx_rate, bits=bits), 10, '>')}"),
        (Style.RX, f" {fit(fmt.size(counted.rx_total), 10, '>')}"),
        (Style.TX, f" {fit(fmt.size(counted.tx_total), 10, '>')}"),
    ]
    while cells and columns - sum(len(text) for _, text in cells) < _REMOTE:
        cells.pop()
    room = max(columns - sum(len(text) for _, text in cells) - 3, 1)
    label = glyphs.text(fmt.remote(leaf.remote, leaf.names, room))
    return exactly([(Style.REMOTE, f"   {fit(squeeze(label, room), room)}"), *cells], columns)
