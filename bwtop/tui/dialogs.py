"""Commands that open and control dialogs over the list: choices, questions, help."""

import signal
from collections.abc import Sequence
from typing import Final

from bwtop.model.flows import Identity
from bwtop.model.live import LiveModel
from bwtop.text.escape import count, squeeze
from bwtop.tui import tags
from bwtop.tui.commands import sort_by
from bwtop.tui.keymap import Context
from bwtop.tui.signals import SIGNALS, SignalError, SignalTarget, send
from bwtop.tui.state import Chooser, Effect, Question, ScreenState
from bwtop.tui.styles import Style
from bwtop.view.columns import ALL_COLUMNS, PROCESS_COLUMNS
from bwtop.view.order import DEFAULT_SORT
from bwtop.view.rows import Branch, Row

GUARD: Final = 0.3
"""Seconds for which a question accepts no yes: an earlier key was typed before the question could be read."""


def choose_order(state: ScreenState) -> Effect:
    """Open the list of columns."""
    columns = ALL_COLUMNS if state.is_fleet else PROCESS_COLUMNS
    ids = [column.id for column in columns]
    lines = [f"{column.id:<10} {column.help}" for column in columns]
    here = state.settings.order.column
    marked = ids.index(here if here in ids else DEFAULT_SORT)

    def take(state: ScreenState, index: int) -> Effect:
        same = ids[index] == state.settings.order.column
        return Effect.DRAW if same else sort_by(state, ids[index])

    return _open(state, Chooser("Sort by", lines, marked, take))


# Signals.


def selected_process(state: ScreenState) -> Branch | None:
    """Return the process of the selected row or of its parent; None for a group."""
    path = state.listing.path if state.tree.tops else ()
    rows: list[Row] = [state.tree.row(path[:depth]) for depth in range(1, len(path) + 1)]
    processes = [row for row in rows if isinstance(row, Branch) and row.process]
    return processes[-1] if processes else None


def choose_signal(state: ScreenState) -> Effect:
    """Open the list of signals for the tagged processes, or else for the selected one."""
    targets = tags.living(state)
    if state.past:
        return _refuse(state, "this is the past; press . to signal what runs now")
    if not targets:
        target = selected_process(state)
        if target is None:
            return _refuse(state, "select a process first")
        targets = tags.of_rows(state, [target])
        if not targets:
            return _refuse(state, _without_signals(state, target))
    whom = _whom(targets)

    def take(state: ScreenState, index: int) -> Effect:
        return _ask(state, _signal_question(state, SIGNALS[index], targets))

    lines = [f"{number:>2} {number.name:<9} {signal.strsignal(number)}" for number in SIGNALS]
    term = SIGNALS.index(signal.SIGTERM)
    return _open(state, Chooser(f"Signal for {whom}", lines, term, take))


def _without_signals(state: ScreenState, row: Branch) -> str:
    """Return why a process gets no signal."""
    if not state.is_here(row.identity):
        return _is_elsewhere(state, row.identity)
    if row.identity.kernel or row.is_unattributed:
        return f"{row.identity.name} cannot receive signals"
    return f"{row.identity.name} has exited"


def _whom(targets: Sequence[SignalTarget]) -> str:
    return str(targets[0]) if len(targets) == 1 else count(len(targets), "process")


def _signal_question(
    state: ScreenState, number: signal.Signals, targets: Sequence[SignalTarget]
) -> Question:
    """Return the question before a signal; of several processes it lists which."""
    first = targets[0]
    name, after, lines = first.name, f" ({first.process.pid})?", []
    if len(targets) > 1:
        name, after, lines = _whom(targets), "?", [str(target) for target in targets]
    before = f"Send {number.name} to "
    return Question(before, name, after, lambda s: _send(s, number, targets), state.now(), lines)


