"""Tagged processes, which get a signal together."""

from collections.abc import Iterable

from bwtop.text.escape import count
from bwtop.tui.commands import down
from bwtop.tui.signals import SignalTarget
from bwtop.tui.state import Effect, ScreenState
from bwtop.tui.styles import Style
from bwtop.view.rows import Branch


def tag(state: ScreenState) -> Effect:
    """Tag the process of the row, or all of a group; if they are tagged, untag them. Go one row down."""
    targets = {target.process: target for target in of_rows(state, _rows(state))}
    if not targets:
        state.say("no process here takes signals", Style.WARNING)
        return Effect.DRAW
    if targets.keys() <= state.tags.keys():
        for process in targets:
            del state.tags[process]
    else:
        state.tags |= targets
    return down(state)


def untag_all(state: ScreenState) -> Effect:
    """Untag all processes."""
    state.say(f"untagged {count(len(state.tags), 'process')}")
    state.tags.clear()
    return Effect.DRAW


def _rows(state: ScreenState) -> Iterable[Branch]:
    """Return the selected process, or that of the selected remote, or the processes of the selected group."""
    row = state.listing.branch(state.tree)
    return state.tree.processes(row) if row else []


def of_rows(state: ScreenState, rows: Iterable[Branch]) -> list[SignalTarget]:
    """Return the processes of rows that run here and take signals."""
    return [
        SignalTarget(row.key, row.identity.name)
        for row in rows
        if row.key
        and not (row.exited or row.identity.kernel or row.is_unattributed)
        and state.is_here(row.identity)
    ]


def living(state: ScreenState) -> list[SignalTarget]:
    """Return the tagged processes that have not exited, and forget the others."""
    model = state.live
    for process in list(state.tags):
        if process not in model.ledger.processes or model.has_exited(process):
            del state.tags[process]
    return list(state.tags.values())
