"""Commands that open something over the list, and those that work in it: choices, questions, help."""

import signal
from typing import Final

from bwtop.model.flows import UNATTRIBUTED, Identity
from bwtop.text.escape import squeeze
from bwtop.tui.commands import sort_by
from bwtop.tui.desk import Chooser, Desk, Effect, Question
from bwtop.tui.keymap import Context
from bwtop.tui.signals import SIGNALS, SignalError, send
from bwtop.tui.styles import Style
from bwtop.view.columns import ALL_COLUMNS, DEFAULT_SORT, PROCESS_COLUMNS
from bwtop.view.rows import Branch, Row

GUARD: Final = 0.3
"""Seconds for which a question takes no yes: a key that comes sooner was pressed before the question was read."""


def choose_order(desk: Desk) -> Effect:
    """Opens the list of columns."""
    columns = ALL_COLUMNS if desk.is_fleet else PROCESS_COLUMNS
    ids = [column.id for column in columns]
    lines = [f"{column.id:<10} {column.help}" for column in columns]
    here = desk.settings.order.column
    marked = ids.index(here if here in ids else DEFAULT_SORT)

    def take(desk: Desk, index: int) -> Effect:
        same = ids[index] == desk.settings.order.column
        return Effect.DRAW if same else sort_by(desk, ids[index])

    return _open(desk, Chooser("Sort by", lines, marked, take))


# Signals.


def selected_process(desk: Desk) -> Branch | None:
    """The process that the selection is on or below; None for a group."""
    path = desk.listing.path if desk.tree.tops else ()
    rows: list[Row] = [desk.tree.row(path[:depth]) for depth in range(1, len(path) + 1)]
    processes = [row for row in rows if isinstance(row, Branch) and row.process]
    return processes[-1] if processes else None


def choose_signal(desk: Desk) -> Effect:
    """Opens the list of signals for the selected process."""
    target = selected_process(desk)
    if target is None:
        return _refuse(desk, "select a process to send a signal to")
    if not desk.is_here(target.identity):
        return _refuse(desk, _is_elsewhere(desk, target.identity))
    if target.identity.kernel or target.key == UNATTRIBUTED:
        return _refuse(desk, f"{target.identity.name} is no process that takes signals")
    if target.exited:
        return _refuse(desk, f"{target.identity.name} has exited")
    whom = f"{target.identity.name} ({target.key.pid})"

    def take(desk: Desk, index: int) -> Effect:
        desk.question = Question(
            f"Send {SIGNALS[index].name} to ",
            target.identity.name,
            f" ({target.key.pid})?",
            lambda desk: _send(desk, SIGNALS[index]),
            desk.now(),
        )
        desk.context = Context.CONFIRM
        return Effect.DRAW

    def _send(desk: Desk, number: signal.Signals) -> Effect:
        try:
            send(target.key, number)
            desk.say(f"{number.name} sent to {whom}")
        except SignalError as error:
            desk.say(f"{number.name} to {whom}: {error}", Style.ERROR)
        return Effect.DRAW

    lines = [f"{number:>2} {number.name:<9} {signal.strsignal(number)}" for number in SIGNALS]
    term = SIGNALS.index(signal.SIGTERM)
    return _open(desk, Chooser(f"Signal for {whom}", lines, term, take))


def _is_elsewhere(desk: Desk, identity: Identity) -> str:
    """Why it gets no signal; a long name is shortened, so that a line of 80 cells has all of that."""
    where = (
        squeeze(desk.glyphs.text(identity.host.name), 24) if identity.host else "another machine"
    )
    return f"it runs on {where}: bwtop sends signals on its own machine only"


def _refuse(desk: Desk, why: str) -> Effect:
    desk.say(why, Style.WARNING)
    return Effect.DRAW


# What is open on top of the list.


def _open(desk: Desk, chooser: Chooser) -> Effect:
    desk.chooser = chooser
    desk.context = Context.CHOOSER
    return Effect.DRAW


def close(desk: Desk) -> Effect:
    """Closes whatever is open."""
    desk.chooser = desk.question = None
    desk.context = Context.LIST
    return Effect.DRAW


def take_choice(desk: Desk) -> Effect:
    """Takes the marked line."""
    chooser = desk.chooser
    close(desk)
    return chooser.take(desk, chooser.index) if chooser else Effect.DRAW


def confirm(desk: Desk) -> Effect:
    """Does what was asked about, unless the answer came before the question can have been read."""
    question = desk.question
    if question and desk.now() - question.asked < GUARD:
        return Effect.DRAW
    close(desk)
    return question.confirm(desk) if question else Effect.DRAW


def panel_up(desk: Desk) -> Effect:
    """Marks the line above."""
    return _mark(desk, -1)


def panel_down(desk: Desk) -> Effect:
    """Marks the line below."""
    return _mark(desk, 1)


def panel_home(desk: Desk) -> Effect:
    """Marks the first line."""
    return _mark(desk, -len(desk.chooser.lines) if desk.chooser else 0)


def panel_end(desk: Desk) -> Effect:
    """Marks the last line."""
    return _mark(desk, len(desk.chooser.lines) if desk.chooser else 0)


def _mark(desk: Desk, steps: int) -> Effect:
    if desk.chooser:
        last = len(desk.chooser.lines) - 1
        desk.chooser.index = min(max(desk.chooser.index + steps, 0), last)
    return Effect.DRAW


def show_help(desk: Desk) -> Effect:
    """Opens the help."""
    desk.context = Context.HELP
    desk.help_top = 0
    return Effect.DRAW


def help_up(desk: Desk) -> Effect:
    """One line up."""
    return _scroll(desk, -1)


def help_down(desk: Desk) -> Effect:
    """One line down."""
    return _scroll(desk, 1)


def help_page_up(desk: Desk) -> Effect:
    """One page up."""
    return _scroll(desk, -desk.listing.page)


def help_page_down(desk: Desk) -> Effect:
    """One page down."""
    return _scroll(desk, desk.listing.page)


def help_home(desk: Desk) -> Effect:
    """To its beginning."""
    return _scroll(desk, -desk.help_top)


def help_end(desk: Desk) -> Effect:
    """To its end; drawing it corrects how far that is."""
    return _scroll(desk, 1_000_000)


def _scroll(desk: Desk, lines: int) -> Effect:
    desk.help_top = max(desk.help_top + lines, 0)
    return Effect.DRAW
