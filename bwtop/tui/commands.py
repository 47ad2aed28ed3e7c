"""What the keys do.  Each command changes the desk and returns what has to follow from that."""

from dataclasses import replace
from typing import Final, TypeVar

from bwtop.model.board import AVERAGES, Board
from bwtop.model.filter import Loopback
from bwtop.tui.desk import Desk, Effect
from bwtop.tui.keymap import Context
from bwtop.view.columns import DEFAULT_SORT, Order
from bwtop.view.rows import Branch, Path
from bwtop.view.tree import Grouping

INTERVALS: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
"""Seconds, as + and - go through them."""

SENT: Final = 1.0
"""Seconds of an interval that hosts record and send: of less than that nobody knows."""

DOUBLE: Final = 0.4
"""Seconds within which a second Enter is part of a double one."""

T = TypeVar("T")

# What is shown.


def toggle_tcp(desk: Desk) -> Effect:
    """TCP on or off."""
    return _toggle_class(desk, "tcp")


def toggle_udp(desk: Desk) -> Effect:
    """UDP on or off."""
    return _toggle_class(desk, "udp")


def toggle_other(desk: Desk) -> Effect:
    """All other protocols on or off."""
    return _toggle_class(desk, "other")


def _toggle_class(desk: Desk, name: str) -> Effect:
    desk.settings.classes ^= {name}
    return Effect.BUILD


def next_loopback(desk: Desk) -> Effect:
    """Loopback is shown, then hidden, then nothing else is shown."""
    desk.settings.loopback = _next(list(Loopback), desk.settings.loopback)
    return Effect.BUILD


def next_grouping(desk: Desk) -> Effect:
    """The next thing to group by; the selection stays on what it was on, if that is a row of its own there."""
    groupings = [one for one in Grouping if desk.is_fleet or one is not Grouping.HOST]
    desk.settings.grouping = _next(groupings, desk.settings.grouping)
    return Effect.BUILD


def next_average(desk: Desk) -> Effect:
    """The next number of seconds that rates are averaged over."""
    average = desk.settings.average = _next(list(AVERAGES), desk.settings.average)
    desk.change(lambda board: board.set_average(average))
    return Effect.BUILD


def _next(values: list[T], value: T) -> T:
    return values[(values.index(value) + 1) % len(values)]


def toggle_bits(desk: Desk) -> Effect:
    """Rates in bits or bytes per second."""
    desk.settings.bits = not desk.settings.bits
    return Effect.DRAW


def toggle_names(desk: Desk) -> Effect:
    """Names of addresses or the addresses themselves."""
    desk.settings.names = not desk.settings.names
    return Effect.BUILD if desk.query.terms else Effect.DRAW


def toggle_cmdline(desk: Desk) -> Effect:
    """Command lines or names of processes."""
    desk.settings.cmdlines = not desk.settings.cmdlines
    return Effect.DRAW


def pause(desk: Desk) -> Effect:
    """Holds the view, or lets go of it."""
    desk.paused = not desk.paused
    if desk.paused:
        desk.change(Board.pause)
        return Effect.DRAW
    desk.change(Board.resume)
    return Effect.BUILD


def reset(desk: Desk) -> Effect:
    """Sets all totals to zero."""
    desk.change(Board.reset)
    return Effect.BUILD


def longer_interval(desk: Desk) -> Effect:
    """The next longer interval."""
    longer = [seconds for seconds in INTERVALS if seconds > desk.settings.interval]
    desk.settings.interval = longer[0] if longer else desk.settings.interval
    return Effect.DRAW


def shorter_interval(desk: Desk) -> Effect:
    """The next shorter interval."""
    least = SENT if desk.is_fleet else 0.0
    shorter = [seconds for seconds in INTERVALS if least <= seconds < desk.settings.interval]
    desk.settings.interval = shorter[-1] if shorter else desk.settings.interval
    return Effect.DRAW


# Sorting.


def sort_by(desk: Desk, column: str) -> Effect:
    """Sorts by a column; by the one that it is sorted by already, the other way round."""
    if column == desk.settings.order.column:
        return reverse(desk)
    desk.settings.order = Order(column)
    return Effect.SORT


def reverse(desk: Desk) -> Effect:
    """Sorts the other way round."""
    order = desk.settings.order
    desk.settings.order = replace(order, reverse=not order.reverse)
    return Effect.SORT


def sort_left(desk: Desk) -> Effect:
    """Sorts by the column to the left."""
    return _sort_beside(desk, -1)


def sort_right(desk: Desk) -> Effect:
    """Sorts by the column to the right."""
    return _sort_beside(desk, 1)


