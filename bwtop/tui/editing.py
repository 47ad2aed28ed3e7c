"""The commands that edit the line being typed, with the keys of readline(3)."""

from bwtop.tui import completion
from bwtop.tui.commands import down
from bwtop.tui.keymap import Context
from bwtop.tui.state import Effect, ScreenState


def left(state: ScreenState) -> Effect:
    """Go one character back."""
    return _move(state, state.entry.beside(-1))


def right(state: ScreenState) -> Effect:
    """Go one character forward."""
    return _move(state, state.entry.beside(1))


def word_left(state: ScreenState) -> Effect:
    """Go back to the beginning of a word."""
    return _move(state, state.entry.word_start())


def word_right(state: ScreenState) -> Effect:
    """Go forward to the end of a word."""
    return _move(state, state.entry.word_end())


def line_start(state: ScreenState) -> Effect:
    """Go to the beginning of the line."""
    return _move(state, 0)


def line_end(state: ScreenState) -> Effect:
    """Go to the end of the line."""
    return _move(state, len(state.entry.text))


def _move(state: ScreenState, place: int) -> Effect:
    state.entry.move(place)
    return Effect.DRAW


def rub_out(state: ScreenState) -> Effect:
    """Delete the character before the cursor."""
    entry = state.entry
    entry.delete(max(entry.place - 1, 0), entry.place)
    return Effect.DRAW


def delete(state: ScreenState) -> Effect:
    """Delete the character at the cursor."""
    entry = state.entry
    entry.delete(entry.place, entry.beside(1))
    return Effect.DRAW


def cut_word(state: ScreenState) -> Effect:
    """Cut the text back to a blank."""
    entry = state.entry
    entry.cut(entry.blank_word_start(), entry.place)
    return Effect.DRAW


def cut_to_start(state: ScreenState) -> Effect:
    """Cut the text before the cursor."""
    state.entry.cut(0, state.entry.place)
    return Effect.DRAW


def cut_to_end(state: ScreenState) -> Effect:
    """Cut the text from the cursor on."""
    state.entry.cut(state.entry.place, len(state.entry.text))
    return Effect.DRAW


def paste_cut(state: ScreenState) -> Effect:
    """Insert what was cut last."""
    state.entry.paste()
    return Effect.DRAW


def older(state: ScreenState) -> Effect:
    """Recall the line typed before."""
    state.entry.recall(-1)
    return Effect.DRAW


def newer(state: ScreenState) -> Effect:
    """Recall the line typed after; below the newest, move down in the list."""
    if not state.entry.recall(1) and state.context is Context.FILTER:
        return down(state)
    return Effect.DRAW


def complete(state: ScreenState) -> Effect:
    """Complete a field of the filter, or a value that was seen."""
    start, choices = completion.choices(state)
    state.entry.complete(start, choices)
    return Effect.DRAW
