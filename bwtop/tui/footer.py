"""The last line: the keys of the current context, a message, a question, or the filter being typed."""

from typing import Final

from bwtop.text.escape import squeeze, width
from bwtop.tui import spikes
from bwtop.tui.keymap import Context, Keymap, spelled
from bwtop.tui.lines import Line, exactly, length
from bwtop.tui.state import ScreenState
from bwtop.tui.styles import Style

_VERB: Final = "Send "
"""The first word of a question, dropped when the line is too narrow."""


def footer(state: ScreenState, columns: int) -> Line:
    """Return the footer line; hints that do not fit are dropped from the right."""
    line, shows_hints = _before(state, columns)
    if shows_hints:
        line += hints(state.keymap, state.context, columns - length(line))
    return exactly(line, columns)


def _before(state: ScreenState, columns: int) -> tuple[Line, bool]:
    """Return the text before the hints, and True if hints follow."""
    if state.question:
        before, after = state.question.before, state.question.after
        name = state.glyphs.text(state.question.name)
        room = (
            columns
            - length(hints(state.keymap, Context.CONFIRM, columns))
            - len(before + after)
            - 2
        )
        if width(name) > room:
            before, room = before.removeprefix(_VERB), room + len(_VERB)
        name = squeeze(name, max(room, 1))
        return [(Style.WARNING, f"{before}{name}{after}"), (Style.HINT, "  ")], True
    if state.context is Context.GRAPH:
        return [(Style.VALUE, spikes.words(state)), (Style.HINT, "  ")], True
    if state.message:
        text, style = state.message
        return [(style, state.glyphs.text(text))], False
    return [], True


def hints(keymap: Keymap, context: Context, columns: int) -> Line:
    """Return keys and their hints, the most important first."""
    line: Line = []
    for key in keymap.of(context):
        if key.hint:
            more: Line = [(Style.KEY, spelled(key.keys[0])), (Style.HINT, f" {key.hint} ")]
            if length(line) + length(more) > columns:
                break
            line += more
    return line


def in_words(keymap: Keymap, context: Context) -> str:
    """Return the keys of a context and their hints as plain text."""
    return "  ".join(f"{spelled(key.keys[0])} {key.hint}" for key in keymap.of(context) if key.hint)


def at(state: ScreenState, columns: int, cell: int) -> str | None:
    """Return the key whose hint is at a cell of the line, or None."""
    line, shows_hints = _before(state, columns)
    end = length(line)
    if not shows_hints or cell < end:
        return None
    shown = [key for key in state.keymap.of(state.context) if key.hint]
    pieces = hints(state.keymap, state.context, columns - end)
    for key, (label, hint) in zip(shown, zip(pieces[::2], pieces[1::2], strict=True), strict=False):
        end += length([label, hint])
        if cell < end:
            return key.keys[0]
    return None
