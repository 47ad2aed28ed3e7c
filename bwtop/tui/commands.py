"""The commands behind the keys. Each changes the state and returns the effect that must follow."""

import time
from dataclasses import replace
from typing import Final, TypeVar

from bwtop.model.conditions import Loopback
from bwtop.model.flows import format_address
from bwtop.model.live import AVERAGES, LiveModel
from bwtop.tui.keymap import Context
from bwtop.tui.moments import step_back, step_forward
from bwtop.tui.procfs import command_line
from bwtop.tui.state import Effect, ScreenState
from bwtop.view.grouping import groupings
from bwtop.view.order import DEFAULT_SORT, Order
from bwtop.view.rows import Branch, Leaf, Path

INTERVALS: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
"""Seconds; the steps of + and -."""

SENT: Final = 1.0
"""Seconds; the interval at which hosts record and send. Shorter ones would be empty."""

DOUBLE: Final = 0.4
"""Seconds within which a second Enter makes a double one."""

T = TypeVar("T")

# Display.


def toggle_tcp(state: ScreenState) -> Effect:
    """Show or hide TCP."""
    return _toggle_class(state, "tcp")


def toggle_udp(state: ScreenState) -> Effect:
    """Show or hide UDP."""
    return _toggle_class(state, "udp")


def toggle_other(state: ScreenState) -> Effect:
    """Show or hide all other protocols."""
    return _toggle_class(state, "other")


def _toggle_class(state: ScreenState, name: str) -> Effect:
    state.settings.classes ^= {name}
    return Effect.BUILD


def next_loopback(state: ScreenState) -> Effect:
    """Show loopback, hide it, or show nothing else, in turn."""
    state.settings.loopback = _next(list(Loopback), state.settings.loopback)
    return Effect.BUILD


def next_grouping(state: ScreenState) -> Effect:
    """Group by the next property; keep the selection if its row exists there."""
    known = groupings(fleet=state.is_fleet)
    state.settings.grouping = _next(known, state.settings.grouping)
    return Effect.BUILD


def toggle_joined(state: ScreenState) -> Effect:
    """Show both ends of loopback traffic as one row, or the rows of both."""
    state.settings.join_loopback = not state.settings.join_loopback
    return Effect.BUILD


def toggle_exited(state: ScreenState) -> Effect:
    """Show exited processes as one row or as rows of their own."""
    state.settings.fold_exited = not state.settings.fold_exited
    return Effect.BUILD


def next_average(state: ScreenState) -> Effect:
    """Average rates over the next number of seconds."""
    average = state.settings.average = _next(list(AVERAGES), state.settings.average)
    state.change(lambda model: model.set_average(average))
    return Effect.BUILD


def _next(values: list[T], value: T) -> T:
    return values[(values.index(value) + 1) % len(values)]


def toggle_bits(state: ScreenState) -> Effect:
    """Switch rates between bits and bytes per second."""
    state.settings.bits = not state.settings.bits
    return Effect.DRAW


def toggle_names(state: ScreenState) -> Effect:
    """Switch remotes between names and addresses."""
    state.settings.names = not state.settings.names
    return Effect.BUILD if state.typed.terms else Effect.DRAW


def toggle_cmdline(state: ScreenState) -> Effect:
    """Switch processes between command lines and names."""
    state.settings.cmdlines = not state.settings.cmdlines
    return Effect.DRAW


def pause(state: ScreenState) -> Effect:
    """Pause the display or resume it."""
    state.paused = not state.paused
    if state.paused:
        state.held = state.measured_until or time.time()
        state.change(LiveModel.pause)
        return Effect.DRAW
    state.change(LiveModel.resume)
    return Effect.BUILD


def longer_interval(state: ScreenState) -> Effect:
    """Use the next longer interval."""
    longer = [seconds for seconds in INTERVALS if seconds > state.settings.interval]
    state.settings.interval = longer[0] if longer else state.settings.interval
    return Effect.DRAW


def shorter_interval(state: ScreenState) -> Effect:
    """Use the next shorter interval."""
    least = SENT if state.is_fleet else 0.0
    shorter = [seconds for seconds in INTERVALS if least <= seconds < state.settings.interval]
    state.settings.interval = shorter[-1] if shorter else state.settings.interval
    return Effect.DRAW


# Sorting.


def sort_by(state: ScreenState, column: str) -> Effect:
    """Sort by a column; if it is the sort column already, reverse the order."""
    if column == state.settings.order.column:
        return reverse(state)
    state.settings.order = Order(column)
    return Effect.SORT


def reverse(state: ScreenState) -> Effect:
    """Reverse the sort order."""
    order = state.settings.order
    state.settings.order = replace(order, reverse=not order.reverse)
    return Effect.SORT


def sort_by_start(state: ScreenState) -> Effect:
    """Sort by start time, the newest first."""
    state.settings.order = Order("start", reverse=True)
    return Effect.SORT


def sort_left(state: ScreenState) -> Effect:
    """Sort by the column to the left."""
    return _sort_beside(state, -1)


def sort_right(state: ScreenState) -> Effect:
    """Sort by the column to the right."""
    return _sort_beside(state, 1)


def _sort_beside(state: ScreenState, step: int) -> Effect:
    """Sort by the neighbour of the sort column on the screen; by the default column if it is not shown.

    A default column that is not shown is at the right end.
    """
    shown = [placed.field for placed in state.placed(state.columns)]
    columns = [field.column.id for field in shown if field.sorts]
    if DEFAULT_SORT not in columns:
        columns.append(DEFAULT_SORT)
    here = state.settings.order.column
    place = columns.index(here) + step if here in columns else columns.index(DEFAULT_SORT)
    if not 0 <= place < len(columns):
        return Effect.DRAW
    state.settings.order = Order(columns[place])
    return Effect.SORT