def _sort_beside(desk: Desk, step: int) -> Effect:
    """Goes through the columns on the screen; from one that is not there to the default one."""
    shown = [placed.field for placed in desk.placed(desk.columns)]
    columns = [field.column for field in shown if field.column != DEFAULT_SORT] + [DEFAULT_SORT]
    here = desk.settings.order.column
    place = columns.index(here) + step if here in columns else len(columns) - 1
    if not 0 <= place < len(columns):
        return Effect.DRAW
    desk.settings.order = Order(columns[place])
    return Effect.SORT


# Filtering.


def edit_filter(desk: Desk) -> Effect:
    """Starts typing a filter."""
    desk.context = Context.FILTER
    return Effect.DRAW


def accept_filter(desk: Desk) -> Effect:
    """Ends typing; the filter stays."""
    desk.context = Context.LIST
    return Effect.DRAW


def clear_filter(desk: Desk) -> Effect:
    """Ends typing without a filter."""
    desk.context = Context.LIST
    desk.filter("")
    return Effect.BUILD


def escape(desk: Desk) -> Effect:
    """Closes the details; else clears the filter."""
    if desk.details:
        desk.details = False
        return Effect.DRAW
    return clear_filter(desk)


# Going through the list.


def up(desk: Desk) -> Effect:
    """One row up."""
    return _move(desk, -1)


def down(desk: Desk) -> Effect:
    """One row down."""
    return _move(desk, 1)


def page_up(desk: Desk) -> Effect:
    """One page up."""
    return _move(desk, -max(desk.listing.page - 1, 1))


def page_down(desk: Desk) -> Effect:
    """One page down."""
    return _move(desk, max(desk.listing.page - 1, 1))


def _move(desk: Desk, steps: int) -> Effect:
    desk.listing.move(desk.tree, steps)
    return Effect.DRAW


def home(desk: Desk) -> Effect:
    """To the first row."""
    desk.listing.home()
    return Effect.DRAW


def end(desk: Desk) -> Effect:
    """To the last row."""
    desk.listing.end(desk.tree)
    return Effect.DRAW


def enter(desk: Desk) -> Effect:
    """Expands or collapses; the second of two quick ones takes that back and opens the details."""
    row = desk.listing.row(desk.tree)
    if row is None:
        return Effect.DRAW
    second = desk.last_enter[0] == row.id and desk.now() - desk.last_enter[1] < DOUBLE
    desk.last_enter = (None if second else row.id, desk.now())
    if isinstance(row, Branch):
        _set_expanded(desk, desk.listing.path, expanded=row.id not in desk.expansion)
    if second:
        desk.details = True
    return Effect.DRAW


def expand(desk: Desk) -> Effect:
    """Shows what is below the row; if that is shown, goes there."""
    row = desk.listing.row(desk.tree)
    if not isinstance(row, Branch):
        return Effect.DRAW
    if row.id in desk.expansion:
        return down(desk)
    return _set_expanded(desk, desk.listing.path, expanded=True)


def collapse(desk: Desk) -> Effect:
    """Hides what is below the row; if nothing is, goes to the row above it."""
    row = desk.listing.row(desk.tree)
    if row is None:
        return Effect.DRAW
    if isinstance(row, Branch) and row.id in desk.expansion:
        return _set_expanded(desk, desk.listing.path, expanded=False)
    if len(desk.listing.path) > 1:
        desk.listing.select(desk.tree, desk.listing.path[:-1])
    return Effect.DRAW


def toggle_at(desk: Desk, path: Path) -> Effect:
    """Shows or hides what is below a row."""
    row = desk.tree.row(path)
    return _set_expanded(desk, path, expanded=row.id not in desk.expansion)


def _set_expanded(desk: Desk, path: Path, *, expanded: bool) -> Effect:
    row = desk.tree.row(path)
    if isinstance(row, Branch):
        desk.listing.select(desk.tree, path)
        desk.expansion.set(row.id, expanded=expanded)
    return Effect.DRAW


def expand_all(desk: Desk) -> Effect:
    """Shows what is below all rows, or hides it where that is so."""
    desk.expansion.set_all(expanded=not desk.expansion.rule)
    desk.listing.follow(desk.tree)
    return Effect.DRAW


def toggle_details(desk: Desk) -> Effect:
    """Opens or closes the details of the selected process."""
    desk.details = not desk.details
    return Effect.DRAW


def redraw(_: Desk) -> Effect:
    """Draws everything anew."""
    return Effect.REPAINT


def leave(_: Desk) -> Effect:
    """Ends bwtop."""
    return Effect.QUIT