def _send(state: ScreenState, number: signal.Signals, targets: Sequence[SignalTarget]) -> Effect:
    errors = []
    for target in targets:
        try:
            send(target.process, number)
        except SignalError as error:
            errors.append(f"{target}: {error}")
    if not errors:
        state.say(f"{number.name} sent to {_whom(targets)}")
        state.listing.leave()
    elif len(targets) == 1:
        state.say(f"{number.name} to {errors[0]}", Style.ERROR)
    else:
        sent = f"{number.name} sent to {len(targets) - len(errors)} of {_whom(targets)}"
        more = f"; {len(errors) - 1} more" if len(errors) > 1 else ""
        state.say(f"{sent}; {errors[0]}{more}", Style.ERROR)
    return Effect.DRAW


def _is_elsewhere(state: ScreenState, identity: Identity) -> str:
    """Return why the process gets no signal; shorten the host name so that the text fits 80 cells."""
    where = squeeze(state.glyphs.text(identity.host.name), 24) if identity.host else "another host"
    return f"the process runs on {where}; bwtop signals local processes only"


def _refuse(state: ScreenState, why: str) -> Effect:
    state.say(why, Style.WARNING)
    return Effect.DRAW


def reset(state: ScreenState) -> Effect:
    """Ask whether to reset all totals to zero."""

    def zero(state: ScreenState) -> Effect:
        state.change(LiveModel.reset)
        return Effect.BUILD

    return _ask(state, Question("Reset all totals to zero", "", "?", zero, state.now()))


# Dialogs.


def _ask(state: ScreenState, question: Question) -> Effect:
    state.question = question
    state.context = Context.CONFIRM
    return Effect.DRAW


def _open(state: ScreenState, chooser: Chooser) -> Effect:
    state.chooser = chooser
    state.context = Context.CHOOSER
    return Effect.DRAW


def close(state: ScreenState) -> Effect:
    """Close the open dialog."""
    state.chooser = state.question = None
    state.context = Context.LIST
    return Effect.DRAW


def take_choice(state: ScreenState) -> Effect:
    """Choose the selected line."""
    chooser = state.chooser
    close(state)
    return chooser.take(state, chooser.index) if chooser else Effect.DRAW


def confirm(state: ScreenState) -> Effect:
    """Do what the question asks, unless the answer came too early to be one."""
    question = state.question
    if question and state.now() - question.asked < GUARD:
        return Effect.DRAW
    close(state)
    return question.confirm(state) if question else Effect.DRAW


def panel_up(state: ScreenState) -> Effect:
    """Select the line above."""
    return _mark(state, -1)


def panel_down(state: ScreenState) -> Effect:
    """Select the line below."""
    return _mark(state, 1)


def panel_home(state: ScreenState) -> Effect:
    """Select the first line."""
    return _mark(state, -len(state.chooser.lines) if state.chooser else 0)


def panel_end(state: ScreenState) -> Effect:
    """Select the last line."""
    return _mark(state, len(state.chooser.lines) if state.chooser else 0)


def _mark(state: ScreenState, steps: int) -> Effect:
    if state.chooser:
        last = len(state.chooser.lines) - 1
        state.chooser.index = min(max(state.chooser.index + steps, 0), last)
    return Effect.DRAW


def show_help(state: ScreenState) -> Effect:
    """Open the help."""
    state.context = Context.HELP
    state.help_top = 0
    return Effect.DRAW


def help_up(state: ScreenState) -> Effect:
    """Scroll one line up."""
    return _scroll(state, -1)


def help_down(state: ScreenState) -> Effect:
    """Scroll one line down."""
    return _scroll(state, 1)


def help_page_up(state: ScreenState) -> Effect:
    """Scroll one page up."""
    return _scroll(state, -state.listing.page)


def help_page_down(state: ScreenState) -> Effect:
    """Scroll one page down."""
    return _scroll(state, state.listing.page)


def help_home(state: ScreenState) -> Effect:
    """Scroll to the beginning."""
    return _scroll(state, -state.help_top)


def help_end(state: ScreenState) -> Effect:
    """Scroll to the end; drawing corrects the position."""
    return _scroll(state, 1_000_000)


def _scroll(state: ScreenState, lines: int) -> Effect:
    state.help_top = max(state.help_top + lines, 0)
    return Effect.DRAW