# Filtering.


def edit_filter(state: ScreenState) -> Effect:
    """Start typing a filter."""
    # What is typed now is another term.
    state.type_in(Context.FILTER, f"{state.settings.filter} ".lstrip())
    return Effect.DRAW


def accept_filter(state: ScreenState) -> Effect:
    """Stop typing and keep the filter."""
    state.typed_line()
    state.context = Context.LIST
    return Effect.DRAW


def clear_filter(state: ScreenState) -> Effect:
    """Stop typing and clear the filter."""
    state.context = Context.LIST
    state.filter("")
    return Effect.BUILD


def escape(state: ScreenState) -> Effect:
    """Close the details; if they are closed, clear the filter."""
    if state.details:
        state.details = False
        return Effect.DRAW
    return clear_filter(state)


# Movement.


def up(state: ScreenState) -> Effect:
    """Move one row up."""
    return _move(state, -1)


def down(state: ScreenState) -> Effect:
    """Move one row down."""
    return _move(state, 1)


def page_up(state: ScreenState) -> Effect:
    """Move one page up."""
    return _move(state, -max(state.listing.page - 1, 1))


def page_down(state: ScreenState) -> Effect:
    """Move one page down."""
    return _move(state, max(state.listing.page - 1, 1))


def _move(state: ScreenState, steps: int) -> Effect:
    state.listing.move(state.tree, steps)
    return Effect.DRAW


def next_process(state: ScreenState) -> Effect:
    """Go to the next process or group."""
    state.listing.jump(state.tree, 1)
    return Effect.DRAW


def previous_process(state: ScreenState) -> Effect:
    """Go to the previous process or group."""
    state.listing.jump(state.tree, -1)
    return Effect.DRAW


def follow(state: ScreenState) -> Effect:
    """Follow the selected row, or stop."""
    state.listing.toggle_following(state.tree)
    return Effect.DRAW


def home(state: ScreenState) -> Effect:
    """Go to the first row."""
    state.listing.home()
    return Effect.DRAW


def end(state: ScreenState) -> Effect:
    """Go to the last row."""
    state.listing.end(state.tree)
    return Effect.DRAW


def enter(state: ScreenState) -> Effect:
    """Expand or collapse the row; on a quick second press undo that and open the details."""
    row = state.listing.row(state.tree)
    if row is None:
        return Effect.DRAW
    second = state.last_enter[0] == row.id and state.now() - state.last_enter[1] < DOUBLE
    state.last_enter = (None if second else row.id, state.now())
    if isinstance(row, Branch):
        _set_expanded(state, state.listing.path, expanded=row.id not in state.expansion)
    if second:
        state.details = True
    return Effect.DRAW


def expand(state: ScreenState) -> Effect:
    """Expand the row; if it is expanded, go to its first child. While paused: step forward."""
    if state.paused:
        return step_forward(state)
    row = state.listing.row(state.tree)
    if not isinstance(row, Branch):
        return Effect.DRAW
    if row.id in state.expansion:
        return down(state)
    return _set_expanded(state, state.listing.path, expanded=True)


def collapse(state: ScreenState) -> Effect:
    """Collapse the row; if it is collapsed, go to its parent. While paused: step back."""
    if state.paused:
        return step_back(state)
    row = state.listing.row(state.tree)
    if row is None:
        return Effect.DRAW
    if isinstance(row, Branch) and row.id in state.expansion:
        return _set_expanded(state, state.listing.path, expanded=False)
    if len(state.listing.path) > 1:
        state.listing.select(state.tree, state.listing.path[:-1])
    return Effect.DRAW


def toggle_at(state: ScreenState, path: Path) -> Effect:
    """Expand or collapse a row."""
    row = state.tree.row(path)
    return _set_expanded(state, path, expanded=row.id not in state.expansion)


def _set_expanded(state: ScreenState, path: Path, *, expanded: bool) -> Effect:
    row = state.tree.row(path)
    if isinstance(row, Branch):
        state.listing.select(state.tree, path)
        state.expansion.set(row.id, expanded=expanded)
    return Effect.DRAW


def expand_all(state: ScreenState) -> Effect:
    """Expand all rows, or collapse them if all are expanded."""
    state.expansion.set_all(expanded=not state.expansion.rule)
    state.listing.follow(state.tree)
    return Effect.DRAW


def copy(state: ScreenState) -> Effect:
    """Copy the address of the selected remote, the id of the process or the label of the group."""
    remote = state.listing.row(state.tree)
    if isinstance(remote, Leaf):
        return _copy(state, format_address(remote.remote.address))
    row = state.listing.branch(state.tree)
    if row is None:
        return Effect.DRAW
    if row.address is not None:
        return _copy(state, format_address(row.address))
    return _copy(state, str(row.pid) if row.pid else row.identity.name)


def copy_command(state: ScreenState) -> Effect:
    """Copy the command line of the selected process, or its name."""
    row, whole = state.listing.branch(state.tree), None
    if row is None:
        return Effect.DRAW
    if row.key and not row.exited and state.is_here(row.identity):
        whole = command_line(row.key)
    return _copy(state, whole or row.identity.cmdline or row.identity.name)


def _copy(state: ScreenState, text: str) -> Effect:
    state.copy(text)
    state.say(f"copied {text}")
    return Effect.DRAW


def redraw(_: ScreenState) -> Effect:
    """Redraw the whole screen."""
    return Effect.REPAINT


def leave(_: ScreenState) -> Effect:
    """Quit bwtop."""
    return Effect.QUIT
